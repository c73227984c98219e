"""The nightly review: rate members on whom only time has worked, in chunks that can be run again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, Row

from service.kit import outbox
from service.kit.clock import format_time, last_moment, local_day
from service.kit.db import transaction
from service.kit.outbox import Event
from service.members import operations as members
from service.programme.operations import Programme
from service.tiers import store_bulk
from service.tiers.changes import change_values, state_values
from service.tiers.events import events_of
from service.tiers.fold import MemberFold, is_overtaken
from service.tiers.passing import pass_days
from service.tiers.population.ranges import each_range
from service.tiers.population.store import Range, find_range
from service.tiers.population.store_disagreeing import Looked, list_disagreeing
from service.tiers.rating import refold_member
from service.tiers.resuming import read_state, resume_members
from service.tiers.rulesets import recall_timeline
from service.tiers.spans import Change
from service.tiers.timeline import RuleTimeline

_READ_TO_RATED = 4
"""How many members are read set-based for each that a chunk of a due-only review would rate."""

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class ReviewedChange:
    """One movement that a review found."""

    member_id: str
    from_tier: str | None
    to_tier: str
    effective_at: datetime
    cause: str

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            "member_id": self.member_id,
            "from": self.from_tier,
            "to": self.to_tier,
            "effective_at": format_time(self.effective_at),
            "cause": self.cause,
        }


@dataclass(frozen=True, slots=True)
class ReviewChunk:
    """How many members a chunk rated, how many of them moved, the key to go on after, and the movements.

    `changes` is filled by previews only. `healed` are those whose state was not what their facts say though
    nothing was due: folded again from the start.
    """

    reviewed: int
    changed: int
    last_member_key: int
    changes: tuple[ReviewedChange, ...] = ()
    healed: int = 0


@dataclass(slots=True)
class ReviewSummary:
    """A whole review."""

    reviewed: int = 0
    changed: int = 0
    healed: int = 0
    changes: list[ReviewedChange] = field(default_factory=list)


def review_members(
    engine: Engine,
    *,
    programme: Programme,
    now: datetime,
    everyone: bool = False,
    dry_run: bool = False,
    heals: bool = True,
    chunk: int = 5_000,
    progress: Progress | None = None,
) -> ReviewSummary:
    """Review every member that is due (or everyone), one transaction a chunk; a door of its own.

    Everyone is read set-based, by the second reader of the rules (law T3), and rated one by one only where
    that and the stored state disagree: by law T2 the others stay as they are. Who disagrees though nothing is
    due is folded again from all facts, and counted as `healed`, unless `heals` is False: a day in the past
    says nothing of states that have been rated since.

    It can be interrupted and run again, and run several times at once: chunks skip what others hold.
    """
    summary = ReviewSummary()
    verb = partial(preview_review if dry_run else review_due, now=now, programme=programme)
    with transaction(engine) as conn:
        today = local_day(now, timezone=programme.timezone)
        outdated = _outdated(recall_timeline(conn), today, now, programme)
        total = store_bulk.count_states(conn, due_by=None if everyone else today, versions=outdated)
    if everyone:

        def review(conn: Connection, found: Range) -> ReviewChunk:
            return verb(conn, limit=found.members, everyone=True, heals=heals, within=found)

        chunks = each_range(engine, size=chunk * _READ_TO_RATED, work=review)
    else:
        chunks = _review_chunks(engine, verb, limit=chunk)
    with closing(chunks):
        for done in chunks:
            summary.reviewed += done.reviewed
            summary.changed += done.changed
            summary.healed += done.healed
            summary.changes += done.changes
            if progress is not None:
                progress("tiers", summary.reviewed, max(total, summary.reviewed))
    return summary


def _review_chunks(engine: Engine, verb: Callable[..., ReviewChunk], *, limit: int) -> Generator[ReviewChunk]:
    after = 0
    while True:
        with transaction(engine) as conn:
            done = verb(conn, limit=limit, after_member_key=after)
        if done.reviewed == 0:
            return
        after = done.last_member_key
        yield done


def review_due(
    conn: Connection,
    *,
    now: datetime,
    programme: Programme,
    limit: int,
    everyone: bool = False,
    heals: bool = True,
    after_member_key: int = 0,
    as_of: date | None = None,
    within: Range | None = None,
) -> ReviewChunk:
    """Review up to `limit` members and write what changed; call it until nobody is reviewed any more.

    Without `everyone` those who are due: by their day, longest overdue first, then by key whoever was not
    yet rated under the rules in force. Several may do so at once: each leaves to the others whom they hold.
    `last_member_key` is where to go on; leaving it out only costs time. `as_of` reviews an earlier day than
    today. With `heals`, states of everyone that are wrong though nothing is due are made right. `within`
    says which of everyone, instead of the next after a key.
    """
    today = as_of or local_day(now, timezone=programme.timezone)
    timeline = recall_timeline(conn)
    outdated = _outdated(timeline, today, now, programme)
    astray: frozenset[int] = frozenset()
    if everyone:
        found = within or find_range(conn, after=after_member_key, size=limit)
        if found is None:
            return ReviewChunk(0, 0, after_member_key)
        looked = _look(conn, timeline, programme, today, now, found)
        astray = looked.astray if heals and as_of is None else astray
        rows = store_bulk.lock_states(conn, member_keys=looked.disagreeing) if looked.disagreeing else []
        seen, last = looked.members, looked.last_member_key
    else:
        rows, last = _lock_due(conn, outdated, today, after_member_key, limit)
        seen = len(rows)
    if not rows:
        return ReviewChunk(seen, 0, last)
    # Few ever: rated past a change of rules that was not known then, or not as the facts say.
    latest = timeline.entries[-1].rules.version
    again = [
        row
        for row in rows
        if row.member_key in astray
        or (row.ruleset_version != latest and is_overtaken(read_state(row), timeline=timeline))
    ]
    moved, healed = _fold_again(conn, again, astray, programme, now)
    folded = {row.member_key for row in again}
    others = [row for row in rows if row.member_key not in folded]
    passed = pass_days(conn, others, timeline=timeline, programme=programme, day=today)
    store_bulk.write_reviews(conn, days=passed)
    others = [row for row in others if row.member_key not in passed]
    moved += _write(conn, _rate(conn, others, timeline, programme, today, everyone=everyone), now)
    return ReviewChunk(seen, moved, last, healed=healed)


def _write(conn: Connection, rated: Iterable[tuple[Row[Any], MemberFold]], now: datetime) -> int:
    """Write states, movements and events of members that were rated; return how many moved."""
    states, changes = list[dict[str, object]](), list[dict[str, object]]()
    events, moved = list[Event](), 0
    for row, member in rated:
        key = row.member_key
        values = state_values(member, member_key=key)
        if values != row._asdict():
            states.append(values)
        moved += bool(member.changes)
        changes += [
            change_values(change, cause=change.cause, member_key=key, now=now, import_key=None)
            for change in member.changes
        ]
        events += events_of(member, member_key=key, now=now)
    store_bulk.append_changes(conn, rows=changes)
    store_bulk.write_states(conn, rows=states)
    outbox.emit_all(conn, events=events)
    return moved


def _fold_again(
    conn: Connection, rows: Sequence[Row[Any]], astray: frozenset[int], programme: Programme, now: datetime
) -> tuple[int, int]:
    """Fold locked members from all their facts; return how many moved, and how many were wrong."""
    keys = sorted(row.member_key for row in rows)
    moved = sum(refold_member(conn, member_key=key, programme=programme, now=now) for key in keys)
    if astray.isdisjoint(keys):
        return moved, 0
    right = {row.member_key: row for row in store_bulk.list_states(conn, member_keys=keys)}
    return moved, sum(row.member_key in astray and row != right[row.member_key] for row in rows)


def _look(
    conn: Connection, timeline: RuleTimeline, programme: Programme, day: date, now: datetime, found: Range
) -> Looked:
    """Read the rules over a range of members, set-based, to find those whom a rating could change."""
    rules = timeline.at(min(now, last_moment(day, timezone=programme.timezone)))
    return list_disagreeing(conn, rules=rules, day=day, timezone=programme.timezone, found=found)


def _lock_due(
    conn: Connection, outdated: Sequence[int], today: date, after: int, limit: int
) -> tuple[Sequence[Row[Any]], int]:
    """Return states to review, and the key after which to look for more that are outdated."""
    rows = store_bulk.lock_due(conn, today=today, limit=limit)
    if len(rows) == limit or not outdated:
        return rows, after
    more = store_bulk.lock_outdated(
        conn, versions=outdated, today=today, after=after, limit=limit - len(rows)
    )
    return [*rows, *more], more[-1].member_key if more else after


def _outdated(timeline: RuleTimeline, day: date, now: datetime, programme: Programme) -> list[int]:
    """Return the versions under which nobody should be rated any more at the end of a day, or by now."""
    latest = timeline.place_at(min(now, last_moment(day, timezone=programme.timezone)))
    return [entry.rules.version for entry in timeline.entries[:latest]]


def preview_review(
    conn: Connection,
    *,
    now: datetime,
    programme: Programme,
    limit: int,
    everyone: bool = False,
    heals: bool = True,
    after_member_key: int = 0,
    as_of: date | None = None,
    within: Range | None = None,
) -> ReviewChunk:
    """Tell what reviewing the next members by key would change; holds no row and writes nothing."""
    today = as_of or local_day(now, timezone=programme.timezone)
    timeline = recall_timeline(conn)
    astray: frozenset[int] = frozenset()
    if everyone:
        found = within or find_range(conn, after=after_member_key, size=limit)
        if found is None:
            return ReviewChunk(0, 0, after_member_key)
        looked = _look(conn, timeline, programme, today, now, found)
        astray = looked.astray if heals and as_of is None else astray
        rows = store_bulk.list_states(conn, member_keys=looked.disagreeing) if looked.disagreeing else []
        seen, last = looked.members, looked.last_member_key
    else:
        outdated = _outdated(timeline, today, now, programme)
        rows = store_bulk.list_due(conn, today=today, versions=outdated, after=after_member_key, limit=limit)
        seen, last = len(rows), max((row.member_key for row in rows), default=after_member_key)
    if not rows:
        return ReviewChunk(seen, 0, last)
    passed = pass_days(conn, rows, timeline=timeline, programme=programme, day=today)
    rows = [row for row in rows if row.member_key not in passed]
    moves: list[tuple[int, Change]] = []
    for row, member in _rate(conn, rows, timeline, programme, today, everyone=everyone):
        moves += [(row.member_key, change) for change in member.changes]
    moved = sorted({key for key, _ in moves})
    ids = members.find_ids(conn, member_keys=moved) if moved else {}
    return ReviewChunk(
        reviewed=seen,
        changed=len(moved),
        last_member_key=last,
        changes=tuple(_reviewed(ids[key], change) for key, change in moves),
        healed=len(astray),
    )


def _reviewed(member_id: str, change: Change) -> ReviewedChange:
    return ReviewedChange(
        member_id=member_id,
        from_tier=change.from_tier,
        to_tier=change.to_tier,
        effective_at=change.effective_at,
        cause=change.cause,
    )


def _rate(
    conn: Connection,
    rows: Sequence[Row[Any]],
    timeline: RuleTimeline,
    programme: Programme,
    today: date,
    *,
    everyone: bool,
) -> Iterator[tuple[Row[Any], MemberFold]]:
    """Yield each member rated up to `today`."""
    for row, member in resume_members(conn, rows, timeline=timeline, programme=programme, day=today):
        if everyone:
            member.rate_on(today)
        else:
            member.catch_up(today)
        yield row, member
