"""What a member has, lacks and is told."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given

from service.tiers.conditions import Condition, Metrics, parse_condition
from service.tiers.explanation import explain, money_text, number_text
from service.tiers.fold import MemberFold
from service.tiers.needs import easiest_branch, one_order_reaches
from service.tiers.rules import RuleSet
from service.tiers.standing import (
    Standing,
    metrics_json,
    see_standing,
    standing_json,
    two_decimals,
)
from tests.unit.tiers.histories import at, ladder, leaf, lived, on, order, spend
from tests.unit.tiers.test_conditions import CONDITIONS, METRICS

NOTHING = Metrics(0, 0, None, 0, 0, None)


def parse(data: object) -> Condition:
    return parse_condition(data, currency="TWD")


def seen(member: MemberFold, rules: RuleSet, day: int) -> Standing:
    return see_standing(member, rules=rules, day=on(day), as_of=at(day))


def test_the_cheapest_branch_lacks_the_fewest_comparisons() -> None:
    far = {"all": [leaf("orders", ">=", 5), leaf("active_days", ">=", 5)]}
    near = leaf("net_spend", ">=", "1000")
    branch = easiest_branch(parse({"any": [far, near]}), NOTHING)
    assert [found.metric for found in branch] == ["net_spend"]


def test_of_equally_many_the_branch_with_the_smaller_gap_is_cheaper() -> None:
    metrics = NOTHING._replace(orders=9, net_spend_minor=10_000)
    either = {"any": [leaf("net_spend", ">=", "1000"), leaf("orders", ">=", 10)]}
    assert [found.metric for found in easiest_branch(parse(either), metrics)] == ["orders"]


def test_at_least_takes_the_cheapest_k_in_the_written_order() -> None:
    metrics = NOTHING._replace(orders=1, active_days=9)
    three = [leaf("orders", ">=", 3), leaf("net_spend", ">=", "9000"), leaf("active_days", ">=", 3)]
    branch = easiest_branch(parse({"at_least": {"k": 2, "of": three}}), metrics)
    assert [found.metric for found in branch] == ["orders", "active_days"]


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


def test_an_order_may_be_just_large_enough_for_an_amount_between_two() -> None:
    between = {"all": [leaf("net_spend", "between", ["100", "200"]), leaf("orders", "<=", 1)]}
    assert one_order_reaches(parse(between), NOTHING)
    assert not one_order_reaches(parse(between), NOTHING._replace(net_spend_minor=30_000))


def test_the_base_tier_needs_nothing_to_stay_and_the_top_has_nowhere_to_rise() -> None:
    rules = ladder(*spend(100))
    low = seen(lived([], rules, until=5), rules, 5)
    assert low.to_stay == ()
    assert low.to_rise is not None
    high = seen(lived([order(1, 5, 100)], rules, until=5), rules, 5)
    assert high.to_rise is None
    assert [need.met for need in high.to_stay] == [True]


def test_a_protected_member_is_told_until_when() -> None:
    rules = ladder(*spend(100), window_days=30, grace_days=10, min_hold_days=50)
    bought = [order(1, 5, 120)]
    fresh = seen(lived(bought, rules, until=6), rules, 6)
    assert (fresh.protected_until, fresh.falls_on, fresh.at_risk) == (on(55), None, False)
    held = seen(lived(bought, rules, until=40), rules, 40)
    assert (held.protected_until, held.falls_on, held.at_risk) == (on(55), on(65), False)
    risky = seen(lived(bought, rules, until=60), rules, 60)
    assert (risky.protected_until, risky.falls_on, risky.at_risk_since) == (None, on(65), on(55))


def test_the_window_is_told_half_open() -> None:
    rules = ladder(*spend(100), window_days=30)
    shown = standing_json(seen(lived([], rules, until=40), rules, 40), locale="en")
    assert shown["window"] == {"from": on(11).isoformat(), "to": on(41).isoformat()}


def test_metrics_are_shown_exactly_or_not_at_all() -> None:
    assert metrics_json(NOTHING, currency="JPY") == {
        "visit_interval_days": None,
        "days_since_last_visit": None,
        "active_days": 0,
        "net_spend": "0",
        "orders": 0,
    }
    some = Metrics(4, 100, 3, -123_456, 5, 77)
    assert metrics_json(some, currency="TWD") == {
        "visit_interval_days": "33.33",
        "days_since_last_visit": 3,
        "active_days": 4,
        "net_spend": "-1234.56",
        "orders": 5,
        "member_days": 77,
    }


@pytest.mark.parametrize(
    ("value", "text"), [("55/2", "27.50"), ("1/3", "0.33"), ("2/3", "0.67"), ("1/200", "0.01"), ("7", "7.00")]
)
def test_intervals_are_rounded_half_up_to_two_decimals(value: str, text: str) -> None:
    assert two_decimals(Fraction(value)) == text


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (123_450, "TWD", "NT$1,234.50"),
        (123_400, "TWD", "NT$1,234"),
        (1_234_567, "JPY", "¥1,234,567"),
        (-500, "GBP", "-£5"),
        (123_456, "SEK", "SEK 1,234.56"),
        (-5, "SEK", "SEK -0.05"),
        (1_234, "KWD", "KWD 1.234"),
    ],
)
def test_money_reads_like_money(minor: int, currency: str, text: str) -> None:
    assert money_text(minor, currency=currency) == text


def test_numbers_lose_their_trailing_zeros() -> None:
    assert [number_text(Fraction(text)) for text in ("30", "27.5", "100/3", "0")] == [
        "30",
        "27.5",
        "33.33",
        "0",
    ]


def test_one_is_singular() -> None:
    rules = ladder({"all": [leaf("active_days", ">=", 1), leaf("orders", ">=", 2)]})
    told = explain(seen(lived([order(1, 4)], rules, until=5), rules, 5), locale="en")
    assert "you shopped on 1 day, and spent NT$100 in all; the last time was 1 day ago" in told
    assert "at least 2 orders (now 1)" in told


def test_nothing_bought_is_said_plainly() -> None:
    rules = ladder(*spend(100))
    standing = seen(lived([], rules, until=5), rules, 5)
    assert "no purchase counts." in explain(standing, locale="en")
    assert "期間沒有計入的消費。" in explain(standing, locale="zh-Hant")


@given(CONDITIONS, METRICS)
def test_every_rule_can_be_told_in_both_languages(data: dict[str, object], metrics: Metrics) -> None:
    rules = ladder(data, data)
    standing = seen(lived([], rules, until=1), rules, 1)
    need_all = see_needs(standing, rules, metrics)
    english, chinese = explain(need_all, locale="en"), explain(need_all, locale="zh-Hant")
    for told in (english, chinese):
        assert "_" not in told
        assert "None" not in told
        assert "Fraction" not in told
    assert not re.search(r"\b1 (days|orders)\b", english)
    assert not re.search(r"\b(?!1\b)\d+ (day|order)\b", english)
    assert "  " not in english
    assert english.endswith(".")
    assert chinese.endswith("。")


def see_needs(standing: Standing, rules: RuleSet, metrics: Metrics) -> Standing:
    """Return a standing as if these were its metrics and a fall was due."""
    from dataclasses import replace

    from service.tiers.needs import needs_to_stay, rise_above

    tier = rules.tiers[1]
    return replace(
        standing,
        tier=tier,
        metrics=metrics,
        to_stay=needs_to_stay(tier, metrics),
        to_rise=rise_above(tier, rules, metrics),
        falls_on=None if all(need.met for need in needs_to_stay(tier, metrics)) else on(9),
    )
