"""The arithmetic of orders and refunds, and what tiers are rated on. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

from service.kit.money import MAX_MINOR, divide_half_up, spread

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DayTotals:
    """One row of the day roll-up: everything known now about one member's store-local day.

    Amounts are programme minor units; `goods_minor` > 0 makes it an active day.
    """

    day: date
    goods_minor: int
    spend_minor: int
    orders: int
    unlinked_minor: int


@dataclass(frozen=True, slots=True)
class TierFact:
    """What one fact changes, from `at` on, in the totals of `day`.

    An order adds to its own day at `placed_at`; a linked refund or a cancellation takes from its
    *order's* day from `refunded_at` on; an unlinked refund only adds to its own day's `unlinked_delta`.
    """

    at: datetime
    day: date
    cause: Literal["order", "refund"]
    source_id: str
    order_key: int | None
    refund_key: int | None
    goods_delta: int
    spend_delta: int
    orders_delta: int
    unlinked_delta: int

    def sort_key(self) -> tuple[datetime, str, str]:
        """Order facts by their own time and the merchant's ids, never by arrival."""
        return (self.at, self.cause, self.source_id)


@dataclass(frozen=True, slots=True)
class SentFor:
    """A member that has been merged, for whom a fact was sent."""

    member_key: int
    member_id: str


class LineAmount(NamedTuple):
    """An order line after the order-level discount was spread, in both currencies."""

    order_amount_minor: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class OrderAmounts:
    """What an order is worth: goods and net spend, minor units.

    `goods_minor` and `spend_minor` are in the programme's currency, `order_goods_minor` in the order's own.
    """

    lines: tuple[LineAmount, ...]
    order_goods_minor: int
    goods_minor: int
    spend_minor: int


def value_order(
    line_amounts: Sequence[int],
    *,
    discount_minor: int,
    tax_minor: int,
    paid_otherwise_minor: int,
    rate: Decimal | None,
    tax_counts: bool = True,
) -> OrderAmounts:
    """Value an order from its lines' amounts (order currency, minor units).

    The discount is spread over the lines in proportion; tax counts as spend if `tax_counts`, shipping
    never does, and what points and vouchers paid (`paid_otherwise_minor`) does not. `rate` converts minor
    units of the order's currency to minor units of the programme's, None when they are the same.

    Raises:
        ValueError: the discount is larger than the goods, or the order is larger than can be counted.
    """
    gross = sum(line_amounts)
    if discount_minor > gross:
        raise ValueError("the discount is larger than the lines it is taken from")
    off = spread(discount_minor, weights=line_amounts)
    order_lines = [amount - part for amount, part in zip(line_amounts, off, strict=True)]
    order_goods = gross - discount_minor
    counted_tax = tax_minor if tax_counts else 0
    order_spend = max(0, order_goods + counted_tax - paid_otherwise_minor)
    goods = convert(order_goods, rate=rate)
    if max(order_goods, goods, convert(order_spend, rate=rate)) > MAX_MINOR:
        raise ValueError("too large an amount")
    converted = order_lines if rate is None else spread(goods, weights=order_lines)
    return OrderAmounts(
        lines=tuple(map(LineAmount, order_lines, converted)),
        order_goods_minor=order_goods,
        goods_minor=goods,
        spend_minor=convert(order_spend, rate=rate),
    )


def convert(amount_minor: int, *, rate: Decimal | None) -> int:
    """Return an amount ≥ 0 in the programme's minor units, rounded half up."""
    if rate is None:
        return amount_minor
    numerator, denominator = rate.as_integer_ratio()
    return divide_half_up(amount_minor * numerator, denominator)


def convert_back(amount_minor: int, *, rate: Decimal | None) -> int:
    """Return an amount ≥ 0 of the programme's currency in the order's minor units, rounded half up."""
    if rate is None:
        return amount_minor
    numerator, denominator = rate.as_integer_ratio()
    return divide_half_up(amount_minor * denominator, numerator)


