"""Fields are strict where marshmallow is lenient (architecture's table of traps)."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError

from service.kit import fields


def load(field: Any, value: Any) -> Any:
    schema: Schema = fields.StrictSchema.from_dict({"x": field})()
    return schema.load({"x": value})["x"]


def refuse(field: Any, value: Any) -> None:
    with pytest.raises(ValidationError):
        load(field, value)


@pytest.mark.parametrize(
    ("value", "amount"),
    [("1234.50", "1234.50"), (12, "12"), (Decimal("0.10"), "0.10"), ("0", "0"), (Decimal("1E+3"), "1000")],
)
def test_money_is_read_from_text_or_number_exactly(value: Any, amount: str) -> None:
    assert load(fields.Money(), value) == Decimal(amount)


def test_money_keeps_every_decimal_so_that_the_currency_can_refuse_it() -> None:
    assert str(load(fields.Money(), "1.005")) == "1.005"


@pytest.mark.parametrize(
    "value",
    [
        "-1",
        -1,
        Decimal("-0.01"),
        True,
        1.5,
        "1e3",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "",
        "١٢",
        "1_000",
        "NaN",
        None,
        [],
        "1." + "0" * 11,
        "1" * 17,
        10**40,
        Decimal("1e99999"),
        Decimal("1e-99999"),
    ],
)
def test_what_is_no_plain_amount_is_refused(value: Any) -> None:
    refuse(fields.Money(), value)


def test_an_amount_that_must_be_above_zero_is() -> None:
    refuse(fields.Money(positive=True), "0.00")
    assert load(fields.Money(positive=True), "0.01") == Decimal("0.01")


@given(cents=st.integers(0, 10**15))
def test_a_json_number_and_its_text_are_the_same_money(cents: int) -> None:
    text = f"{cents // 100}.{cents % 100:02}"
    number = json.loads(text, parse_float=Decimal)
    assert load(fields.Money(), number) == load(fields.Money(), text)


@pytest.mark.parametrize("value", ["12", True, False, 1.0, Decimal("12.0"), None, "x", 0, 101])
def test_whole_numbers_are_whole_json_numbers_in_range(value: Any) -> None:
    refuse(fields.Whole(least=1, most=100), value)
    assert load(fields.Whole(least=1, most=100), 12) == 12


@pytest.mark.parametrize("value", ["0", "501", "1.0", "+1", " 1", "1_0", "٣", "", "x", "9" * 30])
def test_whole_query_parameters_are_digits_in_range(value: str) -> None:
    refuse(fields.QueryWhole(least=1, most=500), value)
    assert load(fields.QueryWhole(least=1, most=500), "500") == 500


@pytest.mark.parametrize("value", ["true", 1, 0, "yes", None])
def test_booleans_are_true_or_false(value: Any) -> None:
    refuse(fields.StrictBoolean(), value)
    assert load(fields.StrictBoolean(), False) is False


@pytest.mark.parametrize("value", ["", " a", "a ", "a\nb", "a\x00", "\ud800", "a" * 129, "\u200b", 5, None])
def test_merchant_ids_are_visible_and_not_too_long(value: Any) -> None:
    refuse(fields.MerchantId(), value)


@pytest.mark.parametrize("value", ["a", "顧客 12", "a/b%2F", "a" * 128, "o'Brien", "-1"])
def test_merchant_ids_may_hold_anything_visible(value: str) -> None:
    assert load(fields.MerchantId(), value) == value


@pytest.mark.parametrize("value", ["a\x00b", "\udfff", 5, "toolong"])
def test_text_is_what_postgresql_can_store(value: Any) -> None:
    refuse(fields.Text(max_length=5), value)
    assert load(fields.Text(max_length=5), "\U0001f600 ok") == "\U0001f600 ok"


@pytest.mark.parametrize("value", ["", " ", " \n\u3000", "x" * 501, "a\x00b", 5])
def test_a_reason_says_something(value: Any) -> None:
    refuse(fields.Reason(), value)
    assert load(fields.Reason(), " 客訴補償 ") == " 客訴補償 "


def test_moments_need_an_offset() -> None:
    assert load(fields.Moment(), "2026-11-21T19:03:11+08:00") == datetime(2026, 11, 21, 11, 3, 11, tzinfo=UTC)
    for value in ("2026-11-21T19:03:11", 1763722991, "yesterday", None):
        refuse(fields.Moment(), value)


def test_days_are_calendar_days() -> None:
    assert load(fields.Day(), "2024-02-29") == date(2024, 2, 29)
    for value in ("2025-02-29", "20240229", "2024-2-9", "2024-02-29T00:00:00Z", 20240229):
        refuse(fields.Day(), value)
    # Too far off to convert between zones; a birthday is never converted, and its year may be unknown.
    for value in ("0001-01-01", "1899-12-31", "9999-12-31"):
        refuse(fields.Day(), value)
        assert load(fields.Day(years=range(1, 10_000)), value) == date.fromisoformat(value)


def test_currencies_are_those_of_iso_4217() -> None:
    assert load(fields.Currency(), "TWD") == "TWD"
    for value in ("twd", "ABC", "", 5):
        refuse(fields.Currency(), value)


@pytest.mark.parametrize("value", ["0", 0, "-1", "100000001", "1e2", True])
def test_exchange_rates_are_above_zero_and_plausible(value: Any) -> None:
    refuse(fields.ExchangeRate(), value)
    assert load(fields.ExchangeRate(), "32.15") == Decimal("32.15")


def test_free_form_keeps_plain_json() -> None:
    value = {"vip": True, "score": Decimal("1.50"), "n": 3, "tags": ["a", None], "deep": {"er": {"est": 1}}}
    assert load(fields.FreeForm(), value) == {**value, "score": "1.50"}


@pytest.mark.parametrize(
    "value",
    [
        [],
        "x",
        {str(i): i for i in range(51)},
        {"a": {"b": {"c": {"d": {"e": 1}}}}},
        {"a": "x" * 9000},
        {"a": "nul\x00"},
        {"nul\x00": "a"},
        {"a": ["\ud800"]},
        {"a": 2**64},
    ],
)
def test_free_form_is_small_flat_and_storable(value: Any) -> None:
    refuse(fields.FreeForm(), value)


def test_unknown_fields_are_refused() -> None:
    schema = fields.StrictSchema.from_dict({"x": fields.Text()})()
    with pytest.raises(ValidationError) as refused:
        schema.load({"x": "a", "y": 1})
    assert "y" in refused.value.messages
