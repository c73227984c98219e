"""Money is exact: what cannot be said in minor units is refused, and parts always sum."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kit.money import (
    EXPONENTS,
    MAX_MINOR,
    divide_half_up,
    exponent_of,
    show_money,
    spread,
    to_minor,
    to_text,
)

currencies = st.sampled_from(sorted(EXPONENTS))
amounts = st.integers(-MAX_MINOR, MAX_MINOR)


@given(minor=amounts, currency=currencies)
def test_minor_units_survive_the_way_out_and_back(minor: int, currency: str) -> None:
    assert to_minor(to_text(minor, currency=currency), currency=currency) == minor


@given(minor=amounts, currency=currencies)
def test_text_has_as_many_decimals_as_the_currency(minor: int, currency: str) -> None:
    text = to_text(minor, currency=currency)
    assert Decimal(text).scaleb(exponent_of(currency)) == minor
    assert -int(Decimal(text).as_tuple().exponent) == exponent_of(currency)


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("1234.50", "TWD", 123450),
        ("0.05", "GBP", 5),
        ("-0.05", "GBP", -5),
        ("1000", "JPY", 1000),
        ("1.000", "JPY", 1),
        ("1.234", "KWD", 1234),
        (Decimal("19.99"), "USD", 1999),
        (7, "EUR", 700),
        ("1" + "." + "0" * 50, "TWD", 100),
    ],
)
def test_amounts_are_read_exactly(amount: Decimal | str | int, currency: str, minor: int) -> None:
    assert to_minor(amount, currency=currency) == minor


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("1.005", "TWD"),
        ("0.5", "JPY"),
        ("1.0005", "KWD"),
        ("1." + "0" * 29 + "1", "TWD"),
        ("1." + "0" * 60 + "1", "TWD"),
        ("1e-99999", "TWD"),
    ],
)
def test_more_decimals_than_the_currency_has_are_refused(amount: str, currency: str) -> None:
    with pytest.raises(ValueError, match="decimals"):
        to_minor(amount, currency=currency)


@pytest.mark.parametrize("amount", ["", "ten", "NaN", "Infinity", "-Infinity", "1,50", "1.2.3"])
def test_what_is_not_a_number_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        to_minor(amount, currency="TWD")


@pytest.mark.parametrize("amount", ["10000000000000.01", "1e31", "1e999999", "9" * 40])
def test_amounts_beyond_the_largest_are_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="too large"):
        to_minor(amount, currency="TWD")


@pytest.mark.parametrize("amount", [1.5, True])
def test_floats_and_booleans_are_never_money(amount: float) -> None:
    with pytest.raises(ValueError, match="never a float"):
        to_minor(amount, currency="TWD")  # type: ignore[arg-type]


@pytest.mark.parametrize("currency", ["twd", "XXX", "", "NTD"])
def test_unknown_currencies_are_refused(currency: str) -> None:
    with pytest.raises(ValueError, match="ISO 4217"):
        to_minor("1", currency=currency)


def test_the_new_taiwan_dollar_has_two_decimals_and_the_yen_none() -> None:
    assert (exponent_of("TWD"), exponent_of("JPY"), exponent_of("GBP")) == (2, 0, 2)


@given(numerator=st.integers(0, 10**30), denominator=st.integers(1, 10**15))
def test_halves_are_rounded_up(numerator: int, denominator: int) -> None:
    result = divide_half_up(numerator, denominator)
    assert abs(2 * (result * denominator - numerator)) <= denominator
    if 2 * (numerator % denominator) == denominator:
        assert result * denominator > numerator


@given(tenths=st.integers(0, 10**12))
def test_rounding_agrees_with_the_decimal_module(tenths: int) -> None:
    assert divide_half_up(tenths, 10) == int((Decimal(tenths) / 10).quantize(Decimal(1), ROUND_HALF_UP))


@given(total=st.integers(0, 10**15), weights=st.lists(st.integers(0, 10**12), min_size=1, max_size=30))
def test_parts_sum_exactly_and_lie_within_one_of_their_share(total: int, weights: list[int]) -> None:
    parts = spread(total, weights=weights)
    assert sum(parts) == total
    assert all(part >= 0 for part in parts)
    whole = sum(weights)
    if whole:
        assert all(
            abs(part * whole - total * weight) < whole for part, weight in zip(parts, weights, strict=True)
        )


def test_equal_remainders_go_to_the_earlier_part() -> None:
    assert spread(100, weights=[1, 1, 1]) == [34, 33, 33]
    assert spread(2, weights=[1, 1, 1, 1]) == [1, 1, 0, 0]


def test_nothing_to_spread_by_goes_to_the_first_part() -> None:
    assert spread(5, weights=[0, 0]) == [5, 0]
    assert spread(5, weights=[]) == []


@pytest.mark.parametrize(
    ("minor", "currency", "english", "chinese"),
    [
        (275_000, "TWD", "NT$2,750", "2,750 元"),
        (-275_050, "TWD", "-NT$2,750.50", "-2,750.50 元"),
        (123_456_789, "GBP", "£1,234,567.89", "1,234,567.89 英鎊"),
        (5, "USD", "US$0.05", "0.05 美元"),
        (100_000, "EUR", "€1,000", "1,000 歐元"),
        (1_000, "JPY", "¥1,000", "1,000 日圓"),
        (0, "TWD", "NT$0", "0 元"),
        (1_234_500, "KWD", "KWD 1,234.500", "KWD 1,234.500"),
        (-50, "SEK", "SEK -0.50", "SEK -0.50"),
    ],
)
def test_money_is_shown_to_people_in_their_own_way(
    minor: int, currency: str, english: str, chinese: str
) -> None:
    assert show_money(minor, currency=currency, locale="en") == english
    assert show_money(minor, currency=currency, locale="zh-Hant") == chinese