def left_after(whole_minor: int, *, refunded_minor: int, goods_minor: int) -> int:
    """Return what is left of `whole_minor` once `refunded_minor` of `goods_minor` was given back.

    Cumulative, so any split and order of refunds ends at the same figure, and at zero when all is refunded.
    """
    if goods_minor == 0:
        return whole_minor
    return whole_minor - divide_half_up(whole_minor * refunded_minor, goods_minor)


class NewLine(NamedTuple):
    """A line as the shop sent it; `amount_minor` in the order's currency, before the order's discount."""

    sku: str
    quantity: int
    amount_minor: int
    category: str | None


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order as the shop sent it, amounts in minor units of its own currency.

    `rate` converts those minor units to the programme's, None in the programme's currency.
    """

    order_id: str
    placed_at: datetime
    currency: str
    lines: tuple[NewLine, ...]
    shipping_minor: int = 0
    tax_minor: int = 0
    discount_minor: int = 0
    exchange_rate: Decimal | None = None
    rate: Decimal | None = None
    store_id: str | None = None
    channel: str | None = None
    checkout_started_at: datetime | None = None
    recommendation_ids: tuple[str, ...] = ()
    attribution_token: str | None = None
    points_hold_id: str | None = None
    voucher_codes: tuple[str, ...] = ()
    points_paid_minor: int = 0
    """What points paid of it; not part of what the shop sent."""
    voucher_paid_minor: int = 0
    """What vouchers paid of it, shipping included; likewise."""
    voucher_paid_goods_minor: int = 0
    """Of that, what they paid for goods and tax."""

    @property
    def total_minor(self) -> int:
        """Return what is to be paid, whoever pays it: goods after the discount, tax and shipping."""
        goods_minor = sum(line.amount_minor for line in self.lines) - self.discount_minor
        return goods_minor + self.tax_minor + self.shipping_minor


@dataclass(frozen=True, slots=True)
class NewRefund:
    """A refund as the shop sent it: goods only, minor units of its currency."""

    refund_id: str
    order_id: str | None
    refunded_at: datetime
    requested_at: datetime | None
    kind: str
    reason: str | None
    amount_minor: int
    currency: str
    lines: tuple[NewRefundLine, ...] = ()
    store_id: str | None = None


@dataclass(frozen=True, slots=True)
class NewRefundLine:
    """What was given back: `amount_minor` None when the shop gives only the quantity."""

    sku: str
    quantity: int
    amount_minor: int | None


# Separators that no merchant's text may hold, so that no two contents read the same.
_FIELD, _RECORD = "\x1f", "\x1e"


def order_header(order: NewOrder, *, member_id: str) -> str:
    """Return everything about an order but its lines, as one canonical text."""
    rate = "" if order.exchange_rate is None else format(order.exchange_rate.normalize(), "f")
    return _FIELD.join(
        (
            order.order_id,
            member_id,
            _moment(order.placed_at),
            order.currency,
            str(order.shipping_minor),
            str(order.tax_minor),
            str(order.discount_minor),
            rate,
            order.store_id or "",
            order.channel or "",
            _moment(order.checkout_started_at),
            ",".join(order.recommendation_ids),
            order.attribution_token or "",
            # Only where there is one: what was recorded before holds existed keeps its hash.
            *([] if order.points_hold_id is None else [order.points_hold_id]),
            *(f"voucher:{code}" for code in order.voucher_codes),
        )
    )


def order_line_text(line: NewLine) -> str:
    """Return a line as one canonical text."""
    return _FIELD.join((line.sku, str(line.quantity), str(line.amount_minor), line.category or ""))


def order_content_hash(order: NewOrder, *, member_id: str) -> bytes:
    """Return SHA-256 of an order's content; the order of its lines does not matter."""
    lines = sorted(order_line_text(line).encode() for line in order.lines)
    whole = _RECORD.encode().join([order_header(order, member_id=member_id).encode(), *lines])
    return hashlib.sha256(whole).digest()


