"""The verbs of activity: record a fact once, and read facts back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row

from service.activity import store
from service.activity.errors import (
    OrderConflict,
    OrderNotKnown,
    RefundAboveLeft,
    RefundBeforeOrder,
    RefundOfOtherMember,
    UnknownOrder,
)
from service.activity.rules import (
    DayTotals,
    NewOrder,
    NewRefund,
    OpenOrder,
    OrderValue,
    RefundStep,
    TierFact,
    allot,
    left_after,
    order_content_hash,
    order_facts,
    refund_content_hash,
    refund_fact,
    value_order,
)
from service.catalogue import operations as catalogue
from service.kit.clock import FUTURE_TOLERANCE, format_time, local_day
from service.kit.errors import FieldError, FutureTime, Invalid
from service.kit.money import to_text
from service.programme.operations import Programme, StoreRef, ensure_stores

__all__ = [
    "DayTotals",
    "NewOrder",
    "NewRefund",
    "RecordedOrder",
    "RecordedRefund",
    "TierFact",
    "cancel_order",
    "find_order",
    "get_order",
    "list_member_days",
    "list_tier_facts",
    "order_view",
    "record_order",
    "record_refund",
    "record_shipment",
    "refund_view",
    "stream_tier_facts",
]

_BEGINNING = date(1, 1, 1)
# An unlinked refund looks back over at most this many of the member's newest orders.
_ALLOTMENT_REACH = 200


@dataclass(frozen=True, slots=True)
class RecordedOrder:
    """An order as recorded; `fact` is None when it was recorded before."""

    order_key: int
    spend_minor: int
    fact: TierFact | None


@dataclass(frozen=True, slots=True)
class Reduced:
    """An order that a refund reduced: what is left of each quantity that is proportional to its goods."""

    order_key: int
    goods_minor: int
    refunded_minor: int
    allotted_minor: int
    order_goods_minor: int

    def left_of(self, whole_minor: int) -> int:
        """Return what is left of `whole_minor` after all linked refunds and allotments."""
        left = left_after(whole_minor, refunded_minor=self.refunded_minor, goods_minor=self.order_goods_minor)
        if self.allotted_minor == 0 or self.goods_minor == 0:
            return left
        gone = whole_minor - left_after(
            whole_minor, refunded_minor=self.allotted_minor, goods_minor=self.goods_minor
        )
        return max(0, left - gone)


@dataclass(frozen=True, slots=True)
class RecordedRefund:
    """A refund as recorded; `fact` is None when it was recorded before.

    `reduced` are the orders it took from; `unallotted_minor` is what no order could be found for.
    """

    refund_key: int | None
    fact: TierFact | None
    reduced: tuple[Reduced, ...] = ()
    unallotted_minor: int = 0


def record_order(
    conn: Connection,
    *,
    member_key: int,
    member_id: str,
    order: NewOrder,
    programme: Programme,
    now: datetime,
) -> RecordedOrder:
    """Record an order, its lines and its part of the day roll-up, once.

    Raises:
        OrderConflict: the id is recorded with other content.
        FutureTime: it is placed later than five minutes from now.
        Invalid: the discount is larger than the lines.
    """
    refuse_future(order.placed_at, now=now, pointer="/placed_at")
    content_hash = order_content_hash(order, member_id=member_id)
    order_key = store.add_order_key(
        conn,
        order_id=order.order_id,
        member_key=member_key,
        placed_at=order.placed_at,
        content_hash=content_hash,
    )
    if order_key is None:
        return _same_order(conn, order.order_id, content_hash)
    ref = _store_of(conn, order.store_id, programme, now)
    item_keys = catalogue.ensure_items(conn, skus=(line.sku for line in order.lines), now=now)
    value, values = _value(order, order_key, item_keys, ref, programme)
    fact = order_facts(value, ())[0]
    store.add_order(
        conn, values={**values, "member_key": member_key, "received_at": now, "orders": fact.orders_delta}
    )
    return RecordedOrder(order_key, value.spend_minor, fact)


def _same_order(conn: Connection, order_id: str, content_hash: bytes) -> RecordedOrder:
    row = store.find_order_key(conn, order_id=order_id)
    if row is None or bytes(row.content_hash) != content_hash:
        raise OrderConflict(f"the order {order_id} is recorded with other content")
    return RecordedOrder(row.order_key, 0, None)


def _value(
    order: NewOrder, order_key: int, item_keys: Mapping[str, int], ref: StoreRef, programme: Programme
) -> tuple[OrderValue, dict[str, object]]:
    try:
        amounts = value_order(
            [line.amount_minor for line in order.lines],
            discount_minor=order.discount_minor,
            tax_minor=order.tax_minor,
            paid_otherwise_minor=0,
            rate=order.rate,
        )
    except ValueError as error:
        detail = FieldError(str(error), pointer="/discount")
        raise Invalid("the order's amounts do not fit together", errors=[detail]) from error
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


def cancel_order(
    conn: Connection, *, order_id: str, cancelled_at: datetime, reason: str, now: datetime
) -> RecordedRefund:
    """Call an order off: from `cancelled_at` on, nothing of it counts.

    Raises:
        UnknownOrder: there is none. FutureTime, RefundBeforeOrder: the time cannot be.
        OrderConflict: it was cancelled before, at another time or for another reason.
    """
    refuse_future(cancelled_at, now=now, pointer="/cancelled_at")
    row = _existing_order(conn, order_id)
    if row.cancelled_at is not None:
        if (row.cancelled_at, row.cancel_reason) != (cancelled_at, reason):
            raise OrderConflict(f"the order {order_id} was cancelled before, otherwise")
        return RecordedRefund(None, None)
    _refuse_before_order(row, cancelled_at, pointer="/cancelled_at")
    left = row.order_goods_minor - int(row.refunded_minor)
    store.add_cancellation(
        conn,
        values={
            "order_key": row.order_key,
            "cancelled_at": cancelled_at,
            "received_at": now,
            "reason": reason,
            "order_amount_minor": left,
        },
    )
    step = RefundStep(cancelled_at, row.order_id, None, left)
    return _reduce(conn, row, step)


def record_refund(
    conn: Connection,
    *,
    member_key: int,
    member_id: str,
    refund: NewRefund,
    programme: Programme,
    now: datetime,
) -> RecordedRefund:
    """Record a refund once: linked to its order, or unlinked and dated its own day.

    Raises:
        OrderConflict: the id is recorded with other content.
        OrderNotKnown, RefundOfOtherMember, RefundBeforeOrder, RefundAboveLeft, FutureTime, Invalid.
    """
    refuse_future(refund.refunded_at, now=now, pointer="/refunded_at")
    content_hash = refund_content_hash(refund, member_id=member_id)
    known = store.find_refund(conn, refund_id=refund.refund_id)
    if known is not None:
        if bytes(known.content_hash) != content_hash:
            raise OrderConflict(f"the refund {refund.refund_id} is recorded with other content")
        return RecordedRefund(known.refund_key, None)
    order = None
    if refund.order_id is not None:
        order = _refundable_order(conn, refund, member_key)
    refund_key = _write_refund(conn, member_key, refund, order, content_hash, programme, now)
    step = RefundStep(refund.refunded_at, refund.refund_id, refund_key, refund.amount_minor)
    if order is not None:
        return _reduce(conn, order, step)
    return _reduce_unlinked(conn, member_key, refund, step, programme, now)


def _refundable_order(conn: Connection, refund: NewRefund, member_key: int) -> Row[Any]:
    row = store.find_order(conn, order_id=refund.order_id or "")
    if row is None:
        raise OrderNotKnown(
            f"no order has the id {refund.order_id}",
            errors=[FieldError("not recorded", pointer="/order_id")],
        )
    if row.member_key != member_key:
        raise RefundOfOtherMember(errors=[FieldError("did not place the order", pointer="/member_id")])
    _refuse_before_order(row, refund.refunded_at, pointer="/refunded_at")
    if refund.currency != row.currency:
        detail = FieldError(f"the order is in {row.currency}", pointer="/currency")
        raise Invalid("a refund is in its order's currency", errors=[detail])
    left = row.order_goods_minor - int(row.refunded_minor) - (row.cancelled_minor or 0)
    if refund.amount_minor > left:
        raise RefundAboveLeft(
            f"{to_text(left, currency=row.currency)} {row.currency} is left of the order",
            errors=[FieldError("larger than what is left", pointer="/amount")],
        )
    return row


def _write_refund(
    conn: Connection,
    member_key: int,
    refund: NewRefund,
    order: Row[Any] | None,
    content_hash: bytes,
    programme: Programme,
    now: datetime,
) -> int:
    order_key = None if order is None else order.order_key
    refund_key = store.add_refund_key(
        conn,
        values={
            "refund_id": refund.refund_id,
            "member_key": member_key,
            "order_key": order_key,
            "refunded_at": refund.refunded_at,
            "order_amount_minor": refund.amount_minor,
            "content_hash": content_hash,
        },
    )
    if refund_key is None:
        raise OrderConflict(f"the refund {refund.refund_id} is recorded with other content")
    ref = _store_of(conn, refund.store_id, programme, now)
    item_keys = catalogue.ensure_items(conn, skus=(line.sku for line in refund.lines), now=now)
    amount_minor = refund.amount_minor
    if order is not None:
        refunded = int(order.refunded_minor)
        before = left_after(
            order.goods_minor, refunded_minor=refunded, goods_minor=order.order_goods_minor
        )
        amount_minor = before - left_after(
            order.goods_minor,
            refunded_minor=refunded + refund.amount_minor,
            goods_minor=order.order_goods_minor,
        )
    store.add_refund(
        conn,
        values={
            "refund_key": refund_key,
            "refunded_at": refund.refunded_at,
            "requested_at": refund.requested_at,
            "received_at": now,
            "member_key": member_key,
            "order_key": order_key,
            "store_key": ref.store_key if refund.store_id else (order.store_key if order is not None else None),
            "day": local_day(refund.refunded_at, timezone=ref.timezone),
            "kind": refund.kind,
            "reason": refund.reason,
            "currency": refund.currency,
            "order_amount_minor": refund.amount_minor,
            "amount_minor": amount_minor,
            "line_nos": list(range(1, len(refund.lines) + 1)),
            "item_keys": [item_keys[line.sku] for line in refund.lines],
            "quantities": [line.quantity for line in refund.lines],
            "amounts": [line.amount_minor for line in refund.lines],
        },
    )
    return refund_key


def _reduce(conn: Connection, row: Row[Any], step: RefundStep) -> RecordedRefund:
    refunded = int(row.refunded_minor)
    fact = refund_fact(_order_value(row), step, refunded_before_minor=refunded)
    store.take_from_day(
        conn,
        member_key=row.member_key,
        day=row.day,
        deltas={
            "goods_delta": fact.goods_delta,
            "spend_delta": fact.spend_delta,
            "orders_delta": fact.orders_delta,
        },
    )
    reduced = Reduced(
        order_key=row.order_key,
        goods_minor=row.goods_minor,
        refunded_minor=refunded + step.amount_minor,
        allotted_minor=store.sum_allotted(conn, order_key=row.order_key),
        order_goods_minor=row.order_goods_minor,
    )
    return RecordedRefund(step.refund_key, fact, (reduced,))


def _reduce_unlinked(
    conn: Connection,
    member_key: int,
    refund: NewRefund,
    step: RefundStep,
    programme: Programme,
    now: datetime,
) -> RecordedRefund:
    timezone = _store_of(conn, refund.store_id, programme, now).timezone
    fact = unlinked_fact(step, day=local_day(step.at, timezone=timezone))
    store.add_to_day(
        conn,
        member_key=member_key,
        day=fact.day,
        deltas={
            "goods_delta": 0,
            "spend_delta": 0,
            "orders_delta": 0,
            "unlinked_delta": step.amount_minor,
        },
    )
    rows = store.list_open_orders(
        conn, member_key=member_key, before=refund.refunded_at, limit=_ALLOTMENT_REACH
    )
    by_key = {row.order_key: row for row in rows}
    item_keys = catalogue.ensure_items(conn, skus=(line.sku for line in refund.lines), now=now)
    allotted = allot(
        step.amount_minor,
        lines=[(item_keys[line.sku], line.amount_minor) for line in refund.lines],
        orders=[
            OpenOrder(
                order_key=row.order_key,
                left_minor=max(0, _goods_left(row) - int(row.allotted_minor)),
                item_keys=frozenset(row.item_keys),
            )
            for row in rows
        ],
    )
    if step.refund_key is not None and allotted:
        store.add_allotments(conn, refund_key=step.refund_key, amounts=allotted)
    reduced = tuple(
        Reduced(
            order_key=key,
            goods_minor=by_key[key].goods_minor,
            refunded_minor=int(by_key[key].refunded_minor),
            allotted_minor=int(by_key[key].allotted_minor) + amount,
            order_goods_minor=by_key[key].order_goods_minor,
        )
        for key, amount in allotted.items()
    )
    return RecordedRefund(step.refund_key, fact, reduced, step.amount_minor - sum(allotted.values()))


def _goods_left(row: Row[Any]) -> int:
    return left_after(
        row.goods_minor, refunded_minor=int(row.refunded_minor), goods_minor=row.order_goods_minor
    )


def unlinked_fact(step: RefundStep, *, day: date) -> TierFact:
    """Return what an unlinked refund changes: its own day's net spend, and no active day."""
    return TierFact(
        at=step.at,
        day=day,
        cause="refund",
        source_id=step.source_id,
        order_key=None,
        refund_key=step.refund_key,
        goods_delta=0,
        spend_delta=0,
        orders_delta=0,
        unlinked_delta=step.amount_minor,
    )


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


