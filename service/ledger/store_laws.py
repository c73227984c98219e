"""Every statement that checks the ledger's laws on live data; each returns the exact rows that break one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.clock import format_time

_LIMIT = 1000

_UNBALANCED = """
WITH sides AS (
    SELECT member_key, to_account AS account, points FROM postings
    UNION ALL SELECT member_key, from_account, -points FROM postings
), sums AS (
    SELECT member_key, coalesce(sum(points) FILTER (WHERE account = 'pending'), 0) AS pending,
           coalesce(sum(points) FILTER (WHERE account = 'available'), 0) AS available,
           coalesce(sum(points) FILTER (WHERE account = 'held'), 0) AS held,
           -coalesce(sum(points) FILTER (WHERE account = 'debt'), 0) AS debt,
           -coalesce(sum(points) FILTER (WHERE account IN ('issued', 'reversed')), 0) AS lifetime_earned
    FROM sides GROUP BY member_key
)
SELECT format('balance (pending %s, available %s, held %s, debt %s, lifetime %s) is not the sum '
              'of its postings (%s, %s, %s, %s, %s)', b.pending, b.available, b.held, b.debt,
              b.lifetime_earned, s.pending, s.available, s.held, s.debt, s.lifetime_earned) AS detail,
       member_key, CAST(NULL AS bigint) AS transaction_key, CAST(NULL AS bigint) AS lot_key
FROM balances b FULL JOIN sums s USING (member_key)
WHERE (b.pending, b.available, b.held, b.debt, b.lifetime_earned) IS DISTINCT FROM
      (coalesce(s.pending, 0), coalesce(s.available, 0), coalesce(s.held, 0), coalesce(s.debt, 0),
       coalesce(s.lifetime_earned, 0))
"""

_LOTS_AGAINST_POSTINGS = """
WITH sides AS (
    SELECT lot_key, member_key, to_account AS account, points FROM postings WHERE lot_key IS NOT NULL
    UNION ALL SELECT lot_key, member_key, from_account, -points FROM postings WHERE lot_key IS NOT NULL
), sums AS (
    SELECT lot_key, min(member_key) AS member_key,
           coalesce(-sum(points) FILTER (WHERE account = 'issued'), 0) AS earned,
           coalesce(sum(points) FILTER (WHERE account = 'pending'), 0) AS pending,
           coalesce(sum(points) FILTER (WHERE account IN ('available', 'held')), 0) AS usable,
           coalesce(sum(points) FILTER (WHERE account = 'held'), 0) AS held
    FROM sides GROUP BY lot_key
)
SELECT format('lot (earned %s, remaining %s, held %s, pending %s) is not the sum of its postings '
              '(earned %s, pending %s, available and held %s, held %s)', l.earned, l.remaining, l.held,
              l.pending, s.earned, s.pending, s.usable, s.held) AS detail,
       coalesce(l.member_key, s.member_key) AS member_key,
       CAST(NULL AS bigint) AS transaction_key, lot_key
FROM lots l FULL JOIN sums s USING (lot_key)
WHERE (l.earned, CASE WHEN l.pending THEN l.remaining ELSE 0 END,
       CASE WHEN l.pending THEN 0 ELSE l.remaining END, l.held)
      IS DISTINCT FROM
      (coalesce(s.earned, 0), coalesce(s.pending, 0), coalesce(s.usable, 0), coalesce(s.held, 0))
"""

_LOTS_AGAINST_BALANCES = """
WITH sums AS (
    SELECT member_key, sum(remaining) FILTER (WHERE pending) AS pending,
           sum(remaining) FILTER (WHERE NOT pending) AS usable
    FROM lots WHERE remaining > 0 GROUP BY member_key
)
SELECT format('open lots (pending %s, usable %s) less debt %s are not pending %s, available %s net of '
              'debt and held %s', s.pending, s.usable, b.debt, b.pending, b.available - b.debt,
              b.held) AS detail,
       member_key, CAST(NULL AS bigint) AS transaction_key, CAST(NULL AS bigint) AS lot_key
FROM balances b FULL JOIN sums s USING (member_key)
WHERE (b.pending, b.available - b.debt + b.held) IS DISTINCT FROM
      (coalesce(s.pending, 0), coalesce(s.usable, 0) - b.debt)
"""

_ORPHANS = """
SELECT 'posting without its transaction, or of another member than it' AS detail,
       p.member_key, p.transaction_key, p.lot_key
FROM postings p LEFT JOIN ledger_transactions t USING (transaction_key)
WHERE t.member_key IS DISTINCT FROM p.member_key
"""

_OVERDRAWN = """
SELECT format('pending %s, available %s, held %s, debt %s', pending, available, held, debt) AS detail,
       member_key, CAST(NULL AS bigint) AS transaction_key, CAST(NULL AS bigint) AS lot_key
