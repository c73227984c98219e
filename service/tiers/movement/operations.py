"""The verbs of movement: reports read from the log of changes."""

from __future__ import annotations

from calendar import monthrange
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from itertools import accumulate
from typing import Any, Literal

from sqlalchemy import Connection, Row

from service.kit.clock import local_day, local_midnight
from service.kit.errors import FieldError, Invalid
from service.programme.operations import Programme
from service.tiers.errors import AsOfInFuture
from service.tiers.movement import store
from service.tiers.movement.reporting import DistributionReport, MovementReport
from service.tiers.movement.rules import (
    Flow,
    Ladder,
    Tally,
    View,
    add_up,
    see_movement,
    tally_cohort,
)
from service.tiers.movement.store import Split
from service.tiers.movement.store_stays import Basis
from service.tiers.movement.survival import Curve, estimate
from service.tiers.rulesets import recall_timeline

Step = Literal["day", "week", "month"]

LONGEST_PERIOD_DAYS = 3_660
MOST_STEPS = 400
_INSTANT = timedelta(microseconds=1)


def see_movements(
    conn: Connection,
    *,
    start: date,
    end: date,
    view: View,
    basis: Basis,
    split: Split | None,
    store_ids: Sequence[str] | None,
    now: datetime,
    programme: Programme,
) -> MovementReport:
    """Return how members moved from the start of one day to the start of another.

    `store_ids` leaves out the members of other stores, and of none.

    Raises:
        Invalid: the period is empty or too long. AsOfInFuture: it has not passed.
    """
    today = local_day(now, timezone=programme.timezone)
    _check_period(start, end, last=today + timedelta(days=1))
    # What has not been yet cannot be waited for: a period up to tonight ends now.
    first, last = (min(now, local_midnight(day, timezone=programme.timezone)) for day in (start, end))
    asked = store.Asked(first, last, basis, programme.timezone, store_ids)
    ladder = ladder_until(conn, moment=last)
    count = _count_cohort if view == "cohort" else _count_events
    tallies, passed_through = count(conn, asked, split)
    # The moves of one cause are no group of members.
    reconciled = view == "cohort" or split != "cause"
    groups = None
    if split is not None:
        groups = tuple(
            (part, see_movement(tallies[part], ladder, view=view, reconciled=reconciled))
            for part in sorted(tallies, key=lambda part: (part is None, part))
            # A cause of stays that began before moved nobody.
            if reconciled or tallies[part].flows
        )
    return MovementReport(
        start=start,
        end=end,
        view=view,
        basis=basis,
        split=split,
        as_of=now,
        ladder=ladder,
        overall=see_movement(add_up(list(tallies.values())), ladder, view=view),
        passed_through=passed_through,
        groups=groups,
        days_to_upgrade=_estimate_days(store.count_stays(conn, asked=asked), ladder),
    )


def see_distribution(
    conn: Connection,
    *,
    moments: Sequence[datetime],
    basis: Basis,
    store_ids: Sequence[str] | None,
) -> DistributionReport:
    """Return how many members held each tier just before each of some ascending moments."""
    ladder = ladder_until(conn, moment=moments[-1])
    changes: dict[str, Counter[int]] = defaultdict(Counter)
    for row in store.count_held(conn, moments=moments, basis=basis, store_ids=store_ids):
        changes[row.tier][row.place] += row.change
    held = {
        code: list(accumulate(changes[code][place] for place in range(len(moments)))) for code in ladder.codes
    }
    points = tuple((at, {code: held[code][place] for code in held}) for place, at in enumerate(moments))
    return DistributionReport(basis, ladder, points)


def moment_of(as_of: date | datetime | None, *, now: datetime, timezone: str) -> datetime:
    """Return the moment just after `as_of`: a time, the end of a day, or now.

    Raises:
        AsOfInFuture: it lies ahead.
    """
    if as_of is None:
        return now + _INSTANT
    today = local_day(now, timezone=timezone)
    if as_of > now if isinstance(as_of, datetime) else as_of > today:
        raise _in_future("as_of", today)
    if isinstance(as_of, datetime):
        return as_of + _INSTANT
    return min(now + _INSTANT, local_midnight(as_of + timedelta(days=1), timezone=timezone))


