"""What a member lacks, and whether one order can give it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations, product
from typing import cast

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from service.tiers.conditions import (
    AllOf,
    AtLeast,
    Compare,
    Condition,
    Metrics,
    holds,
    leaves_of,
    parse_condition,
)
from service.tiers.needs import (
    MOST_BRANCHES,
    easiest_branch,
    needs_of,
    needs_to_stay,
    one_order_reaches,
    rise_above,
)
from tests.conftest import SCALE
from tests.unit.tiers.histories import ladder, leaf
from tests.unit.tiers.test_conditions import CONDITIONS, METRICS

NOTHING = Metrics(0, 0, None, 0, 0, None)
MANY = settings(max_examples=200 * SCALE)


def parse(data: object, currency: str = "TWD") -> Condition:
    return parse_condition(data, currency=currency)


def named(condition: Condition, metrics: Metrics) -> list[str]:
    return [found.metric for found in easiest_branch(condition, metrics)]


def test_the_cheapest_branch_lacks_the_fewest_comparisons() -> None:
    far = {"all": [leaf("orders", ">=", 5), leaf("active_days", ">=", 5)]}
    near = leaf("net_spend", ">=", "1000")
    assert named(parse({"any": [far, near]}), NOTHING) == ["net_spend"]


def test_of_equally_many_the_branch_with_the_smaller_gap_is_cheaper() -> None:
    metrics = NOTHING._replace(orders=9, net_spend_minor=10_000)
    either = {"any": [leaf("net_spend", ">=", "1000"), leaf("orders", ">=", 10)]}
    assert named(parse(either), metrics) == ["orders"]


def test_at_least_takes_the_cheapest_k_in_the_written_order() -> None:
    metrics = NOTHING._replace(orders=1, active_days=9)
    three = [leaf("orders", ">=", 3), leaf("net_spend", ">=", "9000"), leaf("active_days", ">=", 3)]
    assert named(parse({"at_least": {"k": 2, "of": three}}), metrics) == ["orders", "active_days"]


def test_what_shopping_can_complete_comes_before_what_nobody_can_meet_any_more() -> None:
    newcomer = leaf("member_days", "<=", 30)
    loyal = {"all": [leaf("orders", ">=", 5), leaf("active_days", ">=", 5)]}
    few = leaf("orders", "<=", 3)
    assert named(parse({"any": [newcomer, loyal]}), NOTHING._replace(member_days=31)) == [
        "orders",
        "active_days",
    ]
    # Too many orders can leave the window; too many days as a member never grow fewer.
    settled = NOTHING._replace(member_days=31, orders=4)
    assert named(parse({"any": [newcomer, few]}), settled) == ["orders"]
    assert named(parse({"any": [newcomer, few]}), NOTHING._replace(member_days=12)) == ["member_days"]


def test_a_branch_that_contradicts_itself_is_named_only_where_there_is_no_other() -> None:
    contrary = {"all": [leaf("orders", ">=", 5), leaf("orders", "<", 5)]}
    possible = {"all": [leaf("orders", ">=", 9), leaf("active_days", ">=", 9)]}
    assert named(parse({"any": [contrary, possible]}), NOTHING) == ["orders", "active_days"]
    assert named(parse(contrary), NOTHING) == ["orders", "orders"]
    strict = {"all": [leaf("visit_interval_days", ">", 7), leaf("visit_interval_days", "<=", 7)]}
    assert named(parse({"any": [strict, possible]}), NOTHING) == ["orders", "active_days"]


def test_parts_are_chosen_together_so_that_they_fit_each_other() -> None:
    many_or_rich = {"any": [leaf("orders", ">=", 5), leaf("net_spend", ">=", "500")]}
    few_or_often = {"any": [leaf("orders", "<", 5), leaf("active_days", ">=", 50)]}
    metrics = NOTHING._replace(orders=4)
    assert named(parse({"all": [many_or_rich, few_or_often]}), metrics) == ["net_spend", "orders"]


def test_what_two_parts_ask_for_is_named_once() -> None:
    twice = {"all": [{"any": [leaf("orders", ">=", 5)]}, leaf("orders", ">=", 5)]}
    assert named(parse(twice), NOTHING) == ["orders"]


def test_a_rule_with_very_many_ways_is_still_answered() -> None:
    parts = [{"any": [leaf("orders", ">=", k), leaf("active_days", ">=", 30 - k)]} for k in range(1, 13)]
    assert 2 ** len(parts) > MOST_BRANCHES
    branch = easiest_branch(parse({"all": parts}), NOTHING)
    enough = NOTHING._replace(orders=12, active_days=30)
    assert all(holds(part, enough) for part in branch)
    assert holds(parse({"all": parts}), enough)


def test_one_order_is_not_enough_for_two_days_or_for_a_rhythm_out_of_reach() -> None:
    assert one_order_reaches(parse(leaf("net_spend", ">=", "99999")), NOTHING)
    assert one_order_reaches(parse(leaf("net_spend", ">", "99999")), NOTHING)
    assert not one_order_reaches(parse(leaf("active_days", ">=", 2)), NOTHING)
    today = NOTHING._replace(active_days=1, days_since_last_visit=0, orders=1)
    assert not one_order_reaches(parse(leaf("active_days", ">=", 2)), today)
    yesterday = today._replace(days_since_last_visit=1)
    assert one_order_reaches(parse(leaf("active_days", ">=", 2)), yesterday)
    # Sixty days without a visit: one more makes the interval 60, not 30.
    rhythm = parse(leaf("visit_interval_days", "<=", 30))
    gone = NOTHING._replace(active_days=1, days_since_last_visit=60, orders=1)
    assert not one_order_reaches(rhythm, gone)
    assert one_order_reaches(rhythm, gone._replace(days_since_last_visit=30))
    assert not one_order_reaches(parse(leaf("member_days", ">=", 30)), gone._replace(member_days=3))


def test_an_order_after_a_gap_may_undo_what_is_met() -> None:
    rule = parse({"all": [leaf("net_spend", ">=", "500"), leaf("visit_interval_days", "<=", 30)]})
    metrics = Metrics(3, 50, 75, 10_000, 3, None)
    assert [(need.leaf.metric, need.met) for need in needs_of(rule, metrics)] == [
        ("net_spend", False),
        ("visit_interval_days", True),
    ]
    assert not one_order_reaches(rule, metrics)
    assert one_order_reaches(rule, metrics._replace(days_since_last_visit=40))


def test_an_order_may_be_just_large_enough_for_an_amount_between_two() -> None:
    between = {"all": [leaf("net_spend", "between", ["100", "200"]), leaf("orders", "<=", 1)]}
    assert one_order_reaches(parse(between), NOTHING)
    assert not one_order_reaches(parse(between), NOTHING._replace(net_spend_minor=30_000))


def test_staying_takes_the_nearer_of_keep_and_enter() -> None:
    rules = ladder(leaf("orders", ">=", 2), keeps={1: leaf("net_spend", ">=", "9000")})
    assert [need.leaf.metric for need in needs_to_stay(rules.tiers[1], NOTHING._replace(orders=1))] == [
        "orders"
    ]
    assert [need.met for need in needs_to_stay(rules.tiers[1], NOTHING._replace(orders=2))] == [True]
    assert needs_to_stay(rules.tiers[0], NOTHING) == ()


def test_the_top_has_nowhere_to_rise() -> None:
    rules = ladder(leaf("orders", ">=", 2))
    assert rise_above(rules.tiers[1], rules, NOTHING) is None
    rise = rise_above(rules.tiers[0], rules, NOTHING._replace(orders=1))
    assert rise is not None
    assert (rise.tier.code, rise.one_order_is_enough, len(rise.missing)) == ("t1", True, 1)


@dataclass
class Wished:
    """Metrics as somebody might wish for them: any value of any metric."""

    values: dict[str, int | Fraction | None] = field(default_factory=dict)

    def value_of(self, metric: str) -> int | Fraction | None:
        """Return the value wished for."""
        return self.values[metric]


def wish(leaves: list[Compare], metrics: Metrics) -> Wished | None:
    """Return metrics that differ as little as can be and satisfy every comparison, None for none."""
    wished = Wished({part.metric: metrics.value_of(part.metric) for part in leaves})
    for metric in wished.values:
        of_metric = [part for part in leaves if part.metric == metric]
        ends = {end for part in of_metric for end in (part.value, part.upper) if end is not None}
        step = Fraction(1, 1000) if metric == "visit_interval_days" else Fraction(1)
        tried = [wished.values[metric], *sorted(end + by for end in ends for by in (-step, 0, step))]
        least = -(10**18) if metric == "net_spend" else 0
        for value in tried:
            attempt = cast("Metrics", Wished({metric: value}))
            if value is not None and value >= least and all(holds(part, attempt) for part in of_metric):
                wished.values[metric] = value
                break
        else:
            return None
    return wished


@MANY
@given(CONDITIONS, METRICS)
def test_whoever_gets_every_missing_need_meets_the_condition(
    data: dict[str, object], metrics: Metrics
) -> None:
    condition = parse(data)
    needs = needs_of(condition, metrics)
    assert all(need.met for need in needs) or not holds(condition, metrics)
    wished = wish([need.leaf for need in needs], metrics)
    if wished is None:
        # Only where no way of meeting the condition is free of contradiction.
        branches = list(ways_of(condition))
        assert all(wish(list(way), metrics) is None for way in branches)
        return
    for part in leaves_of(condition):
        wished.values.setdefault(part.metric, None)
    assert holds(condition, cast("Metrics", wished))


def ways_of(condition: Condition) -> Iterator[tuple[Compare, ...]]:
    """Yield every smallest set of comparisons that together make a condition hold."""
    leaves = list(dict.fromkeys(leaves_of(condition)))
    assume(len(leaves) <= 9)
    for size in range(1, len(leaves) + 1):
        for chosen in combinations(leaves, size):
            if true_with(condition, set(chosen)):
                yield chosen


def true_with(condition: Condition, true: set[Compare]) -> bool:
    """Say whether a condition holds when exactly these comparisons do."""
    if isinstance(condition, Compare):
        return condition in true
    met = sum(true_with(part, true) for part in condition.of)
    if isinstance(condition, AtLeast):
        return met >= condition.k
    return met == len(condition.of) if isinstance(condition, AllOf) else met > 0


GROWING = st.builds(
    leaf, st.sampled_from(["active_days", "orders", "net_spend"]), st.just(">="), st.integers(0, 8)
)


@MANY
@given(
    st.lists(GROWING, min_size=1, max_size=4),
    st.lists(GROWING, min_size=1, max_size=4),
    st.integers(1, 4),
    METRICS,
)
def test_no_other_way_needs_fewer(
    some: list[dict[str, object]], others: list[dict[str, object]], k: int, metrics: Metrics
) -> None:
    condition = parse({"all": [{"any": some}, {"at_least": {"k": min(k, len(others)), "of": others}}]})
    unmet = sum(not need.met for need in needs_of(condition, metrics))
    assert unmet == min(sum(not holds(part, metrics) for part in way) for way in ways_of(condition))


def measured(days: dict[int, list[int]], today: int) -> Metrics:
    """Return the metrics of amounts bought on days, taken from the definitions themselves."""
    bought = sorted(days)
    spent = [amount for amounts in days.values() for amount in amounts]
    return Metrics(
        active_days=len(bought),
        span_days=bought[-1] - bought[0] if bought else 0,
        days_since_last_visit=today - bought[-1] if bought else None,
        net_spend_minor=sum(spent),
        orders=len(spent),
        member_days=today,
    )


@MANY
@given(
    CONDITIONS,
    st.dictionaries(st.integers(0, 12), st.lists(st.integers(0, 4), min_size=1, max_size=2), max_size=5),
    st.integers(12, 16),
)
def test_one_order_is_enough_exactly_when_some_order_of_today_is(
    data: dict[str, object], days: dict[int, list[int]], today: int
) -> None:
    # A currency without decimals, so that every amount that could matter can be tried.
    condition = parse_condition(data, currency="JPY")
    tried = (measured({**days, today: [*days.get(today, []), amount]}, today) for amount in range(0, 10))
    reached = any(holds(condition, metrics) for metrics in tried)
    assert one_order_reaches(condition, measured(days, today)) is reached


def test_every_combination_of_small_rules_and_histories_agrees_on_one_order() -> None:
    histories: list[dict[int, list[int]]] = [{}, {0: [3]}, {0: [1], 6: [1]}, {5: [2]}, {6: [2, 1]}, {1: [0]}]
    checked = 0
    for metric, op, value, days in product(
        ("visit_interval_days", "days_since_last_visit", "active_days", "net_spend", "orders"),
        ("<=", ">=", "<", ">"),
        range(8),
        histories,
    ):
        rule = {"all": [leaf(metric, op, value), leaf("visit_interval_days", "<=", 5)]}
        for data in (leaf(metric, op, value), rule):
            condition = parse_condition(data, currency="JPY")
            tried = (measured({**days, 6: [*days.get(6, []), amount]}, 6) for amount in range(0, 10))
            assert one_order_reaches(condition, measured(days, 6)) is any(
                holds(condition, metrics) for metrics in tried
            )
            checked += 1
    assert checked == 5 * 4 * 8 * 6 * 2
