"""Every statement of expiries that move, and of the notices ahead of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

_MOVE_ROLLING = text("""
WITH changed AS (
    SELECT lot_key, expires_at FROM lots
    WHERE member_key = :member_key AND remaining > 0 AND rolls AND expires_at < :until
), entered AS (
    INSERT INTO lot_expiries (transaction_key, lot_key, expires_before, expires_after)
    SELECT :transaction_key, lot_key, expires_at, :until FROM changed
)
UPDATE lots l SET expires_at = :until FROM changed c WHERE l.lot_key = c.lot_key
""")

_LOT = text(
    "SELECT lot_key, order_key, remaining, expires_at FROM lots "
    "WHERE lot_key = :lot_key AND member_key = :member_key"
)

_UNANNOUNCED = text(
    "SELECT b.member_key FROM lots l JOIN balances b ON b.member_key = l.member_key "
    "WHERE l.remaining > 0 AND l.expires_at IS NOT NULL AND l.announced_for IS DISTINCT FROM l.expires_at "
    "AND l.remaining > 0 AND l.remaining > l.held AND l.expires_at > :now AND l.expires_at <= :until "
    "ORDER BY l.expires_at LIMIT :limit FOR NO KEY UPDATE OF b SKIP LOCKED"
)

_MARK = text(
    "UPDATE lots SET announced_for = expires_at "
    "WHERE member_key = ANY (CAST(:member_keys AS bigint[])) AND remaining > 0 AND remaining > held "
    "AND announced_for IS DISTINCT FROM expires_at AND expires_at > :now AND expires_at <= :until "
    "RETURNING member_key, expires_at, remaining - held AS points"
)


def move_rolling(conn: Connection, *, member_key: int, transaction_key: int, until: datetime) -> None:
    """Move the expiry of a member's lots that expire after inactivity; never to an earlier time."""
    conn.execute(
        _MOVE_ROLLING, {"member_key": member_key, "transaction_key": transaction_key, "until": until}
    )


def find_lot(conn: Connection, *, member_key: int, lot_key: int) -> Row[Any] | None:
    """Return one of a member's lots."""
    return conn.execute(_LOT, {"member_key": member_key, "lot_key": lot_key}).one_or_none()


def lock_unannounced(conn: Connection, *, now: datetime, until: datetime, limit: int) -> list[int]:
    """Lock members with up to `limit` lots whose expiry is to be told, skipping who is locked."""
    values = {"now": now, "until": until, "limit": limit}
    return sorted(set(conn.scalars(_UNANNOUNCED, values)))


def mark_announced(
    conn: Connection, *, member_keys: Sequence[int], now: datetime, until: datetime
) -> Sequence[Row[Any]]:
    """Mark the expiries of locked members as told, and return them."""
    values = {"member_keys": list(member_keys), "now": now, "until": until}
    return conn.execute(_MARK, values).all()
