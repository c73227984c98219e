"""Stores through HTTP: names, and zones that are fixed by the first fact."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Client, an_order, enrol


def put(client: Client, store_id: str = "tokyo-1", **fields: Any) -> Any:
    """Add or change a store."""
    return client.put(f"/v1/stores/{store_id}", json=fields)


def test_a_store_is_added_once_and_then_changed(client: Client) -> None:
    added = put(client, name="Ginza", timezone="Asia/Tokyo")
    assert added.status_code == 201
    assert added.json["counts_days_in"] == "Asia/Tokyo"
    assert added.json["zone_fixed"] is False
    renamed = put(client, name="Ginza 2")
    assert renamed.status_code == 200
    assert (renamed.json["name"], renamed.json["timezone"]) == ("Ginza 2", "Asia/Tokyo")
    assert (client.get("/v1/stores/tokyo-1").json or {})["name"] == "Ginza 2"
    emptied = put(client, name=None, timezone=None)
    assert (emptied.json["name"], emptied.json["counts_days_in"]) == (None, "Asia/Taipei")


def test_stores_come_in_pages_by_id(client: Client) -> None:
    for store_id in ("c", "a", "b"):
        put(client, store_id)
    first = client.get("/v1/stores?limit=2").json or {}
    assert [store["store_id"] for store in first["data"]] == ["a", "b"]
    second = client.get(f"/v1/stores?limit=2&cursor={first['next_cursor']}").json or {}
    assert [store["store_id"] for store in second["data"]] == ["c"]
    assert second["next_cursor"] is None


def test_an_unknown_store_is_not_found(client: Client) -> None:
    response = client.get("/v1/stores/nowhere")
    assert (response.status_code, (response.json or {})["code"]) == (404, "unknown-store")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timezone", "Mars/Olympus"),
        ("timezone", "+08:00"),
        ("timezone", 8),
        ("name", ""),
        ("name", "x" * 201),
        ("zone_fixed", False),
    ],
)
def test_a_store_that_is_not_acceptable_is_refused(client: Client, field: str, value: Any) -> None:
    response = put(client, **{field: value})
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json["errors"]] == [f"/{field}"]
    assert client.get("/v1/stores/tokyo-1").status_code == 404


def test_orders_of_a_store_are_counted_in_the_days_of_its_zone(client: Client) -> None:
    put(client, timezone="America/New_York")
    enrol(client)
    order = an_order(placed_at="2026-01-10T02:00:00Z", store_id="tokyo-1")
    assert client.post("/v1/orders", json=order).status_code == 201
    window = client.get("/v1/members/m1/tier?as_of=2026-01-10").json or {}
    assert window["metrics"]["days_since_last_visit"] == 1


def test_the_zone_is_fixed_by_the_first_order_and_the_name_is_not(client: Client) -> None:
    put(client, timezone="Asia/Tokyo")
    enrol(client)
    client.post("/v1/orders", json=an_order(store_id="tokyo-1"))
    refused = put(client, timezone="Asia/Taipei")
    assert (refused.status_code, refused.json["code"]) == (409, "store-zone-fixed")
    assert [error["pointer"] for error in refused.json["errors"]] == ["/timezone"]
    assert put(client, timezone=None).status_code == 409
    assert put(client, timezone="Asia/Tokyo", name="Ginza").status_code == 200
    assert (client.get("/v1/stores/tokyo-1").json or {})["zone_fixed"] is True


def test_a_store_that_an_order_named_first_can_be_given_the_zone_it_was_counted_in(client: Client) -> None:
    enrol(client)
    client.post("/v1/orders", json=an_order(store_id="new-1"))
    assert put(client, "new-1", timezone="Asia/Taipei").status_code == 200
    assert put(client, "new-1", timezone="Asia/Tokyo").status_code == 409


def test_a_member_who_names_a_store_does_not_fix_its_zone(client: Client) -> None:
    enrol(client, store_id="home-1")
    assert put(client, "home-1", timezone="Asia/Tokyo").status_code == 200


def test_an_order_that_was_refused_does_not_fix_the_zone(client: Client) -> None:
    put(client, timezone="Asia/Tokyo")
    enrol(client)
    refused = client.post("/v1/orders", json=an_order(store_id="tokyo-1", discount="9999"))
    assert refused.status_code == 422
    assert put(client, timezone="Asia/Taipei").status_code == 200


def test_marketing_sees_stores_and_does_not_change_them(client: Client) -> None:
    put(client)
    assert client.get("/v1/stores", role="marketing").status_code == 200
    assert client.put("/v1/stores/x", json={}, role="marketing").status_code == 403
    assert client.get("/v1/stores", role="storefront").status_code == 403


def test_changes_of_stores_are_logged_once_with_what_changed(client: Client) -> None:
    put(client, name="Ginza", timezone="Asia/Tokyo")
    put(client, name="Ginza", timezone="Asia/Tokyo")
    put(client, name="Ginza 2")
    page = client.get("/v1/audit-log?subject=store:tokyo-1", role="admin").json or {}
    assert [entry["action"] for entry in page["data"]] == ["store.changed", "store.added"]
    assert page["data"][0]["changes"] == [
        {"field": "name", "sealed": False, "before": "Ginza", "after": "Ginza 2"}
    ]
