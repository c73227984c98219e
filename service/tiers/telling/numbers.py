"""Numbers and amounts for a reader. Pure."""

from __future__ import annotations

from fractions import Fraction

from service.kit.money import divide_half_up, show_money

_MOST_DECIMALS = 40


def money_text(minor: int, *, currency: str) -> str:
    """Return an amount for a reader of English."""
    return show_money(minor, currency=currency, locale="en")


def money_text_zh(minor: int, *, currency: str) -> str:
    """Return an amount for a reader of Chinese."""
    return show_money(minor, currency=currency, locale="zh-Hant")


def number_text(value: Fraction | int, *, decimals: int = 2) -> str:
    """Return a number ≥ 0 rounded half up, grouped, without zeros at its end."""
    if value.denominator == 1:
        return f"{value.numerator:,}"
    scaled = divide_half_up(value.numerator * 10**decimals, value.denominator)
    whole, part = divmod(scaled, 10**decimals)
    return f"{whole:,}.{part:0{decimals}d}".rstrip("0").rstrip(".")


def exact_text(value: Fraction) -> str:
    """Return a threshold as it was written: every decimal it has."""
    if value.denominator == 1:
        return number_text(value)
    decimals = next((n for n in range(_MOST_DECIMALS) if (value * 10**n).denominator == 1), _MOST_DECIMALS)
    return number_text(value, decimals=max(decimals, 1))


def text_beside(value: Fraction | int, *thresholds: Fraction) -> str:
    """Return a number rounded so that it still lies on its own side of each threshold."""
    if value.denominator == 1:
        return number_text(value)
    for decimals in range(2, _MOST_DECIMALS):
        shown = Fraction(number_text(value, decimals=decimals).replace(",", ""))
        if all(_side(shown, threshold) == _side(value, threshold) for threshold in thresholds):
            return number_text(value, decimals=decimals)
    return number_text(value, decimals=_MOST_DECIMALS)


def _side(value: Fraction | int, threshold: Fraction) -> int:
    return (value > threshold) - (value < threshold)