def moments_between(start: date, end: date, *, step: Step, now: datetime, timezone: str) -> list[datetime]:
    """Return the starts of days from `start` to `end`, both included, a day, a week or a month apart.

    A month without such a day has its last one instead.

    Raises:
        Invalid: there are none, or too many. AsOfInFuture: the last one lies ahead.
    """
    today = local_day(now, timezone=timezone)
    if end > today:
        raise _in_future("to", today)
    days: list[date] = []
    while (day := _stepped(start, step, len(days))) <= end:
        days.append(day)
        if len(days) > MOST_STEPS:
            raise _refuse("from", f"more than {MOST_STEPS} steps; take longer ones")
    if not days:
        raise _refuse("to", "before `from`")
    return [local_midnight(day, timezone=timezone) for day in days]


def _stepped(start: date, step: Step, times: int) -> date:
    if step != "month":
        return start + timedelta(days=times * (7 if step == "week" else 1))
    year, month = divmod(start.year * 12 + start.month - 1 + times, 12)
    return date(year, month + 1, min(start.day, monthrange(year, month + 1)[1]))


def ladder_until(conn: Connection, *, moment: datetime) -> Ladder:
    """Return every tier that was in force by a moment."""
    timeline = recall_timeline(conn)
    return Ladder.of(timeline, entries=timeline.place_at(moment) + 1)


def _check_period(start: date, end: date, *, last: date) -> None:
    if end <= start:
        raise _refuse("to", "not after `from`")
    if (end - start).days > LONGEST_PERIOD_DAYS:
        raise _refuse("from", f"more than {LONGEST_PERIOD_DAYS} days before `to`")
    if end > last:
        raise _in_future("to", last)


def _in_future(parameter: str, last: date) -> AsOfInFuture:
    return AsOfInFuture(errors=[FieldError(f"no later than {last.isoformat()}", parameter=parameter)])


def _refuse(parameter: str, detail: str) -> Invalid:
    return Invalid(f"`{parameter}`: {detail}", errors=[FieldError(detail, parameter=parameter)])


_Tallies = dict[str | None, Tally]


def _count_cohort(conn: Connection, asked: store.Asked, split: Split | None) -> tuple[_Tallies, int]:
    """Return tallies by part, and how many joined and left in between."""
    flows: dict[str | None, list[Flow]] = defaultdict(list)
    passed_through = 0
    for row in store.count_cohort(conn, asked=asked, split=split):
        if row.from_tier is None and row.to_tier is None:
            passed_through += row.members
        else:
            flows[row.part].append(Flow(row.from_tier, row.to_tier, row.members))
    return {part: tally_cohort(found) for part, found in flows.items()}, passed_through


def _count_events(conn: Connection, asked: store.Asked, split: Split | None) -> tuple[_Tallies, int]:
    """Return tallies by part; in this view nobody passes unseen."""
    flows: dict[str | None, list[Flow]] = defaultdict(list)
    opening: dict[str | None, Counter[str]] = defaultdict(Counter)
    closing: dict[str | None, Counter[str]] = defaultdict(Counter)
    for row in store.count_events(conn, asked=asked, split=split):
        opening[row.part][row.to_tier] += row.opening
        closing[row.part][row.to_tier] += row.closing
        if row.moved:
            flows[row.part].append(Flow(row.from_tier, row.to_tier, row.moved))
        merged = row.merged if split == "cause" else 0
        if merged:
            # The way out has a cause of its own, whatever the move that brought a member there.
            flows["merge"].append(Flow(row.to_tier, None, merged))
        if row.departed > merged:
            flows[row.part].append(Flow(row.to_tier, None, row.departed - merged))
    for part in list(flows):
        opening.setdefault(part, Counter())
    tallies = (Tally(tuple(flows[part]), opening[part], closing[part]) for part in opening)
    return {part: add_up([tally]) for part, tally in zip(opening, tallies, strict=True)}, 0


def _estimate_days(stays: Iterable[Row[Any]], ladder: Ladder) -> dict[str, Curve]:
    """Return, for every tier with one above it, the days until its stays ended in a rise."""
    risen: dict[str, Counter[int]] = defaultdict(Counter)
    censored: dict[str, Counter[int]] = defaultdict(Counter)
    for row in stays:
        ended = risen if ladder.direction(row.tier, row.next_tier) == "up" else censored
        ended[row.tier][row.days] += row.stays
    return {code: estimate(risen[code], censored[code]) for code in ladder.codes[:-1]}
