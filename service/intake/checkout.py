"""What vouchers and points pay of orders; vouchers come back when the order is given back.

Vouchers come first, points pay what they leave, and no more of either is taken than the order costs. Both are
looked at before the order is recorded, because what they pay neither earns nor counts as net spend, and used
after it, in the same transaction: an order that fails uses nothing up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from service.activity import operations as activity
from service.activity.rules import NewOrder, convert_back
from service.kit.errors import FieldError
from service.ledger.operations import Hold
from service.programme.operations import Programme
from service.rewards import operations as rewards
from service.rewards.errors import UnknownVoucher, VoucherNotKnown
from service.rewards.operations import VoucherPayment


@dataclass(frozen=True, slots=True)
class PaidOrder:
    """An order with what vouchers and points pay of it: those vouchers, and how many points of its hold."""

    order: NewOrder
    payments: tuple[VoucherPayment, ...] = ()
    points: int = 0


def price_order(
    conn: Connection,
    *,
    order: NewOrder,
    hold: Hold | None,
    member_key: int | None,
    programme: Programme,
    now: datetime,
    is_quote: bool = False,
) -> PaidOrder:
    """Return what the vouchers that an order names pay of it, locked, and what its hold pays of the rest.

    Points that were captured for it before came first, and vouchers pay what they left. Vouchers pay nothing
    of an order that is recorded already. `is_quote`: nobody has placed it, and nothing is locked; what is
    reserved or set aside is taken to be so for it, and a visitor has no `member_key`.

    Raises:
        VoucherNotKnown, VoucherMistyped, VoucherUsed, VoucherReserved, VoucherExpired, VoucherCancelled,
        VoucherOfOtherMember, VoucherBelowMinimum, VoucherNotApplicable, VoucherNotCombinable: one of them
        cannot be used. Invalid: the order's amounts do not fit together.
    """
    points = 0
    if hold is not None and hold.state == "captured":
        order, points = paid_by(order, hold, programme)
    payments: tuple[VoucherPayment, ...] = ()
    if order.voucher_codes and (is_quote or activity.find_order(conn, order_id=order.order_id) is None):
        order, payments = _price_vouchers(conn, order, member_key, now, is_quote=is_quote)
    if hold is not None and hold.state != "captured":
        order, points = paid_by(order, hold, programme)
    return PaidOrder(order, payments, points)


def paid_by(order: NewOrder, hold: Hold, programme: Programme) -> tuple[NewOrder, int]:
    """Return an order with what a hold pays of what vouchers leave of it, and with how many points.

    Points count at their value when the order was placed. Of an open hold as few are taken as will do; what
    was captured before is taken as it is.
    """
    value_minor = programme.settings_at(order.placed_at).point_value_minor
    payable_minor = max(0, order.total_minor - order.voucher_paid_minor)
    points = hold.captured
    if hold.state != "captured":
        points = min(hold.points, fewest_points(payable_minor, value_minor=value_minor, rate=order.rate))
    paid_minor = min(payable_minor, convert_back(points * value_minor, rate=order.rate))
    return replace(order, points_paid_minor=paid_minor), points


def fewest_points(amount_minor: int, *, value_minor: int, rate: Decimal | None) -> int:
    """Return the fewest points whose value covers an amount of the order's currency; 0 of worthless points.

    `value_minor` is what one is worth in the programme's currency, `rate` as of `convert_back`, whose
    rounding decides what covers an amount.
    """
    if amount_minor <= 0 or value_minor == 0:
        return 0
    numerator, denominator = (1, 1) if rate is None else rate.as_integer_ratio()
    # Half a unit less is rounded up to the amount.
    return -((1 - 2 * amount_minor) * numerator // (2 * denominator * value_minor))


def _price_vouchers(
    conn: Connection, order: NewOrder, member_key: int | None, now: datetime, *, is_quote: bool
) -> tuple[NewOrder, tuple[VoucherPayment, ...]]:
    cart = rewards.read_cart(
        conn,
        lines=order.lines,
        discount_minor=order.discount_minor,
        tax_minor=order.tax_minor,
        shipping_minor=order.shipping_minor,
        points_paid_minor=order.points_paid_minor,
        rate=order.rate,
    )
    asked: dict[str, Any] = {"codes": order.voucher_codes, "member_key": member_key, "cart": cart, "now": now}
    try:
        if is_quote:
            payments = rewards.vouchers_to_pay(conn, **asked)
        else:
            payments = rewards.vouchers_paid(conn, **asked, order_id=order.order_id)
    except UnknownVoucher as missing:
        place = FieldError("no such voucher", pointer="/voucher_code")
        raise VoucherNotKnown(missing.detail, errors=[place]) from None
    paid, goods = (
        convert_back(sum(amounts), rate=order.rate)
        for amounts in (
            [payment.paid_minor for payment in payments],
            [payment.goods_minor for payment in payments],
        )
    )
    return replace(order, voucher_paid_minor=paid, voucher_paid_goods_minor=goods), tuple(payments)


def return_vouchers(
    conn: Connection,
    *,
    reduced: activity.Reduced,
    refund_key: int | None,
    at: datetime,
    programme: Programme,
    now: datetime,
) -> int:
    """Give back what vouchers paid of the part of an order that is refunded; programme minor units."""
    cancelled = refund_key is None
    return rewards.return_vouchers(
        conn,
        order_key=reduced.order_key,
        refund_key=refund_key,
        left_of=reduced.left_of,
        # A cancellation calls everything off, also of an order whose goods cost nothing.
        all_refunded=cancelled or (reduced.goods_minor > 0 and reduced.left_of(reduced.goods_minor) == 0),
        occurred_at=at,
        timezone=programme.timezone,
        now=now,
    )
