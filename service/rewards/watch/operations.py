"""Look over everybody for what is unusual or without value, and let staff resolve what was found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from service.kit import audit
from service.kit.clock import format_time, local_day
from service.members import operations as members
from service.rewards.errors import ReviewEntryResolved, UnknownReviewEntry
from service.rewards.watch import store

EARNING_DAYS = 183
"""Six months: how long the median active member is given to earn a reward."""

PREFIX = "rev"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_A_DAY = timedelta(days=1)
# A run that comes late still sees what its predecessor left.
_LOOKED_BACK = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From when on something is unusual; 0 looks for none of it.

    `redemptions` by one member and `adjustments` by one actor within a day; a refund within `refund_days`
    after a redemption; nobody took a reward for `unwanted_days`.
    """

    redemptions: int
    adjustments: int
    refund_days: int
    unwanted_days: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One finding: about a member or an actor, with the figures that made it one."""

    entry_key: int
    kind: str
    member_key: int | None
    actor: str | None
    figures: dict[str, Any]
    found_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None

    @property
    def entry_id(self) -> str:
        """Return the id as others know it."""
        return f"{PREFIX}_{self.entry_key}"


def find_patterns(conn: Connection, *, thresholds: Thresholds, timezone: str, now: datetime) -> int:
    """Enter what is unusual into the queue, each once, and return how many entries are new or grew."""
    since = now - _A_DAY
    common = {"now": now, "since": since, "day": local_day(now, timezone=timezone)}
    found = 0
    if thresholds.redemptions:
        milliseconds = (since - _EPOCH) // timedelta(milliseconds=1)
        values = common | {"threshold": thresholds.redemptions, "since_id": UUID(int=milliseconds << 80)}
        found += store.enter_many_redemptions(conn, values=values)
    if thresholds.adjustments:
        values = common | {"threshold": thresholds.adjustments}
        found += store.enter_many_adjustments(conn, values=values)
    if thresholds.refund_days:
        values = {"now": now, "since": now - _LOOKED_BACK, "days": thresholds.refund_days}
        found += store.enter_refunds_after_redeeming(conn, values=values)
    return found


def appraise_rewards(conn: Connection, *, thresholds: Thresholds, now: datetime) -> int:
    """Look at every reward's value for members, and return how many there are.

    Out of reach: it costs more than the median active member earned in the last six months. Unwanted:
    nobody took it for `unwanted_days`, though it was offered all the time.
    """
    return store.appraise(
        conn,
        now=now,
        earning_since=now - timedelta(days=EARNING_DAYS),
        redeeming_since=now - timedelta(days=thresholds.unwanted_days),
        days=thresholds.unwanted_days,
    )


def list_entries(conn: Connection, *, is_open: bool, before: int | None, limit: int) -> list[Entry]:
    """Return up to `limit` entries of the queue before a key, the newest first."""
    rows = store.list_entries(conn, is_open=is_open, before=before, limit=limit)
    return [_entry(row) for row in rows]


def resolve_entry(
    conn: Connection, *, entry_id: str, note: str, actor: str, request_id: str | None, now: datetime
) -> Entry:
    """Say that somebody has looked at an entry, and what came of it; a repetition changes nothing.

    Raises:
        UnknownReviewEntry: there is none. ReviewEntryResolved: it was resolved with another note.
    """
    number = entry_id.removeprefix(f"{PREFIX}_")
    row = None
    if entry_id.startswith(f"{PREFIX}_") and number.isascii() and number.isdigit() and len(number) <= 18:
        row = store.lock_entry(conn, entry_key=int(number))
    if row is None:
        raise UnknownReviewEntry(f"the queue has no entry {entry_id}")
    if row.resolved_at is not None:
        if row.note != note:
            raise ReviewEntryResolved(f"by {row.resolved_by} at {format_time(row.resolved_at)}")
        return _entry(row)
    store.resolve(conn, entry_key=row.entry_key, actor=actor, note=note, now=now)
    audit.record(
        conn,
        actor=actor,
        action="review.resolved",
        subject=("review", entry_id),
        after={"kind": row.kind},
        reason=note,
        request_id=request_id,
        now=now,
    )
    resolved = store.lock_entry(conn, entry_key=row.entry_key)
    if resolved is None:
        raise LookupError(entry_id)
    return _entry(resolved)


def name_members(conn: Connection, *, entries: list[Entry]) -> dict[int, str]:
    """Return the ids of the members that entries are about: of whom those go by who were merged since."""
    keys = sorted({entry.member_key for entry in entries if entry.member_key is not None})
    if not keys:
        return {}
    survivors = members.find_survivors(conn, member_keys=keys)
    ids = members.find_ids(conn, member_keys=sorted(set(survivors.values())))
    return {key: ids[survivor] for key, survivor in survivors.items()}


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        row.entry_key,
        row.kind,
        row.member_key,
        row.actor,
        row.figures,
        row.found_at,
        row.resolved_at,
        row.resolved_by,
        row.note,
    )
