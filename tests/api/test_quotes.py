"""Quotes through HTTP: what an order would earn, and why."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from tests.api.conftest import Client, an_order, enrol
from tests.api.test_earning_rules import BY_CATEGORY, line, publish

BASKET: dict[str, Any] = {
    "currency": "TWD",
    "lines": [line("oolong", "450", "tea"), line("cup", "100"), line("card", "1000", "gift-cards")],
    "discount": "10",
}


def quote(client: Client, body: Any, **options: Any) -> Any:
    response = client.post("/v1/points/quotes", json=body, **options)
    assert response.status_code == 200, response.data
    return response.json


def test_a_quote_tells_line_by_line_what_an_order_would_earn(client: Client) -> None:
    enrol(client)
    publish(client)
    told = quote(client, BASKET | {"member_id": "m1"})
    assert (told["points"], told["rules_version"], told["tier"]["tier"]) == (18, 2, "member")
    assert [one["rate"]["why"] for one in told["lines"]] == ["rate", "rate", "excluded"]
    assert [one["rate"]["by"] for one in told["lines"]] == ["category:tea", "sku:cup", "category:gift-cards"]
    assert [one["counted"] for one in told["lines"]] == ["447.10", "99.35", "993.55"]
    assert told["counted"] == "1540.00"
    assert told["minimum_order"] == "200.00"
    assert told["caps"] == [
        {"cap": "per_order", "at_most": 50, "cut_off": 0},
        {"cap": "per_member_day", "at_most": 60, "cut_off": 0},
    ]
    assert told["pending_until"] is not None
    placed = client.post("/v1/orders", json=an_order(**BASKET)).json or {}
    assert placed["points"]["earned"] == told["points"]


def test_a_plain_rule_is_told_in_the_same_words(client: Client) -> None:
    told = quote(client, BASKET, headers={"Accept-Language": "zh-Hant"})
    assert told["points"] == 51
    assert told["explanation"][0] == "可累積金額為 1,540 元。"
    assert {one["rate"]["why"] for one in told["lines"]} == {"base"}


def test_a_visitor_sees_what_somebody_in_the_base_tier_would_earn(client: Client) -> None:
    publish(client)
    assert quote(client, BASKET)["tier"]["rank"] == 0


def test_a_storefront_asks_for_its_own_member_or_for_nobody(client: Client) -> None:
    enrol(client)
    enrol(client, "m2")
    assert quote(client, BASKET, role="storefront")["tier"]["rank"] == 0
    other = client.post("/v1/points/quotes", json=BASKET | {"member_id": "m2"}, role="storefront")
    assert (other.status_code, (other.json or {})["code"]) == (403, "member-token-needed")


def test_quoting_writes_nothing_not_even_a_store_or_an_item(client: Client) -> None:
    enrol(client)
    tables = ("stores", "items", "orders", "ledger_transactions", "outbox", "audit_log", "idempotency_keys")

    def count() -> list[int]:
        with client.engine.connect() as conn:
            return [conn.scalar(text(f"SELECT count(*) FROM {table}")) or 0 for table in tables]

    before = count()
    quote(client, BASKET | {"member_id": "m1", "store_id": "new-store"})
    assert count() == before


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"member_id": "nobody"}, 422, "member-not-enrolled"),
        ({"currency": "USD"}, 422, "currency-mismatch"),
        ({"points_hold_id": "hold_x"}, 422, "hold-not-known"),
        ({"discount": "99999"}, 422, "invalid"),
        ({"lines": []}, 422, "invalid"),
        ({"order_id": "o1"}, 422, "invalid"),
        ({"discount": "0.001"}, 422, "invalid"),
    ],
)
def test_what_no_order_could_be_is_not_quoted(
    client: Client, fields: dict[str, Any], status: int, code: str
) -> None:
    response = client.post("/v1/points/quotes", json=BASKET | fields)
    assert (response.status_code, (response.json or {})["code"]) == (status, code)


def test_a_day_s_limit_that_is_used_up_is_told_before_the_order_comes(client: Client) -> None:
    enrol(client)
    publish(client, BY_CATEGORY | {"caps": {"per_member_day": 15}})
    body = {"currency": "TWD", "member_id": "m1", "lines": [line("spoon", "1000")]}
    assert quote(client, body)["points"] == 10
    client.post("/v1/orders", json=an_order("o1", lines=body["lines"]))
    told = quote(client, body)
    assert (told["points"], told["caps"]) == (5, [{"cap": "per_member_day", "at_most": 5, "cut_off": 5}])
