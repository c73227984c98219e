"""The arithmetic of earning rules, by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given

from service.earning.findings import compare
from service.earning.rules import (
    BasketLine,
    Boost,
    EarningRules,
    EventCount,
    EventRule,
    LineRate,
    Match,
    RuleTimeline,
    Terms,
    event_points,
    make_terms,
    terms_from_json,
    terms_to_json,
)
from service.intake.reasons import explain_terms
from tests.laws.earning_worlds import definitions, read

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LINES = (BasketLine("cup", "china", 6_000), BasketLine("tea", None, 4_000))


def terms_of(rules: EarningRules, **options: object) -> Terms:
    """Return the terms of 100.00 of goods at one point for each."""
    given_options = {"base": (1, 100), "multiplier_bp": 10_000, "counted_minor": 10_000} | options
    return make_terms(rules, lines=LINES, **given_options)  # type: ignore[arg-type]


def test_multipliers_of_campaigns_come_on_top_by_name_and_are_rounded_with_the_rest() -> None:
    boosts = (Boost("singles-day", 15_000), Boost("app", 11_000))
    terms = terms_of(EarningRules(2), boosts=boosts, multiplier_bp=12_500)
    assert terms.exact() == Fraction(100) * Fraction(5, 4) * Fraction(3, 2) * Fraction(11, 10)
    assert terms.points() == 206
    told = explain_terms(terms, points=206, tier="Gold", currency="TWD", locale="en")
    assert "Times 1.5 for singles-day." in told
    assert "Times 1.1 for app." in told


def test_the_tier_s_multiplier_can_be_switched_off_and_a_bonus_added() -> None:
    rules = EarningRules(2, tier_multiplier=False, tier_bonus_bp={"gold": 500})
    assert rules.multiplier_bp(tier="gold", given_bp=12_500) == 10_500
    assert rules.multiplier_bp(tier="base", given_bp=12_500) == 10_000
    assert EarningRules(2).multiplier_bp(tier="gold", given_bp=12_500) == 12_500


def test_exclusions_go_first_then_the_first_rate_that_fits() -> None:
    rules = EarningRules(
        2,
        excluded=Match(skus=frozenset({"gift"})),
        rates=(
            LineRate(Match(categories=frozenset({"china"})), None, None, 20_000),
            LineRate(Match(skus=frozenset({"cup", "gift"})), 9, 100, 10_000),
        ),
    )
    assert rules.rate_of("gift", "china", base=(1, 100)).why == "excluded"
    assert rules.rate_of("cup", "china", base=(1, 100)).by == "category:china"
    assert rules.rate_of("cup", None, base=(1, 100)).points == 9
    assert rules.rate_of("pot", None, base=(1, 100)).why == "base"
    assert not rules.is_plain


def test_an_order_of_nothing_but_shipping_earns_on_it_and_a_free_line_breaks_nothing() -> None:
    terms = make_terms(
        EarningRules(2, counts_shipping=True),
        lines=[BasketLine("sample", None, 0), BasketLine("other", None, 0)],
        counted_minor=1_000,
        base=(1, 100),
        multiplier_bp=10_000,
    )
    assert terms.points() == 10
    assert terms.points([Fraction(0), Fraction(0)]) == 0


@given(definition=definitions)
def test_recorded_terms_come_back_the_same(definition: dict[str, object]) -> None:
    terms = terms_of(read(definition), day_used=3, boosts=(Boost("x", 11_000),))
    assert terms_from_json(json.loads(json.dumps(terms_to_json(terms)))) == terms
    shares = [Fraction(1)] * len(LINES)
    assert terms.exact() == terms.exact(shares)
    if terms.counted_minor >= terms.minimum_minor:
        assert terms.exact() == sum(terms.line_points())


@given(definition=definitions)
def test_a_definition_does_not_differ_from_itself(definition: dict[str, object]) -> None:
    assert compare(definition, json.loads(json.dumps(definition))) == []
    assert read(definition) == read(json.loads(json.dumps(definition)))


REVIEW = EventRule(
    "custom:review", 50, per_member_day=2, per_member=5, once_per_sku=True, from_storefront=False
)


@pytest.mark.parametrize(
    ("count", "has_sku", "by_storefront", "points"),
    [
        (EventCount(), True, False, 50),
        (EventCount(today=1, ever=4), True, False, 50),
        (EventCount(today=2, ever=2), True, False, 0),
        (EventCount(today=0, ever=5), True, False, 0),
        (EventCount(ever=1, of_sku=1), True, False, 0),
        (EventCount(), False, False, 0),
        (EventCount(), True, True, 0),
    ],
)
def test_an_event_earns_until_a_limit_is_reached(
    count: EventCount, has_sku: bool, by_storefront: bool, points: int
) -> None:
    assert event_points(REVIEW, count=count, has_sku=has_sku, by_storefront=by_storefront) == points


def test_the_first_rules_hold_since_the_beginning_and_each_until_the_next() -> None:
    first, second = EarningRules(1), EarningRules(2, events={"custom:review": REVIEW})
    timeline = RuleTimeline(((NOW, first), (NOW + timedelta(days=1), second)))
    assert timeline.at(NOW - timedelta(days=999)) is first
    assert timeline.at(NOW + timedelta(days=1)) is second
    assert timeline.event_types == {"custom:review"}
    assert not timeline.caps_days
    assert RuleTimeline(()).at(NOW).is_plain
