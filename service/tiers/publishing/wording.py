"""What findings and differences say, in English and Traditional Chinese. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from service.kit.findings import Texts
from service.tiers.conditions import Condition
from service.tiers.rules import Tier
from service.tiers.telling import chinese_rules, english_rules


@dataclass(frozen=True, slots=True)
class Words:
    """A phrase in both languages."""

    en: str
    zh: str


def say(en: str, zh: str, **words: Words | Tier | int) -> Texts:
    """Return a sentence in both languages, with words put in for {names}."""
    return {
        "en": en.format(**{name: _pick(word, "en") for name, word in words.items()}),
        "zh-Hant": zh.format(**{name: _pick(word, "zh-Hant") for name, word in words.items()}),
    }


def _pick(word: Words | Tier | int, locale: str) -> str:
    if isinstance(word, Tier):
        return word.names[locale]
    if isinstance(word, int):
        return f"{word:,}"
    return word.en if locale == "en" else word.zh


def words_of(condition: Condition, *, currency: str) -> Words:
    """Return a condition in words."""
    return Words(
        english_rules.describe_condition(condition, currency=currency),
        chinese_rules.describe_condition(condition, currency=currency),
    )


def days_words(days: int) -> Words:
    """Return a number of days."""
    return Words("1 day" if days == 1 else f"{days:,} days", f"{days:,} 天")


ENTER = Words("condition to enter", "升等條件")
KEEP = Words("condition to keep", "續等條件")
PARTS = {"enter": ENTER, "keep": KEEP}
