"""Tell other systems: rows written in the same transaction as the change, delivered later."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, text

from service.kit.db import dumps

_INSERT = text(
    "INSERT INTO outbox (topic, member_key, payload, occurred_at) "
    "VALUES (:topic, :member_key, CAST(:payload AS jsonb), :occurred_at)"
)


def emit(
    conn: Connection,
    *,
    topic: str,
    member_key: int | None,
    payload: Mapping[str, object],
    occurred_at: datetime,
) -> None:
    """Write one event for delivery; it exists if and only if the caller's transaction commits.

    `payload` carries ids and numbers, never personal data.
    """
    conn.execute(
        _INSERT,
        {
            "topic": topic,
            "member_key": member_key,
            "payload": dumps(dict(payload)),
            "occurred_at": occurred_at,
        },
    )
