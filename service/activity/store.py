"""Every SQL statement of orders, refunds, shipments and the day roll-up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.db import run

_ADD_ORDER_KEY = text(
    "INSERT INTO order_keys (order_id, member_key, placed_at, content_hash) "
    "VALUES (:order_id, :member_key, :placed_at, :content_hash) "
    "ON CONFLICT (order_id) DO NOTHING RETURNING order_key"
)
_FIND_ORDER_KEY = text(
    "SELECT order_key, order_id, member_key, placed_at, content_hash FROM order_keys WHERE order_id = "
    ":order_id"
)
# The order, its lines and what they add to the day, in one round trip.
_ADD_ORDER = text(
    """
    WITH the_order AS (
        INSERT INTO orders (order_key, placed_at, received_at, member_key, store_key, day, channel, currency,
            exchange_rate, order_goods_minor, order_discount_minor, order_shipping_minor, order_tax_minor,
            order_points_paid_minor, order_voucher_paid_minor, goods_minor, spend_minor, checkout_started_at,
            recommendation_ids, attribution_token, origin_key)
        VALUES (:order_key, :placed_at, :received_at, :member_key, :store_key, :day, :channel, :currency,
            :exchange_rate, :order_goods_minor, :order_discount_minor, :order_shipping_minor,
                :order_tax_minor, :order_points_paid_minor, :order_voucher_paid_minor,
            :goods_minor, :spend_minor, :checkout_started_at, CAST(:recommendation_ids AS text[]),
            :attribution_token, :origin_key)
    ), the_lines AS (
        INSERT INTO order_lines (order_key, placed_at, line_no, item_key, quantity, order_amount_minor,
            amount_minor, category)
        SELECT :order_key, :placed_at, line.* FROM unnest(
            CAST(:line_nos AS int[]), CAST(:item_keys AS bigint[]), CAST(:quantities AS int[]),
            CAST(:order_amounts AS bigint[]), CAST(:amounts AS bigint[]), CAST(:categories AS text[])) AS line
    )
    INSERT INTO member_days AS d (member_key, day, goods_minor, spend_minor, orders, unlinked_minor)
    VALUES (:member_key, :day, :goods_minor, :spend_minor, :orders, 0)
    ON CONFLICT (member_key, day) DO UPDATE SET goods_minor = d.goods_minor + EXCLUDED.goods_minor,
        spend_minor = d.spend_minor + EXCLUDED.spend_minor, orders = d.orders + EXCLUDED.orders
    """
)
_CHANGE_DAY = text(
    """
    INSERT INTO member_days AS d (member_key, day, goods_minor, spend_minor, orders, unlinked_minor)
    VALUES (:member_key, :day, :goods_delta, :spend_delta, :orders_delta, :unlinked_delta)
    ON CONFLICT (member_key, day) DO UPDATE SET goods_minor = d.goods_minor + :goods_delta,
        spend_minor = d.spend_minor + :spend_delta, orders = d.orders + :orders_delta,
        unlinked_minor = d.unlinked_minor + :unlinked_delta
    """
)
# INSERT's CHECK would refuse a negative delta before the conflict is seen, so linked refunds update.
_TAKE_FROM_DAY = text(
    "UPDATE member_days SET goods_minor = goods_minor + :goods_delta, spend_minor = spend_minor + "
    ":spend_delta, "
    "orders = orders + :orders_delta WHERE member_key = :member_key AND day = :day"
)
_DAYS = text(
    "SELECT day, goods_minor, spend_minor, orders, unlinked_minor FROM member_days "
    "WHERE member_key = :member_key AND day > :after ORDER BY day"
)
_ORDER = text(
    """
    SELECT k.order_id, o.*, s.store_id,
        COALESCE((SELECT sum(r.order_amount_minor) FROM refund_keys r WHERE r.order_key = k.order_key), 0)
            AS refunded_minor,
        c.cancelled_at, c.reason AS cancel_reason, c.order_amount_minor AS cancelled_minor
    FROM order_keys k
    JOIN orders o ON o.order_key = k.order_key AND o.placed_at = k.placed_at
    LEFT JOIN stores s ON s.store_key = o.store_key
    LEFT JOIN order_cancellations c ON c.order_key = k.order_key
    WHERE k.order_id = :order_id
    """
)
_LINES = text(
    "SELECT l.line_no, i.sku, l.quantity, l.order_amount_minor, l.category FROM order_lines l "
    "JOIN items i USING (item_key) WHERE l.order_key = :order_key AND l.placed_at = :placed_at ORDER BY "
    "l.line_no"
)
_REFUNDS_OF_ORDER = text(
    "SELECT k.refund_id, k.refund_key, r.refunded_at, r.kind, r.reason, r.order_amount_minor, r.currency "
    "FROM refund_keys k JOIN refunds r ON r.refund_key = k.refund_key AND r.refunded_at = k.refunded_at "
    "WHERE k.order_key = :order_key ORDER BY r.refunded_at, k.refund_id"
)
_SHIPMENTS = text(
    "SELECT shipment_id, status, occurred_at, promised_at FROM shipments WHERE order_key = :order_key "
    "ORDER BY occurred_at, shipment_id, status"
)
_ADD_CANCELLATION = text(
    "INSERT INTO order_cancellations (order_key, cancelled_at, received_at, reason, order_amount_minor) "
    "VALUES (:order_key, :cancelled_at, :received_at, :reason, :order_amount_minor)"
)
_ADD_REFUND_KEY = text(
    "INSERT INTO refund_keys (refund_id, member_key, order_key, refunded_at, order_amount_minor, "
    "content_hash) "
    "VALUES (:refund_id, :member_key, :order_key, :refunded_at, :order_amount_minor, :content_hash) "
    "ON CONFLICT (refund_id) DO NOTHING RETURNING refund_key"
)
_FIND_REFUND = text(
    """
    SELECT k.refund_id, k.refund_key, k.content_hash, k.order_key, k.member_key, r.refunded_at,
        r.requested_at,
        r.kind, r.reason, r.order_amount_minor, r.amount_minor, r.currency, o.order_id, s.store_id
    FROM refund_keys k JOIN refunds r ON r.refund_key = k.refund_key AND r.refunded_at = k.refunded_at
    LEFT JOIN order_keys o ON o.order_key = k.order_key
    LEFT JOIN stores s ON s.store_key = r.store_key
    WHERE k.refund_id = :refund_id
    """
)
_ADD_REFUND = text(
    """
    WITH the_refund AS (
        INSERT INTO refunds (refund_key, refunded_at, requested_at, received_at, member_key, order_key,
            store_key,
            day, kind, reason, currency, order_amount_minor, amount_minor, origin_key)
        VALUES (:refund_key, :refunded_at, :requested_at, :received_at, :member_key, :order_key, :store_key,
            :day, :kind, :reason, :currency, :order_amount_minor, :amount_minor, :origin_key)
    )
    INSERT INTO refund_lines (refund_key, refunded_at, line_no, item_key, quantity, amount_minor)
    SELECT :refund_key, :refunded_at, line.* FROM unnest(
        CAST(:line_nos AS int[]), CAST(:item_keys AS bigint[]), CAST(:quantities AS int[]),
        CAST(:amounts AS bigint[])) AS line
    """
)
_REFUND_LINES = text(
    "SELECT i.sku, l.quantity, l.amount_minor FROM refund_lines l JOIN items i USING (item_key) "
    "WHERE l.refund_key = :refund_key AND l.refunded_at = :refunded_at ORDER BY l.line_no"
)
_ADD_SHIPMENT = text(
    "INSERT INTO shipments (order_key, shipment_id, status, occurred_at, promised_at, received_at) "
    "VALUES (:order_key, :shipment_id, :status, :occurred_at, :promised_at, :received_at) "
    "ON CONFLICT DO NOTHING RETURNING order_key"
)
_FIND_SHIPMENT = text(
    "SELECT occurred_at, promised_at FROM shipments "
    "WHERE order_key = :order_key AND shipment_id = :shipment_id AND status = :status"
)
# Everything that changes the days of some members: one row per order, refund and cancellation.
_FACTS = text(
    """
    SELECT o.member_key, 'order' AS what, o.placed_at AS at, k.order_id AS source_id, o.order_key,
        CAST(NULL AS bigint) AS refund_key, o.day, o.order_goods_minor, o.goods_minor, o.spend_minor,
        o.origin_key
    FROM orders o JOIN order_keys k ON k.order_key = o.order_key
    WHERE o.member_key = ANY(:member_keys)
    UNION ALL
    SELECT r.member_key, CASE WHEN r.order_key IS NULL THEN 'unlinked' ELSE 'refund' END, r.refunded_at,
        k.refund_id, r.order_key, r.refund_key, r.day, r.order_amount_minor, r.amount_minor, 0, r.origin_key
    FROM refunds r JOIN refund_keys k ON k.refund_key = r.refund_key
    WHERE r.member_key = ANY(:member_keys)
    UNION ALL
    SELECT k.member_key, 'refund', c.cancelled_at, k.order_id, c.order_key, NULL, NULL,
        c.order_amount_minor, 0, 0, NULL
    FROM order_cancellations c JOIN order_keys k ON k.order_key = c.order_key
    WHERE k.member_key = ANY(:member_keys)
    ORDER BY member_key
    """
)
# An unlinked refund's allotment, newest order first: what each order of the member still has.
_OPEN_ORDERS = text(
    """
    SELECT k.order_key, o.placed_at, o.goods_minor, o.order_goods_minor,
        COALESCE((SELECT sum(r.order_amount_minor) FROM refund_keys r WHERE r.order_key = k.order_key), 0)
          + COALESCE((SELECT c.order_amount_minor FROM order_cancellations c WHERE c.order_key =
              k.order_key), 0)
            AS refunded_minor,
        COALESCE((SELECT sum(a.amount_minor) FROM refund_allotments a WHERE a.order_key = k.order_key), 0)
            AS allotted_minor,
        ARRAY(SELECT l.item_key FROM order_lines l WHERE l.order_key = k.order_key AND l.placed_at =
            k.placed_at)
            AS item_keys
    FROM order_keys k JOIN orders o ON o.order_key = k.order_key AND o.placed_at = k.placed_at
    WHERE k.member_key = :member_key AND k.placed_at <= :before
    ORDER BY k.placed_at DESC, k.order_id DESC
    LIMIT :limit
    """
)
_ADD_ALLOTMENTS = text(
    "INSERT INTO refund_allotments (refund_key, order_key, amount_minor) "
    "SELECT :refund_key, unnest(CAST(:order_keys AS bigint[])), unnest(CAST(:amounts AS bigint[]))"
)
_ALLOTTED_OF_REFUND = text(
    "SELECT order_key, amount_minor FROM refund_allotments WHERE refund_key = :refund_key ORDER BY order_key"
)
_ALLOTTED = text("SELECT COALESCE(sum(amount_minor), 0) FROM refund_allotments WHERE order_key = :order_key")


def add_order_key(
    conn: Connection, *, order_id: str, member_key: int, placed_at: datetime, content_hash: bytes
) -> int | None:
    """Claim an order id and return its key, or None when it is taken."""
    parameters = {
        "order_id": order_id,
        "member_key": member_key,
        "placed_at": placed_at,
        "content_hash": content_hash,
    }
    return run(conn, _ADD_ORDER_KEY, parameters).scalar_one_or_none()


def find_order_key(conn: Connection, *, order_id: str) -> Row[Any] | None:
    """Return an order's key row."""
    return run(conn, _FIND_ORDER_KEY, {"order_id": order_id}).one_or_none()


