"""The verbs of activity: record a fact once, and read facts back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row

from service.activity import store
from service.activity.changed import (
    TakingChanges,
    count_taking_changes,
    forget_taking_changes,
    take_taking_changes,
)
from service.activity.checks import refuse_future, store_of
from service.activity.errors import OrderConflict, UnknownOrder
from service.activity.events import Echo, EventVerdict, link_visitors, record_events
from service.activity.lines import OrderInLines, read_in_lines
from service.activity.merging import hand_back, hand_over, list_orders_sent_for
from service.activity.refunds import (
    RecordedRefund,
    Reduced,
    cancel_order,
    existing_order,
    record_refund,
)
from service.activity.rules import (
    DayTotals,
    NewOrder,
    NewRefund,
    OrderAmounts,
    OrderValue,
    SentFor,
    TierFact,
    order_content_hash,
    order_facts,
    value_order,
)
from service.activity.tier_facts import (
    FactsByOrigin,
    list_tier_facts,
    stream_tier_facts,
    stream_tier_facts_by_origin,
)
from service.activity.views import new_order_view, order_view, refund_view
from service.catalogue import operations as catalogue
from service.kit.clock import local_day
from service.kit.errors import FieldError, Invalid
from service.programme.operations import Programme, StoreRef

__all__ = [
    "DayTotals",
    "Echo",
    "EventVerdict",
    "FactsByOrigin",
    "NewOrder",
    "NewRefund",
    "OrderInLines",
    "RecordedOrder",
    "RecordedRefund",
    "Reduced",
    "SentFor",
    "TakingChanges",
    "TierFact",
    "cancel_order",
    "count_taking_changes",
    "find_order",
    "forget_taking_changes",
    "get_order",
    "hand_back",
    "hand_over",
    "link_visitors",
    "list_member_days",
    "list_orders_sent_for",
    "list_tier_facts",
    "order_view",
    "read_in_lines",
    "record_events",
    "record_order",
    "record_refund",
    "record_shipment",
    "refund_view",
    "refuse_future",
    "stream_tier_facts",
    "stream_tier_facts_by_origin",
    "take_taking_changes",
    "value_new_order",
]

_BEGINNING = date(1, 1, 1)


@dataclass(frozen=True, slots=True)
class RecordedOrder:
    """An order as recorded; `fact` and `view` are None when it was recorded before.

    `line_minors` are its lines' amounts after all discounts, in its own currency.
    """

    order_key: int
    spend_minor: int
    fact: TierFact | None
    view: dict[str, Any] | None = None
    line_minors: tuple[int, ...] = ()


def record_order(
    conn: Connection,
    *,
    member_key: int,
    member_id: str,
    order: NewOrder,
    programme: Programme,
    now: datetime,
    sent_for: SentFor | None = None,
) -> RecordedOrder:
    """Record an order, its lines and its part of the day roll-up, once.

    `sent_for` names the member it was sent for, where that one has been merged into this member.

    Raises:
        OrderConflict: the id is recorded with other content.
        FutureTime: it is placed later than five minutes from now.
        Invalid: the discount is larger than the lines.
    """
    refuse_future(order.placed_at, now=now, pointer="/placed_at")
    content_hash = order_content_hash(order, member_id=sent_for.member_id if sent_for else member_id)
    order_key = store.add_order_key(
        conn,
        order_id=order.order_id,
        member_key=member_key,
        placed_at=order.placed_at,
        content_hash=content_hash,
    )
    if order_key is None:
        return _same_order(conn, order.order_id, content_hash)
    ref = store_of(conn, order.store_id, programme, now)
    item_keys = catalogue.ensure_items(conn, skus=(line.sku for line in order.lines), now=now)
    value, values = _value(order, order_key, item_keys, ref, programme)
    line_minors: list[int] = values["order_amounts"]  # type: ignore[assignment]
    fact = order_facts(value, ())[0]
    values |= {
        "member_key": member_key,
        "origin_key": sent_for.member_key if sent_for else None,
        "received_at": now,
        "orders": fact.orders_delta,
    }
    store.add_order(conn, values=values)
    view = new_order_view(order, values, member_id=member_id)
    return RecordedOrder(order_key, value.spend_minor, fact, view, tuple(line_minors))


def _same_order(conn: Connection, order_id: str, content_hash: bytes) -> RecordedOrder:
    row = store.find_order_key(conn, order_id=order_id)
    if row is None or bytes(row.content_hash) != content_hash:
        raise OrderConflict(f"the order {order_id} is recorded with other content")
    return RecordedOrder(row.order_key, 0, None)


def value_new_order(order: NewOrder, *, programme: Programme) -> OrderAmounts:
    """Return what an order is worth by the settings of its time.

    Raises:
        Invalid: the discount is larger than the lines, or an amount too large.
    """
    try:
        return value_order(
            [line.amount_minor for line in order.lines],
            discount_minor=order.discount_minor,
            tax_minor=order.tax_minor,
            paid_otherwise_minor=order.points_paid_minor + order.voucher_paid_goods_minor,
            rate=order.rate,
            tax_counts=programme.settings_at(order.placed_at).tax_counts,
        )
    except ValueError as error:
        detail = FieldError(str(error), pointer="/discount")
        raise Invalid("the order's amounts do not fit together", errors=[detail]) from error


def _value(
    order: NewOrder, order_key: int, item_keys: Mapping[str, int], ref: StoreRef, programme: Programme
) -> tuple[OrderValue, dict[str, object]]:
    amounts = value_new_order(order, programme=programme)
    day = local_day(order.placed_at, timezone=ref.timezone)
    value = OrderValue(
        order_key=order_key,
        order_id=order.order_id,
        placed_at=order.placed_at,
        day=day,
        order_goods_minor=amounts.order_goods_minor,
        goods_minor=amounts.goods_minor,
        spend_minor=amounts.spend_minor,
    )
    values: dict[str, object] = {
        "order_key": order_key,
        "placed_at": order.placed_at,
        "store_key": ref.store_key,
        "day": day,
        "channel": order.channel,
        "currency": order.currency,
        "exchange_rate": order.exchange_rate,
        "order_goods_minor": amounts.order_goods_minor,
        "order_discount_minor": order.discount_minor,
        "order_shipping_minor": order.shipping_minor,
        "order_tax_minor": order.tax_minor,
        "order_points_paid_minor": order.points_paid_minor,
        "order_voucher_paid_minor": order.voucher_paid_minor,
        "goods_minor": amounts.goods_minor,
        "spend_minor": amounts.spend_minor,
        "checkout_started_at": order.checkout_started_at,
        "recommendation_ids": list(order.recommendation_ids) or None,
        "attribution_token": order.attribution_token,
        "line_nos": list(range(1, len(order.lines) + 1)),
        "item_keys": [item_keys[line.sku] for line in order.lines],
        "quantities": [line.quantity for line in order.lines],
        "order_amounts": [line.order_amount_minor for line in amounts.lines],
        "amounts": [line.amount_minor for line in amounts.lines],
        "categories": [line.category for line in order.lines],
    }
    return value, values


def record_shipment(
    conn: Connection,
    *,
    order_id: str,
    shipment_id: str,
    status: str,
    occurred_at: datetime,
    promised_at: datetime | None,
    now: datetime,
) -> bool:
    """Record one status of a shipment; False when it is already recorded, the same.

    Raises:
        UnknownOrder: there is none. OrderConflict: that status is recorded with another time.
    """
    refuse_future(occurred_at, now=now, pointer="/occurred_at")
    row = store.find_order_key(conn, order_id=order_id)
    if row is None:
        raise UnknownOrder(f"no order has the id {order_id}")
    values = {
        "order_key": row.order_key,
        "shipment_id": shipment_id,
        "status": status,
        "occurred_at": occurred_at,
        "promised_at": promised_at,
        "received_at": now,
    }
    if store.add_shipment(conn, values=values):
        return True
    known = store.find_shipment(conn, order_key=row.order_key, shipment_id=shipment_id, status=status)
    if known is None or (known.occurred_at, known.promised_at) != (occurred_at, promised_at):
        raise OrderConflict(f"the shipment {shipment_id} is recorded as {status} at another time")
    return False


def list_member_days(conn: Connection, *, member_key: int, after: date | None) -> list[DayTotals]:
    """Return the roll-up of a member's days after one (None: all), in order."""
    rows = store.list_days(conn, member_key=member_key, after=after or _BEGINNING)
    return [
        DayTotals(row.day, row.goods_minor, row.spend_minor, row.orders, row.unlinked_minor) for row in rows
    ]


def find_order(conn: Connection, *, order_id: str) -> Row[Any] | None:
    """Return an order's row with what was refunded and cancelled of it, or None."""
    return store.find_order(conn, order_id=order_id)


def get_order(conn: Connection, *, order_id: str) -> Row[Any]:
    """Return an order's row with what was refunded and cancelled of it.

    Raises:
        UnknownOrder: there is none.
    """
    return existing_order(conn, order_id)
