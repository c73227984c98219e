"""Every statement of redemptions, their vouchers, and what those paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, select, text

from service.activity.readable import order_ids
from service.kit.db import run

_ADD = text("""
INSERT INTO redemptions (redemption_id, reward_key, shelf_no, member_key, origin_key, points, transaction_key,
    terms, voucher_code, issued_at, expires_at, balance_minor, recommendation_ids, attribution_token)
VALUES (:redemption_id, :reward_key, :shelf_no, :member_key, :origin_key, :points, :transaction_key,
    CAST(:terms AS jsonb), :voucher_code, :issued_at, :expires_at, :balance_minor,
    CAST(:recommendation_ids AS text[]), :attribution_token)
""")

_REDEMPTIONS = """
SELECT d.redemption_id, d.reward_key, d.shelf_no, d.member_key, d.points, d.transaction_key, d.terms,
       d.voucher_code, d.state, d.issued_at, d.expires_at, d.reserved_for, d.reserved_until, d.balance_minor,
       d.ended_at, d.recommendation_ids, d.attribution_token, r.code AS reward, r.names
FROM redemptions d JOIN rewards r USING (reward_key)
"""

_FIND = text(_REDEMPTIONS + "WHERE d.redemption_id = :redemption_id")
_FIND_VOUCHER = text(_REDEMPTIONS + "WHERE d.voucher_code = :code")
# Locked first and read then: who waited for the lock sees the row as the one before left it.
_LOCK = text("SELECT FROM redemptions WHERE redemption_id = :redemption_id FOR NO KEY UPDATE")
_LOCK_ALL = text(
    "SELECT FROM redemptions WHERE redemption_id = ANY (CAST(:redemption_ids AS uuid[])) "
    "ORDER BY redemption_id FOR NO KEY UPDATE"
)
_LIST = text(
    _REDEMPTIONS
    + """WHERE d.member_key = :member_key
  AND (CAST(:before AS uuid) IS NULL OR d.redemption_id < CAST(:before AS uuid))
ORDER BY d.redemption_id DESC LIMIT :limit
"""
)

_SET = text("""
UPDATE redemptions SET state = :state, reserved_for = :reserved_for, reserved_until = :reserved_until,
    balance_minor = :balance_minor, expires_at = :expires_at, ended_at = :ended_at
WHERE redemption_id = :redemption_id
""")

_OTHERS_RESERVED = text("""
SELECT d.terms FROM redemptions d
WHERE d.reserved_for = :order_id AND d.state = 'reserved' AND d.reserved_until > :now
  AND d.redemption_id <> :redemption_id
""")

_ADD_USE = text("""
INSERT INTO voucher_uses (redemption_id, kind, order_id, refund_key, amount_minor, occurred_at, recorded_at)
VALUES (:redemption_id, :kind, :order_id, :refund_key, :amount_minor, :occurred_at, :now)
""")

_USES_OF_ORDER = text("""
SELECT redemption_id,
       CAST(coalesce(sum(amount_minor) FILTER (WHERE kind = 'use'), 0) AS bigint) AS paid_minor,
       CAST(coalesce(sum(amount_minor) FILTER (WHERE kind = 'return'), 0) AS bigint) AS returned_minor,
       count(*) FILTER (WHERE kind = 'use') AS uses, count(*) FILTER (WHERE kind = 'return') AS returns,
       coalesce(bool_or(kind = 'return' AND refund_key IS NOT DISTINCT FROM CAST(:refund_key AS bigint)),
                false) AS is_repeat
FROM voucher_uses WHERE order_id = :order_id GROUP BY redemption_id ORDER BY redemption_id
""")

_LAST_USE = text(
    "SELECT kind, amount_minor FROM voucher_uses "
    "WHERE redemption_id = :redemption_id AND order_id = :order_id ORDER BY use_key DESC LIMIT 1"
)

_RETURNED = text("""
SELECT CAST(coalesce(sum(amount_minor), 0) AS bigint) FROM voucher_uses
WHERE kind = 'return' AND CASE WHEN CAST(:refund_key AS bigint) IS NOT NULL THEN refund_key = :refund_key
                               ELSE order_id = :order_id AND refund_key IS NULL END
