"""Every statement that posts imported history, set-based: its cost is a few statements, however many orders.

The life of an order's lot is a short list of transfers: issued when it was placed, released as the return
period ended, expired on its day, and reversed by each refund out of whichever account held it then. The
desired transfers are compared with the posted ones and only the difference is entered, each dated when it
should have happened. The first run finds nothing posted; an identical run finds no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

# Exact, and rounded down once, at the end: the same arithmetic as rules.points_for. An award by terms of its
# own brings what it comes to.
_POINTS = (
    "coalesce(h.points, CAST(div("
    "CAST(h.eligible_minor AS numeric) * {rule}.rule_points * {rule}.multiplier_bp, "
    "CAST({rule}.rule_per_minor AS numeric) * 10000) AS bigint))"
)

_CREATE = text("""
CREATE TEMPORARY TABLE IF NOT EXISTS ledger_history (
    member_key bigint NOT NULL,
    order_key bigint NOT NULL,
    refund_key bigint,
    occurred_at timestamptz NOT NULL,
    eligible_minor bigint NOT NULL CHECK (eligible_minor >= 0),
    rule_points bigint CHECK (rule_points >= 0),
    rule_per_minor bigint CHECK (rule_per_minor > 0),
    multiplier_bp bigint CHECK (multiplier_bp >= 0),
    tier text,
    available_at timestamptz,
    expires_at timestamptz,
    is_order boolean GENERATED ALWAYS AS (rule_points IS NOT NULL) STORED,
    rolls boolean NOT NULL DEFAULT false,
    rules_version int,
    points bigint CHECK (points >= 0),
    terms jsonb,
    CHECK (terms IS NULL OR points IS NOT NULL),
    UNIQUE NULLS NOT DISTINCT (order_key, is_order, refund_key),
    CHECK (CASE WHEN rule_points IS NOT NULL
                THEN rule_per_minor IS NOT NULL AND multiplier_bp IS NOT NULL AND available_at IS NOT NULL
                     AND refund_key IS NULL
                ELSE available_at IS NULL END)
) ON COMMIT DROP;
CREATE TEMPORARY TABLE IF NOT EXISTS ledger_history_orders (
    member_key bigint NOT NULL,
    order_key bigint PRIMARY KEY,
    occurred_at timestamptz NOT NULL,
    rule_points bigint NOT NULL,
    rule_per_minor bigint NOT NULL,
    multiplier_bp bigint NOT NULL,
    rule jsonb NOT NULL,
    points bigint NOT NULL,
    available_at timestamptz NOT NULL,
    expires_at timestamptz,
    lot_key bigint,
    is_new_lot boolean NOT NULL,
    is_new boolean NOT NULL,
    is_rule_new boolean NOT NULL,
    is_entangled boolean NOT NULL,
    rolls boolean NOT NULL
) ON COMMIT DROP;
CREATE TEMPORARY TABLE IF NOT EXISTS ledger_history_takes (
    order_key bigint NOT NULL,
    refund_key bigint NOT NULL,  -- 0: the cancellation
    occurred_at timestamptz NOT NULL,
    points bigint NOT NULL CHECK (points >= 0),
    is_new boolean NOT NULL,
    PRIMARY KEY (order_key, refund_key)
) ON COMMIT DROP;
CREATE TEMPORARY TABLE IF NOT EXISTS ledger_history_posted (
    order_key bigint NOT NULL,
    transaction_key bigint NOT NULL,
    kind text NOT NULL,
    refund_key bigint,
    import_key bigint,
    shortfall bigint NOT NULL,
    rule jsonb,
    occurred_at timestamptz NOT NULL,
    from_account text,
    to_account text,
    points bigint,
    lot_key bigint
) ON COMMIT DROP;
CREATE TEMPORARY TABLE IF NOT EXISTS ledger_history_entries (
    transaction_key bigint NOT NULL,
    member_key bigint NOT NULL,
    kind text NOT NULL,
    occurred_at timestamptz NOT NULL,
    order_key bigint NOT NULL,
    refund_key bigint,
    rule jsonb,
    from_account text NOT NULL,
    to_account text NOT NULL,
    points bigint NOT NULL,
    lot_key bigint
) ON COMMIT DROP
""")

_LOCK = text("""
SELECT member_key, coalesce(next_due_at <= :now, false) AS is_due FROM balances
WHERE member_key IN (SELECT member_key FROM ledger_history)
ORDER BY member_key FOR NO KEY UPDATE
""")

_OPEN = text("""
INSERT INTO balances (member_key) SELECT DISTINCT member_key FROM ledger_history
ON CONFLICT (member_key) DO NOTHING
""")

_READ_POSTED = text("""
INSERT INTO ledger_history_posted
SELECT t.order_key, t.transaction_key, t.kind, t.refund_key, t.import_key, t.shortfall, t.rule, t.occurred_at,
       p.from_account, p.to_account, p.points, p.lot_key
