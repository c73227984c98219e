"""Where a member stands."""

from __future__ import annotations

from fractions import Fraction

import pytest

from service.tiers.conditions import Metrics
from service.tiers.explanation import explain
from service.tiers.fold import MemberFold
from service.tiers.rules import RuleSet
from service.tiers.standing import (
    Standing,
    metrics_json,
    see_standing,
    standing_json,
    two_decimals,
)
from tests.unit.tiers.histories import at, ladder, leaf, lived, on, order, spend

NOTHING = Metrics(0, 0, None, 0, 0, None)


def seen(member: MemberFold, rules: RuleSet, day: int) -> Standing:
    return see_standing(member, day=on(day), as_of=at(day))


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


def test_what_keeps_a_tier_of_a_year_is_judged_as_of_the_year_s_last_day() -> None:
    keep = {1: {"all": [leaf("net_spend", ">=", "50"), leaf("days_since_last_visit", "<=", 120)]}}
    rules = ladder(*spend(1000), keeps=keep, window={"kind": "calendar_year"}, grace_days=30)
    # Bought in May 2024 and in May 2025; the tier stands through 2025.
    bought = [order(1, 121, 1200), order(2, 486, 60)]
    may = seen(lived(bought, rules, until=500), rules, 500)
    assert (may.stands_until, [need.met for need in may.to_stay]) == (on(731), [True, True])
    assert [(need.have, need.met) for need in may.to_keep or ()] == [(6_000, True), (244, False)]
    assert seen(lived(bought, rules, until=731), rules, 731).at_risk
    assert "at most 120 days ago (then 244 days)" in explain(may, locale="en")
    assert "不超過 120 天（屆時 244 天）" in explain(may, locale="zh-Hant")
    # With a visit in autumn the same is enough, and the tier stands another year.
    bought.append(order(3, 640, 10))
    late = seen(lived(bought, rules, until=645), rules, 645)
    assert all(need.met for need in late.to_keep or ())
    assert "would be enough to keep it" in explain(late, locale="en")
    assert seen(lived(bought, rules, until=731), rules, 731).stands_until == on(1096)
    # Before the year that decides has begun, and where every day is judged, no close says anything.
    assert seen(lived(bought, rules, until=200), rules, 200).to_keep is None
    assert seen(lived(bought, ladder(*spend(1000)), until=645), rules, 645).to_keep is None


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


def test_a_tier_says_until_when_it_stands_if_nothing_more_is_bought() -> None:
    rules = ladder(*spend(100), window_days=30, grace_days=10)
    member = lived([order(1, 5, 120)], rules, until=6)
    assert see_standing(member, day=on(6), as_of=at(6), looks_ahead=True).lasts_until == on(45)
    # Looking ahead leaves the member where it was.
    assert (member.last_day, member.rank, member.changes[-1].cause) == (on(5), 1, "order")
    assert seen(member, rules, 6).lasts_until is None


def test_a_tier_that_is_never_lost_has_no_last_day() -> None:
    for window in ({"kind": "calendar_year"}, {"kind": "rolling", "days": 30}):
        rules = ladder(leaf("member_days", ">=", 100), window=window)
        for day in (5, 150):
            standing = see_standing(lived([], rules, until=day), day=on(day), as_of=at(day), looks_ahead=True)
            assert standing.tier.code == ("t0" if day < 100 else "t1")
            assert (standing.lasts_until is None) is (day < 100 or window["kind"] == "rolling")
