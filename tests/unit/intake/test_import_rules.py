"""Unlinked refunds find their orders, and what is left of an order never depends on how the refunds came."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.activity.operations import Reduced
from service.intake.bulk.rules import (
    ALLOTMENT_REACH,
    GiveBack,
    Purchase,
    allot_unlinked,
    convert_refunds,
    keep_track,
    left_of,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def purchase(key: int, day: int, goods: int = 100, *, order_goods: int | None = None) -> Purchase:
    return Purchase(
        order_key=key,
        order_id=f"T{key:04d}",
        placed_at=START + timedelta(days=day),
        day=date(2026, 1, 1) + timedelta(days=day),
        order_goods_minor=goods if order_goods is None else order_goods,
        goods_minor=goods,
        spend_minor=goods + 7,
        is_imported=True,
    )


def back(
    key: int, day: int, amount: int, *, order_key: int | None = None, is_imported: bool = True
) -> GiveBack:
    at = START + timedelta(days=day, hours=1)
    return GiveBack(key, f"R{key:04d}", at, order_key, amount, amount, is_imported)


def allot(
    purchases: list[Purchase],
    refunds: list[GiveBack],
    lines: dict[int, list[tuple[int, int | None]]] | None = None,
    items: dict[int, frozenset[int]] | None = None,
    fixed: dict[int, dict[int, int]] | None = None,
) -> dict[int, dict[int, int]]:
    return allot_unlinked(purchases, refunds, lines=lines or {}, item_keys=items or {}, fixed=fixed or {})


def test_the_latest_purchase_before_the_refund_gives_first() -> None:
    bought = [purchase(1, 0), purchase(2, 1), purchase(3, 9)]
    assert allot(bought, [back(1, 5, 130)]) == {1: {2: 100, 1: 30}}


def test_an_order_with_the_item_gives_before_a_later_one_without() -> None:
    bought = [purchase(1, 0), purchase(2, 1)]
    items = {1: frozenset({7})}
    assert allot(bought, [back(1, 5, 130)], {1: [(7, 60)]}, items) == {1: {1: 60, 2: 70}}


def test_what_was_given_back_already_is_not_given_again() -> None:
    bought = [purchase(1, 0), purchase(2, 1)]
    refunds = [back(1, 2, 80, order_key=2), back(2, 3, 50), back(3, 4, 500)]
    assert allot(bought, refunds) == {2: {2: 20, 1: 30}, 3: {1: 70}}


def test_a_linked_refund_that_comes_later_is_not_foreseen() -> None:
    assert allot([purchase(1, 0)], [back(1, 2, 80), back(2, 3, 100, order_key=1)]) == {1: {1: 80}}


def test_a_refund_before_the_first_order_finds_nothing() -> None:
    assert allot([purchase(1, 3)], [back(1, 1, 80)]) == {1: {}}


def test_allotments_of_refunds_by_the_api_stand_and_count() -> None:
    refunds = [back(1, 2, 60, is_imported=False), back(2, 3, 100)]
    assert allot([purchase(1, 0)], refunds, fixed={1: {1: 60}}) == {2: {1: 40}}


def test_a_refund_looks_back_only_so_far() -> None:
    bought = [purchase(key, key, 1) for key in range(ALLOTMENT_REACH + 50)]
    (parts,) = allot(bought, [back(1, 999, 10_000)]).values()
    assert len(parts) == ALLOTMENT_REACH
    assert min(parts) == 50


@given(
    seed=st.integers(0, 10**6),
    goods=st.lists(st.integers(0, 300), min_size=1, max_size=6),
    refunds=st.lists(st.tuples(st.integers(0, 8), st.integers(1, 200)), max_size=6),
)
def test_the_order_of_arrival_changes_no_allotment(
    seed: int, goods: list[int], refunds: list[tuple[int, int]]
) -> None:
    bought = [purchase(key, key, amount) for key, amount in enumerate(goods)]
    unlinked = [back(key, day, amount) for key, (day, amount) in enumerate(refunds)]
    expected = allot(bought, unlinked)
    stream = random.Random(seed)
    stream.shuffle(bought)
    stream.shuffle(unlinked)
    assert allot(bought, unlinked) == expected
    for order in bought:
        assert sum(parts.get(order.order_key, 0) for parts in expected.values()) <= order.goods_minor
    for refund in unlinked:
        assert sum(expected[refund.refund_key or 0].values()) <= refund.amount_minor


@given(goods=st.integers(0, 1000), refunded=st.integers(0, 1000), allotted=st.integers(0, 1000))
def test_what_is_left_is_what_a_live_refund_would_say(goods: int, refunded: int, allotted: int) -> None:
    order = purchase(1, 0, goods, order_goods=min(goods, 600))
    refunded, allotted = min(refunded, order.order_goods_minor), min(allotted, goods)
    live = Reduced(1, goods, refunded, allotted, order.order_goods_minor)
    left = left_of(order, refunded_minor=refunded, allotted_minor=allotted)
    assert left == live.left_of(order.spend_minor)


def test_an_order_is_followed_in_time_through_every_kind_of_refund() -> None:
    order = purchase(1, 0, 100)
    cancellation = GiveBack(None, order.order_id, START + timedelta(days=9), 1, 50, 0, False)
    linked = [cancellation, back(2, 5, 30, order_key=1)]
    kept = keep_track(order, linked, [(back(3, 2, 20), 20)])
    assert [(one.refund_key, one.left_minor) for one in kept] == [(3, 86), (2, 54)]


@given(st.lists(st.integers(1, 50), max_size=8), st.integers(0, 10**6))
def test_converted_refunds_add_up_to_what_the_order_loses(parts: list[int], seed: int) -> None:
    order = purchase(1, 0, 12_345, order_goods=sum(parts) + 3)
    refunds = [back(key, key % 3, amount, order_key=1) for key, amount in enumerate(parts, start=1)]
    random.Random(seed).shuffle(refunds)
    wrong = convert_refunds(order, refunds)
    converted = {one.refund_key: one.converted_minor for one in refunds} | wrong
    left = order.goods_minor - sum(converted.values())
    assert left == order.goods_minor - (
        (2 * order.goods_minor * sum(parts) + order.order_goods_minor) // (2 * order.order_goods_minor)
    )
    again = [
        GiveBack(one.refund_key, one.source_id, one.at, 1, one.amount_minor, converted[one.refund_key], True)
        for one in sorted(refunds, key=lambda one: one.source_id)
    ]
    assert convert_refunds(order, again) == {}