FROM ledger_history h JOIN ledger_transactions t ON t.order_key = h.order_key
LEFT JOIN postings p ON p.transaction_key = t.transaction_key
WHERE h.is_order
""")

_READ_ORDERS = text(
    """
WITH known AS (
    SELECT order_key, bool_or(kind = 'earn' AND import_key IS NULL) AS is_live,
           (array_agg(rule ORDER BY transaction_key DESC) FILTER (WHERE rule IS NOT NULL))[1] AS rule
    FROM ledger_history_posted GROUP BY order_key
)
INSERT INTO ledger_history_orders
SELECT h.member_key, h.order_key, h.occurred_at, h.rule_points, h.rule_per_minor, h.multiplier_bp, r.rule,
       r.points, coalesce(l.available_at, h.available_at),
       CASE WHEN l.lot_key IS NULL THEN h.expires_at ELSE l.expires_at END,
       coalesce(l.lot_key, CASE WHEN r.points > 0 THEN nextval('lots_lot_key_seq') END),
       l.lot_key IS NULL, k.rule IS NULL, k.rule IS NOT NULL AND k.rule <> r.rule, false, h.rolls
FROM ledger_history h
CROSS JOIN LATERAL (
    SELECT {points} AS points,
           jsonb_build_object('points', h.rule_points, 'per_minor', h.rule_per_minor,
               'multiplier_bp', h.multiplier_bp, 'tier', h.tier, 'eligible_minor', h.eligible_minor)
           || CASE WHEN h.rules_version IS NULL THEN '{}'
                   ELSE jsonb_build_object('rules_version', h.rules_version) END
           || CASE WHEN h.terms IS NULL THEN '{}'
                   ELSE jsonb_build_object('terms', h.terms, 'granted', h.points) END AS rule
) r
LEFT JOIN known k ON k.order_key = h.order_key
LEFT JOIN lots l ON l.order_key = h.order_key
WHERE h.is_order AND k.is_live IS NOT TRUE
""".replace("{points}", _POINTS.format(rule="h"))
)

# Points of the order were drawn on by something else, or something else paid for its refunds.
_MARK_ENTANGLED = text("""
UPDATE ledger_history_orders o SET is_entangled = true
FROM (
    SELECT p.order_key FROM ledger_history_posted p JOIN ledger_history_orders o USING (order_key)
    WHERE p.shortfall > 0 OR p.import_key IS NULL AND p.kind NOT IN ('release', 'expire')
       OR p.points IS NOT NULL AND p.lot_key IS DISTINCT FROM o.lot_key
    UNION
    SELECT o.order_key FROM ledger_history_orders o JOIN postings p ON p.lot_key = o.lot_key
    JOIN ledger_transactions t ON t.transaction_key = p.transaction_key
    WHERE NOT o.is_new_lot
      AND (t.order_key IS DISTINCT FROM o.order_key OR p.from_account IN ('held', 'debt', 'redeemed')
           OR p.to_account IN ('held', 'debt', 'redeemed'))
) e
WHERE o.order_key = e.order_key
""")

_READ_TAKES = text(
    """
INSERT INTO ledger_history_takes
SELECT order_key, refund_key, occurred_at,
       lag(left_points, 1, points) OVER earlier - left_points,
       NOT EXISTS (SELECT FROM ledger_history_posted p WHERE p.kind = 'reverse' AND p.order_key = s.order_key
                   AND coalesce(p.refund_key, 0) = s.refund_key)
