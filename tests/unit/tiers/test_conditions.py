"""The condition language."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.tiers.conditions import (
    AllOf,
    AnyOf,
    AtLeast,
    Compare,
    Condition,
    Metrics,
    compile_condition,
    holds,
    leaves_of,
    parse_condition,
    turning_points,
)
from tests.unit.tiers.histories import leaf

NOTHING = Metrics(0, 0, None, 0, 0, None)


def parse(data: object) -> Condition:
    return parse_condition(data, currency="TWD")


def test_thresholds_are_inclusive_as_written() -> None:
    metrics = NOTHING._replace(active_days=4)
    assert holds(parse(leaf("active_days", ">=", 4)), metrics)
    assert holds(parse(leaf("active_days", "<=", 4)), metrics)
    assert not holds(parse(leaf("active_days", ">", 4)), metrics)
    assert not holds(parse(leaf("active_days", "<", 4)), metrics)
    assert holds(parse(leaf("active_days", "between", [4, 9])), metrics)
    assert holds(parse(leaf("active_days", "between", [1, 4])), metrics)


def test_an_undefined_metric_satisfies_nothing_not_even_an_upper_bound() -> None:
    one_day = NOTHING._replace(active_days=1)
    for op, value in (("<=", 999), (">=", 0), ("<", 999), (">", 0), ("between", [0, 999])):
        assert not holds(parse(leaf("visit_interval_days", op, value)), one_day)
        assert not holds(parse(leaf("days_since_last_visit", op, value)), NOTHING)
        assert not holds(parse(leaf("member_days", op, value)), NOTHING)


def test_the_visit_interval_is_compared_exactly() -> None:
    third = NOTHING._replace(active_days=4, span_days=100)
    assert third.visit_interval() == Fraction(100, 3)
    assert not holds(parse(leaf("visit_interval_days", "<=", "33.3333333333")), third)
    assert holds(parse(leaf("visit_interval_days", "<=", "33.3333333334")), third)


def test_money_is_read_in_the_programmes_currency_and_never_through_a_float() -> None:
    assert parse(leaf("net_spend", ">=", "3000.50")) == Compare("net_spend", ">=", Fraction(300050))
    assert parse_condition(leaf("net_spend", ">=", "12000"), currency="JPY") == Compare(
        "net_spend", ">=", Fraction(12000)
    )
    with pytest.raises(ValueError, match="/value: a whole number or a decimal string"):
        parse(leaf("net_spend", ">=", 0.1))
    with pytest.raises(ValueError, match="more decimals than JPY has"):
        parse_condition(leaf("net_spend", ">=", "1.5"), currency="JPY")


def test_conditions_combine_with_all_any_and_at_least() -> None:
    many = leaf("active_days", ">=", 3)
    rich = leaf("net_spend", ">=", "1")
    busy = leaf("orders", ">=", 9)
    metrics = NOTHING._replace(active_days=3, net_spend_minor=100)
    assert holds(parse({"all": [many, rich]}), metrics)
    assert not holds(parse({"all": [many, rich, busy]}), metrics)
    assert holds(parse({"any": [busy, rich]}), metrics)
    assert holds(parse({"at_least": {"k": 2, "of": [many, rich, busy]}}), metrics)
    assert not holds(parse({"at_least": {"k": 3, "of": [many, rich, busy]}}), metrics)


def test_three_levels_may_nest_and_four_may_not() -> None:
    three = {"all": [{"any": [{"all": [leaf("orders", ">=", 1)]}]}]}
    assert [found.metric for found in leaves_of(parse(three))] == ["orders"]
    with pytest.raises(ValueError, match="nest 3 deep"):
        parse({"any": [three]})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "an object"),
        ([], "an object"),
        ({}, "metric, op and value"),
        (leaf("points_balance", ">=", 1), "/metric: unknown metric"),
        (leaf("orders", "==", 1), "/op: unknown operator"),
        (leaf("orders", ">=", "many"), "/value: a plain number is needed"),
        (leaf("orders", ">=", True), "/value: a whole number or a decimal string"),
        (leaf("orders", ">=", "NaN"), "/value: a plain number is needed"),
        (leaf("net_spend", ">=", "1_000"), "/value: a plain number is needed"),
        (leaf("net_spend", ">=", "1e3"), "/value: a plain number is needed"),
        (leaf("net_spend", ">=", " 5"), "/value: a plain number is needed"),
        (leaf("active_days", ">=", "٣"), "/value: a plain number is needed"),
        (leaf("visit_interval_days", "<=", "7." + "1" * 41), "/value: a plain number is needed"),
        (leaf("visit_interval_days", "<=", Decimal("1E-41")), "/value: a plain number is needed"),
        (leaf("orders", ">=", -1), "/value: out of range"),
        (leaf("orders", ">=", 10**9), "/value: out of range"),
        (leaf("orders", ">=", "1.5"), "/value: a whole number"),
        (leaf("net_spend", ">=", "-1"), "/value: a threshold is never negative"),
        (leaf("orders", "between", [1]), "/value: between takes two"),
        (leaf("orders", "between", [3, 1]), "/value: the first value is larger"),
        ({"all": []}, "/all: a list of at least one"),
        ({"all": [leaf("orders", ">=", 1)], "any": []}, "nothing may stand beside"),
        (
            {"at_least": {"k": 3, "of": [leaf("orders", ">=", 1)]}},
            "/at_least/k: k is a whole number from 1 to 1",
        ),
        ({"at_least": [1]}, "/at_least: at_least takes exactly k and of"),
        ({"any": [leaf("orders", ">=", 1), leaf("x", ">=", 1)]}, "/any/1/metric: unknown metric"),
        (leaf("orders", ">=", 1) | {"extra": 1}, "metric, op and value"),
    ],
)
def test_a_fault_is_named_with_its_place(data: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(data)


LEAVES = st.one_of(
    st.builds(
        leaf,
        st.sampled_from(["days_since_last_visit", "active_days", "orders", "member_days", "net_spend"]),
        st.sampled_from(["<=", ">=", "<", ">"]),
        st.integers(0, 8),
    ),
    st.builds(
        lambda op, value: leaf("visit_interval_days", op, f"{value / 4:.2f}"),
        st.sampled_from(["<=", ">=", "<", ">"]),
        st.integers(0, 20),
    ),
    st.builds(
        lambda metric, low, more: leaf(metric, "between", [low, low + more]),
        st.sampled_from(["days_since_last_visit", "active_days", "visit_interval_days", "orders"]),
        st.integers(0, 5),
        st.integers(0, 5),
    ),
)


def _combined(parts: st.SearchStrategy[dict[str, object]]) -> st.SearchStrategy[dict[str, object]]:
    several = st.lists(parts, min_size=1, max_size=3)
    return st.one_of(
        several.map(lambda of: {"all": of}),
        several.map(lambda of: {"any": of}),
        several.flatmap(lambda of: st.integers(1, len(of)).map(lambda k: {"at_least": {"k": k, "of": of}})),
    )


CONDITIONS = st.one_of(
    LEAVES, _combined(LEAVES), _combined(_combined(LEAVES)), _combined(_combined(_combined(LEAVES)))
)
METRICS = st.builds(
    Metrics,
    active_days=st.integers(0, 6),
    span_days=st.integers(0, 12),
    days_since_last_visit=st.none() | st.integers(0, 9),
    net_spend_minor=st.integers(-300, 900),
    orders=st.integers(0, 9),
    member_days=st.none() | st.integers(0, 9),
)


@given(CONDITIONS, METRICS)
def test_the_compiled_condition_says_the_same_as_the_plain_one(data: object, metrics: Metrics) -> None:
    condition = parse(data)
    assert isinstance(condition, Compare | AllOf | AnyOf | AtLeast)
    assert compile_condition(condition)(metrics) is holds(condition, metrics)


@given(LEAVES.filter(lambda data: data["metric"] in ("days_since_last_visit", "member_days")))
def test_a_growing_metric_turns_only_at_the_turning_points(data: dict[str, object]) -> None:
    condition = parse(data)
    assert isinstance(condition, Compare)
    seen = [
        holds(condition, NOTHING._replace(days_since_last_visit=age, member_days=age)) for age in range(30)
    ]
    turned = [age for age in range(1, 30) if seen[age] != seen[age - 1]]
    assert set(turned) <= set(turning_points(condition))
    assert turned == sorted(set(turning_points(condition)) & set(turned))
