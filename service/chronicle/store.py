"""Every SQL statement of the chronicle."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

_AUDIT = """
SELECT l.audit_key, l.occurred_at, l.actor, l.action, l.subject_kind, l.subject_id, l.member_key, l.fields,
       l.before, l.after, l.reason, l.request_id
FROM audit_log l
WHERE (CAST(:since AS timestamptz) IS NULL OR l.occurred_at >= :since)
  AND (CAST(:before_at AS timestamptz) IS NULL
       OR (l.occurred_at, l.audit_key) < (CAST(:before_at AS timestamptz), CAST(:before_key AS bigint)))
  {conditions}
ORDER BY l.occurred_at DESC, l.audit_key DESC LIMIT :limit
"""
_CONDITIONS = {
    "actor": "AND l.actor = :actor",
    "action": "AND l.action = :action",
    "subject_kind": "AND l.subject_kind = :subject_kind",
    "subject_id": "AND l.subject_id = :subject_id",
    "member_key": "AND l.member_key = :member_key",
}
# One statement for each set of filters, so that each is planned with the index that fits it.
_LISTS = {
    chosen: text(
        _AUDIT.format(
            conditions=" ".join(
                _CONDITIONS[name] for bit, name in enumerate(_CONDITIONS) if chosen & (1 << bit)
            )
        )
    )
    for chosen in range(1 << len(_CONDITIONS))
}


def list_audit(
    conn: Connection,
    *,
    filters: dict[str, object],
    since: datetime | None,
    before: tuple[datetime, int] | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Return up to `limit` entries, the newest first; `filters` are by actor, action, subject or member."""
    chosen = sum(1 << bit for bit, name in enumerate(_CONDITIONS) if name in filters)
    before_at, before_key = before or (None, None)
    values = {"since": since, "before_at": before_at, "before_key": before_key, "limit": limit}
    return conn.execute(_LISTS[chosen], values | filters).all()
