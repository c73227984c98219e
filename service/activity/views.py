"""Facts as the API shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, Row

from service.activity import store
from service.activity.rules import NewOrder
from service.kit.clock import format_time
from service.kit.money import to_text


def order_view(conn: Connection, row: Row[Any], *, member_id: str) -> dict[str, Any]:
    """Return a recorded order as the API shows it, with its refunds and shipments."""
    lines = store.list_lines(conn, order_key=row.order_key, placed_at=row.placed_at)
    return {
        **_order_alone(row, lines, member_id=member_id),
        "refunds": [
            {
                "refund_id": refund.refund_id,
                "refunded_at": format_time(refund.refunded_at),
                "kind": refund.kind,
                "reason": refund.reason,
                "amount": to_text(refund.order_amount_minor, currency=refund.currency),
            }
            for refund in store.list_refunds_of(conn, order_key=row.order_key)
        ],
        "shipments": [
            {
                "shipment_id": shipment.shipment_id,
                "status": shipment.status,
                "occurred_at": format_time(shipment.occurred_at),
                "promised_at": None if shipment.promised_at is None else format_time(shipment.promised_at),
            }
            for shipment in store.list_shipments(conn, order_key=row.order_key)
        ],
    }


def new_order_view(order: NewOrder, values: Mapping[str, Any], *, member_id: str) -> dict[str, Any]:
    """Return an order as it was just written, from `values`, without reading it back."""
    row = SimpleNamespace(
        **values,
        order_id=order.order_id,
        store_id=order.store_id,
        refunded_minor=0,
        cancelled_at=None,
        cancel_reason=None,
    )
    lines = [
        SimpleNamespace(
            line_no=number,
            sku=line.sku,
            quantity=line.quantity,
            order_amount_minor=amount,
            category=line.category,
        )
        for number, line, amount in zip(values["line_nos"], order.lines, values["order_amounts"], strict=True)
    ]
    return _order_alone(row, lines, member_id=member_id)


def _order_alone(row: Any, lines: Iterable[Any], *, member_id: str) -> dict[str, Any]:
    def money(minor: int) -> str:
        return to_text(minor, currency=row.currency)

    return {
        "order_id": row.order_id,
        "member_id": member_id,
        "placed_at": format_time(row.placed_at),
        "received_at": format_time(row.received_at),
        "day": row.day.isoformat(),
        "store_id": row.store_id,
        "channel": row.channel,
        "currency": row.currency,
        "exchange_rate": None if row.exchange_rate is None else format(row.exchange_rate, "f"),
        "goods": money(row.order_goods_minor),
        "discount": money(row.order_discount_minor),
        "shipping": money(row.order_shipping_minor),
        "tax": money(row.order_tax_minor),
        "points_paid": money(row.order_points_paid_minor),
        "voucher_paid": money(row.order_voucher_paid_minor),
        "refunded": money(int(row.refunded_minor)),
        "cancelled_at": None if row.cancelled_at is None else format_time(row.cancelled_at),
        "cancel_reason": row.cancel_reason,
        "lines": [
            {
                "line_no": line.line_no,
                "sku": line.sku,
                "quantity": line.quantity,
                "amount": money(line.order_amount_minor),
                "category": line.category,
            }
            for line in lines
        ],
    }


def refund_view(conn: Connection, *, refund_id: str, member_id: str) -> dict[str, Any]:
    """Return a recorded refund as the API shows it."""
    row = store.find_refund(conn, refund_id=refund_id)
    if row is None:
        raise LookupError(refund_id)
    lines = store.list_refund_lines(conn, refund_key=row.refund_key, refunded_at=row.refunded_at)
    return {
        "refund_id": row.refund_id,
        "order_id": row.order_id,
        "member_id": member_id,
        "refunded_at": format_time(row.refunded_at),
        "requested_at": None if row.requested_at is None else format_time(row.requested_at),
        "kind": row.kind,
        "reason": row.reason,
        "currency": row.currency,
        "amount": to_text(row.order_amount_minor, currency=row.currency),
        "store_id": row.store_id,
        "lines": [
            {
                "sku": line.sku,
                "quantity": line.quantity,
                "amount": None
                if line.amount_minor is None
                else to_text(line.amount_minor, currency=row.currency),
            }
            for line in lines
        ],
    }