""")

_ORDER_ID = select(order_ids.c.order_id).where(order_ids.c.order_key == bindparam("order_key"))

_EXPIRE = text("""
WITH due AS (
    SELECT redemption_id, greatest(expires_at, reserved_until) AS at FROM redemptions
    WHERE state IN ('issued', 'reserved') AND expires_at <= :now
      AND (reserved_until IS NULL OR reserved_until <= :now)
    ORDER BY expires_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE redemptions d SET state = 'expired', ended_at = due.at, reserved_for = NULL, reserved_until = NULL
FROM due, rewards r WHERE d.redemption_id = due.redemption_id AND r.reward_key = d.reward_key
RETURNING d.redemption_id, d.member_key, d.ended_at, r.code AS reward
""")

_FREE = text("""
WITH due AS (
    SELECT redemption_id FROM redemptions
    WHERE state = 'reserved' AND reserved_for IS NOT NULL AND reserved_until <= :now
    LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE redemptions d SET state = 'issued', reserved_for = NULL, reserved_until = NULL
FROM due WHERE d.redemption_id = due.redemption_id
""")

_OVER = text(
    "UPDATE redemptions SET member_key = :into_key, origin_key = coalesce(origin_key, :from_key) "
    "WHERE member_key = :from_key"
)
_BACK = text(
    "UPDATE redemptions SET member_key = :from_key, origin_key = nullif(origin_key, :from_key) "
    "WHERE member_key = :into_key AND origin_key = ANY (CAST(:origins AS bigint[]))"
)


def add(conn: Connection, *, values: Mapping[str, object]) -> None:
    """Write a redemption."""
    run(conn, _ADD, values)


def find(conn: Connection, *, redemption_id: UUID) -> Row[Any] | None:
    """Return a redemption with its reward's code and names."""
    return run(conn, _FIND, {"redemption_id": redemption_id}).one_or_none()


def find_voucher(conn: Connection, *, code: str) -> Row[Any] | None:
    """Return the redemption that a voucher was given for."""
    return run(conn, _FIND_VOUCHER, {"code": code}).one_or_none()


def lock(conn: Connection, *, redemption_id: UUID) -> Row[Any]:
    """Lock a redemption that exists until the transaction ends, and return it as it then stands."""
    run(conn, _LOCK, {"redemption_id": redemption_id})
    return run(conn, _FIND, {"redemption_id": redemption_id}).one()


def lock_all(conn: Connection, *, redemption_ids: Sequence[UUID]) -> None:
    """Lock several redemptions in the order in which everybody does."""
    run(conn, _LOCK_ALL, {"redemption_ids": list(redemption_ids)})


def list_of(conn: Connection, *, member_key: int, before: UUID | None, limit: int) -> Sequence[Row[Any]]:
    """Return a member's redemptions, the newest first."""
    return conn.execute(_LIST, {"member_key": member_key, "before": before, "limit": limit}).all()


def change(conn: Connection, *, redemption_id: UUID, values: Mapping[str, object]) -> None:
    """Write how a locked redemption stands from now on."""
    run(conn, _SET, {**values, "redemption_id": redemption_id})


def list_reserved_with(
    conn: Connection, *, order_id: str, redemption_id: UUID, now: datetime
) -> Sequence[Row[Any]]:
    """Return the terms of the other vouchers that are reserved for an order."""
    values = {"order_id": order_id, "redemption_id": redemption_id, "now": now}
    return run(conn, _OTHERS_RESERVED, values).all()


def add_use(
    conn: Connection,
    *,
    redemption_id: UUID,
    kind: str,
    order_id: str | None,
    refund_key: int | None,
    amount_minor: int,
    occurred_at: datetime,
    now: datetime,
) -> None:
    """Write that a voucher was used, or that something of that came back."""
    values = {
        "redemption_id": redemption_id,
        "kind": kind,
        "order_id": order_id,
        "refund_key": refund_key,
        "amount_minor": amount_minor,
        "occurred_at": occurred_at,
        "now": now,
    }
    run(conn, _ADD_USE, values)


def list_uses_of(conn: Connection, *, order_id: str, refund_key: int | None) -> Sequence[Row[Any]]:
    """Return what vouchers paid of an order; `is_repeat` tells whether that refund gave back before."""
    return run(conn, _USES_OF_ORDER, {"order_id": order_id, "refund_key": refund_key}).all()


def find_last_use(conn: Connection, *, redemption_id: UUID, order_id: str) -> Row[Any] | None:
    """Return what happened last between a voucher and an order."""
    return run(conn, _LAST_USE, {"redemption_id": redemption_id, "order_id": order_id}).one_or_none()


def get_returned(conn: Connection, *, refund_key: int | None, order_id: str | None) -> int:
    """Return what a refund, or the cancellation of an order, gave back to vouchers."""
    values = {"refund_key": refund_key, "order_id": order_id}
    return int(run(conn, _RETURNED, values).scalar_one())


def find_order_id(conn: Connection, *, order_key: int) -> str | None:
    """Return the merchant's id of an order."""
    order_id: str | None = run(conn, _ORDER_ID, {"order_key": order_key}).scalar_one_or_none()
    return order_id


def expire(conn: Connection, *, now: datetime, limit: int) -> Sequence[Row[Any]]:
    """Write that up to `limit` redemptions have expired, and return them; locked ones wait for later."""
    return conn.execute(_EXPIRE, {"now": now, "limit": limit}).all()


def free(conn: Connection, *, now: datetime, limit: int) -> int:
    """Write that up to `limit` reservations are over, and return how many were."""
    return conn.execute(_FREE, {"now": now, "limit": limit}).rowcount


def hand_over(conn: Connection, *, from_key: int, into_key: int) -> None:
    """Give a member's redemptions to another."""
    conn.execute(_OVER, {"from_key": from_key, "into_key": into_key})


def hand_back(conn: Connection, *, from_key: int, into_key: int, origins: Sequence[int]) -> None:
    """Give one of several merged members what was taken for any of them."""
    conn.execute(_BACK, {"from_key": from_key, "into_key": into_key, "origins": list(origins)})
