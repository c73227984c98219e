"""Standings and rules in words, in English and Traditional Chinese, from rule and numbers alone. Pure."""

from __future__ import annotations

from service.tiers.conditions import Condition
from service.tiers.grounds.rules import Account
from service.tiers.standing import Standing
from service.tiers.telling import (
    chinese,
    chinese_account,
    chinese_rules,
    english,
    english_account,
    english_rules,
)


def explain(standing: Standing, *, locale: str) -> str:
    """Tell a member where they stand and why, what keeps the tier, and what is missing for the next."""
    return chinese.explain(standing) if locale == "zh-Hant" else english.explain(standing)


def explain_to_member(account: Account, *, locale: str) -> str:
    """Tell a member the same, and which purchases stop counting next."""
    language = chinese_account if locale == "zh-Hant" else english_account
    told: str = language.explain_to_member(account)
    return told


def explain_to_staff(account: Account, *, locale: str) -> str:
    """Tell staff which tier is held and why, what counts, what leaves when, and what comes next."""
    language = chinese_account if locale == "zh-Hant" else english_account
    told: str = language.explain_to_staff(account)
    return told


def describe_condition(condition: Condition, *, currency: str, locale: str) -> str:
    """Tell staff what a condition asks for, as a phrase without a full stop."""
    if locale == "zh-Hant":
        return chinese_rules.describe_condition(condition, currency=currency)
    return english_rules.describe_condition(condition, currency=currency)
