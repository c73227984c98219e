"""The laws of tiers, checked on live data: T1 (replay) for every member, T4 (every change explained)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row

from service.kit.clock import local_day
from service.members import operations as members
from service.programme.operations import Programme
from service.tiers import store, store_bulk
from service.tiers.changes import correct_log, state_values
from service.tiers.fold import MemberFold
from service.tiers.lives import list_ended_lives, stream_lives
from service.tiers.resuming import read_pins
from service.tiers.rulesets import recall_timeline
from service.tiers.timeline import RuleTimeline

_JUDGED = (
    "tier",
    "rank",
    "since",
    "unqualified_since",
    "carrier_order_key",
    "next_review_on",
    "stands_until",
    "rated_rank",
    "rated_since",
    "pinned_until",
)


@dataclass(frozen=True, slots=True)
class Violation:
    """A law that is broken: which, whose, and what was found instead of what."""

    law: str
    detail: str
    member_key: int

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {"law": self.law, "detail": self.detail, "member_key": self.member_key}


def check_laws(conn: Connection, *, programme: Programme, now: datetime) -> Iterator[Violation]:
    """Yield every violation of T1 and T4, member by member; reads only.

    A member who is due for a review is judged as of the day before it was due, and under the rules last
    rated under.
    """
    timeline = recall_timeline(conn)
    today = local_day(now, timezone=programme.timezone)
    for keys in members.each_member_key(conn, chunk=1_000):
        yield from _check_replay(conn, keys, timeline, programme, today)
    for row in store_bulk.list_unexplained_changes(conn):
        detail = f"change {row.change_key} ({row.cause}) lacks its rule set, its metrics, its fact or its pin"
        yield Violation("T4", detail, row.member_key)


def _check_replay(
    conn: Connection, keys: Sequence[int], timeline: RuleTimeline, programme: Programme, today: date
) -> Iterator[Violation]:
    survivors = members.find_survivors(conn, member_keys=keys)
    standing = [key for key in keys if survivors[key] == key]
    ended = [key for key in keys if survivors[key] != key]
    for key in store_bulk.list_stateless(conn, member_keys=standing):
        yield Violation("T1", "a member without a tier", key)
    states = {row.member_key: row for row in store_bulk.list_states(conn, member_keys=keys)}
    rows = store.list_standing_changes(conn, member_keys=keys)
    logged = {key: list(group) for key, group in groupby(rows, key=lambda row: row.member_key)}
    pins = read_pins(conn, member_keys=keys)
    for life in stream_lives(conn, member_keys=standing):
        key, row = life.member_key, states.get(life.member_key)
        if row is None:
            continue
        until = min(today, (row.next_review_on or today + timedelta(days=1)) - timedelta(days=1))
        rules = timeline.until(row.ruleset_version)
        member = life.fold(timeline=rules, programme=programme, until=until, pins=pins.get(key, ()))
        for detail in _differences(row, state_values(member, member_key=key)):
            yield Violation("T1", detail, key)
        yield from _check_log(logged.get(key, []), member, key)
    for life in list_ended_lives(conn, member_keys=ended):
        key = life.member_key
        if key in states:
            yield Violation("T1", "a member who was merged into another has a tier", key)
        member = life.fold(timeline=timeline, programme=programme, until=today, pins=pins.get(key, ()))
        yield from _check_log(logged.get(key, []), member, key)


def _check_log(logged: Sequence[Row[Any]], member: MemberFold, key: int) -> Iterator[Violation]:
    correction = correct_log(logged, member.changes, same_metrics=False)
    if correction.superseded or correction.appended:
        detail = (
            f"the log differs from the replay: {len(correction.superseded)} changes too many, "
            f"{len(correction.appended)} missing"
        )
        yield Violation("T1", detail, key)


def _differences(row: Row[Any], expected: dict[str, object]) -> Iterator[str]:
    for name in _JUDGED:
        if getattr(row, name) != expected[name]:
            yield f"{name} is {getattr(row, name)}, the replay says {expected[name]}"
