"""Refunds and cancellations: what they take from their order, or from the member's newest orders."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from service.activity import store
from service.activity.checks import refuse_future, store_of
from service.activity.errors import (
    OrderConflict,
    OrderNotKnown,
    RefundAboveLeft,
    RefundBeforeOrder,
    RefundOfOtherMember,
    UnknownOrder,
)
from service.activity.rules import (
    NewRefund,
    OpenOrder,
    OrderValue,
    RefundStep,
    SentFor,
    TierFact,
    allot,
    left_after,
    refund_content_hash,
    refund_fact,
    unlinked_fact,
)
from service.catalogue import operations as catalogue
from service.kit.clock import local_day
from service.kit.errors import CurrencyMismatch, FieldError, Invalid
from service.kit.money import show_money
from service.programme.operations import Programme

# An unlinked refund looks back over at most this many of the member's newest orders.
_ALLOTMENT_REACH = 200


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

    `reduced` are the orders it took from, `order_keys` their keys where it was recorded before;
    `unallotted_minor` is what no order could be found for.
    """

    refund_key: int | None
    fact: TierFact | None
    reduced: tuple[Reduced, ...] = ()
    unallotted_minor: int = 0
    order_keys: tuple[int, ...] = ()


def cancel_order(
    conn: Connection,
    *,
    order_id: str,
    cancelled_at: datetime,
    reason: str,
    now: datetime,
    member_key: int | None = None,
) -> RecordedRefund:
    """Call an order off: from `cancelled_at` on, nothing of it counts.

    `member_key` is whose account the caller has locked for it, if any.

    Raises:
        UnknownOrder: there is none. FutureTime, RefundBeforeOrder: the time cannot be.
        OrderConflict: it was cancelled before, at another time or for another reason; or just now it came to
            count for another member.
    """
    refuse_future(cancelled_at, now=now, pointer="/cancelled_at")
    row = existing_order(conn, order_id)
    if member_key is not None and row.member_key != member_key:
        raise OrderConflict(f"the order {order_id} went to another member meanwhile; send this again")
    if row.cancelled_at is not None:
        if (row.cancelled_at, row.cancel_reason) != (cancelled_at, reason):
            raise OrderConflict(f"the order {order_id} was cancelled before, otherwise")
        return RecordedRefund(None, None, (_reduced(conn, row, int(row.refunded_minor)),))
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
    sent_for: SentFor | None = None,
) -> RecordedRefund:
    """Record a refund once: linked to its order, or unlinked and dated its own day.

    `sent_for` names the member it was sent for, where that one has been merged into this member.

    Raises:
        OrderConflict: the id is recorded with other content.
        OrderNotKnown, RefundOfOtherMember, RefundBeforeOrder, RefundAboveLeft, FutureTime, Invalid.
    """
    refuse_future(refund.refunded_at, now=now, pointer="/refunded_at")
    content_hash = refund_content_hash(refund, member_id=sent_for.member_id if sent_for else member_id)
    known = store.find_refund(conn, refund_id=refund.refund_id)
    if known is not None:
        if bytes(known.content_hash) != content_hash:
            raise OrderConflict(f"the refund {refund.refund_id} is recorded with other content")
        unallotted, orders = 0, tuple[int, ...]((known.order_key,))
        if known.order_key is None:
            allotted = store.list_allotted_of(conn, refund_key=known.refund_key)
            unallotted, orders = known.amount_minor - sum(allotted.values()), tuple(allotted)
        return RecordedRefund(known.refund_key, None, unallotted_minor=unallotted, order_keys=orders)
    order = None
    if refund.order_id is not None:
        order = _refundable_order(conn, refund, member_key)
    elif refund.currency != programme.currency:
        raise CurrencyMismatch(
            f"a refund that names no order is in {programme.currency}",
            errors=[FieldError(f"not {programme.currency}", pointer="/currency")],
        )
    refund_key = _write_refund(conn, (member_key, sent_for), refund, order, content_hash, programme, now)
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
            f"{show_money(left, currency=row.currency, locale='en')} is left of the order",
            errors=[FieldError("larger than what is left", pointer="/amount")],
        )
    return row


def _write_refund(
    conn: Connection,
    whose: tuple[int, SentFor | None],
    refund: NewRefund,
    order: Row[Any] | None,
    content_hash: bytes,
    programme: Programme,
    now: datetime,
) -> int:
    member_key, sent_for = whose
    order_key = None if order is None else order.order_key
    origin_key = sent_for.member_key if sent_for else None
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
    ref = store_of(conn, refund.store_id, programme, now)
    item_keys = catalogue.ensure_items(conn, skus=(line.sku for line in refund.lines), now=now)
    amount_minor = refund.amount_minor
    if order is not None:
        refunded = int(order.refunded_minor)
        before = left_after(order.goods_minor, refunded_minor=refunded, goods_minor=order.order_goods_minor)
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
            # A refund goes with its order, whoever it was sent for.
            "origin_key": origin_key if order is None else order.origin_key,
            "order_key": order_key,
            "store_key": ref.store_key
            if refund.store_id
            else (order.store_key if order is not None else None),
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
    return RecordedRefund(step.refund_key, fact, (_reduced(conn, row, refunded + step.amount_minor),))


def _reduced(conn: Connection, row: Row[Any], refunded_minor: int) -> Reduced:
    return Reduced(
        order_key=row.order_key,
        goods_minor=row.goods_minor,
        refunded_minor=refunded_minor,
        allotted_minor=store.sum_allotted(conn, order_key=row.order_key),
        order_goods_minor=row.order_goods_minor,
    )


def _reduce_unlinked(
    conn: Connection,
    member_key: int,
    refund: NewRefund,
    step: RefundStep,
    programme: Programme,
    now: datetime,
) -> RecordedRefund:
    timezone = store_of(conn, refund.store_id, programme, now).timezone
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
        # By content, not as sent: the same refund is allotted alike whatever the order of its lines.
        lines=[
            (item_keys[line.sku], line.amount_minor)
            for line in sorted(refund.lines, key=lambda line: (line.sku, line.amount_minor or 0))
        ],
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


def existing_order(conn: Connection, order_id: str) -> Row[Any]:
    """Return an order's row with what was refunded and cancelled of it.

    Raises:
        UnknownOrder: there is none.
    """
    row = store.find_order(conn, order_id=order_id)
    if row is None:
        raise UnknownOrder(f"no order has the id {order_id}")
    return row


def _refuse_before_order(row: Row[Any], at: datetime, *, pointer: str) -> None:
    if at < row.placed_at:
        raise RefundBeforeOrder(errors=[FieldError("before the order was placed", pointer=pointer)])
