"""A quote is what the order then earns; what is left earns the same in any order of refunds."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from service.activity.remainders import GivenBack, OrderedLine, left_of_lines
from service.activity.rules import NewOrder
from service.earning.definition import read_rules
from service.earning.rules import BasketLine, make_terms
from tests.conftest import SCALE
from tests.laws.earning_worlds import NOW, EarningShop, definitions, orders
from tests.laws.test_ledger_books import rolled_back

Case = tuple[NewOrder, list[tuple[int, tuple[tuple[str, int, int | None], ...]]]]
"""An order, and refunds of it: an amount, and lines of sku, quantity and perhaps an amount."""
COUNTED = ("orders", "ledger_transactions", "postings", "lots", "outbox", "tier_changes", "stores", "items")


def count_rows(conn: Connection) -> list[int]:
    return [conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in COUNTED]


@settings(max_examples=60 * SCALE)
@given(definition=definitions, earlier=st.none() | orders("o0"), order=orders())
def test_a_quote_is_what_the_order_then_earns_and_writes_nothing(
    conn: Connection, definition: dict[str, Any], earlier: NewOrder | None, order: NewOrder
) -> None:
    with rolled_back(conn):
        shop = EarningShop(conn)
        version = shop.publish(definition)
        if earlier is not None:
            shop.place(earlier)
        before = count_rows(conn)
        quote = shop.quote(order)
        assert count_rows(conn) == before
        answer = shop.place(order)
        assert quote["points"] == answer["points"]["earned"]
        assert quote["rules_version"] == version
        exact = sum(Fraction(line["points"]) for line in quote["lines"])
        cut = sum(cap["cut_off"] for cap in quote["caps"])
        if quote["minimum_order"] is None:
            # Each line is shown to four digits.
            assert 0 <= exact - (quote["points"] + cut) + len(quote["lines"]) * Fraction(1, 10_000) < 2
        for sentence in quote["explanation"][1:]:
            if len(answer["explanation"]) > 3:
                assert sentence in answer["explanation"]


@settings(max_examples=30 * SCALE)
@given(definition=definitions, order=orders())
def test_the_same_is_said_in_both_languages_and_again_when_the_order_is_read(
    conn: Connection, definition: dict[str, Any], order: NewOrder
) -> None:
    with rolled_back(conn):
        shop = EarningShop(conn)
        shop.publish(definition)
        english, chinese = shop.quote(order), shop.quote(order, locale="zh-Hant")
        assert len(english["explanation"]) == len(chinese["explanation"])
        assert english["explanation"] != chinese["explanation"]
        first = shop.place(order)
        read = shop.read(order.order_id)
        assert read["points"] == first["points"]
        assert read["explanation"] == first["explanation"]


@st.composite
def refunded_orders(
    draw: st.DrawFn,
) -> tuple[NewOrder, list[tuple[int, tuple[tuple[str, int, int | None], ...]]]]:
    """An order in parts of refunds, some naming goods, in all at most its goods."""
    order = draw(orders())
    goods = sum(line.amount_minor for line in order.lines) - order.discount_minor
    parts: list[tuple[int, tuple[tuple[str, int, int | None], ...]]] = []
    while goods > 0 and len(parts) < draw(st.integers(1, 4)):
        amount = draw(st.integers(1, goods))
        goods -= amount
        named = draw(
            st.lists(
                st.tuples(
                    st.sampled_from([line.sku for line in order.lines] + ["other"]),
                    st.integers(1, 3),
                    st.none() | st.integers(0, amount),
                ),
                max_size=2,
            )
        )
        parts.append((amount, tuple(named)))
    return order, parts


@settings(max_examples=40 * SCALE)
@given(definition=definitions, case=refunded_orders(), data=st.data())
def test_refunds_in_any_order_leave_what_is_earned_on_what_is_left(
    conn: Connection,
    definition: dict[str, Any],
    case: Case,
    data: st.DataObject,
) -> None:
    order, parts = case
    turns = data.draw(st.permutations(range(len(parts))))
    held = []
    for sequence in (range(len(parts)), turns):
        with rolled_back(conn):
            shop = EarningShop(conn)
            shop.publish(definition)
            earned = shop.place(order)["points"]["earned"]
            steps = [earned]
            for number in sequence:
                amount, lines = parts[number]
                answer = shop.refund(f"r{number}", amount, order=order, lines=lines)
                assert answer["points"]["shortfall"] == 0
                steps.append(steps[-1] - answer["points"]["reversed"])
            assert steps == sorted(steps, reverse=True)
            assert steps[-1] >= 0
            held.append(steps[-1])
            if sum(amount for amount, _ in parts) == _goods(order) and parts:
                assert steps[-1] == 0
    assert held[0] == held[1]


def _goods(order: NewOrder) -> int:
    return sum(line.amount_minor for line in order.lines) - order.discount_minor


LINES = st.lists(
    st.builds(OrderedLine, st.integers(1, 3), st.integers(1, 4), st.integers(0, 10_000)),
    min_size=1,
    max_size=5,
)
BACK = st.lists(
    st.builds(
        GivenBack,
        st.integers(1, 9_000).map(Fraction),
        st.lists(
            st.tuples(st.integers(1, 4), st.integers(1, 3), st.none() | st.integers(0, 9_000).map(Fraction)),
            max_size=3,
        ).map(tuple),
    ),
    max_size=5,
)


@given(lines=LINES, back=BACK, data=st.data())
def test_what_is_left_of_lines_depends_on_what_came_back_and_not_on_its_order(
    lines: list[OrderedLine], back: list[GivenBack], data: st.DataObject
) -> None:
    left = left_of_lines(lines, back)
    assert left_of_lines(lines, data.draw(st.permutations(back))) == left
    assert all(0 <= part <= 1 for part in left)
    whole = sum(line.amount_minor for line in lines)
    if whole:
        given_back = sum((piece.amount for piece in back), Fraction(0))
        kept = sum(part * line.amount_minor for part, line in zip(left, lines, strict=True))
        assert kept == max(Fraction(0), whole - given_back)
    for piece in back:
        less = left_of_lines(lines, [other for other in back if other is not piece])
        assert all(now <= before for now, before in zip(left, less, strict=True))


@given(definition=definitions, order=orders(), lefts=st.lists(st.fractions(0, 1), min_size=4, max_size=4))
def test_less_that_is_left_never_earns_more(
    definition: dict[str, Any], order: NewOrder, lefts: list[Fraction]
) -> None:
    rules, faults = read_rules(definition, version=2, currency="TWD")
    assert not faults
    assert rules is not None
    terms = make_terms(
        rules,
        lines=[BasketLine(line.sku, line.category, line.amount_minor) for line in order.lines],
        counted_minor=sum(line.amount_minor for line in order.lines),
        base=(1, 3_000),
        multiplier_bp=12_500,
    )
    part = lefts[: len(order.lines)]
    some = [max(Fraction(0), one - Fraction(1, 3)) for one in part]
    assert terms.points(some) <= terms.points(part) <= terms.points()
    assert terms.points([Fraction(0)] * len(part)) == 0


@settings(max_examples=15 * SCALE)
@given(order=orders())
def test_rules_published_later_do_not_change_what_a_refund_takes_back(
    conn: Connection, order: NewOrder
) -> None:
    """Complaint 6: clawed back with today's settings in place of the award on record."""
    with rolled_back(conn):
        shop = EarningShop(conn)
        shop.publish({"currency": "TWD", "base": {"points": 1, "per": "10"}, "minimum_order": "1"})
        earned = shop.place(order)["points"]["earned"]
        shop.publish({"currency": "TWD", "base": {"points": 9, "per": "10"}}, days_ago=0)
        goods = _goods(order)
        if goods:
            shop.refund("r1", goods, order=order, now=NOW + timedelta(days=1))
            assert shop.points_of(order.order_id) == (earned, earned)