FROM (
    SELECT h.order_key, coalesce(h.refund_key, 0) AS refund_key, h.occurred_at, o.points,
           {points} AS left_points
    FROM ledger_history h JOIN ledger_history_orders o USING (order_key) WHERE NOT h.is_order
) s
WINDOW earlier AS (PARTITION BY order_key ORDER BY occurred_at, left_points DESC, refund_key)
""".replace("{points}", _POINTS.format(rule="o"))
)

_COMPARE = text("""
WITH spans AS (
    SELECT o.*, s.released_at,
           CASE WHEN o.expires_at IS NOT NULL THEN greatest(o.expires_at, s.released_at) END AS expired_at
    FROM ledger_history_orders o
    CROSS JOIN LATERAL (
        SELECT CASE WHEN o.available_at > o.occurred_at THEN o.available_at END AS released_at) s
    WHERE NOT o.is_entangled
), takes AS (
    SELECT t.*, CASE WHEN t.occurred_at < o.released_at OR o.released_at > :now THEN 'pending'
                WHEN t.occurred_at >= o.expired_at AND o.expired_at <= :now THEN 'expired'
                ELSE 'available' END AS from_account
    FROM ledger_history_takes t JOIN spans o USING (order_key)
), taken AS (
    SELECT order_key, sum(points) FILTER (WHERE from_account = 'pending') AS while_pending,
           sum(points) FILTER (WHERE from_account = 'available') AS while_available
    FROM takes GROUP BY order_key
), desired AS (
    SELECT order_key, CAST(NULL AS bigint) AS refund_key, 'issued' AS from_account,
           CASE WHEN released_at IS NULL THEN 'available' ELSE 'pending' END AS to_account,
           points, occurred_at
    FROM spans
    UNION ALL
    SELECT order_key, NULL, 'pending', 'available', o.points - coalesce(while_pending, 0), released_at
    FROM spans o LEFT JOIN taken USING (order_key) WHERE released_at <= :now
    UNION ALL
    SELECT order_key, NULL, 'available', 'expired',
           o.points - coalesce(while_pending, 0) - coalesce(while_available, 0), expired_at
    FROM spans o LEFT JOIN taken USING (order_key) WHERE expired_at <= :now
    UNION ALL
    SELECT order_key, nullif(refund_key, 0), from_account, 'reversed', points, occurred_at FROM takes
), transfers AS (
    SELECT p.*, array_position(l.ladder, from_account) < array_position(l.ladder, to_account) AS is_upward
    FROM spans o JOIN ledger_history_posted p USING (order_key),
         LATERAL (SELECT CAST(:ladder AS text[]) AS ladder) l
    WHERE p.points IS NOT NULL
), posted AS (
    SELECT order_key, refund_key, CASE WHEN is_upward THEN from_account ELSE to_account END AS from_account,
           CASE WHEN is_upward THEN to_account ELSE from_account END AS to_account,
           sum(CASE WHEN is_upward THEN points ELSE -points END) AS points, max(occurred_at) AS occurred_at
    FROM transfers GROUP BY 1, 2, 3, 4
), compared AS (
    SELECT coalesce(d.order_key, p.order_key) AS order_key,
           coalesce(d.refund_key, p.refund_key) AS refund_key,
           coalesce(d.from_account, p.from_account) AS from_account,
           coalesce(d.to_account, p.to_account) AS to_account,
           coalesce(d.points, 0) - coalesce(p.points, 0) AS points,
           coalesce(d.occurred_at, p.occurred_at) AS occurred_at,
           p.order_key IS NULL AS is_first, d.order_key IS NOT NULL AS is_desired
    FROM desired d FULL JOIN posted p
      ON p.order_key = d.order_key AND coalesce(p.refund_key, 0) = coalesce(d.refund_key, 0)
     AND p.from_account = d.from_account AND p.to_account = d.to_account
), entries AS (
    SELECT o.member_key, o.lot_key, o.rule, c.*,
           c.is_desired AND CASE WHEN c.from_account = 'issued' THEN o.is_new
                                 WHEN c.to_account = 'reversed' THEN t.is_new
                                 ELSE c.is_first END AS is_original
    FROM compared c JOIN spans o ON o.order_key = c.order_key
    LEFT JOIN ledger_history_takes t ON t.order_key = c.order_key
         AND t.refund_key = coalesce(c.refund_key, 0) AND c.to_account = 'reversed'
    WHERE c.points <> 0
       OR c.is_desired AND (c.from_account = 'issued' AND (o.is_new OR o.is_rule_new)
                            OR c.to_account = 'reversed' AND t.is_new)
    ORDER BY c.occurred_at, c.order_key, c.refund_key NULLS FIRST
)
INSERT INTO ledger_history_entries
SELECT nextval('ledger_transactions_transaction_key_seq'), member_key,
       CASE WHEN NOT is_original THEN 'correct' WHEN from_account = 'issued' THEN 'earn'
            WHEN to_account = 'reversed' THEN 'reverse' WHEN to_account = 'expired' THEN 'expire'
            ELSE 'release' END,
       occurred_at, order_key, refund_key, CASE WHEN from_account = 'issued' AND is_desired THEN rule END,
       CASE WHEN points >= 0 THEN from_account ELSE to_account END,
       CASE WHEN points >= 0 THEN to_account ELSE from_account END, abs(points), lot_key
