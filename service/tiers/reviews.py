"""The nightly review: rate members on whom only time has worked, in chunks that can be run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Engine, Row

from service.activity.rules import DayTotals
from service.kit.clock import format_time, local_day
from service.kit.db import transaction
from service.members import operations as members
from service.programme.operations import Programme
from service.tiers import store_bulk
from service.tiers.changes import change_values, state_values
from service.tiers.events import tell_changes, tell_risk
from service.tiers.fold import MemberFold
from service.tiers.rating import read_state
from service.tiers.rules import RuleSet
from service.tiers.rulesets import get_active_ruleset
from service.tiers.spans import Change

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

    `changes` is filled by previews only.
    """

    reviewed: int
    changed: int
    last_member_key: int
    changes: tuple[ReviewedChange, ...] = ()


@dataclass(slots=True)
class ReviewSummary:
    """A whole review."""

    reviewed: int = 0
    changed: int = 0
    changes: list[ReviewedChange] = field(default_factory=list)


def review_members(
    engine: Engine,
    *,
    programme: Programme,
    now: datetime,
    everyone: bool = False,
    dry_run: bool = False,
    chunk: int = 2_000,
    progress: Progress | None = None,
) -> ReviewSummary:
    """Review every member that is due (or everyone), one transaction a chunk; a door of its own.

    It can be interrupted and run again, and run several times at once: chunks skip what others hold.
    """
    summary, after = ReviewSummary(), 0
    verb = preview_review if dry_run else review_due
    with transaction(engine) as conn:
        today = local_day(now, timezone=programme.timezone)
        total = store_bulk.count_states(conn, due_by=None if everyone else today)
    while True:
        with transaction(engine) as conn:
            done = verb(
                conn, now=now, programme=programme, limit=chunk, everyone=everyone, after_member_key=after
            )
        if done.reviewed == 0:
            return summary
        after = done.last_member_key
        summary.reviewed += done.reviewed
        summary.changed += done.changed
        summary.changes += done.changes
        if progress is not None:
            progress("tiers", summary.reviewed, max(total, summary.reviewed))


def review_due(
    conn: Connection,
    *,
    now: datetime,
    programme: Programme,
    limit: int,
    everyone: bool = False,
    after_member_key: int = 0,
    as_of: date | None = None,
) -> ReviewChunk:
    """Review up to `limit` members and write what changed; call it until nobody is reviewed any more.

    Without `everyone` those who are due, longest overdue first; who was reviewed is due no more, so
    `after_member_key` is not needed. `as_of` reviews an earlier day than today.
    """
    today = as_of or local_day(now, timezone=programme.timezone)
    if everyone:
        rows = store_bulk.lock_everyone(conn, after=after_member_key, limit=limit)
    else:
        rows = store_bulk.lock_due(conn, today=today, limit=limit)
    if not rows:
        return ReviewChunk(0, 0, after_member_key)
    rules = get_active_ruleset(conn)
    states, changes, moved = list[dict[str, object]](), list[dict[str, object]](), 0
    for row, member in _rate(conn, rows, rules, programme, today, everyone=everyone):
        key = row.member_key
        values = state_values(member.state(), member_key=key, rules=rules)
        if values != row._asdict():
            states.append(values)
        moved += bool(member.changes)
        changes += [
            change_values(change, cause=change.cause, member_key=key, rules=rules, now=now, import_key=None)
            for change in member.changes
        ]
        tell_changes(conn, member.changes, member_key=key, rules=rules)
        tell_risk(conn, member, member_key=key, rules=rules, now=now)
    store_bulk.append_changes(conn, rows=changes)
    store_bulk.write_states(conn, rows=states)
    return ReviewChunk(len(rows), moved, max(row.member_key for row in rows))


def preview_review(
    conn: Connection,
    *,
    now: datetime,
    programme: Programme,
    limit: int,
    everyone: bool = False,
    after_member_key: int = 0,
    as_of: date | None = None,
) -> ReviewChunk:
    """Tell what reviewing the next members by key would change; holds no row and writes nothing."""
    today = as_of or local_day(now, timezone=programme.timezone)
    if everyone:
        rows = store_bulk.list_everyone(conn, after=after_member_key, limit=limit)
    else:
        rows = store_bulk.list_due(conn, today=today, after=after_member_key, limit=limit)
    if not rows:
        return ReviewChunk(0, 0, after_member_key)
    rules = get_active_ruleset(conn)
    found: list[tuple[int, Change]] = []
    for row, member in _rate(conn, rows, rules, programme, today, everyone=everyone):
        found += [(row.member_key, change) for change in member.changes]
    moved = sorted({key for key, _ in found})
    ids = members.find_ids(conn, member_keys=moved) if moved else {}
    return ReviewChunk(
        reviewed=len(rows),
        changed=len(moved),
        last_member_key=rows[-1].member_key,
        changes=tuple(_reviewed(ids[key], change, rules) for key, change in found),
    )


def _reviewed(member_id: str, change: Change, rules: RuleSet) -> ReviewedChange:
    return ReviewedChange(
        member_id=member_id,
        from_tier=None if change.from_rank is None else rules.tiers[change.from_rank].code,
        to_tier=rules.tiers[change.to_rank].code,
        effective_at=change.effective_at,
        cause=change.cause,
    )


def _rate(
    conn: Connection,
    rows: Sequence[Row[Any]],
    rules: RuleSet,
    programme: Programme,
    today: date,
    *,
    everyone: bool,
) -> Iterator[tuple[Row[Any], MemberFold]]:
    """Yield each member rated up to `today`, from the windows of all of them read at once."""
    window = timedelta(days=rules.window.days)
    afters = {row.member_key: min(today, row.next_review_on or today) - window for row in rows}
    days = {
        key: [
            DayTotals(day.day, day.goods_minor, day.spend_minor, day.orders, day.unlinked_minor)
            for day in group
        ]
        for key, group in groupby(store_bulk.list_days(conn, afters=afters), key=lambda day: day.member_key)
    }
    joined = members.list_joined(conn, member_keys=list(afters)) if rules.asks_for_tenure else {}
    for row in rows:
        member = MemberFold.resume(
            rules=rules,
            timezone=programme.timezone,
            state=read_state(row),
            totals=days.get(row.member_key, ()),
            joined_at=joined.get(row.member_key),
        )
        if everyone:
            member.rate_on(today)
        else:
            member.catch_up(today)
        yield row, member
