"""Whatever the rules can express and a member can be, it is told in sound English and Chinese."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from service.tiers.conditions import Condition, parse_condition
from service.tiers.explanation import describe_condition, explain
from service.tiers.needs import Need
from service.tiers.rules import RuleSet
from service.tiers.standing import Standing
from service.tiers.telling import chinese_rules, english_rules
from service.tiers.telling.numbers import exact_text, text_beside
from tests.conftest import SCALE
from tests.laws.sound import assert_sound_chinese, assert_sound_english
from tests.unit.tiers.tellings import CURRENCIES, conditions, standings

MANY = settings(max_examples=200 * SCALE)


@MANY
@given(standings())
def test_every_standing_is_told_in_sound_english_and_chinese(case: tuple[RuleSet, Standing]) -> None:
    _, standing = case
    english, chinese = (explain(standing, locale=locale) for locale in ("en", "zh-Hant"))
    assert_sound_english(english)
    assert_sound_chinese(chinese)
    assert english.endswith(".")
    assert chinese.endswith("。")
    name, chinese_name = standing.tier.names["en"], standing.tier.names["zh-Hant"]
    assert english.startswith(f"Your tier is {name}, since 21 January 2024.")
    assert chinese.startswith(f"您目前的會員等級是「{chinese_name}」，自 2024 年 1 月 21 日起生效。")
    for day in days_told(standing):
        assert english_rules.day_text(day) in english
        assert chinese_rules.day_text(day) in chinese
    if standing.to_rise is not None and standing.to_rise.missing:
        to_go = sum(goes_up(need) for need in standing.to_rise.missing)
        assert standing.to_rise.tier.names["en"] in english
        assert f"「{standing.to_rise.tier.names['zh-Hant']}」" in chinese
        assert english.count(" to go)") >= to_go
        assert chinese.count("還差") >= to_go


def days_told(standing: Standing) -> list[date]:
    """Return the days that no telling may leave out."""
    if standing.pinned_until is not None or not standing.to_stay:
        return []
    return [standing.falls_on] if standing.falls_on is not None else []


def goes_up(need: Need) -> bool:
    """Say whether a need is one of which more has to be gathered."""
    leaf, have = need.leaf, need.have
    return (
        have is not None
        and leaf.metric in ("net_spend", "orders", "active_days", "member_days")
        and (have < leaf.value or (leaf.op == ">" and have == leaf.value))
        and leaf.op not in ("<", "<=")
    )


@st.composite
def rules_to_describe(draw: st.DrawFn) -> tuple[Condition, str]:
    currency = draw(st.sampled_from(CURRENCIES))
    return parse_condition(draw(conditions(currency)), currency=currency), currency


@MANY
@given(rules_to_describe())
def test_every_rule_is_described_in_both_languages(case: tuple[Condition, str]) -> None:
    condition, currency = case
    english = describe_condition(condition, currency=currency, locale="en")
    assert_sound_english(f"It takes {english}.")
    chinese = describe_condition(condition, currency=currency, locale="zh-Hant")
    assert_sound_chinese(f"{chinese}。")


@MANY
@given(
    st.integers(1, 400),
    st.integers(2, 60),
    st.sampled_from(["1", "7.25", "30", "33.3333333333", "33.33", "0.5"]).map(Fraction),
)
def test_a_number_beside_a_threshold_never_seems_to_be_on_its_other_side(
    span: int, gaps: int, threshold: Fraction
) -> None:
    value = Fraction(span, gaps)
    shown, bound = (
        Fraction(text.replace(",", "")) for text in (text_beside(value, threshold), exact_text(threshold))
    )
    assert bound == threshold
    assert (shown > bound, shown < bound) == (value > threshold, value < threshold)
