"""Fold many members from all their facts and write what differs: imports and corrections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row

from service.kit.clock import local_day
from service.programme.operations import Programme
from service.tiers import store, store_bulk
from service.tiers.changes import change_values, correct_log, state_values
from service.tiers.fold import MemberFold
from service.tiers.lives import Life, list_ended_lives, stream_lives
from service.tiers.resuming import read_pins
from service.tiers.rulesets import recall_timeline
from service.tiers.timeline import RuleTimeline

CHUNK = 1_000
"""Members folded and written together: their facts and changes are in memory at once."""


@dataclass(frozen=True, slots=True)
class OrderTier:
    """The tier held just before an order was placed, with its points multiplier in basis points."""

    order_key: int
    tier: str
    multiplier_bp: int


@dataclass(frozen=True, slots=True)
class _Run:
    """What is the same for every member of one call."""

    timeline: RuleTimeline
    programme: Programme
    now: datetime
    today: date
    import_key: int | None


@dataclass(slots=True)
class _Writes:
    """What a chunk has to write."""

    states: list[dict[str, object]] = field(default_factory=list)
    superseded: list[int] = field(default_factory=list)
    changes: list[dict[str, object]] = field(default_factory=list)


def refold_members(
    conn: Connection,
    *,
    member_keys: Sequence[int],
    now: datetime,
    programme: Programme,
    import_key: int | None = None,
) -> Iterator[OrderTier]:
    """Fold these members up to now, make state and log say what the fold says, and yield every order's tier.

    None of them goes by another. Exhaust it: each chunk is written before its orders are yielded. Changes
    keep their own causes and the times they happened; a member without a membership gets one; no events are
    emitted. Of those merged into them the logs are put right up to their merges. A repetition writes nothing.
    """
    run = _Run(
        timeline=recall_timeline(conn),
        programme=programme,
        now=now,
        today=local_day(now, timezone=programme.timezone),
        import_key=import_key,
    )
    keys = sorted(set(member_keys))
    for start in range(0, len(keys), CHUNK):
        yield from _refold_chunk(conn, run, keys[start : start + CHUNK])


def _refold_chunk(conn: Connection, run: _Run, keys: Sequence[int]) -> list[OrderTier]:
    store_bulk.add_missing_states(
        conn,
        member_keys=keys,
        tier=run.timeline.at(run.now).tiers[0].code,
        ruleset_version=run.timeline.at(run.now).version,
        now=run.now,
    )
    states = {row.member_key: row for row in store_bulk.lock_states(conn, member_keys=keys)}
    writes, orders, ended = _Writes(), list[OrderTier](), list[int]()
    for life, member, logged in _fold_lives(conn, run, keys, stream_lives(conn, member_keys=keys)):
        _compare(run, states[life.member_key], logged, member, writes)
        orders += _tiers_held(member)
        ended += life.absorbed
    for life, member, logged in _fold_lives(conn, run, ended, list_ended_lives(conn, member_keys=ended)):
        _compare_log(run, life.member_key, logged, member, writes)
        orders += _tiers_held(member)
    if writes.superseded:
        store.supersede_changes(conn, change_keys=writes.superseded, now=run.now)
    store_bulk.append_changes(conn, rows=writes.changes)
    store_bulk.write_states(conn, rows=writes.states)
    return orders


def _fold_lives(
    conn: Connection, run: _Run, keys: Sequence[int], lives: Iterable[Life]
) -> Iterator[tuple[Life, MemberFold, Sequence[Row[Any]]]]:
    """Yield each life with its fold and the rows of the log that stand."""
    if not keys:
        return
    rows = store.list_standing_changes(conn, member_keys=keys)
    logged = {key: list(group) for key, group in groupby(rows, key=lambda row: row.member_key)}
    pins = read_pins(conn, member_keys=keys)
    for life in lives:
        key = life.member_key
        member = life.fold(
            timeline=run.timeline, programme=run.programme, until=run.today, pins=pins.get(key, ())
        )
        yield life, member, logged.get(key, [])


def _tiers_held(member: MemberFold) -> Iterator[OrderTier]:
    for fact, tier in member.held:
        if fact.order_key is not None:
            yield OrderTier(fact.order_key, tier.code, tier.multiplier_bp)


def _compare(
    run: _Run, row: Row[Any], logged: Sequence[Row[Any]], member: MemberFold, writes: _Writes
) -> None:
    key = row.member_key
    values = state_values(member, member_key=key)
    if values != row._asdict():
        writes.states.append(values)
    _compare_log(run, key, logged, member, writes)


def _compare_log(
    run: _Run, key: int, logged: Sequence[Row[Any]], member: MemberFold, writes: _Writes
) -> None:
    # A live decision keeps the numbers it was made on; history is what the fold says, number by number.
    correction = correct_log(logged, member.changes, same_metrics=True)
    writes.superseded += correction.superseded
    writes.changes += [
        change_values(change, cause=change.cause, member_key=key, now=run.now, import_key=run.import_key)
        for change in correction.appended
    ]
