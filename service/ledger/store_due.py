"""Every statement about what has become due: posting it, and finding whom it concerns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

# One transaction per hold that ends, and per lot and event, dated when it was due. What was held does not
# expire before its hold ends. Points that become available, or free, pay the debt first, in the order of
# time. Works on any number of locked members.
# That something is left is said besides `remaining > held`: the index of open lots holds no others.
_POST_DUE = text("""
WITH ended AS (
    SELECT hold_id, member_key, expires_at FROM point_holds
    WHERE member_key = ANY (CAST(:member_keys AS bigint[])) AND state = 'open' AND expires_at <= :now
), pieces AS (
    SELECT lot_key, member_key, order_key, CAST(NULL AS uuid) AS hold_id, remaining - held AS points, pending,
           available_at, expires_at, CASE WHEN pending THEN available_at END AS freed_at
    FROM lots
    WHERE member_key = ANY (CAST(:member_keys AS bigint[])) AND remaining > 0 AND remaining > held
      AND CASE WHEN pending THEN available_at ELSE expires_at END <= :now
    UNION ALL
    SELECT h.lot_key, e.member_key, l.order_key, e.hold_id, h.points, false, l.available_at, l.expires_at,
           e.expires_at
    FROM ended e JOIN point_hold_lots h USING (hold_id) JOIN lots l ON l.lot_key = h.lot_key
), due AS (
    SELECT p.*,
           CASE WHEN p.expires_at <= :now
                THEN greatest(p.expires_at, p.available_at, p.freed_at) END AS lapsed_at,
           CASE WHEN p.freed_at IS NULL THEN 0 ELSE least(p.points, greatest(0, b.debt - coalesce(
               sum(p.points) FILTER (WHERE p.freed_at IS NOT NULL) OVER earlier, 0))) END AS paid
    FROM balances b JOIN pieces p ON p.member_key = b.member_key
    WINDOW earlier AS (PARTITION BY p.member_key ORDER BY p.freed_at, p.lot_key, p.hold_id
                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
), entries AS MATERIALIZED (
    SELECT nextval('ledger_transactions_transaction_key_seq') AS transaction_key, e.*
    FROM (
        SELECT 'release' AS kind, freed_at AS occurred_at, 0 AS turn, member_key, order_key, lot_key, hold_id,
               points, paid FROM due WHERE pending
        UNION ALL
        SELECT 'unhold', freed_at, 0, member_key, NULL, NULL, hold_id, 0, 0
        FROM due WHERE hold_id IS NOT NULL GROUP BY freed_at, member_key, hold_id
        UNION ALL
        SELECT 'expire', lapsed_at, 1, member_key, order_key, lot_key, NULL, sum(points - paid), 0
        FROM due WHERE lapsed_at IS NOT NULL AND points > paid
        GROUP BY lapsed_at, member_key, order_key, lot_key
        ORDER BY occurred_at, turn, lot_key, hold_id
    ) e
), moves AS (
    SELECT transaction_key, member_key, lot_key, points, 0 AS turn,
           CASE kind WHEN 'release' THEN 'pending' ELSE 'available' END AS from_account,
           CASE kind WHEN 'release' THEN 'available' ELSE 'expired' END AS to_account
    FROM entries WHERE kind <> 'unhold'
    UNION ALL
    SELECT transaction_key, member_key, lot_key, paid, 1, 'available', 'debt' FROM entries WHERE paid > 0
    UNION ALL
    SELECT e.transaction_key, e.member_key, d.lot_key, d.points, 0, 'held', 'available'
    FROM entries e JOIN due d ON d.hold_id = e.hold_id
    UNION ALL
    SELECT e.transaction_key, e.member_key, d.lot_key, d.paid, 1, 'available', 'debt'
    FROM entries e JOIN due d ON d.hold_id = e.hold_id WHERE d.paid > 0
), entered AS (
    INSERT INTO ledger_transactions
        (transaction_key, member_key, kind, occurred_at, recorded_at, order_key, hold_id)
    SELECT transaction_key, member_key, kind, occurred_at, :now, order_key, hold_id FROM entries
), posted AS (
    INSERT INTO postings (transaction_key, posting_no, member_key, from_account, to_account, points, lot_key)
    SELECT transaction_key, row_number() OVER (PARTITION BY transaction_key ORDER BY turn, lot_key),
           member_key, from_account, to_account, points, lot_key FROM moves
), freed AS (
    UPDATE point_holds h SET state = 'expired', ended_at = h.expires_at FROM ended e
    WHERE h.hold_id = e.hold_id
), lotted AS (
    UPDATE lots l SET pending = false, held = l.held - d.unheld, remaining = l.remaining - d.gone
    FROM (
        SELECT lot_key, coalesce(sum(points) FILTER (WHERE hold_id IS NOT NULL), 0) AS unheld,
               sum(CASE WHEN lapsed_at IS NULL THEN paid ELSE points END) AS gone
        FROM due GROUP BY lot_key
    ) d WHERE l.lot_key = d.lot_key
), totals AS (
    SELECT m.member_key, count(d.lot_key) FILTER (WHERE d.pending) AS lots_released,
           count(DISTINCT d.lot_key) FILTER (WHERE d.lapsed_at IS NOT NULL AND d.points > d.paid)
               AS lots_expired,
           count(DISTINCT d.hold_id) AS holds_freed,
           coalesce(sum(d.points) FILTER (WHERE d.pending), 0) AS released,
           coalesce(sum(d.points) FILTER (WHERE d.hold_id IS NOT NULL), 0) AS unheld,
           coalesce(sum(d.paid), 0) AS paid,
           coalesce(sum(d.points - d.paid) FILTER (WHERE d.lapsed_at IS NOT NULL), 0) AS expired
    FROM unnest(CAST(:member_keys AS bigint[])) AS m (member_key) LEFT JOIN due d USING (member_key)
    GROUP BY m.member_key
)
UPDATE balances b SET
    pending = b.pending - t.released,
    held = b.held - t.unheld,
    available = b.available + t.released + t.unheld - t.paid - t.expired,
    debt = b.debt - t.paid,
    next_due_at = least(
        (SELECT min(CASE WHEN l.pending AND l.available_at > :now THEN l.available_at
                         WHEN l.expires_at > :now THEN l.expires_at END)
         FROM lots l WHERE l.member_key = b.member_key AND l.remaining > 0),
        (SELECT min(h.expires_at) FROM point_holds h
         WHERE h.member_key = b.member_key AND h.state = 'open' AND h.expires_at > :now))
FROM totals t WHERE b.member_key = t.member_key
RETURNING b.member_key, b.pending, b.available, b.held, b.debt, b.lifetime_earned,
          t.lots_released, t.lots_expired, t.holds_freed
""")

_EXPIRED_MEMBERS = text(
    "SELECT b.member_key FROM lots l JOIN balances b ON b.member_key = l.member_key "
    "WHERE l.remaining > l.held AND l.remaining > 0 AND l.expires_at <= :now "
    "AND (NOT l.pending OR l.available_at <= :now) "
    "ORDER BY l.expires_at LIMIT :limit FOR NO KEY UPDATE OF b SKIP LOCKED"
)

_FREED_MEMBERS = text(
    "SELECT b.member_key FROM point_holds h JOIN balances b ON b.member_key = h.member_key "
    "WHERE h.state = 'open' AND h.expires_at <= :now "
    "ORDER BY h.expires_at LIMIT :limit FOR NO KEY UPDATE OF b SKIP LOCKED"
)

_RELEASED_MEMBERS = text(
    "SELECT b.member_key FROM lots l JOIN balances b ON b.member_key = l.member_key "
    "WHERE l.pending AND l.remaining > 0 AND l.available_at <= :now "
    "ORDER BY l.available_at LIMIT :limit FOR NO KEY UPDATE OF b SKIP LOCKED"
)


def post_due(conn: Connection, *, member_keys: Sequence[int], now: datetime) -> Sequence[Row[Any]]:
    """Post what is due for locked members; one row of new balances and counts each."""
    return conn.execute(_POST_DUE, {"member_keys": list(member_keys), "now": now}).all()


def lock_due(conn: Connection, *, kind: str, now: datetime, limit: int) -> list[int]:
    """Lock members with up to `limit` lots or holds due for `kind`, skipping who is locked.

    `release`: points become available; `expire`: they expire; `unhold`: a hold ends.
    """
    statement = {"release": _RELEASED_MEMBERS, "expire": _EXPIRED_MEMBERS, "unhold": _FREED_MEMBERS}[kind]
    return sorted(set(conn.scalars(statement, {"now": now, "limit": limit})))
