"""Every statement that lists the entries of a ledger, and names what they refer to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, text

from service.activity.readable import order_ids, refund_ids

_TRANSACTIONS = text("""
WITH page AS (
    SELECT * FROM ledger_transactions
    WHERE member_key = :member_key
      AND (CAST(:before_at AS timestamptz) IS NULL
           OR (occurred_at, transaction_key) < (CAST(:before_at AS timestamptz), CAST(:before_key AS bigint)))
    ORDER BY occurred_at DESC, transaction_key DESC LIMIT :limit
)
SELECT t.transaction_key, t.kind, t.occurred_at, t.recorded_at, t.order_key, t.refund_key, t.rule,
       t.shortfall, t.reason, t.actor, t.hold_id, p.posting_no, p.from_account, p.to_account, p.points,
       p.lot_key,
       l.available_at, l.expires_at
FROM page t LEFT JOIN postings p USING (transaction_key) LEFT JOIN lots l ON l.lot_key = p.lot_key
ORDER BY t.occurred_at DESC, t.transaction_key DESC, p.posting_no
""")


# What the merchant calls the orders and refunds that entries refer to.
_ORDER_IDS = select(order_ids).where(order_ids.c.order_key.in_(bindparam("keys", expanding=True)))
_REFUND_IDS = select(refund_ids).where(refund_ids.c.refund_key.in_(bindparam("keys", expanding=True)))


def list_transactions(
    conn: Connection, *, member_key: int, before: tuple[datetime, int] | None, limit: int
) -> Sequence[Row[Any]]:
    """Return the postings of up to `limit` transactions, newest first, one row per posting."""
    before_at, before_key = before or (None, None)
    values = {"member_key": member_key, "before_at": before_at, "before_key": before_key, "limit": limit}
    return conn.execute(_TRANSACTIONS, values).all()


def find_order_ids(conn: Connection, *, order_keys: Sequence[int]) -> dict[int, str]:
    """Return the merchant's id of each order."""
    rows = conn.execute(_ORDER_IDS, {"keys": list(order_keys)})
    return {row.order_key: row.order_id for row in rows}


def find_refund_ids(conn: Connection, *, refund_keys: Sequence[int]) -> dict[int, str]:
    """Return the merchant's id of each refund."""
    rows = conn.execute(_REFUND_IDS, {"keys": list(refund_keys)})
    return {row.refund_key: row.refund_id for row in rows}
