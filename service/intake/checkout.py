"""What vouchers do in the stories of orders: they pay for one, and come back when it is given back.

A voucher is looked at before the order is recorded, because what it pays neither earns nor counts as net
spend, and used after it, in the same transaction: an order that fails uses nothing up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from service.activity import operations as activity
from service.activity.rules import NewOrder, convert_back
from service.kit.errors import FieldError
from service.programme.operations import Programme
from service.rewards import operations as rewards
from service.rewards.errors import UnknownVoucher, VoucherNotKnown
from service.rewards.operations import VoucherPayment


@dataclass(frozen=True, slots=True)
class PaidOrder:
    """An order with what vouchers pay of it, and those vouchers, locked."""

    order: NewOrder
    payments: tuple[VoucherPayment, ...] = ()

    @property
    def paid_minor(self) -> int:
        """Return what they pay together, in the programme's currency."""
        return sum(payment.paid_minor for payment in self.payments)


def price_vouchers(conn: Connection, *, order: NewOrder, member_key: int, now: datetime) -> PaidOrder:
    """Return what the vouchers that an order names pay of it; nothing of an order that is recorded already.

    Raises:
        VoucherNotKnown, VoucherMistyped, VoucherUsed, VoucherReserved, VoucherExpired, VoucherCancelled,
        VoucherOfOtherMember, VoucherBelowMinimum, VoucherNotApplicable, VoucherNotCombinable: one of them
        cannot be used. Invalid: the order's amounts do not fit together.
    """
    if not order.voucher_codes or activity.find_order(conn, order_id=order.order_id) is not None:
        return PaidOrder(order)
    cart = rewards.read_cart(
        conn,
        lines=order.lines,
        discount_minor=order.discount_minor,
        tax_minor=order.tax_minor,
        shipping_minor=order.shipping_minor,
        points_paid_minor=order.points_paid_minor,
        rate=order.rate,
    )
    try:
        payments = rewards.vouchers_paid(
            conn,
            codes=order.voucher_codes,
            order_id=order.order_id,
            member_key=member_key,
            cart=cart,
            now=now,
        )
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
    priced = replace(order, voucher_paid_minor=paid, voucher_paid_goods_minor=goods)
    return PaidOrder(priced, tuple(payments))


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
