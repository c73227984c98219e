"""A tier explained, through HTTP: who may ask what, in which language, and how much comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.conftest import Client, an_order, enrol
from tests.api.test_access import ask_with, code_of, make_token

PATH = "/v1/members/m1/tier/explanation"


@pytest.fixture
def member(client: Client) -> Client:
    """A member who reached Silver with two orders, part of one given back."""
    enrol(client, joined_at=ago(90))
    for order_id, days in (("o1", 60), ("o2", 20)):
        client.post("/v1/orders", json=an_order(order_id, amount="2000", placed_at=ago(days)))
    refund = {"refund_id": "r1", "order_id": "o2", "refunded_at": ago(3), "kind": "return", "amount": "300"}
    client.post("/v1/refunds", json=refund)
    return client


def ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def explain(client: Client, query: str = "", **options: Any) -> dict[str, Any]:
    return client.get(f"{PATH}{query}", **options).json or {}


def test_a_member_is_told_by_default_in_the_callers_language(member: Client) -> None:
    told = explain(member)
    assert (told["audience"], told["locale"], told["staff"]) == ("member", "en", None)
    assert told["explanation"].startswith("Your tier is Silver, since ")
    assert "stops counting." in told["explanation"]
    chinese = explain(member, headers={"Accept-Language": "zh-TW"})
    assert chinese["explanation"].startswith("您目前的會員等級是「銀卡會員」")
    assert "將不再列入計算。" in chinese["explanation"]
    assert [fact["order_id"] for fact in told["facts"]["data"]] == ["o2", "o1"]


def test_staff_are_told_the_rule_and_what_brought_the_tier_in_their_language_too(member: Client) -> None:
    told = explain(member, "?audience=staff", role="marketing")
    assert told["staff"]["reached"]["order_id"] == "o2"
    assert "by the order o2." in told["explanation"]
    assert "1 refund took NT$300 off." in told["explanation"]
    chinese = explain(member, "?audience=staff", headers={"Accept-Language": "zh-Hant"})
    assert "原因：訂單 o2。" in chinese["explanation"]
    assert chinese["staff"]["rules"]["enter"] == "消費總淨額至少 3,000 元、實際消費天數至少 2 天"
    assert chinese["to_rise"]["name"] == "金卡會員"


def test_a_storefront_asks_for_its_own_member_and_never_as_staff(member: Client) -> None:
    enrol(member, "m2")
    token = make_token(member)["token"]
    assert ask_with(member, token, path=PATH).status_code == 200
    assert ask_with(member, token, path=f"{PATH}?audience=member").status_code == 200
    assert code_of(ask_with(member, token, path=f"{PATH}?audience=staff")) == (403, "forbidden")
    assert code_of(ask_with(member, token, path="/v1/members/m2/tier/explanation")) == (403, "forbidden")


def test_the_lists_are_as_short_as_asked_for(member: Client) -> None:
    told = explain(member, "?limit=1")
    assert ([fact["order_id"] for fact in told["facts"]["data"]], told["facts"]["total"]) == (["o2"], 2)
    assert (len(told["leaving"]["data"]), told["leaving"]["total"]) == (1, 2)


def test_the_past_is_explained_as_it_was(member: Client) -> None:
    day = (datetime.now(UTC) - timedelta(days=40)).date().isoformat()
    told = explain(member, f"?as_of={day}&audience=staff")
    assert (told["tier"], told["staff"]["reason"], told["facts"]["total"]) == ("member", "base", 1)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?audience=everybody", 422, "invalid"),
        ("?limit=0", 422, "invalid"),
        ("?limit=501", 422, "invalid"),
        ("?as_of=2999-01-01", 422, "as-of-in-future"),
        ("?as_of=2001-01-01", 404, "no-membership"),
        ("?for=me", 400, "malformed-request"),
    ],
)
def test_what_cannot_be_explained_is_refused(member: Client, query: str, status: int, code: str) -> None:
    assert code_of(member.get(f"{PATH}{query}")) == (status, code)


def test_nobody_unknown_is_explained(client: Client) -> None:
    assert code_of(client.get("/v1/members/nobody/tier/explanation")) == (404, "unknown-member")