FROM balances WHERE least(pending, available, held, debt) < 0 OR debt > 0 AND available > 0
"""

_OVERTAKEN = """
WITH sums AS (
    SELECT t.order_key, min(t.member_key) AS member_key, min(t.transaction_key) AS transaction_key,
           coalesce(sum(CASE WHEN p.from_account = 'issued' THEN p.points
                             WHEN p.to_account = 'issued' THEN -p.points END), 0) AS earned,
           coalesce(sum(CASE WHEN p.to_account = 'reversed' THEN p.points
                             WHEN p.from_account = 'reversed' THEN -p.points END), 0) AS reversed
    FROM ledger_transactions t JOIN postings p USING (transaction_key)
    WHERE t.order_key IS NOT NULL GROUP BY t.order_key
)
SELECT format('order earned %s and %s were taken back', earned, reversed) AS detail, member_key,
       transaction_key, CAST(NULL AS bigint) AS lot_key
FROM sums WHERE reversed > earned OR reversed < 0
"""

_FORGOTTEN = """
SELECT format('the next due time %s is later than a lot''s', b.next_due_at) AS detail, member_key,
       CAST(NULL AS bigint) AS transaction_key, lot_key
FROM lots l JOIN balances b USING (member_key)
WHERE l.remaining > l.held AND CASE WHEN l.pending THEN l.available_at ELSE l.expires_at END
      < coalesce(b.next_due_at, CAST('infinity' AS timestamptz))
"""

_HOLDS_AGAINST_LOTS = """
WITH open AS (
    SELECT p.lot_key, min(h.member_key) AS member_key, sum(p.points) AS points
    FROM point_holds h JOIN point_hold_lots p USING (hold_id) WHERE h.state = 'open' GROUP BY p.lot_key
), held AS (
    SELECT lot_key, member_key, held FROM lots WHERE held > 0
)
SELECT format('lot holds %s points, its open holds %s', l.held, o.points) AS detail,
       coalesce(l.member_key, o.member_key) AS member_key, CAST(NULL AS bigint) AS transaction_key, lot_key
FROM held l FULL JOIN open o USING (lot_key)
WHERE (l.held, l.member_key) IS DISTINCT FROM (o.points, o.member_key)
"""

_HOLDS_AGAINST_POSTINGS = """
WITH moved AS (
    SELECT t.hold_id, sum(p.points) FILTER (WHERE t.kind = 'hold' AND p.to_account = 'held') AS held,
           sum(p.points) FILTER (WHERE p.to_account = 'redeemed') AS captured,
           sum(p.points) FILTER (WHERE t.kind IN ('capture', 'unhold') AND p.from_account = 'held') AS ended,
           min(t.transaction_key) AS transaction_key
    FROM ledger_transactions t JOIN postings p USING (transaction_key)
    WHERE t.hold_id IS NOT NULL GROUP BY t.hold_id
)
SELECT format('hold %s is %s with %s points of which %s captured; its postings say %s, %s, and %s ended',
              hold_id, h.state, h.points, h.captured, m.held, m.captured, m.ended) AS detail,
       h.member_key, m.transaction_key, CAST(NULL AS bigint) AS lot_key
FROM point_holds h FULL JOIN moved m USING (hold_id)
WHERE (h.points, h.captured, CASE h.state WHEN 'open' THEN 0 ELSE h.points END)
      IS DISTINCT FROM (m.held, coalesce(m.captured, 0), coalesce(m.ended, 0))
"""

_EXPIRIES_AGAINST_ENTRIES = """
WITH chain AS (
    SELECT lot_key, transaction_key, expires_before, expires_after,
           lead(transaction_key) OVER later IS NULL AS is_last,
           lead(expires_before) OVER later AS next_before
    FROM lot_expiries WINDOW later AS (PARTITION BY lot_key ORDER BY transaction_key)
)
SELECT format('lot expires at %s; the entry that moved it says %s', coalesce(c.next_before, l.expires_at),
              c.expires_after) AS detail,
       l.member_key, c.transaction_key, c.lot_key
FROM chain c LEFT JOIN lots l USING (lot_key) LEFT JOIN ledger_transactions t USING (transaction_key)
WHERE t.transaction_key IS NULL
   OR c.expires_after IS DISTINCT FROM CASE WHEN c.is_last THEN l.expires_at ELSE c.next_before END
"""

_OVERRETURNED = """
WITH spent AS (
    SELECT h.order_key, sum(h.captured) AS points FROM point_holds h
    WHERE h.order_key IS NOT NULL AND h.state = 'captured' GROUP BY h.order_key
), back AS (
    SELECT t.order_key, min(t.member_key) AS member_key, max(t.transaction_key) AS transaction_key,
           sum(p.points) AS points
    FROM ledger_transactions t JOIN postings p USING (transaction_key)
    WHERE t.kind = 'restore' AND p.from_account = 'redeemed' GROUP BY t.order_key
)
SELECT format('%s points were spent on the order and %s given back', s.points, b.points) AS detail,
       b.member_key, b.transaction_key, CAST(NULL AS bigint) AS lot_key
