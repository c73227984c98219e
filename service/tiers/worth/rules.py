"""Tiers beside a plain split by spend: who came back in the months that followed. Pure.

Both splits have groups of the same sizes: where n members are rated Gold, the group beside it holds the n
members who come at the same place when all are put in order of past net spend. Everything is computed from
cells (members of one tier and one group, in sums), never from rows.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from service.tiers.worth.statistics import (
    Interval,
    Sums,
    mean_difference_interval,
    newcombe,
)

Verdict = Literal["tiers_ahead", "spend_ahead", "not_told_apart", "same_members", "nobody"]


@dataclass(frozen=True, slots=True)
class Cell:
    """The members rated `tier` (a rank) who fall into the spend group beside the tier of rank `group`."""

    tier: int
    group: int
    sums: Sums


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two selections of equally many members, and how differently they came back.

    `difference` is repurchase rate by tier minus by spend, `mean_difference_minor` likewise of net spend a
    member; their intervals are None where nothing can be said.
    """

    by_tier: Sums
    by_spend: Sums
    chosen_by_both: int
    difference: float | None
    interval: Interval | None
    mean_difference_minor: float | None
    mean_interval_minor: Interval | None

    def verdict(self) -> Verdict:
        """Say what the repurchase rates allow to be said, and no more."""
        if self.by_tier.members == 0:
            return "nobody"
        if self.interval is None:
            return "same_members"
        if self.interval.low > 0:
            return "tiers_ahead"
        return "spend_ahead" if self.interval.high < 0 else "not_told_apart"


def follow_up(as_of: date, *, months: int) -> tuple[date, date]:
    """Return the days that followed: the first after `as_of`, and the first that is no longer looked at.

    Months end on the day of the same number, or on a shorter month's last day.
    """
    return as_of + timedelta(days=1), _shifted(as_of, months) + timedelta(days=1)


def months_before(day: date, *, months: int) -> date:
    """Return the latest day whose `months` are over on `day`."""
    latest = _shifted(day, -months)
    # Several days end on the same last day of a shorter month.
    while _shifted(latest + timedelta(days=1), months) <= day:
        latest += timedelta(days=1)
    return latest


def _shifted(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def of_tier(rank: int) -> Callable[[int], bool]:
    """Choose one tier, and the spend group of its size."""
    return lambda other: other == rank


def above_base(rank: int) -> bool:
    """Choose every tier but the base, and as many of those who spent most."""
    return rank > 0


def compare(cells: Sequence[Cell], *, chosen: Callable[[int], bool]) -> Comparison:
    """Compare the members whose tier is chosen with those whose spend group is.

    Both selections have n members and overlap: whom both choose cancels out, so the difference is that of the
    m members whom only one of them chooses, times m ÷ n. Those are two different sets of people, to whom the
    intervals for independent samples apply; m is taken as given.
    """
    by_tier = add_up(cell.sums for cell in cells if chosen(cell.tier))
    by_spend = add_up(cell.sums for cell in cells if chosen(cell.group))
    only_tier = add_up(cell.sums for cell in cells if chosen(cell.tier) and not chosen(cell.group))
    only_spend = add_up(cell.sums for cell in cells if chosen(cell.group) and not chosen(cell.tier))
    n, m = by_tier.members, only_tier.members
    if n != by_spend.members or m != only_spend.members:
        raise ValueError("the two selections differ in size")
    share = m / n if n else 0.0
    difference = newcombe((only_tier.buyers, only_spend.buyers), (m, m))
    means = mean_difference_interval(only_tier, only_spend)
    return Comparison(
        by_tier=by_tier,
        by_spend=by_spend,
        chosen_by_both=n - m,
        difference=(by_tier.buyers - by_spend.buyers) / n if n else None,
        interval=None if difference is None else difference.scaled(share),
        mean_difference_minor=(by_tier.net_minor - by_spend.net_minor) / n if n else None,
        mean_interval_minor=None if means is None else means.scaled(share),
    )


def add_up(parts: Iterable[Sums]) -> Sums:
    """Return several sums as one."""
    whole = Sums()
    for part in parts:
        whole += part
    return whole
