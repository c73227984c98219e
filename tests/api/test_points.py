"""Points through HTTP: balance, ledger, adjustments."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.conftest import Client, an_order, enrol

NOWHERE = "/v1/members/nobody/points"


def adjust(client: Client, points: Any, *, key: str | None = None, **fields: Any) -> Any:
    """Send an adjustment of m1 with a key of its own."""
    return client.post(
        "/v1/members/m1/points/adjustments",
        json={"points": points, "reason": "goodwill"} | fields,
        headers={
            "Idempotency-Key": key or f"k{points}{sorted(fields.items())}".translate({32: "", 44: ""})[:100]
        },
    )


def points_of(client: Client) -> dict[str, Any]:
    """Return the points of m1."""
    response = client.get("/v1/members/m1/points")
    assert response.status_code == 200
    return response.json or {}


def test_a_new_member_has_nothing(client: Client) -> None:
    enrol(client)
    assert points_of(client) == {
        "available": 0,
        "pending": 0,
        "held": 0,
        "debt": 0,
        "lifetime_earned": 0,
        "expiring": [],
        "value": "0.00",
    }


def test_an_order_earns_pending_points_and_its_entry_names_it(client: Client) -> None:
    enrol(client)
    assert client.post("/v1/orders", json=an_order(amount="3050")).status_code == 201
    assert points_of(client)["pending"] == 101
    page = client.get("/v1/members/m1/points/transactions").json or {}
    (entry,) = page["data"]
    assert (entry["kind"], entry["order_id"], entry["refund_id"]) == ("earn", "o1", None)
    assert entry["rule"] == {
        "points": 1,
        "per": "30.00",
        "multiplier_bp": 10_000,
        "tier": "member",
        "eligible": "3050.00",
        "settings_version": entry["rule"]["settings_version"],
        "rules_version": None,
        "terms": None,
    }
    assert sum(posting["points"] for posting in entry["postings"]) == 0
    assert [posting["account"] for posting in entry["postings"]] == ["issued", "pending"]
    assert entry["postings"][1]["lot"]["expires_at"] is None


def test_points_given_are_available_at_once_and_worth_their_value(client: Client) -> None:
    enrol(client)
    response = adjust(client, 50, expires_on="2999-01-15")
    assert response.status_code == 201
    assert response.json["balance"]["available"] == 50
    assert response.json["expires_on"] == "2999-01-15"
    points = points_of(client)
    assert points["value"] == "15.00"
    assert points["expiring"] == [{"points": 50, "on": "2999-01-15"}]
    entry = (client.get("/v1/members/m1/points/transactions").json or {})["data"][0]
    assert (entry["kind"], entry["reason"]) == ("adjust", "goodwill")
    assert entry["actor"].startswith("server:")
    assert entry["transaction_id"] == response.json["transaction_id"]


def test_taking_more_than_is_available_is_refused_and_less_is_not(client: Client) -> None:
    enrol(client)
    adjust(client, 50)
    refused = adjust(client, -51)
    assert (refused.status_code, refused.json["code"]) == (409, "insufficient-points")
    assert points_of(client)["available"] == 50
    assert adjust(client, -50).status_code == 201
    assert points_of(client)["available"] == 0


def test_an_adjustment_repeated_with_its_key_takes_effect_once(client: Client) -> None:
    enrol(client)
    first = adjust(client, 50, key="once")
    again = adjust(client, 50, key="once")
    assert again.data == first.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert points_of(client)["available"] == 50
    other = adjust(client, 60, key="once")
    assert (other.status_code, other.json["code"]) == (422, "idempotency-key-reused")
    assert adjust(client, 50, key="twice").status_code == 201
    assert points_of(client)["available"] == 100


def test_an_adjustment_without_a_key_is_refused(client: Client) -> None:
    enrol(client)
    response = client.post("/v1/members/m1/points/adjustments", json={"points": 5, "reason": "x"})
    assert (response.status_code, (response.json or {})["code"]) == (400, "idempotency-key-required")
    assert points_of(client)["available"] == 0


@pytest.mark.parametrize(
    ("fields", "status", "pointer"),
    [
        ({"points": 1.5}, 422, "/points"),
        ({"points": "12"}, 422, "/points"),
        ({"points": True}, 422, "/points"),
        ({"points": None}, 422, "/points"),
        ({"points": 0}, 422, "/points"),
        ({"points": 10**9 + 1}, 422, "/points"),
        ({"points": -(10**30)}, 422, "/points"),
        ({"reason": ""}, 422, "/reason"),
        ({"reason": "a\x00b"}, 422, "/reason"),
        ({"reason": None}, 422, "/reason"),
        ({"expires_on": "2020-01-01"}, 422, "/expires_on"),
        ({"expires_on": "0001-01-01"}, 422, "/expires_on"),
        ({"expires_on": "2999-02-30"}, 422, "/expires_on"),
        ({"points": -5, "expires_on": "2999-01-01"}, 422, "/expires_on"),
        ({"points_too": 1}, 422, "/points_too"),
    ],
)
def test_an_adjustment_that_is_not_acceptable_is_refused_at_its_place(
    client: Client, fields: dict[str, Any], status: int, pointer: str
) -> None:
    enrol(client)
    adjust(client, 20, key="before")
    body = {"points": 10, "reason": "goodwill"} | fields
    response = client.post(
        "/v1/members/m1/points/adjustments",
        data=json.dumps(body),
        content_type="application/json",
        headers={"Idempotency-Key": "bad"},
    )
    assert response.status_code == status, response.data
    assert [error["pointer"] for error in (response.json or {})["errors"]] == [pointer]
    assert points_of(client)["available"] == 20


def test_the_last_day_of_the_calendar_is_taken_as_an_expiry(client: Client) -> None:
    enrol(client)
    assert adjust(client, 10, expires_on="9999-12-31").status_code == 201
    assert points_of(client)["expiring"] == [{"points": 10, "on": "9999-12-31"}]


def test_points_of_somebody_unknown_are_not_found(client: Client) -> None:
    for path in (NOWHERE, f"{NOWHERE}/transactions"):
        response = client.get(path)
        assert (response.status_code, (response.json or {})["code"]) == (404, "unknown-member")
    response = client.post(
        f"{NOWHERE}/adjustments", json={"points": 5, "reason": "x"}, headers={"Idempotency-Key": "k"}
    )
    assert (response.status_code, (response.json or {})["code"]) == (404, "unknown-member")


def test_a_storefront_key_sees_and_changes_no_ledger(client: Client) -> None:
    enrol(client)
    for path in ("/v1/members/m1/points", "/v1/members/m1/points/transactions"):
        assert client.get(path, role="storefront").status_code == 403
        assert client.get(path, role="marketing").status_code == 200
    refused = client.post(
        "/v1/members/m1/points/adjustments",
        role="storefront",
        json={"points": 5, "reason": "x"},
        headers={"Idempotency-Key": "k"},
    )
    assert refused.status_code == 403


def test_the_ledger_is_paged_newest_first_without_gaps_or_repeats(client: Client) -> None:
    enrol(client)
    for points in range(1, 8):
        assert adjust(client, points).status_code == 201
    seen: list[int] = []
    cursor = ""
    while True:
        page = client.get(f"/v1/members/m1/points/transactions?limit=3{cursor}").json or {}
        seen += [entry["postings"][1]["points"] for entry in page["data"]]
        # New entries come on top and do not move what is below.
        adjust(client, 100 + len(seen))
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    "query", ["cursor=nonsense", "cursor=WyJ4IiwxXQ", "limit=0", "limit=501", "limit=x", "a=1"]
)
def test_a_bad_page_is_refused(client: Client, query: str) -> None:
    enrol(client)
    response = client.get(f"/v1/members/m1/points/transactions?{query}")
    assert response.status_code in {400, 422}
    assert "errors" in (response.json or {})


def test_a_refund_is_named_and_takes_back_what_its_order_earned(client: Client) -> None:
    enrol(client)
    client.post("/v1/orders", json=an_order(amount="3000"))
    refund = {
        "refund_id": "r1",
        "order_id": "o1",
        "member_id": "m1",
        "refunded_at": (datetime.now(UTC) + timedelta(seconds=1)).isoformat(),
        "kind": "return",
        "amount": "3000",
    }
    assert client.post("/v1/refunds", json=refund).status_code == 201
    points = points_of(client)
    assert (points["pending"], points["available"], points["lifetime_earned"]) == (0, 0, 0)
    entry = (client.get("/v1/members/m1/points/transactions").json or {})["data"][0]
    assert (entry["kind"], entry["order_id"], entry["refund_id"]) == ("reverse", "o1", "r1")
    assert client.post("/v1/refunds", json=refund).status_code == 200
    assert points_of(client) == points
