"""The arithmetic of orders and refunds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.activity.rules import (
    NewLine,
    NewOrder,
    OpenOrder,
    OrderValue,
    RefundStep,
    allot,
    convert,
    left_after,
    order_content_hash,
    order_facts,
    value_order,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def value(goods: int = 1000, spend: int | None = None, order_goods: int | None = None) -> OrderValue:
    return OrderValue(
        1, "o1", NOON, date(2026, 3, 1), order_goods or goods, goods, goods if spend is None else spend
    )


def test_discount_is_spread_over_lines_so_that_the_parts_sum_exactly() -> None:
    amounts = value_order([100, 100, 100], discount_minor=100, tax_minor=0, paid_otherwise_minor=0, rate=None)
    assert [line.amount_minor for line in amounts.lines] == [66, 67, 67]
    assert amounts.goods_minor == 200


def test_tax_counts_as_spend_and_what_points_paid_does_not() -> None:
    amounts = value_order([1000], discount_minor=0, tax_minor=50, paid_otherwise_minor=300, rate=None)
    assert (amounts.goods_minor, amounts.spend_minor) == (1000, 750)


def test_discount_above_the_goods_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than the lines"):
        value_order([100], discount_minor=101, tax_minor=0, paid_otherwise_minor=0, rate=None)


def test_foreign_order_is_converted_once_and_its_lines_sum_to_the_whole() -> None:
    amounts = value_order(
        [333, 333, 334], discount_minor=0, tax_minor=0, paid_otherwise_minor=0, rate=Decimal("32.105")
    )
    assert amounts.goods_minor == 32105
    assert sum(line.amount_minor for line in amounts.lines) == 32105
    assert amounts.order_goods_minor == 1000


def test_conversion_rounds_half_up() -> None:
    assert convert(5, rate=Decimal("0.1")) == 1
    assert convert(4, rate=Decimal("0.1")) == 0


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20), st.integers(0, 10**6))
def test_lines_after_discount_never_go_below_zero(lines: list[int], discount: int) -> None:
    discount = min(discount, sum(lines))
    amounts = value_order(lines, discount_minor=discount, tax_minor=0, paid_otherwise_minor=0, rate=None)
    assert sum(line.order_amount_minor for line in amounts.lines) == sum(lines) - discount
    assert all(line.order_amount_minor >= 0 for line in amounts.lines)


@given(st.integers(0, 10**7), st.integers(1, 10**6), st.data())
def test_refunds_in_any_split_and_order_end_at_the_same_figure(
    whole: int, goods: int, data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(1, goods), max_size=5))
    amounts = [amount for amount in cuts if amount > 0]
    while sum(amounts) > goods:
        amounts.pop()
    steps = [
        RefundStep(NOON + timedelta(days=index), f"r{index}", index, amount)
        for index, amount in enumerate(amounts)
    ]
    order = value(goods=whole, order_goods=goods)
    facts = order_facts(order, data.draw(st.permutations(steps)))
    left = left_after(whole, refunded_minor=sum(amounts), goods_minor=goods)
    assert sum(fact.goods_delta for fact in facts) == left
    assert sum(fact.spend_delta for fact in facts) == left
    assert all(fact.goods_delta <= 0 for fact in facts if fact.cause == "refund")


def test_full_refund_leaves_no_order_and_no_active_day() -> None:
    facts = order_facts(value(1000, spend=1050), [RefundStep(NOON, "r1", 1, 1000)])
    assert sum(fact.orders_delta for fact in facts) == 0
    assert sum(fact.goods_delta for fact in facts) == 0
    assert sum(fact.spend_delta for fact in facts) == 0


def test_partial_refund_keeps_the_order_and_its_day() -> None:
    facts = order_facts(value(1000), [RefundStep(NOON, "r1", 1, 999)])
    assert [fact.orders_delta for fact in facts] == [1, 0]
    assert facts[1].day == date(2026, 3, 1)


def test_order_of_nothing_is_no_order() -> None:
    (fact,) = order_facts(value(0), [])
    assert (fact.goods_delta, fact.orders_delta) == (0, 0)


def an_order(*lines: NewLine, **fields: object) -> NewOrder:
    return NewOrder(order_id="o1", placed_at=NOON, currency="TWD", lines=lines, **fields)  # type: ignore[arg-type]


TEA = NewLine("tea", 1, 100, None)
CUP = NewLine("cup", 1, 200, None)


def test_content_does_not_depend_on_the_order_of_lines() -> None:
    one = order_content_hash(an_order(TEA, CUP), member_id="m1")
    assert one == order_content_hash(an_order(CUP, TEA), member_id="m1")


@pytest.mark.parametrize(
    "other",
    [
        an_order(TEA),
        an_order(TEA, CUP, CUP),
        an_order(TEA, NewLine("cup", 2, 200, None)),
        an_order(TEA, CUP, shipping_minor=1),
        an_order(TEA, CUP, channel="app"),
        an_order(TEA, NewLine("cup", 1, 200, "kitchen")),
    ],
)
def test_other_content_has_another_hash(other: NewOrder) -> None:
    assert order_content_hash(other, member_id="m1") != order_content_hash(an_order(TEA, CUP), member_id="m1")


def test_content_of_another_member_is_other_content() -> None:
    assert order_content_hash(an_order(TEA), member_id="m1") != order_content_hash(
        an_order(TEA), member_id="m2"
    )


def test_unlinked_refund_goes_to_the_newest_order_of_its_sku_and_then_by_amount() -> None:
    orders = [
        OpenOrder(3, 500, frozenset({7})),
        OpenOrder(2, 500, frozenset({8})),
        OpenOrder(1, 500, frozenset({8, 9})),
    ]
    assert allot(600, lines=[(8, 600)], orders=orders) == {2: 500, 1: 100}
    assert allot(600, lines=[(9, 600)], orders=orders) == {1: 500, 3: 100}
    assert allot(600, lines=[], orders=orders) == {3: 500, 2: 100}


def test_what_no_order_can_carry_is_left_over() -> None:
    assert allot(900, lines=[(7, 900)], orders=[OpenOrder(1, 500, frozenset({7}))]) == {1: 500}
    assert allot(900, lines=[(7, None)], orders=[]) == {}