FROM back b JOIN spent s USING (order_key) WHERE b.points > s.points
"""

_SPENDS = """
WITH moved AS (
    SELECT t.spend_id, p.lot_key, min(t.member_key) AS member_key, max(t.transaction_key) AS transaction_key,
           coalesce(sum(p.points) FILTER (WHERE t.kind = 'redeem' AND p.to_account = 'redeemed'), 0) AS spent,
           coalesce(sum(p.points) FILTER (WHERE t.kind = 'unredeem' AND p.from_account = 'redeemed'), 0)
               AS returned
    FROM ledger_transactions t JOIN postings p USING (transaction_key)
    WHERE t.spend_id IS NOT NULL GROUP BY t.spend_id, p.lot_key
)
SELECT format('%s points of the lot were spent on %s and %s given back', spent, spend_id, returned) AS detail,
       member_key, transaction_key, lot_key
FROM moved WHERE returned > 0 AND returned <> spent OR lot_key IS NULL
"""

_MERGED = """
WITH sides AS (
    SELECT to_account AS account, points FROM postings UNION ALL SELECT from_account, -points FROM postings
)
SELECT format('what was merged out of accounts and into others differs by %s', sum(points)) AS detail,
       CAST(NULL AS bigint) AS member_key, CAST(NULL AS bigint) AS transaction_key,
       CAST(NULL AS bigint) AS lot_key
FROM sides WHERE account = 'merged' HAVING sum(points) <> 0
UNION ALL
SELECT format('account merged into %s holds something', b.merged_into), b.member_key, NULL,
       (SELECT min(lot_key) FROM lots l WHERE l.member_key = b.member_key)
FROM balances b
WHERE b.merged_into IS NOT NULL
  AND (b.pending + b.available + b.held + b.debt + b.lifetime_earned <> 0
       OR EXISTS (SELECT FROM lots l WHERE l.member_key = b.member_key)
       OR EXISTS (SELECT FROM point_holds h WHERE h.member_key = b.member_key))
"""

_UNDUE = """
SELECT format('the next due time %s is later than the end of hold %s', b.next_due_at, h.hold_id) AS detail,
       member_key, CAST(NULL AS bigint) AS transaction_key, CAST(NULL AS bigint) AS lot_key
FROM point_holds h JOIN balances b USING (member_key)
WHERE h.state = 'open' AND h.expires_at < coalesce(b.next_due_at, CAST('infinity' AS timestamptz))
"""

_CHECKS = [
    (law, text(f"{check} ORDER BY member_key, transaction_key, lot_key LIMIT {_LIMIT}"))
    for law, check in (
        ("P1", _UNBALANCED),
        ("P1", _LOTS_AGAINST_POSTINGS),
        ("P1", _LOTS_AGAINST_BALANCES),
        ("P1", _ORPHANS),
        ("P1", _FORGOTTEN),
        ("P1", _HOLDS_AGAINST_LOTS),
        ("P1", _HOLDS_AGAINST_POSTINGS),
        ("P1", _UNDUE),
        ("P2", _OVERDRAWN),
        ("P1", _EXPIRIES_AGAINST_ENTRIES),
        ("P4", _OVERTAKEN),
        ("P4", _OVERRETURNED),
        ("P4", _SPENDS),
        ("P5", _MERGED),
    )
]


_POSTINGS = """
SELECT p.transaction_key, t.kind, t.occurred_at, p.posting_no, p.from_account, p.to_account, p.points,
       p.lot_key, p.member_key
FROM postings p LEFT JOIN ledger_transactions t USING (transaction_key)
{where}
"""

# One statement each, so that each goes by an index. Of a member only the last can be told.
_POSTINGS_OF = {
    "transaction": text(
        _POSTINGS.format(where="WHERE p.transaction_key = :key ORDER BY p.posting_no LIMIT 100")
    ),
    "lot": text(
        _POSTINGS.format(where="WHERE p.lot_key = :key ORDER BY p.transaction_key, p.posting_no LIMIT 100")
    ),
    "member": text(
        _POSTINGS.format(
            where="WHERE p.member_key = :key ORDER BY p.transaction_key DESC, p.posting_no DESC LIMIT 100"
        )
    ),
}


def list_postings(
    conn: Connection, *, transaction_key: int | None, lot_key: int | None, member_key: int | None
) -> tuple[dict[str, Any], ...]:
    """Return the postings of a transaction, else those behind a lot, else a member's last, oldest first."""
    named = {"transaction": transaction_key, "lot": lot_key, "member": member_key}
    narrowest = next((name for name, key in named.items() if key is not None), None)
    if narrowest is None:
        return ()
    rows = conn.execute(_POSTINGS_OF[narrowest], {"key": named[narrowest]}).all()
    return tuple(
        {
            "transaction_key": row.transaction_key,
            "kind": row.kind,
            "occurred_at": None if row.occurred_at is None else format_time(row.occurred_at),
            "posting_no": row.posting_no,
            "from": row.from_account,
            "to": row.to_account,
            "points": row.points,
            "lot_key": row.lot_key,
            "member_key": row.member_key,
        }
        for row in sorted(rows, key=lambda row: (row.transaction_key, row.posting_no))
    )


def list_violations(conn: Connection) -> list[tuple[str, Row[Any]]]:
    """Return each law with a row of detail, member_key, transaction_key and lot_key that breaks it."""
    return [(law, row) for law, check in _CHECKS for row in conn.execute(check)]