def refund_content_hash(refund: NewRefund, *, member_id: str) -> bytes:
    """Return SHA-256 of a refund's content; the order of its lines does not matter."""
    header = _FIELD.join(
        (
            refund.refund_id,
            refund.order_id or "",
            member_id,
            _moment(refund.refunded_at),
            _moment(refund.requested_at),
            refund.kind,
            refund.reason or "",
            str(refund.amount_minor),
            refund.currency,
            refund.store_id or "",
        )
    )
    lines = sorted(
        _FIELD.join(
            (line.sku, str(line.quantity), "" if line.amount_minor is None else str(line.amount_minor))
        ).encode()
        for line in refund.lines
    )
    return hashlib.sha256(_RECORD.encode().join([header.encode(), *lines])).digest()


def _moment(at: datetime | None) -> str:
    return "" if at is None else str((at - _EPOCH) // timedelta(microseconds=1))


@dataclass(frozen=True, slots=True)
class RefundStep:
    """One refund or cancellation of an order: `amount_minor` of the order's goods, its own currency."""

    at: datetime
    source_id: str
    refund_key: int | None
    amount_minor: int


@dataclass(frozen=True, slots=True)
class OrderValue:
    """What an order adds to its day."""

    order_key: int
    order_id: str
    placed_at: datetime
    day: date
    order_goods_minor: int
    goods_minor: int
    spend_minor: int


def order_facts(order: OrderValue, steps: Sequence[RefundStep]) -> list[TierFact]:
    """Return what an order, then each of its refunds in order of time, changes.

    Refunds are cumulative: whatever the split, the last of them leaves what a single one would.
    """
    facts = [
        TierFact(
            at=order.placed_at,
            day=order.day,
            cause="order",
            source_id=order.order_id,
            order_key=order.order_key,
            refund_key=None,
            goods_delta=order.goods_minor,
            spend_delta=order.spend_minor,
            orders_delta=int(order.goods_minor > 0),
            unlinked_delta=0,
        )
    ]
    refunded = 0
    for step in sorted(steps, key=lambda step: (step.at, step.source_id)):
        facts.append(refund_fact(order, step, refunded_before_minor=refunded))
        refunded += step.amount_minor
    return facts


def refund_fact(order: OrderValue, step: RefundStep, *, refunded_before_minor: int) -> TierFact:
    """Return what one refund changes when `refunded_before_minor` was given back already."""
    whole = order.order_goods_minor
    refunded = refunded_before_minor + step.amount_minor

    def taken(value: int) -> int:
        before = left_after(value, refunded_minor=refunded_before_minor, goods_minor=whole)
        return before - left_after(value, refunded_minor=refunded, goods_minor=whole)

    goods_left = left_after(order.goods_minor, refunded_minor=refunded, goods_minor=whole)
    goods_before = left_after(order.goods_minor, refunded_minor=refunded_before_minor, goods_minor=whole)
    return TierFact(
        at=step.at,
        day=order.day,
        cause="refund",
        source_id=step.source_id,
        order_key=order.order_key,
        refund_key=step.refund_key,
        goods_delta=-taken(order.goods_minor),
        spend_delta=-taken(order.spend_minor),
        orders_delta=-int(goods_left == 0 and goods_before > 0),
        unlinked_delta=0,
    )


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that an unlinked refund may be allotted to: goods left, programme minor units."""

    order_key: int
    left_minor: int
    item_keys: frozenset[int]


def allot(
    amount_minor: int, *, lines: Sequence[tuple[int, int | None]], orders: Sequence[OpenOrder]
) -> dict[int, int]:
    """Allot an unlinked refund to orders, which come newest first: by sku, then by amount.

    `lines` are (item key, amount or None). What fits nowhere is left out: the caller reports it.
    Returns order key → amount > 0.
    """
    left = {order.order_key: order.left_minor for order in orders}
    allotted: dict[int, int] = {}

    def take(wanted: int, candidates: Sequence[OpenOrder]) -> int:
        for order in candidates:
            part = min(wanted, left[order.order_key])
            if part > 0:
                left[order.order_key] -= part
                allotted[order.order_key] = allotted.get(order.order_key, 0) + part
                wanted -= part
        return wanted

    remaining = amount_minor
    for item_key, line_amount in lines:
        wanted = min(remaining, remaining if line_amount is None else line_amount)
        unplaced = take(wanted, [order for order in orders if item_key in order.item_keys])
        remaining -= wanted - unplaced
    take(remaining, orders)
    return allotted


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
