"""Who may have a reward, how a redemption stands, and what a voucher pays. Pure.

Amounts are minor units of the programme's currency; percentages are basis points.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from service.kit.money import divide_half_up

Kind = Literal[
    "voucher_amount",
    "voucher_percent",
    "gift_certificate",
    "product",
    "sample",
    "free_shipping",
    "donation",
    "custom",
]
KINDS: tuple[Kind, ...] = (
    "voucher_amount",
    "voucher_percent",
    "gift_certificate",
    "product",
    "sample",
    "free_shipping",
    "donation",
    "custom",
)
CHECKOUT_KINDS = frozenset({"voucher_amount", "voucher_percent", "gift_certificate", "free_shipping"})
"""Kinds that pay something at a checkout: each gets a code; goods refunded in full give them back."""

State = Literal["issued", "reserved", "used", "cancelled", "expired"]
STATES: tuple[State, ...] = ("issued", "reserved", "used", "cancelled", "expired")
Reason = Literal["not_yet", "over", "out_of_stock", "limit_reached", "tier", "points"]
REASONS: tuple[Reason, ...] = ("not_yet", "over", "out_of_stock", "limit_reached", "tier", "points")
"""Why a member cannot have a reward, in the order in which they are told."""

_ONE_BP = 10_000


class Offer(NamedTuple):
    """What is asked of whoever takes a reward; `left` None: uncounted."""

    points: int
    tiers: tuple[str, ...] | None
    starts_at: datetime | None
    ends_at: datetime | None
    per_member_limit: int | None
    left: int | None


class Taker(NamedTuple):
    """Who asks: the tier held, points available, and how often this reward was taken before."""

    tier: str
    available: int
    taken: int


def reasons_against(offer: Offer, taker: Taker, *, now: datetime) -> list[Reason]:
    """Return every reason why somebody cannot have a reward now; none when it can be had."""
    against: dict[Reason, bool] = {
        "not_yet": offer.starts_at is not None and now < offer.starts_at,
        "over": offer.ends_at is not None and now >= offer.ends_at,
        "out_of_stock": offer.left is not None and offer.left <= 0,
        "limit_reached": offer.per_member_limit is not None and taker.taken >= offer.per_member_limit,
        "tier": offer.tiers is not None and taker.tier not in offer.tiers,
        "points": taker.available < offer.points,
    }
    return [reason for reason in REASONS if against[reason]]


class Terms(NamedTuple):
    """What a voucher was when it was given: later edits of its reward change nothing for who has it."""

    kind: Kind
    value_minor: int | None = None
    percent_bp: int | None = None
    minimum_spend_minor: int = 0
    categories: tuple[str, ...] | None = None
    skus: tuple[str, ...] | None = None
    combinable: bool = False

    @property
    def transferable(self) -> bool:
        """Tell whether somebody else may use it."""
        return self.kind == "gift_certificate"

    def applies_to(self, line: CartLine) -> bool:
        """Tell whether it is for the goods of a line."""
        if self.skus is None and self.categories is None:
            return True
        return line.sku in (self.skus or ()) or not line.categories.isdisjoint(self.categories or ())


def terms_to_json(terms: Terms) -> dict[str, object]:
    """Return terms as they are kept with a redemption."""
    return {
        "kind": terms.kind,
        "value_minor": terms.value_minor,
        "percent_bp": terms.percent_bp,
        "minimum_spend_minor": terms.minimum_spend_minor,
        "categories": None if terms.categories is None else list(terms.categories),
        "skus": None if terms.skus is None else list(terms.skus),
        "combinable": terms.combinable,
    }


def terms_from_json(kept: Mapping[str, Any]) -> Terms:
    """Return the terms that were kept with a redemption."""
    return Terms(
        kind=kept["kind"],
        value_minor=kept["value_minor"],
        percent_bp=kept["percent_bp"],
        minimum_spend_minor=kept["minimum_spend_minor"],
        categories=None if kept["categories"] is None else tuple(kept["categories"]),
        skus=None if kept["skus"] is None else tuple(kept["skus"]),
        combinable=kept["combinable"],
    )


def effective_state(
    state: State, *, expires_at: datetime | None, reserved_until: datetime | None, now: datetime
) -> State:
    """Return how a redemption stands at `now`, whether or not anybody has posted it.

    A reservation that is past its time is free at once. What is reserved does not expire before that.
    """
    if state == "reserved" and reserved_until is not None and reserved_until <= now:
        state = "issued"
    if state == "issued" and expires_at is not None and expires_at <= now:
        return "expired"
    return state


@dataclass(frozen=True, slots=True)
class CartLine:
    """Goods at a checkout, after every discount of their own and their share of the order's."""

    sku: str
    categories: frozenset[str]
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Cart:
    """What is to be paid: goods by line, tax and shipping given apart, and what points pay of it."""

    lines: tuple[CartLine, ...]
    tax_minor: int = 0
    shipping_minor: int = 0
    points_paid_minor: int = 0

    @property
    def goods_minor(self) -> int:
        """Return the sum of the lines."""
        return sum(line.amount_minor for line in self.lines)


