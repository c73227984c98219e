"""The verbs of the chronicle: read the audit log, read the change feed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from service.chronicle import store
from service.chronicle.errors import ChangeCursorUnknown
from service.chronicle.rules import read_subject
from service.kit import outbox
from service.kit.errors import FieldError
from service.members import operations as members

_MEMBER = "member"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that changed; `before` and `after` are None when the values are sealed."""

    field: str
    sealed: bool
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who changed what; `subject_id` is None for a member whose record is gone."""

    audit_key: int
    occurred_at: datetime
    actor: str
    action: str
    subject_kind: str
    subject_id: str | None
    changes: tuple[FieldChange, ...]
    reason: str | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that changed, as the feed tells it."""

    event_key: int
    topic: str
    member_id: str | None
    payload: Mapping[str, Any]
    occurred_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Changes:
    """A stretch of the feed; `resume_key` is the event to read on from, None before the first."""

    changes: tuple[Change, ...]
    has_more: bool
    resume_key: int | None


def list_audit(
    conn: Connection,
    *,
    actor: str | None,
    action: str | None,
    subject: str | None,
    since: datetime | None,
    before: tuple[datetime, int] | None,
    limit: int,
) -> list[AuditEntry]:
    """Return up to `limit` entries of the audit log, the newest first.

    `subject` is a kind (`store`) or a kind and an id (`store:taipei-1`, `member:m1`).
    """
    filters: dict[str, object] = {}
    if actor is not None:
        filters["actor"] = actor
    if action is not None:
        filters["action"] = action
    if subject is not None:
        kind, subject_id = read_subject(subject)
        filters["subject_kind"] = kind
        if subject_id is not None and kind == _MEMBER:
            filters["member_key"] = members.find_keys(conn, member_ids=[subject_id]).get(subject_id, 0)
        elif subject_id is not None:
            filters["subject_id"] = subject_id
    rows = store.list_audit(conn, filters=filters, since=since, before=before, limit=limit)
    ids = _find_ids(conn, rows)
    return [_entry(row, ids) for row in rows]


def list_changes(conn: Connection, *, after: int | None, limit: int, topics: Sequence[str] | None) -> Changes:
    """Return up to `limit` changes after one (None: from the first), in an order that never changes.

    Raises:
        ChangeCursorUnknown: the change to read on from is not here.
    """
    found = outbox.list_events(conn, after=after, limit=limit + 1, topics=topics)
    if not found.is_known:
        raise ChangeCursorUnknown(
            "it was never here, or is no longer kept: read again from the beginning",
            errors=[FieldError("unknown", parameter="since")],
        )
    rows = found.rows[:limit]
    has_more = len(found.rows) > limit
    # Past what other topics told meanwhile too, or a rare topic would be searched for again and again.
    resume_key = rows[-1].event_key if has_more else found.head_key
    ids = _find_ids(conn, rows)
    changes = tuple(
        Change(
            event_key=row.event_key,
            topic=row.topic,
            member_id=ids.get(row.member_key),
            payload=row.payload,
            occurred_at=row.occurred_at,
            recorded_at=row.recorded_at,
        )
        for row in rows
    )
    return Changes(changes, has_more, resume_key)


def _find_ids(conn: Connection, rows: Iterable[Row[Any]]) -> dict[int, str]:
    keys = sorted({row.member_key for row in rows if row.member_key is not None})
    return members.find_ids(conn, member_keys=keys) if keys else {}


def _entry(row: Row[Any], ids: Mapping[int, str]) -> AuditEntry:
    is_sealed = row.member_key is not None and row.before is None and row.after is None
    old, new = row.before or {}, row.after or {}
    return AuditEntry(
        audit_key=row.audit_key,
        occurred_at=row.occurred_at,
        actor=row.actor,
        action=row.action,
        subject_kind=row.subject_kind,
        subject_id=row.subject_id if row.member_key is None else ids.get(row.member_key),
        changes=tuple(FieldChange(name, is_sealed, old.get(name), new.get(name)) for name in row.fields),
        reason=row.reason,
        request_id=row.request_id,
    )
