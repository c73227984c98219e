"""Vouchers at a checkout: reserved for an order, used by it, released, and given back with it.

A reservation is for one of the merchant's orders and for a limited time; past that it counts as free at once,
whether or not anybody has posted it. Nothing is used up before an order is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection

from service.kit import outbox
from service.kit.clock import format_time, local_day, local_midnight
from service.kit.errors import Problem
from service.rewards import store_redemptions
from service.rewards.codes import looks_ours, read_code
from service.rewards.errors import (
    BalanceTooLow,
    UnknownVoucher,
    VoucherBelowMinimum,
    VoucherCancelled,
    VoucherExpired,
    VoucherMistyped,
    VoucherNotApplicable,
    VoucherNotCombinable,
    VoucherNotReserved,
    VoucherOfOtherMember,
    VoucherReserved,
    VoucherUsed,
)
from service.rewards.redeeming import Redemption, change, lock_redemption, read_redemption
from service.rewards.rules import Cart, Payment, can_stand_together, find_fault, pay_with, returns_on

REVIVED_DAYS = 30
"""How long a voucher that comes back can be used when it has expired meanwhile, as points that come back."""


@dataclass(frozen=True, slots=True)
class VoucherPayment:
    """What a locked voucher pays of an order; `was_used` for that very order before."""

    voucher: Redemption
    paid_minor: int
    goods_minor: int
    was_used: bool = False


def get_voucher(conn: Connection, *, code: str, now: datetime) -> Redemption:
    """Return the redemption that a voucher was given for, however its code was typed.

    Raises:
        VoucherMistyped: a code of ours with a wrong character; nothing was looked up.
        UnknownVoucher: there is none.
    """
    kept = read_code(code) if looks_ours(code) else code
    if kept is None:
        raise VoucherMistyped(f"{code} is not a code as it was given out; look at each character")
    row = store_redemptions.find_voucher(conn, code=kept)
    if row is None:
        raise UnknownVoucher(f"no voucher has the code {code}")
    return read_redemption(row, now=now)


def reserve_voucher(
    conn: Connection,
    *,
    code: str,
    order_id: str,
    member_key: int | None,
    cart: Cart | None,
    ttl: timedelta,
    now: datetime,
) -> tuple[Redemption, Payment | None]:
    """Keep a voucher for an order until `ttl` has passed; return it and what it pays of `cart`.

    The same order again begins the time anew.

    Raises:
        UnknownVoucher, VoucherMistyped: see `get_voucher`. VoucherUsed, VoucherReserved, VoucherExpired,
        VoucherCancelled, VoucherOfOtherMember, VoucherBelowMinimum, VoucherNotApplicable,
        VoucherNotCombinable: it cannot be used.
    """
    taken = lock_redemption(conn, key=get_voucher(conn, code=code, now=now).key, now=now)
    _refuse_unusable(taken, order_id, member_key)
    others = store_redemptions.list_reserved_with(conn, order_id=order_id, redemption_id=taken.key, now=now)
    if others and not (taken.terms.combinable and all(row.terms["combinable"] for row in others)):
        raise VoucherNotCombinable("another voucher is reserved for this order")
    payment = None
    if cart is not None:
        _refuse_cart(taken, cart)
        (payment,) = pay_with([(taken.terms, taken.balance_minor)], cart)
    change(conn, taken, state="reserved", reserved_for=order_id, reserved_until=now + ttl)
    return lock_redemption(conn, key=taken.key, now=now), payment


def release_voucher(conn: Connection, *, code: str, order_id: str, now: datetime) -> Redemption:
    """Free a voucher that is reserved for an order; a repetition changes nothing.

    Raises:
        UnknownVoucher, VoucherMistyped: see `get_voucher`.
        VoucherNotReserved: it is reserved for another order, or was used, cancelled or has expired.
    """
    taken = lock_redemption(conn, key=get_voucher(conn, code=code, now=now).key, now=now)
    if taken.state == "issued":
        return taken
    if taken.state != "reserved" or taken.reserved_for != order_id:
        raise VoucherNotReserved(f"it is {taken.state}")
    change(conn, taken, state="issued")
    return lock_redemption(conn, key=taken.key, now=now)


def use_voucher(
    conn: Connection,
    *,
    code: str,
    order_id: str,
    member_key: int | None,
    cart: Cart | None,
    amount_minor: int | None,
    now: datetime,
) -> tuple[Redemption, int]:
    """Use a voucher for an order that is recorded later or elsewhere; return it and what it paid.

    `amount_minor` says what it paid where there is no cart to compute it from. A repetition for the same
    order changes nothing.

    Raises:
        As `reserve_voucher`, and BalanceTooLow: less is left on the gift certificate.
    """
    taken = lock_redemption(conn, key=get_voucher(conn, code=code, now=now).key, now=now)
    paid = _find_payment_for(conn, taken, order_id)
    if paid is not None:
        return taken, paid
    _refuse_unusable(taken, order_id, member_key)
    if cart is not None:
        _refuse_cart(taken, cart)
        (payment,) = pay_with([(taken.terms, taken.balance_minor)], cart)
        amount_minor = payment.paid_minor if amount_minor is None else amount_minor
    elif taken.terms.minimum_spend_minor or taken.terms.skus or taken.terms.categories:
        raise VoucherNotApplicable("send the lines of the order: it is not for everything")
    amount_minor = amount_minor or 0
    if taken.balance_minor is not None and amount_minor > taken.balance_minor:
        raise BalanceTooLow(f"{taken.balance_minor} minor units are left, {amount_minor} were asked for")
    _use(conn, taken, order_id, amount_minor, now)
    return lock_redemption(conn, key=taken.key, now=now), amount_minor


def vouchers_paid(
    conn: Connection,
    *,
    codes: Sequence[str],
    order_id: str,
    member_key: int | None,
    cart: Cart,
    now: datetime,
) -> list[VoucherPayment]:
    """Return what vouchers pay of an order that is about to be recorded; they are locked, nothing is written.

    One that was used for this very order before has paid what it paid then.

    Raises:
        As `reserve_voucher`.
    """
    found = {get_voucher(conn, code=code, now=now).key for code in codes}
    store_redemptions.lock_all(conn, redemption_ids=sorted(found))
    taken = [lock_redemption(conn, key=key, now=now) for key in sorted(found)]
    before = {one.key: _find_payment_for(conn, one, order_id) for one in taken}
    return _share(taken, before, order_id=order_id, member_key=member_key, cart=cart)


def vouchers_to_pay(
    conn: Connection, *, codes: Sequence[str], member_key: int | None, cart: Cart, now: datetime
) -> list[VoucherPayment]:
    """Return what vouchers would pay of an order that nobody has placed; nothing is locked.

    One that is reserved is taken to be reserved for that order.

    Raises:
        As `reserve_voucher`, but for VoucherReserved.
    """
    found = {one.key: one for one in (get_voucher(conn, code=code, now=now) for code in codes)}
    taken = [found[key] for key in sorted(found)]
    return _share(taken, dict.fromkeys(found), order_id=None, member_key=member_key, cart=cart)


def _share(
    taken: list[Redemption],
    before: Mapping[UUID, int | None],
    *,
    order_id: str | None,
    member_key: int | None,
    cart: Cart,
) -> list[VoucherPayment]:
    """Return what each voucher pays of one cart; `before` is what it has paid of that very order already."""
    if not can_stand_together([one.terms for one in taken]):
        raise VoucherNotCombinable("one of the order's vouchers can only be used alone")
    for one in taken:
        if before[one.key] is None:
            _refuse_unusable(one, order_id, member_key)
            _refuse_cart(one, cart)
    # A gift certificate pays what the others leave.
    taken = sorted(taken, key=lambda one: one.balance_minor is not None)
    balances = [one.balance_minor if before[one.key] is None else before[one.key] for one in taken]
    payments = pay_with([(one.terms, balance) for one, balance in zip(taken, balances, strict=True)], cart)
    return [
        VoucherPayment(one, payment.paid_minor, payment.goods_minor)
        if (earlier := before[one.key]) is None
        else VoucherPayment(one, earlier, min(earlier, payment.goods_minor), was_used=True)
        for one, payment in zip(taken, payments, strict=True)
    ]


def pay_with_vouchers(
    conn: Connection, *, payments: Sequence[VoucherPayment], order_id: str, now: datetime
) -> None:
    """Use locked vouchers for an order that was just recorded."""
    for payment in payments:
        if not payment.was_used:
            _use(conn, payment.voucher, order_id, payment.paid_minor, now)


def return_vouchers(
    conn: Connection,
    *,
    order_key: int,
    refund_key: int | None,
    left_of: Callable[[int], int],
    all_refunded: bool,
    occurred_at: datetime,
    timezone: str,
    now: datetime,
) -> int:
    """Give back what vouchers paid of the part of an order that is refunded; return the amount.

    `left_of` says what of an amount the part that is not refunded still costs; `refund_key` None is the
    order's cancellation. A gift certificate gets its balance back in proportion, cumulative and exact. What
    is used whole comes back whole, or not: see `rules.returns_on`. What has expired meanwhile can be used
    for 30 days more.
    """
    order_id = store_redemptions.find_order_id(conn, order_key=order_key)
    uses = (
        []
        if order_id is None
        else store_redemptions.list_uses_of(conn, order_id=order_id, refund_key=refund_key)
    )
    if not uses or order_id is None:
        return 0
    store_redemptions.lock_all(conn, redemption_ids=[row.redemption_id for row in uses])
    total = 0
    for row in store_redemptions.list_uses_of(conn, order_id=order_id, refund_key=refund_key):
        taken = lock_redemption(conn, key=row.redemption_id, now=now)
        if taken.balance_minor is not None:
            wanted = row.paid_minor - row.returned_minor - (0 if all_refunded else left_of(row.paid_minor))
            comes_back = wanted > 0
        else:
            wanted = row.paid_minor
            comes_back = row.uses > row.returns and returns_on(
                taken.terms.kind, cancelled=refund_key is None, all_refunded=all_refunded
            )
        if comes_back and not row.is_repeat:
            total += wanted
            _give_back(conn, taken, order_id, refund_key, wanted, occurred_at, timezone, now)
    return total


def get_returned(conn: Connection, *, refund_key: int | None, order_key: int | None) -> int:
    """Return what a refund gave back to vouchers when it came in; a cancellation is found by its order."""
    order_id = None
    if refund_key is None and order_key is not None:
        order_id = store_redemptions.find_order_id(conn, order_key=order_key)
    return store_redemptions.get_returned(conn, refund_key=refund_key, order_id=order_id)


def _find_payment_for(conn: Connection, taken: Redemption, order_id: str) -> int | None:
    """Return what a voucher has paid of an order already; None when it has not, or that came back."""
    last = store_redemptions.find_last_use(conn, redemption_id=taken.key, order_id=order_id)
    if last is None or last.kind != "use":
        return None
    return int(last.amount_minor)


def _refuse_unusable(taken: Redemption, order_id: str | None, member_key: int | None) -> None:
    if not taken.terms.transferable and member_key != taken.member_key:
        raise VoucherOfOtherMember("name the member that it was given to" if member_key is None else "")
    elsewhere = order_id is not None and taken.reserved_for != order_id
    if taken.state == "reserved" and elsewhere and taken.reserved_until is not None:
        raise VoucherReserved(f"until {format_time(taken.reserved_until)} at the latest")
    ended: dict[str, type[Problem]] = {
        "used": VoucherUsed,
        "expired": VoucherExpired,
        "cancelled": VoucherCancelled,
    }
    if taken.state in ended:
        raise ended[taken.state](f"at {format_time(taken.ended_at)}" if taken.ended_at else "")


def _refuse_cart(taken: Redemption, cart: Cart) -> None:
    fault = find_fault(taken.terms, cart)
    if fault == "not_applicable":
        raise VoucherNotApplicable
    if fault == "below_minimum":
        raise VoucherBelowMinimum


def _use(conn: Connection, taken: Redemption, order_id: str, amount_minor: int, now: datetime) -> None:
    store_redemptions.add_use(
        conn,
        redemption_id=taken.key,
        kind="use",
        order_id=order_id,
        refund_key=None,
        amount_minor=amount_minor,
        occurred_at=now,
        now=now,
    )
    left = None if taken.balance_minor is None else taken.balance_minor - amount_minor
    if left:
        change(conn, taken, state="issued", balance_minor=left)
    else:
        change(conn, taken, state="used", balance_minor=left, ended_at=now)
    _tell(conn, "reward.used", taken, order_id, amount_minor, now)


def _give_back(
    conn: Connection,
    taken: Redemption,
    order_id: str,
    refund_key: int | None,
    amount_minor: int,
    occurred_at: datetime,
    timezone: str,
    now: datetime,
) -> None:
    store_redemptions.add_use(
        conn,
        redemption_id=taken.key,
        kind="return",
        order_id=order_id,
        refund_key=refund_key,
        amount_minor=amount_minor,
        occurred_at=occurred_at,
        now=now,
    )
    expires_at = taken.expires_at
    if expires_at is not None and expires_at <= now:
        day = local_day(now, timezone=timezone) + timedelta(days=REVIVED_DAYS)
        expires_at = local_midnight(day, timezone=timezone)
    balance = None if taken.balance_minor is None else taken.balance_minor + amount_minor
    reserved = taken.state == "reserved"
    change(
        conn,
        taken,
        state="reserved" if reserved else "issued",
        reserved_for=taken.reserved_for,
        reserved_until=taken.reserved_until,
        balance_minor=balance,
        expires_at=expires_at,
    )
    _tell(conn, "reward.returned", taken, order_id, amount_minor, now)


def _tell(
    conn: Connection, topic: str, taken: Redemption, order_id: str, amount_minor: int, now: datetime
) -> None:
    payload = {
        "redemption_id": taken.redemption_id,
        "reward": taken.reward,
        "kind": taken.terms.kind,
        "order_id": order_id,
        "amount_minor": amount_minor,
    }
    outbox.emit(conn, topic=topic, member_key=taken.member_key, payload=payload, occurred_at=now)