@dataclass(frozen=True, slots=True)
class Payment:
    """What one voucher pays, and how much of that is for goods and their tax."""

    paid_minor: int
    goods_minor: int


Fault = Literal["below_minimum", "not_applicable"]


def find_fault(terms: Terms, cart: Cart) -> Fault | None:
    """Return why a voucher cannot be used for a cart, or None."""
    suited = [line for line in cart.lines if terms.applies_to(line)]
    if cart.lines and not suited:
        return "not_applicable"
    if sum(line.amount_minor for line in suited) < terms.minimum_spend_minor:
        return "below_minimum"
    return None


def pay_with(vouchers: Sequence[tuple[Terms, int | None]], cart: Cart) -> list[Payment]:
    """Return what each voucher pays of a cart, in their order; with each its balance (None: it has none).

    Together they never pay more than there is: goods and tax first, then shipping, and points before any of
    them. A percentage is of the goods it applies to, rounded half up; an amount pays at most those. A gift
    certificate pays whatever is left, as far as its balance goes.
    """
    goods_left = max(0, cart.goods_minor + cart.tax_minor - cart.points_paid_minor)
    over = max(0, cart.points_paid_minor - cart.goods_minor - cart.tax_minor)
    shipping_left = max(0, cart.shipping_minor - over)
    payments = []
    for terms, balance_minor in vouchers:
        goods, shipping = _pay_one(terms, balance_minor, cart, goods_left, shipping_left)
        goods_left -= goods
        shipping_left -= shipping
        payments.append(Payment(goods + shipping, goods))
    return payments


def _pay_one(
    terms: Terms, balance_minor: int | None, cart: Cart, goods_left: int, shipping_left: int
) -> tuple[int, int]:
    suited = sum(line.amount_minor for line in cart.lines if terms.applies_to(line))
    most = terms.value_minor
    if terms.kind == "voucher_amount":
        return min(most or 0, suited, goods_left), 0
    if terms.kind == "voucher_percent":
        share = divide_half_up(suited * (terms.percent_bp or 0), _ONE_BP)
        return min(share if most is None else min(share, most), goods_left), 0
    if terms.kind == "free_shipping":
        return 0, shipping_left if most is None else min(most, shipping_left)
    if terms.kind == "gift_certificate":
        goods = min(balance_minor or 0, goods_left)
        return goods, min((balance_minor or 0) - goods, shipping_left)
    return 0, 0


def can_stand_together(vouchers: Collection[Terms]) -> bool:
    """Tell whether vouchers can be used for one order: one alone always, several if all are combinable."""
    return len(vouchers) < 2 or all(terms.combinable for terms in vouchers)


def returns_on(kind: Kind, *, cancelled: bool, all_refunded: bool) -> bool:
    """Tell whether a voucher that was used whole comes back when its order is given back.

    An order that was called off never used anything. When all goods were refunded, what paid for them comes
    back; a gift that was handed over does not. A part leaves it used.
    """
    return cancelled or (all_refunded and kind in CHECKOUT_KINDS)


def spread_shelves(taken: Sequence[int], *, stock: int) -> list[int]:
    """Return the stock of each shelf so that all sum to `stock` and none is below what was taken of it.

    Raises:
        ValueError: more than that has been taken.
    """
    left = stock - sum(taken)
    if left < 0:
        raise ValueError("more has been taken than there would be")
    share, rest = divmod(left, len(taken))
    return [one + share + (place < rest) for place, one in enumerate(taken)]
