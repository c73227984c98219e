"""The short cut for ordinary orders loads exactly what the schema loads, and never what it refuses."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from service.intake.bulk.fields import load_item, load_member, load_order, load_plain_order
from service.intake.schemas import OrderBody

SCHEMA = OrderBody()
GOOD: dict[str, Any] = {
    "order_id": "T1",
    "member_id": "M1",
    "placed_at": "2024-03-24T14:02:11+08:00",
    "currency": "TWD",
    "lines": [{"sku": "TEA", "quantity": 1, "amount": "680"}],
}
LINE = GOOD["lines"][0]

PLAIN: list[dict[str, Any]] = [
    {},
    {"shipping": "80", "tax": 5, "discount": Decimal("1.50"), "channel": "web", "store_id": "S 1"},
    {"shipping": None, "tax": None, "discount": None, "channel": None, "store_id": None},
    {"placed_at": "2024-03-24t14:02:11.123456789Z"},
    {"lines": [LINE | {"category": "tea"}, LINE | {"category": None, "amount": 0}, LINE]},
    {"order_id": "訂單 7", "member_id": "x" * 128},
]
RARER: list[dict[str, Any]] = [
    {"exchange_rate": "31.5"},
    {"checkout_started_at": "2024-03-24T13:00:00Z"},
    {"recommendation_ids": ["rec_1"]},
    {"attribution_token": "t"},
]
BAD: list[dict[str, Any]] = [
    {"order_id": ""},
    {"order_id": " T1"},
    {"order_id": "T\x001"},
    {"order_id": "T\ud8001"},
    {"order_id": "T\t1"},
    {"order_id": 5},
    {"order_id": None},
    {"member_id": "x" * 129},
    {"member_id": ["M1"]},
    {"placed_at": "2024-03-24T14:02:11"},
    {"placed_at": "2024-02-30T14:02:11Z"},
    {"placed_at": "0024-02-20T14:02:11Z"},
    {"placed_at": 1711288931},
    {"placed_at": None},
    {"currency": "XXX"},
    {"currency": ["TWD"]},
    {"currency": None},
    {"lines": []},
    {"lines": None},
    {"lines": [LINE] * 1001},
    {"lines": ["TEA"]},
    {"lines": [LINE | {"quantity": 0}]},
    {"lines": [LINE | {"quantity": "1"}]},
    {"lines": [LINE | {"quantity": True}]},
    {"lines": [LINE | {"quantity": Decimal("1.5")}]},
    {"lines": [LINE | {"quantity": 10_000_001}]},
    {"lines": [LINE | {"amount": "-1"}]},
    {"lines": [LINE | {"amount": "1e3"}]},
    {"lines": [LINE | {"amount": "NaN"}]},
    {"lines": [LINE | {"amount": True}]},
    {"lines": [LINE | {"amount": None}]},
    {"lines": [LINE | {"amount": "12345678901234567"}]},
    {"lines": [LINE | {"category": ""}]},
    {"lines": [LINE | {"category": "x" * 101}]},
    {"lines": [LINE | {"category": "t\x00a"}]},
    {"lines": [LINE | {"price": "1"}]},
    {"lines": [{"sku": "TEA", "quantity": 1}]},
    {"shipping": "-1"},
    {"tax": "abc"},
    {"discount": []},
    {"channel": ""},
    {"channel": 7},
    {"store_id": ""},
    {"note": "hello"},
]


@pytest.mark.parametrize("change", PLAIN)
def test_an_ordinary_order_takes_the_short_cut_to_what_the_schema_loads(change: dict[str, Any]) -> None:
    raw = GOOD | change
    kept = copy.deepcopy(raw)
    assert load_plain_order(raw) == SCHEMA.load(raw)
    assert raw == kept


@pytest.mark.parametrize("change", RARER)
def test_an_order_with_rarer_fields_is_left_to_the_schema(change: dict[str, Any]) -> None:
    assert load_plain_order(GOOD | change) is None
    assert load_order(GOOD | change) == SCHEMA.load(GOOD | change)


@pytest.mark.parametrize("change", BAD)
def test_what_the_schema_refuses_the_short_cut_refuses_with_the_schemas_words(change: dict[str, Any]) -> None:
    raw = GOOD | change
    assert load_plain_order(raw) is None
    with pytest.raises(ValidationError) as by_schema:
        SCHEMA.load(raw)
    with pytest.raises(ValidationError) as by_import:
        load_order(raw)
    assert by_import.value.messages == by_schema.value.messages


@pytest.mark.parametrize("name", sorted(GOOD))
def test_an_order_without_a_field_it_needs_is_refused(name: str) -> None:
    raw = {key: value for key, value in GOOD.items() if key != name}
    assert load_plain_order(raw) is None
    with pytest.raises(ValidationError):
        load_order(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(name=st.sampled_from(sorted({*GOOD, "shipping", "channel", "store_id", "discount"})), value=JSON)
def test_whatever_stands_in_a_field_both_say_the_same(name: str, value: Any) -> None:
    raw = GOOD | {name: value}
    try:
        loaded = SCHEMA.load(raw)
    except ValidationError:
        loaded = None
    plain = load_plain_order(raw)
    assert plain is None or plain == loaded


def test_an_item_and_a_member_are_loaded_with_their_ids() -> None:
    assert load_item({"sku": "TEA", "price": "680"}) == {"sku": "TEA", "price": Decimal(680)}
    assert load_member({"member_id": "M1", "locale": "en"}) == {"member_id": "M1", "locale": "en"}


def test_a_wrong_id_and_a_wrong_field_are_told_together() -> None:
    with pytest.raises(ValidationError) as refusal:
        load_member({"member_id": "", "locale": "?"})
    assert set(refusal.value.messages) == {"member_id", "locale"}
    with pytest.raises(ValidationError) as refusal:
        load_item({"price": "680"})
    assert set(refusal.value.messages) == {"sku"}
