"""From stored states back to folds: what has to be read to rate members on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Row

from service.activity.rules import DayTotals
from service.kit.clock import local_day
from service.members import operations as members
from service.programme.operations import Programme
from service.tiers import store, store_bulk
from service.tiers.fold import MemberFold
from service.tiers.spans import Pin, TierState
from service.tiers.timeline import RuleTimeline
from service.tiers.window import RunningWindow


def read_state(row: Row[Any]) -> TierState:
    """Return a stored state as the fold takes it."""
    return TierState(
        row.rank,
        row.since,
        row.ruleset_version,
        row.unqualified_since,
        row.carrier_order_key,
        row.through,
        row.next_review_on,
        row.stands_until,
        row.rated_rank,
        row.rated_since,
        row.pinned_until,
    )


def find_joined(conn: Connection, *, member_key: int, timeline: RuleTimeline) -> datetime | None:
    """Return when a member joined; None, unread, where no rule set asks for it."""
    if not timeline.asks_for_joining:
        return None
    return members.list_joined(conn, member_keys=[member_key])[member_key]


def read_pins(conn: Connection, *, member_keys: Sequence[int]) -> dict[int, list[Pin]]:
    """Return the pins of those members who have any, by time."""
    pins: dict[int, list[Pin]] = {}
    for row in store.list_pins(conn, member_keys=member_keys):
        pins.setdefault(row.member_key, []).append(Pin(row.pin_key, row.tier, row.starts_at, row.ended_at))
    return pins


def days_needed_after(state: TierState, *, timeline: RuleTimeline, timezone: str, day: date) -> date:
    """Return the day after which a member's totals are needed to rate the state on up to `day`.

    Rating begins on the day that is due, or with the rule set that came next.
    """
    place = timeline.place_of(state.ruleset_version)
    first = min(day, state.next_review_on or day)
    if place + 1 < len(timeline.entries):
        first = min(first, local_day(timeline.entries[place + 1].starts_at, timezone=timezone))
    return first - timedelta(days=timeline.lookbacks[place])


def resume_members(
    conn: Connection, rows: Sequence[Row[Any]], *, timeline: RuleTimeline, programme: Programme, day: date
) -> Iterator[tuple[Row[Any], MemberFold]]:
    """Yield each state's row with its fold, ready to be caught up to `day`.

    Everybody's totals are read in one statement.
    """
    if not rows:
        return
    states = {row.member_key: read_state(row) for row in rows}
    afters = {
        key: days_needed_after(state, timeline=timeline, timezone=programme.timezone, day=day)
        for key, state in states.items()
    }
    days = {
        # Columns by place: many rows, and a look-up by name costs as much as making the totals.
        key: RunningWindow(DayTotals(*total[1:]) for total in group)
        for key, group in groupby(store_bulk.list_days(conn, afters=afters), key=itemgetter(0))
    }
    pinned = [key for key, state in states.items() if state.pinned_until is not None]
    pins = read_pins(conn, member_keys=pinned) if pinned else {}
    joined = members.list_joined(conn, member_keys=list(states)) if timeline.asks_for_joining else {}
    for row in rows:
        key = row.member_key
        yield (
            row,
            MemberFold.resume(
                timeline=timeline,
                timezone=programme.timezone,
                state=states[key],
                window=days.get(key) or RunningWindow(),
                joined_at=joined.get(key),
                pins=pins.get(key, ()),
            ),
        )
