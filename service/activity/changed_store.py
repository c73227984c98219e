"""Every SQL statement of the changes that the database notes; triggers write them (migration 0019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

_COUNT = text("SELECT count(*) FROM (SELECT FROM taking_changes LIMIT :most) AS found")
_TAKE = text(
    "WITH taken AS (DELETE FROM taking_changes RETURNING change_key, kind, fact_key, was_key) "
    "SELECT kind, fact_key, was_key FROM taken ORDER BY change_key"
)
_FORGET = text("DELETE FROM taking_changes")


def count_changes(conn: Connection, *, most: int) -> int:
    """Return how many changes wait, counting to `most` at the utmost."""
    count: int = conn.execute(_COUNT, {"most": most}).scalar_one()
    return count


def take_changes(conn: Connection) -> Sequence[Row[Any]]:
    """Delete the changes that can be seen, and return them in their order."""
    return conn.execute(_TAKE).all()


def forget_changes(conn: Connection) -> None:
    """Delete the changes that can be seen."""
    conn.execute(_FORGET)