def add_order(conn: Connection, *, values: Mapping[str, object]) -> None:
    """Write an order, its lines and its part of the day roll-up."""
    run(conn, _ADD_ORDER, values)


def list_days(conn: Connection, *, member_key: int, after: date) -> Sequence[Row[Any]]:
    """Return a member's days after one, in order."""
    return run(conn, _DAYS, {"member_key": member_key, "after": after}).all()


def add_to_day(conn: Connection, *, member_key: int, day: date, deltas: Mapping[str, int]) -> None:
    """Add what an unlinked refund changes to a day."""
    conn.execute(_CHANGE_DAY, {"member_key": member_key, "day": day, **deltas})


def take_from_day(conn: Connection, *, member_key: int, day: date, deltas: Mapping[str, int]) -> None:
    """Take what a linked refund changes from its order's day."""
    conn.execute(_TAKE_FROM_DAY, {"member_key": member_key, "day": day, **deltas})


def find_order(conn: Connection, *, order_id: str) -> Row[Any] | None:
    """Return an order with what was refunded and cancelled of it."""
    return conn.execute(_ORDER, {"order_id": order_id}).one_or_none()


def list_lines(conn: Connection, *, order_key: int, placed_at: datetime) -> Sequence[Row[Any]]:
    """Return an order's lines."""
    return conn.execute(_LINES, {"order_key": order_key, "placed_at": placed_at}).all()