FROM entries
""")

LADDER = ["issued", "pending", "available", "expired", "reversed"]
"""The way points go in a lot that nothing else has drawn on; a transfer the other way undoes one."""

_ENTER = text("""
INSERT INTO ledger_transactions
    (transaction_key, member_key, kind, occurred_at, recorded_at, order_key, refund_key, rule, import_key)
SELECT transaction_key, member_key, kind, occurred_at, :now, order_key, refund_key, rule, :import_key
FROM ledger_history_entries ORDER BY transaction_key
""")

_POST = text("""
INSERT INTO postings (transaction_key, posting_no, member_key, from_account, to_account, points, lot_key)
SELECT transaction_key, 1, member_key, from_account, to_account, points, lot_key
FROM ledger_history_entries WHERE points > 0 ORDER BY transaction_key
""")

_OPEN_LOTS = text("""
INSERT INTO lots
    (lot_key, member_key, order_key, earned_at, available_at, expires_at, earned, remaining, pending, rolls)
SELECT lot_key, member_key, order_key, occurred_at, available_at, expires_at, 0, 0,
       available_at > occurred_at, rolls
FROM ledger_history_orders WHERE is_new_lot AND lot_key IS NOT NULL
""")

_FILL_LOTS = text("""
UPDATE lots l SET
    earned = l.earned + c.issued, remaining = l.remaining + c.change,
    pending = l.pending AND l.available_at > :now
FROM (
    SELECT lot_key,
           sum(CASE from_account WHEN 'issued' THEN points ELSE 0 END
               - CASE to_account WHEN 'issued' THEN points ELSE 0 END) AS issued,
           sum(CASE WHEN to_account IN ('pending', 'available') THEN points ELSE 0 END
               - CASE WHEN from_account IN ('pending', 'available') THEN points ELSE 0 END) AS change
    FROM ledger_history_entries WHERE points > 0 GROUP BY lot_key
) c WHERE l.lot_key = c.lot_key
""")

_BALANCE = text("""
WITH sides AS (
    SELECT member_key, to_account AS account, points FROM ledger_history_entries
    UNION ALL
    SELECT member_key, from_account, -points FROM ledger_history_entries
), changes AS (
    SELECT member_key, coalesce(sum(points) FILTER (WHERE account = 'pending'), 0) AS pending,
           coalesce(sum(points) FILTER (WHERE account = 'available'), 0) AS available,
           coalesce(sum(points) FILTER (WHERE account IN ('issued', 'reversed')), 0) AS unearned
    FROM sides GROUP BY member_key
)
UPDATE balances b SET
    pending = b.pending + c.pending, available = b.available + c.available,
    lifetime_earned = b.lifetime_earned - c.unearned,
    next_due_at = least(
        (SELECT min(CASE WHEN l.pending THEN l.available_at ELSE l.expires_at END)
         FROM lots l WHERE l.member_key = b.member_key AND l.remaining > 0),
        (SELECT min(h.expires_at) FROM point_holds h WHERE h.member_key = b.member_key AND h.state = 'open'))
FROM changes c WHERE b.member_key = c.member_key
""")

_ENTANGLED = text("""
SELECT o.member_key, o.order_key, o.lot_key, o.occurred_at, CAST(o.rule AS text) AS rule, o.is_rule_new,
       CAST(o.points
            - coalesce((SELECT sum(points) FROM ledger_history_takes WHERE order_key = o.order_key), 0)
            - coalesce((
                -- Taken back through another door, and not in this history: it stands as it is.
                SELECT sum(t.shortfall + coalesce(p.points, 0)) FROM ledger_transactions t LEFT JOIN LATERAL (
                    SELECT sum(points) AS points FROM postings
                    WHERE transaction_key = t.transaction_key AND to_account = 'reversed') p ON true
                WHERE t.order_key = o.order_key AND t.kind = 'reverse' AND t.import_key IS NULL
                  AND NOT EXISTS (SELECT FROM ledger_history_takes k
                                  WHERE k.order_key = t.order_key
                                    AND k.refund_key = coalesce(t.refund_key, 0))), 0)
            AS bigint) AS points
