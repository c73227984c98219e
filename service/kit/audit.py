"""Who changed what: rows that are only ever added, in the same transaction as the change.

What a person's record held before and after is sealed and kept apart (`audit_sealed`), so that erasing the
person can empty it without touching the log. Everything else stands in the log as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from service.kit.auth import Caller
from service.kit.db import dumps
from service.kit.sealing import Sealer

SERVICE = "tidemark"
"""The actor of what the service does of itself."""

COMMAND_LINE = "cli"
"""The actor of changes made on the command line."""

_INSERT = text("""
WITH entry AS (
    INSERT INTO audit_log
        (occurred_at, actor, action, subject_kind, subject_id, member_key, fields, before, after, reason,
         request_id)
    VALUES (:now, :actor, :action, :subject_kind, :subject_id, :member_key, CAST(:fields AS text[]),
            CAST(:before AS jsonb), CAST(:after AS jsonb), :reason, :request_id)
    RETURNING audit_key, member_key
)
INSERT INTO audit_sealed (audit_key, member_key, sealed)
SELECT audit_key, member_key, CAST(:sealed AS bytea) FROM entry WHERE CAST(:sealed AS bytea) IS NOT NULL
""")

_FORGET = text("DELETE FROM audit_sealed WHERE member_key = :member_key")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does it, and in which request."""

    name: str
    request_id: str | None = None


def actor_of(caller: Caller) -> str:
    """Return how the log names whoever shows a key: its role and its id."""
    return f"{caller.role}:{caller.key_id}"


def changed_fields(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[str]:
    """Return the names whose values differ; an absent value equals null."""
    old, new = before or {}, after or {}
    names = [*old, *(name for name in new if name not in old)]
    return [name for name in names if old.get(name) != new.get(name)]


def record(
    conn: Connection,
    *,
    actor: str,
    action: str,
    subject: tuple[str, str | None],
    member_key: int | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str | None = None,
    request_id: str | None = None,
    sealer: Sealer | None = None,
    now: datetime,
) -> None:
    """Add a change to the log; it exists if and only if the caller's transaction commits.

    `actor` is `actor_of(caller)`, "cli" or "tidemark"; `action` is `thing.verbed`. `subject` is its kind
    and id; a person is `("member", None)` with the `member_key`. `before` and `after` are JSON-able, never
    hold a secret, and only what differs between them is kept. With a `sealer` the log names the fields and
    their values are sealed.
    """
    kind, subject_id = subject
    fields = changed_fields(before, after)
    old = None if before is None else {name: before.get(name) for name in fields}
    new = None if after is None else {name: after.get(name) for name in fields}
    sealed = None
    if sealer is not None:
        sealed = sealer.seal(dumps({"before": old, "after": new}))
        old = new = None
    conn.execute(
        _INSERT,
        {
            "now": now,
            "actor": actor,
            "action": action,
            "subject_kind": kind,
            "subject_id": subject_id,
            "member_key": member_key,
            "fields": fields,
            "before": None if old is None else dumps(old),
            "after": None if new is None else dumps(new),
            "reason": reason,
            "request_id": request_id,
            "sealed": sealed,
        },
    )


def forget_sealed(conn: Connection, *, member_key: int) -> int:
    """Delete what is sealed about a person and return how many rows; the log keeps the names of fields."""
    return conn.execute(_FORGET, {"member_key": member_key}).rowcount
