"""Standings and rules in words, in English and Traditional Chinese, from rule and numbers alone. Pure."""

from __future__ import annotations

from service.tiers.conditions import Condition
from service.tiers.standing import Standing
from service.tiers.telling import chinese, chinese_rules, english, english_rules


def explain(standing: Standing, *, locale: str) -> str:
    """Tell a member where they stand and why, what keeps the tier, and what is missing for the next."""
    return chinese.explain(standing) if locale == "zh-Hant" else english.explain(standing)


def describe_condition(condition: Condition, *, currency: str, locale: str) -> str:
    """Tell staff what a condition asks for, as a phrase without a full stop."""
    if locale == "zh-Hant":
        return chinese_rules.describe_condition(condition, currency=currency)
    return english_rules.describe_condition(condition, currency=currency)