FROM ledger_history_orders o WHERE o.is_entangled ORDER BY o.member_key, o.occurred_at, o.order_key
""")

_NEW_TAKES = text("""
SELECT nullif(refund_key, 0) AS refund_key, occurred_at, points FROM ledger_history_takes
WHERE order_key = :order_key AND is_new ORDER BY occurred_at, refund_key
""")

_INDEBTED = text("""
SELECT member_key, available, debt FROM balances
WHERE member_key IN (SELECT member_key FROM ledger_history_orders) AND debt > 0 AND available > 0
ORDER BY member_key
""")

_LOT_STATE = text("SELECT pending, available_at, expires_at FROM lots WHERE lot_key = :lot_key")

# A temporary table has no statistics of its own accord, and 25,000 rows taken for 1,000 cost a bad join.
_ANALYZE, _ANALYZE_POSTED, _ANALYZE_ORDERS, _ANALYZE_TAKES = (
    text("ANALYZE ledger_history (order_key, refund_key)"),
    text("ANALYZE ledger_history_posted (order_key, refund_key)"),
    text("ANALYZE ledger_history_orders (order_key, lot_key)"),
    text("ANALYZE ledger_history_takes (order_key, refund_key)"),
)

_COUNT = text(
    "SELECT kind, count(*) AS transactions, CAST(sum(points) AS bigint) AS points "
    "FROM ledger_history_entries GROUP BY kind"
)

_CLEAR_WORK = text(
    "TRUNCATE ledger_history_posted, ledger_history_orders, ledger_history_takes, ledger_history_entries"
)
_CLEAR = text("TRUNCATE ledger_history")


def create_tables(conn: Connection) -> None:
    """Create the staging table of the history and its work tables, until the transaction ends."""
    for statement in _CREATE.text.split(";\n"):
        conn.exec_driver_sql(statement)


def lock_members(conn: Connection, *, now: datetime) -> Sequence[Row[Any]]:
    """Open and lock the account of every member in the history, in ascending order."""
    conn.execute(_ANALYZE)
    conn.execute(_OPEN)
    return conn.execute(_LOCK, {"now": now}).all()


def post_differences(conn: Connection, *, now: datetime, import_key: int) -> Sequence[Row[Any]]:
    """Enter what the history lacks for orders whose lots nothing else has drawn on; counts by kind."""
    conn.execute(_CLEAR_WORK)
    conn.execute(_READ_POSTED)
    conn.execute(_ANALYZE_POSTED)
    conn.execute(_READ_ORDERS)
    conn.execute(_ANALYZE_ORDERS)
    conn.execute(_MARK_ENTANGLED)
    conn.execute(_READ_TAKES)
    conn.execute(_ANALYZE_TAKES)
    conn.execute(_COMPARE, {"now": now, "ladder": LADDER})
    conn.execute(_ENTER, {"now": now, "import_key": import_key})
    conn.execute(_OPEN_LOTS)
    conn.execute(_POST)
    conn.execute(_FILL_LOTS, {"now": now})
    conn.execute(_BALANCE)
    return conn.execute(_COUNT).all()


def list_entangled(conn: Connection) -> Sequence[Row[Any]]:
    """Return the orders whose points something else has drawn on, with the points they should hold."""
    return conn.execute(_ENTANGLED).all()


def list_new_takes(conn: Connection, *, order_key: int) -> Sequence[Row[Any]]:
    """Return the refunds of an order that the ledger has not seen, in their order."""
    return conn.execute(_NEW_TAKES, {"order_key": order_key}).all()


def list_indebted(conn: Connection) -> Sequence[Row[Any]]:
    """Return members of the history who owe points although they have some available."""
    return conn.execute(_INDEBTED).all()


def get_lot_state(conn: Connection, *, lot_key: int) -> Row[Any]:
    """Return whether a lot is pending, and its dates."""
    return conn.execute(_LOT_STATE, {"lot_key": lot_key}).one()


def clear(conn: Connection) -> None:
    """Empty the staging table, so that the next chunk may use it in the same transaction."""
    conn.execute(_CLEAR)