def list_refunds_of(conn: Connection, *, order_key: int) -> Sequence[Row[Any]]:
    """Return an order's refunds by time."""
    return conn.execute(_REFUNDS_OF_ORDER, {"order_key": order_key}).all()


def list_shipments(conn: Connection, *, order_key: int) -> Sequence[Row[Any]]:
    """Return an order's shipments by time."""
    return conn.execute(_SHIPMENTS, {"order_key": order_key}).all()


def add_cancellation(conn: Connection, *, values: Mapping[str, object]) -> None:
    """Write a cancellation."""
    conn.execute(_ADD_CANCELLATION, values)


def add_refund_key(conn: Connection, *, values: Mapping[str, object]) -> int | None:
    """Claim a refund id and return its key, or None when it is taken."""
    return conn.execute(_ADD_REFUND_KEY, values).scalar_one_or_none()


def find_refund(conn: Connection, *, refund_id: str) -> Row[Any] | None:
    """Return a refund."""
    return conn.execute(_FIND_REFUND, {"refund_id": refund_id}).one_or_none()


def add_refund(conn: Connection, *, values: Mapping[str, object]) -> None:
    """Write a refund and its lines."""
    conn.execute(_ADD_REFUND, values)


def list_refund_lines(conn: Connection, *, refund_key: int, refunded_at: datetime) -> Sequence[Row[Any]]:
    """Return a refund's lines."""
    return conn.execute(_REFUND_LINES, {"refund_key": refund_key, "refunded_at": refunded_at}).all()


