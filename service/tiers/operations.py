"""The verbs of the tiers.

Every write locks the member's state; whoever locks the member's balance too does that first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row

from service.activity import operations as activity
from service.kit.clock import local_day
from service.programme.operations import Programme
from service.tiers import store
from service.tiers.changes import change_values, state_values
from service.tiers.errors import NoMembership
from service.tiers.explanation import explain
from service.tiers.fold import MemberFold, is_overtaken
from service.tiers.history import list_changes, tiers_around_order
from service.tiers.laws import Violation, check_laws
from service.tiers.merging import lock_two, merge_tiers, unmerge_tiers
from service.tiers.pins import find_pin, lift_pin, pin_tier
from service.tiers.rating import TierOutcome, rate_facts, refold_member
from service.tiers.refolds import OrderTier, refold_members
from service.tiers.replaying import past_moment, replay_member
from service.tiers.resuming import days_needed_after, find_joined, read_pins, read_state
from service.tiers.reviews import ReviewChunk, preview_review, review_due
from service.tiers.rules import LONGEST_WINDOW_DAYS, HeldTier
from service.tiers.rulesets import (
    ensure_default_ruleset,
    get_active_ruleset,
    longest_lookback,
    recall_timeline,
)
from service.tiers.standing import (
    Standing,
    progress_json,
    see_standing,
    standing_in_short,
    standing_json,
)
from service.tiers.window import RunningWindow

__all__ = [
    "LONGEST_WINDOW_DAYS",
    "HeldTier",
    "InShort",
    "OrderTier",
    "ReviewChunk",
    "Standing",
    "Stored",
    "TierOutcome",
    "Violation",
    "check_laws",
    "ensure_default_ruleset",
    "get_active_ruleset",
    "get_held_tier",
    "get_standing",
    "get_standing_in_short",
    "lift_pin",
    "list_changes",
    "list_tier_codes",
    "list_tier_names",
    "lock_two",
    "longest_lookback",
    "merge_tiers",
    "pin_tier",
    "preview_review",
    "rate_facts",
    "refold_member",
    "refold_members",
    "review_due",
    "see_held_tier",
    "show_standing",
    "start_membership",
    "tiers_around_order",
    "unmerge_tiers",
]


class InShort(NamedTuple):
    """What a card shows of a standing: the tier and what is missing as JSON, and the explanation."""

    tier: dict[str, Any]
    progress: dict[str, Any]
    explanation: str


class Stored(NamedTuple):
    """What one statement read of a member: a row of `readable.state_rows` with the stamp of the timeline.

    `days` are (ordinal, goods, spend, orders, unlinked) of the days that `days_after` bounds, by day.
    """

    state: Row[Any]
    days: Sequence[Sequence[int]] | None
    lookback_days: int

    def days_after(self, today: date) -> date:
        """Return the day after which days were read: those before the next review that are looked at."""
        return min(today, self.state.next_review_on or today) - timedelta(days=self.lookback_days)


def start_membership(
    conn: Connection, *, member_key: int, joined_at: datetime, programme: Programme, now: datetime
) -> None:
    """Begin a membership in the base tier at `joined_at`; one that has begun is left alone."""
    member = MemberFold.begin(
        timeline=recall_timeline(conn),
        timezone=programme.timezone,
        started_at=joined_at,
        joined_at=joined_at,
    )
    member.catch_up(local_day(now, timezone=programme.timezone))
    if not store.add_state(conn, values=state_values(member, member_key=member_key)):
        return
    rows = [
        change_values(change, cause=change.cause, member_key=member_key, now=now, import_key=None)
        for change in member.changes
    ]
    store.add_changes(conn, rows=rows)


def get_held_tier(conn: Connection, *, member_key: int) -> HeldTier:
    """Return the tier a member holds as last written.

    Raises:
        NoMembership: none was begun.
    """
    row = store.find_state(conn, member_key=member_key)
    if row is None:
        raise NoMembership
    timeline = recall_timeline(conn, stamp=row.stamp)
    rules = timeline.entries[timeline.place_of(row.ruleset_version)].rules
    held: HeldTier = rules.tiers[row.rank].held()
    return held


def list_tier_names(conn: Connection, *, now: datetime) -> dict[str, Mapping[str, str]]:
    """Return the names per locale of every tier in force, by code, the lowest first."""
    return {tier.code: tier.names for tier in recall_timeline(conn).at(now).tiers}


def list_tier_codes(conn: Connection, *, now: datetime) -> frozenset[str]:
    """Return the codes of every tier in force, and of those that are published for a day to come."""
    timeline = recall_timeline(conn)
    return frozenset(
        tier.code for entry in timeline.entries[timeline.place_at(now) :] for tier in entry.rules.tiers
    )


def get_standing(
    conn: Connection,
    *,
    member_key: int,
    as_of: datetime | date | None,
    now: datetime,
    programme: Programme,
    locale: str,
) -> dict[str, Any]:
    """Return where a member stands, caught up in memory; writes nothing.

    `as_of` in the past replays the facts in effect by then; a day means its end.

    Raises:
        AsOfInFuture: `as_of` lies ahead. NoMembership: there was none by then.
    """
    moment = past_moment(as_of, now=now, programme=programme)
    if moment is None:
        today = local_day(now, timezone=programme.timezone)
        standing = _see_present(
            conn, member_key=member_key, now=now, today=today, programme=programme, looks_ahead=True
        )
    else:
        replay = replay_member(conn, member_key=member_key, moment=moment, now=now, programme=programme)
        standing = replay.see()
    if standing.pin_key is not None:
        pin = find_pin(conn, member_key=member_key, at=standing.as_of)
        standing = standing._replace(pin_reason=None if pin is None else pin.reason)
    return show_standing(standing, locale=locale)


def get_standing_in_short(
    conn: Connection,
    *,
    member_key: int,
    stored: Stored,
    now: datetime,
    today: date,
    programme: Programme,
    locale: str,
) -> InShort:
    """Return what a card shows of where a member stands, from what one statement read; writes nothing.

    `today` is the programme's day of `now`.

    Raises:
        NoMembership: none was begun.
    """
    standing = _see_present(
        conn,
        member_key=member_key,
        now=now,
        today=today,
        programme=programme,
        looks_ahead=False,
        stored=stored,
    )
    return InShort(
        standing_in_short(standing, locale=locale),
        progress_json(standing, locale=locale),
        explain(standing, locale=locale),
    )


def show_standing(standing: Standing, *, locale: str) -> dict[str, Any]:
    """Return a standing as the API shows it, with its explanation (`en` or `zh-Hant`)."""
    shown: dict[str, Any] = standing_json(standing, locale=locale)
    shown["explanation"] = explain(standing, locale=locale)
    return shown


def see_held_tier(conn: Connection, *, member_key: int, now: datetime, programme: Programme) -> HeldTier:
    """Return the tier that an order placed now would be placed at, caught up in memory; writes nothing.

    Raises:
        NoMembership: none was begun.
    """
    today = local_day(now, timezone=programme.timezone)
    member = _resume(conn, member_key=member_key, today=today, programme=programme)
    if member is None:
        replay = replay_member(conn, member_key=member_key, moment=now, now=now, programme=programme)
        return replay.see().tier.held()
    member.catch_up(today, at=now)
    return member.tier.held()


def _see_present(
    conn: Connection,
    *,
    member_key: int,
    now: datetime,
    today: date,
    programme: Programme,
    looks_ahead: bool,
    stored: Stored | None = None,
) -> Standing:
    """Return where a member stands now; without `looks_ahead`, what takes living through the days to come
    stays unknown: it costs as much as the rest.
    """
    member = _resume(conn, member_key=member_key, today=today, programme=programme, stored=stored)
    if member is None:
        return replay_member(conn, member_key=member_key, moment=now, now=now, programme=programme).see()
    member.catch_up(today)
    return see_standing(member, day=max(today, member.last_day), as_of=now, looks_ahead=looks_ahead)


def _resume(
    conn: Connection,
    *,
    member_key: int,
    today: date,
    programme: Programme,
    stored: Stored | None = None,
) -> MemberFold | None:
    """Return a member's fold as last written; None where rules overtook it: all facts have to be folded."""
    row = store.find_state(conn, member_key=member_key) if stored is None else stored.state
    if row is None or row.through is None:
        raise NoMembership
    timeline, state = recall_timeline(conn, stamp=row.stamp), read_state(row)
    if is_overtaken(state, timeline=timeline):
        return None
    after = days_needed_after(state, timeline=timeline, timezone=programme.timezone, day=today)
    if stored is None or after < stored.days_after(today):
        window = RunningWindow(activity.list_member_days(conn, member_key=member_key, after=after))
    else:
        window = RunningWindow.of_rows(stored.days or ())
    pinned = state.pinned_until is not None
    return MemberFold.resume(
        timeline=timeline,
        timezone=programme.timezone,
        state=state,
        window=window,
        joined_at=find_joined(conn, member_key=member_key, timeline=timeline),
        pins=read_pins(conn, member_keys=[member_key])[member_key] if pinned else (),
    )
