"""The catalogue, through HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Client

TEA = {
    "name": {"en": "Oolong tea", "zh-Hant": "烏龍茶"},
    "category": ["tea", "gifts"],
    "price": "380.00",
    "currency": "TWD",
    "available": True,
    "attributes": {"grams": 150},
}


def test_an_item_is_added_and_replaced_whole(client: Client) -> None:
    assert client.put("/v1/items/tea", json=TEA).status_code == 201
    item = client.get("/v1/items/tea").json or {}
    assert item["name"] == TEA["name"]
    assert (item["price"], item["stub"]) == ("380.00", False)
    assert client.put("/v1/items/tea", json={"name": {"en": "Tea"}}).status_code == 200
    replaced = client.get("/v1/items/tea").json or {}
    assert (replaced["price"], replaced["category"]) == (None, [])


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"price": "380.001"}, "/price"),
        ({"price": "-1"}, "/price"),
        ({"currency": "NTD"}, "/currency"),
        ({"name": {"not a locale": "x"}}, "/name/not a locale/key"),
        ({"available": "yes"}, "/available"),
        ({"weight": 1}, "/weight"),
    ],
)
def test_bad_items_are_refused_with_a_pointer(client: Client, change: dict[str, Any], pointer: str) -> None:
    response = client.put("/v1/items/tea", json=TEA | change)
    assert response.status_code == 422
    assert pointer in [error["pointer"] for error in (response.json or {})["errors"]]


def test_an_unknown_item_is_not_found(client: Client) -> None:
    assert (client.get("/v1/items/none").json or {})["code"] == "unknown-item"
