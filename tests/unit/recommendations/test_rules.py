"""What is left of purchases, and true sentences."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.recommendations.rules import (
    LOCALES,
    Bought,
    Purchase,
    Returned,
    explain,
    net_purchases,
    pick_name,
)


def test_without_returns_everything_stands() -> None:
    assert net_purchases([Bought("a", 1, 2, 10)], []) == [Purchase("a", 1, 2)]


def test_a_linked_return_takes_from_its_own_order() -> None:
    bought = [Bought("a", 1, 2, 10), Bought("a", 5, 2, 11), Bought("b", 1, 1, 10)]
    assert sorted(net_purchases(bought, [Returned("a", 9, 2, 10)])) == [
        Purchase("a", 5, 2),
        Purchase("b", 1, 1),
    ]


def test_a_linked_return_spans_lines_of_its_order() -> None:
    bought = [Bought("a", 1, 1, 10), Bought("a", 1, 2, 10)]
    assert net_purchases(bought, [Returned("a", 9, 2, 10)]) == [Purchase("a", 1, 1)]


def test_an_unlinked_return_takes_the_latest_purchase_before_it() -> None:
    bought = [Bought("a", 1, 1, 10), Bought("a", 5, 1, 11), Bought("a", 20, 1, 12)]
    assert sorted(net_purchases(bought, [Returned("a", 9, 1, None)])) == [
        Purchase("a", 1, 1),
        Purchase("a", 20, 1),
    ]


def test_a_return_of_more_than_was_bought_takes_what_there_is() -> None:
    bought = [Bought("a", 1, 1, 10), Bought("a", 20, 3, 12)]
    assert net_purchases(bought, [Returned("a", 9, 5, None)]) == [Purchase("a", 20, 3)]
    assert net_purchases([], [Returned("a", 9, 5, None), Returned("b", 9, 5, 3)]) == []


def test_a_return_on_the_day_of_the_purchase_takes_it() -> None:
    assert net_purchases([Bought("a", 9, 1, 10)], [Returned("a", 9, 1, None)]) == []


lines = st.lists(
    st.builds(Bought, st.sampled_from("ab"), st.integers(0, 20), st.integers(1, 4), st.integers(1, 4)),
    max_size=8,
)
returns = st.lists(
    st.builds(
        Returned,
        st.sampled_from("ab"),
        st.integers(0, 20),
        st.integers(1, 4),
        st.one_of(st.none(), st.integers(1, 4)),
    ),
    max_size=6,
)


@given(lines, returns, st.integers())
def test_order_of_the_facts_does_not_matter(
    bought: list[Bought], returned: list[Returned], seed: int
) -> None:
    mixed = random.Random(seed)
    other_bought, other_returned = list(bought), list(returned)
    mixed.shuffle(other_bought)
    mixed.shuffle(other_returned)

    def total(purchases: list[Purchase]) -> dict[tuple[str, int], int]:
        summed: dict[tuple[str, int], int] = {}
        for item, day, quantity in purchases:
            summed[item, day] = summed.get((item, day), 0) + quantity
        return summed

    # Lines of one order fall on one day, as they do in a shop.
    by_order = {line.order_key: line.day for line in bought}
    bought = [line._replace(day=by_order[line.order_key]) for line in bought]
    other_bought = [line._replace(day=by_order[line.order_key]) for line in other_bought]
    assert total(net_purchases(bought, returned)) == total(net_purchases(other_bought, other_returned))


@given(lines, returns)
def test_nothing_is_made_up_and_nothing_is_left_at_zero(
    bought: list[Bought], returned: list[Returned]
) -> None:
    left = net_purchases(bought, returned)
    assert all(purchase.quantity > 0 for purchase in left)
    for item in "ab":
        pieces = sum(line.quantity for line in bought if line.item == item)
        back = sum(one.quantity for one in returned if one.item == item)
        kept = sum(purchase.quantity for purchase in left if purchase.item_id == item)
        assert max(0, pieces - back) <= kept <= pieces


@pytest.mark.parametrize(
    ("code", "params", "locale", "sentence"),
    [
        ("usual_interval", {"days": 28}, "en", "You buy this about every 28 days"),
        ("usual_interval", {"days": 1}, "en", "You buy this about every day"),
        ("usual_interval", {"days": 28}, "zh-Hant", "您大約每 28 天購買一次"),
        ("bought_before", {"times": 2}, "en", "You have bought this 2 times"),
        ("bought_before", {"times": 1}, "en", "You have bought this before"),
        ("often_bought_with", {"item_id": "s"}, "zh-Hant", "常與「烏龍」一起購買"),
        ("often_bought_with", {"item_id": "t"}, "en", "Often bought with t"),
        ("popular_now", {}, "en", "Popular in the shop now"),
    ],
)
def test_a_reason_is_a_sentence_in_the_callers_language(
    code: str, params: dict[str, int | str], locale: str, sentence: str
) -> None:
    reason = explain(code, params, locale=locale, names={"s": "烏龍"}, whole_history=True)
    assert reason == (code, sentence)


def test_a_count_is_not_given_when_older_purchases_were_not_read() -> None:
    reason = explain("bought_before", {"times": 2}, locale="en", names={}, whole_history=False)
    assert reason.text == "You have bought this before"


def test_a_name_falls_back_to_another_language() -> None:
    names = {"en": "Oolong", "zh-Hant": "烏龍"}
    assert [pick_name(names, locale=locale) for locale in LOCALES] == ["Oolong", "烏龍"]
    assert pick_name({"ja": "ウーロン"}, locale="en") == "ウーロン"
    assert pick_name({}, locale="en") is None
