"""Every SQL statement about the lines of orders and what was given back of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

_LINES = text(
    """
    SELECT k.order_key, l.line_no, l.item_key, i.sku, l.category, l.quantity, l.order_amount_minor
    FROM order_keys k JOIN order_lines l ON l.order_key = k.order_key AND l.placed_at = k.placed_at
    JOIN items i ON i.item_key = l.item_key
    WHERE k.order_key = ANY(:order_keys) ORDER BY k.order_key, l.line_no
    """
)
_HEADS = text(
    """
    SELECT o.order_key, o.currency, o.exchange_rate, o.order_goods_minor, o.goods_minor, o.order_tax_minor,
        o.order_shipping_minor, o.order_points_paid_minor, o.order_voucher_paid_minor
    FROM order_keys k JOIN orders o ON o.order_key = k.order_key AND o.placed_at = k.placed_at
    WHERE k.order_key = ANY(:order_keys)
    """
)
_GIVEN_BACK = text(
    """
    SELECT order_key, refund_key, order_amount_minor AS amount, false AS is_allotted
    FROM refund_keys WHERE order_key = ANY(:order_keys)
    UNION ALL
    SELECT order_key, refund_key, amount_minor, true FROM refund_allotments WHERE order_key = ANY(:order_keys)
    UNION ALL
    SELECT order_key, NULL, order_amount_minor, false FROM order_cancellations
    WHERE order_key = ANY(:order_keys)
    """
)
_LINES_BACK = text(
    """
    SELECT k.refund_key, l.item_key, l.quantity, l.amount_minor
    FROM refund_keys k JOIN refund_lines l ON l.refund_key = k.refund_key AND l.refunded_at = k.refunded_at
    WHERE k.refund_key = ANY(:refund_keys)
    """
)


def list_lines(conn: Connection, *, order_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return the lines of orders, by order and number."""
    return conn.execute(_LINES, {"order_keys": list(order_keys)}).all()


def list_heads(conn: Connection, *, order_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return the amounts of orders besides their lines."""
    return conn.execute(_HEADS, {"order_keys": list(order_keys)}).all()


def list_given_back(conn: Connection, *, order_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return every refund, allotment and cancellation (no refund key) of orders."""
    return conn.execute(_GIVEN_BACK, {"order_keys": list(order_keys)}).all()


def list_lines_back(conn: Connection, *, refund_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return what refunds name."""
    return conn.execute(_LINES_BACK, {"refund_keys": list(refund_keys)}).all()
