"""Every statement of holds: points set aside for a checkout, and the lots they came from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from service.kit.db import run
from service.ledger.rules import Draw, Lot

_ADD = text("""
WITH hold AS (
    INSERT INTO point_holds (hold_id, member_key, points, order_id, created_at, expires_at)
    VALUES (:hold_id, :member_key, :points, :order_id, :now, :expires_at)
    RETURNING hold_id
)
INSERT INTO point_hold_lots (hold_id, lot_key, points)
SELECT hold_id, lot.* FROM hold, unnest(CAST(:lot_keys AS bigint[]), CAST(:amounts AS bigint[])) AS lot
""")

_FIND = text(
    "SELECT hold_id, member_key, points, order_id, order_key, captured, created_at, ended_at, expires_at, "
    # A hold that is past its time has ended, whether or not that has been posted.
    "CASE WHEN state = 'open' AND expires_at <= :now THEN 'expired' ELSE state END AS state "
    "FROM point_holds WHERE hold_id = :hold_id"
)

_LOTS = text(
    "SELECT p.lot_key, l.order_key, p.points AS remaining, false AS pending, l.earned_at, l.expires_at "
    "FROM point_hold_lots p JOIN lots l USING (lot_key) WHERE p.hold_id = :hold_id"
)

_END = text(
    "UPDATE point_holds SET state = :state, captured = :captured, ended_at = :now, "
    "order_id = coalesce(:order_id, order_id), order_key = coalesce(CAST(:order_key AS bigint), order_key) "
    "WHERE hold_id = :hold_id"
)

_LINK = text("UPDATE point_holds SET order_key = :order_key WHERE hold_id = :hold_id")

# What holds captured for an order spent of each lot, and what its refunds have given back of that. A hold
# that was captured before its order was recorded is known by the merchant's id alone.
_SPENT = text("""
WITH paid AS (
    SELECT hold_id, ended_at FROM point_holds WHERE order_key = :order_key
    UNION
    SELECT hold_id, ended_at FROM point_holds
    WHERE state = 'captured' AND member_key = :member_key AND order_id = CAST(:order_id AS text)
      AND order_key IS NULL
), spent AS (
    SELECT p.lot_key, sum(p.points) AS points, max(paid.ended_at) AS last_at
    FROM paid JOIN ledger_transactions t USING (hold_id) JOIN postings p USING (transaction_key)
    WHERE t.kind = 'capture' AND p.to_account = 'redeemed' GROUP BY p.lot_key
), back AS (
    SELECT p.lot_key, sum(p.points) AS points
    FROM ledger_transactions t JOIN postings p USING (transaction_key)
    WHERE t.order_key = :order_key AND t.kind = 'restore' AND p.from_account = 'redeemed' GROUP BY p.lot_key
)
SELECT l.lot_key, l.member_key, l.order_key, l.earned_at, l.expires_at, CAST(s.points AS bigint) AS spent,
       CAST(coalesce(b.points, 0) AS bigint) AS returned, s.last_at
FROM spent s JOIN lots l USING (lot_key) LEFT JOIN back b USING (lot_key)
""")

_IS_RESTORED = text(
    "SELECT EXISTS (SELECT FROM ledger_transactions WHERE order_key = :order_key AND kind = 'restore' "
    "AND refund_key IS NOT DISTINCT FROM CAST(:refund_key AS bigint))"
)

_RETURNED = text(
    "SELECT CAST(coalesce(sum(p.points), 0) AS bigint) "
    "FROM ledger_transactions t JOIN postings p USING (transaction_key) "
    "WHERE (t.member_key = :member_key OR t.order_key = ANY (CAST(:order_keys AS bigint[]))) "
    "AND t.kind = 'restore' AND p.from_account = 'redeemed' "
    "AND t.refund_key IS NOT DISTINCT FROM CAST(:refund_key AS bigint) "
    "AND (t.refund_key IS NOT NULL OR t.order_key = CAST(:order_key AS bigint))"
)


def add_hold(
    conn: Connection,
    *,
    hold_id: UUID,
    member_key: int,
    points: int,
    order_id: str | None,
    draws: Sequence[Draw],
    expires_at: datetime,
    now: datetime,
) -> None:
    """Write a hold with what it set aside of each lot."""
    values = {
        "hold_id": hold_id,
        "member_key": member_key,
        "points": points,
        "order_id": order_id,
        "expires_at": expires_at,
        "now": now,
        "lot_keys": [draw.lot_key for draw in draws],
        "amounts": [draw.points for draw in draws],
    }
    run(conn, _ADD, values)


def find_hold(conn: Connection, *, hold_id: UUID, now: datetime) -> Row[Any] | None:
    """Return a hold as it effectively stands."""
    return run(conn, _FIND, {"hold_id": hold_id, "now": now}).one_or_none()


def list_hold_lots(conn: Connection, *, hold_id: UUID) -> list[Lot]:
    """Return what a hold set aside, each with the dates of its lot."""
    rows = run(conn, _LOTS, {"hold_id": hold_id})
    return [
        Lot(row.lot_key, row.order_key, row.remaining, row.pending, row.earned_at, row.expires_at)
        for row in rows
    ]


def end_hold(
    conn: Connection,
    *,
    hold_id: UUID,
    state: str,
    captured: int,
    order_id: str | None,
    order_key: int | None,
    now: datetime,
) -> None:
    """Write how a hold ended."""
    values = {
        "hold_id": hold_id,
        "state": state,
        "captured": captured,
        "order_id": order_id,
        "order_key": order_key,
        "now": now,
    }
    run(conn, _END, values)


def link_hold(conn: Connection, *, hold_id: UUID, order_key: int) -> None:
    """Write which recorded order a captured hold paid for."""
    run(conn, _LINK, {"hold_id": hold_id, "order_key": order_key})


def list_spent(
    conn: Connection, *, member_key: int, order_key: int, order_id: str | None
) -> Sequence[Row[Any]]:
    """Return what was spent on an order of each lot, and what of that was given back."""
    values = {"member_key": member_key, "order_key": order_key, "order_id": order_id}
    return run(conn, _SPENT, values).all()


def is_restored(conn: Connection, *, order_key: int, refund_key: int | None) -> bool:
    """Tell whether a refund (None: the cancellation) has given back what was spent on an order."""
    return bool(run(conn, _IS_RESTORED, {"order_key": order_key, "refund_key": refund_key}).scalar_one())


def get_returned(
    conn: Connection,
    *,
    member_key: int,
    refund_key: int | None,
    order_key: int | None,
    order_keys: Sequence[int],
) -> int:
    """Return the spent points that a refund, or the cancellation of an order, gave back."""
    values = {
        "member_key": member_key,
        "refund_key": refund_key,
        "order_key": order_key,
        "order_keys": list(order_keys),
    }
    return int(run(conn, _RETURNED, values).scalar_one())
