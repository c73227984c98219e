"""Every statement that reads the books as of a past time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

# Each lot as its postings up to a moment leave it, with the expiry it had then. The row without a lot holds
# what belongs to none. `freed` is of holds that are past their time then, where that is not posted yet.
_LOTS_AT = text("""
WITH sides AS (
    SELECT p.lot_key, s.account, s.points
    FROM ledger_transactions t JOIN postings p USING (transaction_key),
         LATERAL (VALUES (p.from_account, -p.points), (p.to_account, p.points)) s (account, points)
    WHERE t.member_key = :member_key AND t.occurred_at <= :at
), sums AS (
    SELECT lot_key, coalesce(sum(points) FILTER (WHERE account = 'pending'), 0) AS pending,
           coalesce(sum(points) FILTER (WHERE account = 'available'), 0) AS available,
           coalesce(sum(points) FILTER (WHERE account = 'held'), 0) AS held,
           -coalesce(sum(points) FILTER (WHERE account = 'debt'), 0) AS debt,
           -coalesce(sum(points) FILTER (WHERE account IN ('issued', 'reversed')), 0) AS earned
    FROM sides GROUP BY lot_key
), freed AS (
    SELECT p.lot_key, min(h.expires_at) AS freed_at, sum(p.points) AS points
    FROM point_holds h JOIN point_hold_lots p USING (hold_id)
    WHERE h.member_key = :member_key AND h.state = 'open' AND h.expires_at <= :at
    GROUP BY p.lot_key
)
SELECT s.lot_key, l.available_at,
       CASE WHEN moved.lot_key IS NULL THEN l.expires_at ELSE moved.expires_before END AS expires_at,
       CAST(s.pending AS bigint) AS pending, CAST(s.available AS bigint) AS available,
       CAST(s.held AS bigint) AS held, CAST(s.debt AS bigint) AS debt, CAST(s.earned AS bigint) AS earned,
       CAST(coalesce(f.points, 0) AS bigint) AS freed, f.freed_at
FROM sums s LEFT JOIN lots l USING (lot_key) LEFT JOIN freed f USING (lot_key)
LEFT JOIN LATERAL (
    SELECT e.lot_key, e.expires_before
    FROM lot_expiries e JOIN ledger_transactions t USING (transaction_key)
    WHERE e.lot_key = s.lot_key AND t.occurred_at > :at ORDER BY e.transaction_key LIMIT 1
) moved ON true
""")

_CHANGES = """
SELECT t.transaction_key, t.kind, t.occurred_at, t.recorded_at, t.order_key, t.refund_key, t.hold_id,
       t.reason, CAST(coalesce(sum(s.points) FILTER (WHERE s.account = 'pending'), 0) AS bigint) AS pending,
       CAST(coalesce(sum(CASE s.account WHEN 'available' THEN s.points WHEN 'debt' THEN s.points END), 0)
            AS bigint) AS available,
       CAST(coalesce(sum(s.points) FILTER (WHERE s.account = 'held'), 0) AS bigint) AS held
FROM ledger_transactions t LEFT JOIN postings p USING (transaction_key)
LEFT JOIN LATERAL (VALUES (p.from_account, -p.points), (p.to_account, p.points)) s (account, points) ON true
WHERE t.member_key = :member_key AND t.occurred_at < :until
GROUP BY t.transaction_key
"""

_STATEMENT = text(
    """
WITH changes AS ({changes}), running AS (
    SELECT c.*, CAST(sum(pending) OVER earlier AS bigint) AS pending_after,
           CAST(sum(available) OVER earlier AS bigint) AS available_after,
           CAST(sum(held) OVER earlier AS bigint) AS held_after
    FROM changes c WINDOW earlier AS (ORDER BY occurred_at, transaction_key)
)
SELECT * FROM running
WHERE occurred_at >= :since
  AND (CAST(:after_at AS timestamptz) IS NULL
       OR (occurred_at, transaction_key) > (CAST(:after_at AS timestamptz), CAST(:after_key AS bigint)))
ORDER BY occurred_at, transaction_key LIMIT :limit
""".replace("{changes}", _CHANGES)
)

_TOTALS = text(
    """
WITH changes AS ({changes})
SELECT CAST(coalesce(sum(pending) FILTER (WHERE occurred_at < :since), 0) AS bigint) AS pending_before,
       CAST(coalesce(sum(available) FILTER (WHERE occurred_at < :since), 0) AS bigint) AS available_before,
       CAST(coalesce(sum(held) FILTER (WHERE occurred_at < :since), 0) AS bigint) AS held_before,
       CAST(coalesce(sum(pending), 0) AS bigint) AS pending,
       CAST(coalesce(sum(available), 0) AS bigint) AS available,
       CAST(coalesce(sum(held), 0) AS bigint) AS held
FROM changes
""".replace("{changes}", _CHANGES)
)


def list_lots_at(conn: Connection, *, member_key: int, at: datetime) -> Sequence[Row[Any]]:
    """Return a member's lots, and what belongs to none, as entries dated up to a moment leave them."""
    return conn.execute(_LOTS_AT, {"member_key": member_key, "at": at}).all()


def list_changes(
    conn: Connection,
    *,
    member_key: int,
    since: datetime,
    until: datetime,
    after: tuple[datetime, int] | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Return up to `limit` entries from `since` to before `until`, oldest first, with running balances."""
    after_at, after_key = after or (None, None)
    values = {
        "member_key": member_key,
        "since": since,
        "until": until,
        "after_at": after_at,
        "after_key": after_key,
        "limit": limit,
    }
    return conn.execute(_STATEMENT, values).all()


def get_totals(conn: Connection, *, member_key: int, since: datetime, until: datetime) -> Row[Any]:
    """Return the balances at `since`, and those just before `until`."""
    return conn.execute(_TOTALS, {"member_key": member_key, "since": since, "until": until}).one()
