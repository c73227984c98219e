"""The days a rule set looks at: rolling, a calendar year, a year of membership. Pure; days are ordinals."""

from __future__ import annotations

from calendar import isleap
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, get_args


@dataclass(frozen=True, slots=True)
class RollingWindow:
    """The days (d − days, d] of an evaluation day d, and whatever is already known of days after d."""

    days: int


@dataclass(frozen=True, slots=True)
class CalendarYear:
    """The days from 1 January of the evaluation day's year to the evaluation day."""


@dataclass(frozen=True, slots=True)
class MembershipYear:
    """The days from the last yearly return of joining, or of reaching the tier, to the evaluation day."""

    anchor: Literal["joining", "tier"]


Window = RollingWindow | CalendarYear | MembershipYear

Cadence = Literal["daily", "weekly", "monthly"]
"""How often falls are applied: every day, on Mondays, on the first of the month."""
CADENCES: tuple[Cadence, ...] = get_args(Cadence)


def first_day(window: Window, day: int, *, joined: int, since: int) -> int:
    """Return the first day inside the window that ends with `day`.

    `joined` and `since` are the days of joining and of reaching the tier held; a day before the anchor lies
    in the period that ends there.
    """
    if isinstance(window, RollingWindow):
        return day - window.days + 1
    return period_of(window, day, joined=joined, since=since)[0]


def period_of(window: CalendarYear | MembershipYear, day: int, *, joined: int, since: int) -> tuple[int, int]:
    """Return the first day of the period that holds `day`, and the first day of the next one."""
    if isinstance(window, CalendarYear):
        year = date.fromordinal(day).year
        return date(year, 1, 1).toordinal(), date(year + 1, 1, 1).toordinal()
    anchor = date.fromordinal(joined if window.anchor == "joining" else since)
    year = date.fromordinal(day).year
    if return_in(anchor, year) > day:
        year -= 1
    return return_in(anchor, year), return_in(anchor, year + 1)


def return_in(anchor: date, year: int) -> int:
    """Return the day on which a date returns in a year; 29 February returns on the 28th in common years."""
    if (anchor.month, anchor.day) == (2, 29) and not isleap(year):
        return date(year, 2, 28).toordinal()
    return anchor.replace(year=year).toordinal()


def next_cadence_day(cadence: Cadence, day: int) -> int:
    """Return the first day no earlier than `day` on which falls are applied."""
    if cadence == "weekly":
        return day + (7 - date.fromordinal(day).weekday()) % 7
    if cadence == "monthly":
        first = date.fromordinal(day)
        if first.day > 1:
            first = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
        return first.toordinal()
    return day
