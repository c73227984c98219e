"""Every SQL statement of an import's rating: the backlog, facts for points, allotments, the history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from service.intake.bulk.store import copy_rows

_COUNT_BACKLOG = text("SELECT count(*) FROM import_backlog")
_BACKLOG = text("SELECT member_key FROM import_backlog ORDER BY member_key LIMIT :limit")
_CLEAR_BACKLOG = text("DELETE FROM import_backlog WHERE member_key = ANY(CAST(:member_keys AS bigint[]))")

_ORDERS = text(
    """
    SELECT o.member_key, o.order_key, k.order_id, o.placed_at, o.day, o.order_goods_minor, o.goods_minor,
        o.spend_minor, o.import_key IS NOT NULL AS is_imported
    FROM orders o JOIN order_keys k ON k.order_key = o.order_key
    WHERE o.member_key = ANY(:member_keys) ORDER BY o.member_key, o.placed_at, k.order_id
    """
)
_GIVE_BACKS = text(
    """
    SELECT r.member_key, r.refund_key, k.refund_id AS source_id, r.refunded_at AS at, r.order_key,
        r.order_amount_minor, r.amount_minor, r.import_key IS NOT NULL AS is_imported
    FROM refunds r JOIN refund_keys k ON k.refund_key = r.refund_key
    WHERE r.member_key = ANY(:member_keys)
    UNION ALL
    SELECT k.member_key, NULL, k.order_id, c.cancelled_at, c.order_key, c.order_amount_minor, 0, false
    FROM order_cancellations c JOIN order_keys k ON k.order_key = c.order_key
    WHERE k.member_key = ANY(:member_keys)
    """
)
# By what the lines say and never as they came: a refund is the same whatever the order of its lines.
_LINES_OF_REFUNDS = text(
    """
    SELECT l.refund_key, l.item_key, l.amount_minor
    FROM refund_keys k JOIN refund_lines l ON l.refund_key = k.refund_key AND l.refunded_at = k.refunded_at
    JOIN items i ON i.item_key = l.item_key
    WHERE k.refund_key = ANY(:refund_keys) ORDER BY l.refund_key, i.sku, l.amount_minor
    """
)
# Only what a refund names is looked for in the orders: most of what was bought is never given back. Named as
# one list a member, or each line of a member's orders would be read once for each item that is named.
_ITEMS_OF_ORDERS = text(
    """
    SELECT o.order_key, array_agg(DISTINCT l.item_key) AS item_keys
    FROM (SELECT k.member_key, array_agg(DISTINCT l.item_key) AS item_keys FROM refund_keys k
          JOIN refund_lines l ON l.refund_key = k.refund_key AND l.refunded_at = k.refunded_at
          WHERE k.refund_key = ANY(:refund_keys) GROUP BY k.member_key) named
    JOIN order_keys o ON o.member_key = named.member_key
    JOIN order_lines l ON l.order_key = o.order_key AND l.placed_at = o.placed_at
        AND l.item_key = ANY(named.item_keys)
    GROUP BY o.order_key
    """
)
_ALLOTMENTS = text(
    "SELECT a.refund_key, a.order_key, a.amount_minor FROM refund_allotments a "
    "JOIN refund_keys k USING (refund_key) WHERE k.member_key = ANY(:member_keys)"
)
_FORGET_ALLOTMENTS = text("DELETE FROM refund_allotments WHERE refund_key = ANY(:refund_keys)")
_CONVERT = text(
    "UPDATE refunds r SET amount_minor = c.amount_minor FROM unnest(CAST(:refund_keys AS bigint[]), "
    "CAST(:amounts AS bigint[])) AS c (refund_key, amount_minor) JOIN refund_keys k USING (refund_key) "
    "WHERE r.refund_key = c.refund_key AND r.refunded_at = k.refunded_at"
)
_HISTORY_COLUMNS = (
    "member_key", "order_key", "refund_key", "occurred_at", "eligible_minor", "rule_points", "rule_per_minor",
    "multiplier_bp", "tier", "available_at", "expires_at",
    "rolls", "rules_version", "points", "terms",
)  # fmt: skip


def count_backlog(conn: Connection) -> int:
    """Return how many members are still to be rated."""
    return int(conn.execute(_COUNT_BACKLOG).scalar_one())


def list_backlog(conn: Connection, *, limit: int) -> list[int]:
    """Return the first members to be rated, by ascending key."""
    return list(conn.scalars(_BACKLOG, {"limit": limit}))


def clear_backlog(conn: Connection, *, member_keys: Sequence[int]) -> None:
    """Say that these members are rated."""
    conn.execute(_CLEAR_BACKLOG, {"member_keys": list(member_keys)})


def list_orders(conn: Connection, *, member_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return every order of some members, by member and time."""
    return conn.execute(_ORDERS, {"member_keys": list(member_keys)}).all()


def list_give_backs(conn: Connection, *, member_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return every refund and cancellation of some members."""
    return conn.execute(_GIVE_BACKS, {"member_keys": list(member_keys)}).all()


def list_lines_of_refunds(conn: Connection, *, refund_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return what refunds give back, line by line, by sku and amount."""
    return conn.execute(_LINES_OF_REFUNDS, {"refund_keys": list(refund_keys)}).all()


def list_items_of_orders(conn: Connection, *, refund_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return, for orders of the refunds' members, which of the refunded items they held."""
    return conn.execute(_ITEMS_OF_ORDERS, {"refund_keys": list(refund_keys)}).all()


def list_allotments(conn: Connection, *, member_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return what the members' unlinked refunds are allotted to."""
    return conn.execute(_ALLOTMENTS, {"member_keys": list(member_keys)}).all()


def rewrite_allotments(conn: Connection, *, allotments: Mapping[int, Mapping[int, int]]) -> None:
    """Replace what some unlinked refunds are allotted to: refund key → order key → amount."""
    if not allotments:
        return
    conn.execute(_FORGET_ALLOTMENTS, {"refund_keys": list(allotments)})
    rows = (
        (refund_key, order_key, amount)
        for refund_key, parts in allotments.items()
        for order_key, amount in parts.items()
    )
    columns = ("refund_key", "order_key", "amount_minor")
    copy_rows(conn, table="refund_allotments", columns=columns, rows=rows)


def convert_refunds(conn: Connection, *, amounts: Mapping[int, int]) -> None:
    """Write what refunds come to in the programme's currency."""
    if amounts:
        conn.execute(_CONVERT, {"refund_keys": list(amounts), "amounts": list(amounts.values())})


def stage_history(conn: Connection, *, rows: Iterable[Sequence[Any]]) -> None:
    """Fill the ledger's history table: columns as its room documents them."""
    copy_rows(conn, table="ledger_history", columns=_HISTORY_COLUMNS, rows=rows)
