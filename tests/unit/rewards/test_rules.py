"""What vouchers pay, who may have a reward, and how stock is spread: from the rules alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kit.errors import Problem
from service.rewards.rules import (
    KINDS,
    Cart,
    CartLine,
    Kind,
    Offer,
    Taker,
    Terms,
    can_stand_together,
    effective_state,
    find_fault,
    pay_with,
    reasons_against,
    returns_on,
    spread_shelves,
    terms_from_json,
    terms_to_json,
)
from service.rewards.wording import explain_reason
from tests.laws.sound import assert_sound_chinese, assert_sound_english

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
TEA = CartLine("tea", frozenset({"leaf"}), 20_000)
CUP = CartLine("cup", frozenset(), 10_050)
CART = Cart((TEA, CUP), tax_minor=1_000, shipping_minor=6_000)

amounts = st.integers(min_value=0, max_value=10**9)
kinds = st.sampled_from(KINDS)


@st.composite
def vouchers(draw: st.DrawFn) -> tuple[Terms, int | None]:
    kind: Kind = draw(kinds)
    value = draw(st.none() | st.integers(min_value=1, max_value=10**9))
    percent = draw(st.integers(min_value=1, max_value=10_000)) if kind == "voucher_percent" else None
    balance = draw(amounts) if kind == "gift_certificate" else None
    if kind in {"voucher_amount", "gift_certificate"}:
        value = value or 1
    skus = draw(st.sampled_from([None, ("tea",), ("cup",), ("nothing",)]))
    return Terms(kind, value, percent, draw(amounts), None, skus, draw(st.booleans())), balance


@st.composite
def carts(draw: st.DrawFn) -> Cart:
    lines = tuple(CartLine(sku, frozenset(), draw(amounts)) for sku in ("tea", "cup"))
    return Cart(lines, draw(amounts), draw(amounts), draw(amounts))


@given(st.lists(vouchers(), max_size=4), carts())
def test_vouchers_and_points_never_pay_more_than_there_is(
    given_: list[tuple[Terms, int | None]], cart: Cart
) -> None:
    payments = pay_with(given_, cart)
    whole = cart.goods_minor + cart.tax_minor
    assert all(0 <= one.goods_minor <= one.paid_minor for one in payments)
    assert sum(one.goods_minor for one in payments) <= max(0, whole - cart.points_paid_minor)
    paid = sum(one.paid_minor for one in payments)
    assert paid <= max(0, whole + cart.shipping_minor - cart.points_paid_minor)
    for (terms, balance), payment in zip(given_, payments, strict=True):
        if terms.kind in {"product", "sample", "donation", "custom"}:
            assert payment.paid_minor == 0
        if balance is not None:
            assert payment.paid_minor <= balance
        elif terms.value_minor is not None:
            assert payment.paid_minor <= terms.value_minor
        if terms.kind == "free_shipping":
            assert payment.goods_minor == 0


@pytest.mark.parametrize(
    ("terms", "balance", "paid", "goods"),
    [
        (Terms("voucher_amount", 5_000), None, 5_000, 5_000),
        (Terms("voucher_amount", 50_000), None, 30_050, 30_050),
        (Terms("voucher_amount", 50_000, skus=("cup",)), None, 10_050, 10_050),
        (Terms("voucher_percent", percent_bp=1_250, skus=("cup",)), None, 1_256, 1_256),
        (Terms("voucher_percent", 2_000, 1_000), None, 2_000, 2_000),
        (Terms("voucher_percent", percent_bp=1_000, categories=("leaf",)), None, 2_000, 2_000),
        (Terms("free_shipping"), None, 6_000, 0),
        (Terms("free_shipping", 4_000), None, 4_000, 0),
        (Terms("gift_certificate", 90_000), 90_000, 37_050, 31_050),
        (Terms("gift_certificate", 90_000), 100, 100, 100),
        (Terms("product"), None, 0, 0),
    ],
)
def test_a_voucher_pays_what_its_kind_says(terms: Terms, balance: int | None, paid: int, goods: int) -> None:
    (payment,) = pay_with([(terms, balance)], CART)
    assert (payment.paid_minor, payment.goods_minor) == (paid, goods)


def test_a_gift_certificate_pays_what_points_and_other_vouchers_leave() -> None:
    cart = Cart((TEA,), points_paid_minor=5_000, shipping_minor=1_000)
    first, second = pay_with(
        [(Terms("voucher_amount", 4_000), None), (Terms("gift_certificate"), 99_999)], cart
    )
    assert (first.paid_minor, second.paid_minor, second.goods_minor) == (4_000, 12_000, 11_000)


@given(vouchers())
def test_terms_are_kept_and_read_back_the_same(voucher: tuple[Terms, int | None]) -> None:
    assert terms_from_json(terms_to_json(voucher[0])) == voucher[0]


def test_a_minimum_is_of_the_goods_that_the_voucher_is_for() -> None:
    assert find_fault(Terms("voucher_amount", 1, minimum_spend_minor=20_000, skus=("tea",)), CART) is None
    assert find_fault(Terms("voucher_amount", 1, minimum_spend_minor=20_001, skus=("tea",)), CART) == (
        "below_minimum"
    )
    assert find_fault(Terms("voucher_amount", 1, skus=("pot",)), CART) == "not_applicable"


@pytest.mark.parametrize(
    ("state", "expires", "reserved", "effective"),
    [
        ("issued", None, None, "issued"),
        ("issued", 0, None, "expired"),
        ("issued", 1, None, "issued"),
        ("reserved", None, 1, "reserved"),
        ("reserved", None, 0, "issued"),
        ("reserved", -5, 1, "reserved"),
        ("reserved", -5, 0, "expired"),
        ("used", -5, None, "used"),
        ("cancelled", -5, None, "cancelled"),
        ("expired", -5, None, "expired"),
    ],
)
def test_what_is_past_its_time_has_ended_at_once(
    state: str, expires: int | None, reserved: int | None, effective: str
) -> None:
    def moment(seconds: int | None) -> datetime | None:
        return None if seconds is None else NOW + timedelta(seconds=seconds)

    found = effective_state(
        state,  # type: ignore[arg-type]
        expires_at=moment(expires),
        reserved_until=moment(reserved),
        now=NOW,
    )
    assert found == effective


@given(st.lists(st.integers(min_value=0, max_value=100), min_size=8, max_size=8), st.integers(0, 2_000))
def test_shelves_sum_to_the_stock_and_none_is_below_what_was_taken(taken: list[int], stock: int) -> None:
    if stock < sum(taken):
        with pytest.raises(ValueError, match="taken"):
            spread_shelves(taken, stock=stock)
        return
    stocks = spread_shelves(taken, stock=stock)
    assert sum(stocks) == stock
    assert all(one >= gone for one, gone in zip(stocks, taken, strict=True))


def test_vouchers_come_back_as_the_decision_says() -> None:
    assert all(returns_on(kind, cancelled=True, all_refunded=False) for kind in KINDS)
    assert not any(returns_on(kind, cancelled=False, all_refunded=False) for kind in KINDS)
    handed_over = {"product", "sample", "donation", "custom"}
    assert {kind for kind in KINDS if not returns_on(kind, cancelled=False, all_refunded=True)} == handed_over


def test_several_vouchers_go_together_only_if_each_may() -> None:
    alone, free = Terms("voucher_amount", 1), Terms("voucher_amount", 1, combinable=True)
    assert can_stand_together([alone])
    assert can_stand_together([free, free])
    assert not can_stand_together([alone, free])


@pytest.mark.parametrize(
    ("offer", "taker", "reasons"),
    [
        (Offer(10, None, None, None, None, None), Taker("base", 10, 5), []),
        (Offer(10, None, None, None, None, None), Taker("base", 9, 0), ["points"]),
        (Offer(0, ("gold",), None, None, None, None), Taker("base", 9, 0), ["tier"]),
        (Offer(0, None, NOW + timedelta(days=1), None, None, None), Taker("base", 9, 0), ["not_yet"]),
        (Offer(0, None, None, NOW, None, None), Taker("base", 9, 0), ["over"]),
        (Offer(9, None, None, None, 2, 0), Taker("base", 1, 2), ["out_of_stock", "limit_reached", "points"]),
    ],
)
@pytest.mark.parametrize("locale", ["en", "zh-Hant"])
def test_every_reason_against_is_told_in_sound_words(
    offer: Offer, taker: Taker, reasons: list[str], locale: str
) -> None:
    against = reasons_against(offer, taker, now=NOW)
    assert against == reasons
    for reason in against:
        names = {"gold": "金卡"} if locale == "zh-Hant" else {"gold": "Gold"}
        told = explain_reason(reason, offer, taker, tier_names=names, timezone="Asia/Taipei", locale=locale)
        if locale == "en":
            assert_sound_english(told)
        elif reason not in {"points", "limit_reached", "not_yet"}:
            assert_sound_chinese(told)
        else:
            assert told.endswith("。")


def test_a_problem_of_the_rewards_has_a_code_that_says_what_it_is_about() -> None:
    import service.rewards.errors as errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Problem)]
    ours = [kind for kind in kinds if kind.__module__ == errors.__name__]
    assert len({kind.code for kind in ours}) == len(ours) == 28
