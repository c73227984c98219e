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
    if isinstance(value, int):
        return f"{value:,}"
    return ratio_text(value.numerator, value.denominator, decimals=decimals)


def ratio_text(numerator: int, denominator: int, *, decimals: int = 2) -> str:
    """Return the same of a ratio, reduced or not."""
    if numerator % denominator == 0:
        return f"{numerator // denominator:,}"
    return _decimals_text(divide_half_up(numerator * 10**decimals, denominator), decimals)


def _decimals_text(scaled: int, decimals: int) -> str:
    whole, part = divmod(scaled, 10**decimals)
    return f"{whole:,}.{part:0{decimals}d}".rstrip("0").rstrip(".")


def exact_text(value: Fraction) -> str:
    """Return a threshold as it was written: every decimal it has."""
    if value.denominator == 1:
        return number_text(value)
    decimals = next((n for n in range(_MOST_DECIMALS) if (value * 10**n).denominator == 1), _MOST_DECIMALS)
    return number_text(value, decimals=max(decimals, 1))


def text_beside(value: Fraction | int, *thresholds: Fraction | None) -> str:
    """Return a number rounded so that it still lies on its own side of each threshold there is."""
    numerator, denominator = value.as_integer_ratio()
    if denominator == 1:
        return f"{numerator:,}"
    ends = [threshold.as_integer_ratio() for threshold in thresholds if threshold is not None]
    # Cross-multiplied: exact, without making a Fraction.
    sides = [_sign(numerator * q - p * denominator) for p, q in ends]
    for decimals in range(2, _MOST_DECIMALS):
        shown, scale = divide_half_up(numerator * 10**decimals, denominator), 10**decimals
        if [_sign(shown * q - p * scale) for p, q in ends] == sides:
            return _decimals_text(shown, decimals)
    return number_text(value, decimals=_MOST_DECIMALS)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
