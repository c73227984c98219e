"""What a PUT does with a field that it leaves out: what is described is replaced whole, a member is not."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import Client

REWARD: dict[str, Any] = {"name": {"en": "NT$50 off"}, "kind": "voucher_amount", "points": 20, "value": "50"}
LIMITS: dict[str, Any] = {
    "description": {"en": "For teas."},
    "minimum_spend": "500",
    "applies_to": {"categories": ["tea"]},
    "valid_days": 30,
    "combinable": True,
    "stock": 100,
    "per_member_limit": 5,
    "tiers": ["gold"],
    "starts_at": "2026-01-01T00:00:00Z",
    "ends_at": "2036-01-01T00:00:00Z",
}
ITEM: dict[str, Any] = {"name": {"en": "Tea"}}
DETAILS: dict[str, Any] = {
    "category": ["tea"],
    "price": "120",
    "currency": "TWD",
    "available": False,
    "attributes": {"origin": "Alishan"},
}
MEMBER: dict[str, Any] = {
    "name": "Mei-Lin",
    "email": "mei@example.com",
    "locale": "zh-Hant",
    "attributes": {"likes": "tea"},
    "consent": {"marketing": True, "text_version": "v1"},
}


def put(client: Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = client.put(path, json=body, role="admin")
    assert response.status_code in {200, 201}, response.data
    return response.json or {}


def read(client: Client) -> dict[str, Any]:
    return without(client.get("/v1/members/m1", role="admin").json or {}, "updated_at")


def without(answer: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in names}


def test_a_reward_and_an_item_that_are_put_with_less_are_as_if_nothing_more_had_ever_been_said(
    client: Client,
) -> None:
    for kind, least, more in (("rewards", REWARD, LIMITS), ("items", ITEM, DETAILS)):
        fresh = put(client, f"/v1/{kind}/fresh", least)
        whole = put(client, f"/v1/{kind}/used", least | more)
        reduced = put(client, f"/v1/{kind}/used", least)
        times = ("code", "sku", "created_at", "updated_at")
        assert without(reduced, *times) == without(fresh, *times)
        assert without(whole, *times) != without(fresh, *times)
        # Said again, it is what it was.
        assert without(put(client, f"/v1/{kind}/used", least | more), *times) == without(whole, *times)


def test_a_member_that_is_put_with_less_keeps_what_is_not_said_and_loses_what_is_said_to_be_null(
    client: Client,
) -> None:
    put(client, "/v1/members/m1", MEMBER)
    whole = read(client)
    put(client, "/v1/members/m1", {})
    assert read(client) == whole
    put(client, "/v1/members/m1", {"locale": "en", "email": None})
    assert read(client) == whole | {"locale": "en", "email": None}
    assert whole["email"] == MEMBER["email"]