def list_tier_facts(conn: Connection, *, member_key: int) -> list[TierFact]:
    """Return everything that changes a member's days, in order of time."""
    (_, facts), *_ = list(stream_tier_facts(conn, member_keys=[member_key]))
    return facts


def stream_tier_facts(
    conn: Connection, *, member_keys: Sequence[int]
) -> Iterator[tuple[int, list[TierFact]]]:
    """Yield each member's facts in order of time, by ascending key; members without facts have none."""
    waiting = iter(sorted(set(member_keys)))
    for key, rows in groupby(store.stream_facts(conn, member_keys=member_keys), key=lambda row: row.member_key):
        for without in waiting:
            if without == key:
                break
            yield without, []
        yield key, _facts_of(list(rows))
    for without in waiting:
        yield without, []


def _facts_of(rows: Sequence[Row[Any]]) -> list[TierFact]:
    orders = {row.order_key: row for row in rows if row.what == "order"}
    steps: dict[int, list[RefundStep]] = {key: [] for key in orders}
    facts: list[TierFact] = []
    for row in rows:
        if row.what == "order":
            continue
        step = RefundStep(row.at, row.source_id, row.refund_key, row.order_goods_minor)
        if row.what == "unlinked":
            facts.append(unlinked_fact(step, day=row.day))
        else:
            steps[row.order_key].append(step)
    for key, row in orders.items():
        value = OrderValue(
            key, row.source_id, row.at, row.day, row.order_goods_minor, row.goods_minor, row.spend_minor
        )
        facts += order_facts(value, steps[key])
    facts.sort(key=TierFact.sort_key)
    return facts