def add_shipment(conn: Connection, *, values: Mapping[str, object]) -> bool:
    """Write a shipment's status; False when that status of it is already there."""
    return conn.execute(_ADD_SHIPMENT, values).scalar_one_or_none() is not None


def find_shipment(conn: Connection, *, order_key: int, shipment_id: str, status: str) -> Row[Any] | None:
    """Return one status of one shipment."""
    parameters = {"order_key": order_key, "shipment_id": shipment_id, "status": status}
    return conn.execute(_FIND_SHIPMENT, parameters).one_or_none()


def stream_facts(conn: Connection, *, member_keys: Sequence[int]) -> Iterator[Row[Any]]:
    """Yield every order, refund and cancellation of some members, by member."""
    yield from conn.execute(_FACTS, {"member_keys": list(member_keys)})


def list_open_orders(
    conn: Connection, *, member_key: int, before: datetime, limit: int
) -> Sequence[Row[Any]]:
    """Return a member's newest orders with what is left of each."""
    return conn.execute(_OPEN_ORDERS, {"member_key": member_key, "before": before, "limit": limit}).all()


def add_allotments(conn: Connection, *, refund_key: int, amounts: Mapping[int, int]) -> None:
    """Write which orders an unlinked refund takes points back from."""
    parameters = {"refund_key": refund_key, "order_keys": list(amounts), "amounts": list(amounts.values())}
    conn.execute(_ADD_ALLOTMENTS, parameters)


def sum_allotted(conn: Connection, *, order_key: int) -> int:
    """Return what unlinked refunds were allotted to an order."""
    return int(conn.execute(_ALLOTTED, {"order_key": order_key}).scalar_one())


def list_allotted_of(conn: Connection, *, refund_key: int) -> dict[int, int]:
    """Return what of an unlinked refund was allotted, by order."""
    rows = conn.execute(_ALLOTTED_OF_REFUND, {"refund_key": refund_key})
    return {row.order_key: row.amount_minor for row in rows}