def _order_value(row: Row[Any]) -> OrderValue:
    return OrderValue(
        order_key=row.order_key,
        order_id=row.order_id,
        placed_at=row.placed_at,
        day=row.day,
        order_goods_minor=row.order_goods_minor,
        goods_minor=row.goods_minor,
        spend_minor=row.spend_minor,
    )


def find_order(conn: Connection, *, order_id: str) -> Row[Any] | None:
    """Return an order's row with what was refunded and cancelled of it, or None."""
    return store.find_order(conn, order_id=order_id)


def get_order(conn: Connection, *, order_id: str) -> Row[Any]:
    """Return an order's row with what was refunded and cancelled of it.

    Raises:
        UnknownOrder: there is none.
    """
    return _existing_order(conn, order_id)


def order_view(conn: Connection, row: Row[Any], *, member_id: str, details: bool) -> dict[str, Any]:
    """Return an order as the API shows it; `details` adds refunds and shipments."""

    def money(minor: int) -> str:
        return to_text(minor, currency=row.currency)

    lines = store.list_lines(conn, order_key=row.order_key, placed_at=row.placed_at)
    view: dict[str, Any] = {
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
    if details:
        view["refunds"] = [
            {
                "refund_id": refund.refund_id,
                "refunded_at": format_time(refund.refunded_at),
                "kind": refund.kind,
                "reason": refund.reason,
                "amount": to_text(refund.order_amount_minor, currency=refund.currency),
            }
            for refund in store.list_refunds_of(conn, order_key=row.order_key)
        ]
        view["shipments"] = [
            {
                "shipment_id": shipment.shipment_id,
                "status": shipment.status,
                "occurred_at": format_time(shipment.occurred_at),
                "promised_at": None if shipment.promised_at is None else format_time(shipment.promised_at),
            }
            for shipment in store.list_shipments(conn, order_key=row.order_key)
        ]
    return view


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


def refuse_future(at: datetime, *, now: datetime, pointer: str) -> None:
    """Refuse a time that lies in the future, allowing for clocks that differ.

    Raises:
        FutureTime: it is more than five minutes ahead.
    """
    if at > now + FUTURE_TOLERANCE:
        ahead = timedelta(seconds=int((at - now).total_seconds()))
        raise FutureTime(f"{ahead} ahead of our clock", errors=[FieldError("in the future", pointer=pointer)])


def _existing_order(conn: Connection, order_id: str) -> Row[Any]:
    row = store.find_order(conn, order_id=order_id)
    if row is None:
        raise UnknownOrder(f"no order has the id {order_id}")
    return row


def _refuse_before_order(row: Row[Any], at: datetime, *, pointer: str) -> None:
    if at < row.placed_at:
        raise RefundBeforeOrder(errors=[FieldError("before the order was placed", pointer=pointer)])


def _store_of(conn: Connection, store_id: str | None, programme: Programme, now: datetime) -> StoreRef:
    if store_id is None:
        return StoreRef(None, programme.timezone)
    return ensure_stores(conn, store_ids=[store_id], programme=programme, now=now)[store_id]
