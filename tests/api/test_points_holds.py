"""Holds through HTTP: set aside, capture, release, and what is refused."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import text

from tests.api.conftest import Client, enrol
from tests.api.test_points import adjust, points_of

_keys = count()


def hold(
    client: Client, points: Any = 30, *, member: str = "m1", key: str | None = None, **fields: Any
) -> Any:
    """Set points of a member aside, with a key of its own."""
    return client.post(
        f"/v1/members/{member}/points/holds",
        json={"points": points, "ttl_seconds": 900} | fields,
        headers={"Idempotency-Key": key or f"hold-{next(_keys)}"},
    )


def with_points(client: Client, points: int = 100, member: str = "m1") -> None:
    """Enrol a member who has points."""
    enrol(client, member)
    response = client.post(
        f"/v1/members/{member}/points/adjustments",
        json={"points": points, "reason": "start"},
        headers={"Idempotency-Key": f"start-{member}"},
    )
    assert response.status_code == 201


def let_time_pass(client: Client, hold_id: str) -> None:
    """Move a hold into the past, so that its time is over."""
    with client.engine.begin() as conn:
        conn.execute(
            text(
                "UPDATE point_holds SET created_at = created_at - interval '1 hour', "
                "expires_at = expires_at - interval '1 hour' WHERE hold_id = CAST(:hold_id AS uuid)"
            ),
            {"hold_id": hold_id.removeprefix("hold_")},
        )
        conn.execute(text("UPDATE balances SET next_due_at = next_due_at - interval '1 hour'"))


def test_a_hold_sets_points_aside_until_its_time_is_over(client: Client) -> None:
    with_points(client)
    before = datetime.now(UTC)
    response = hold(client, 30, order_id="o1")
    assert response.status_code == 201
    body = response.json
    assert body["hold_id"].startswith("hold_")
    assert (body["points"], body["state"], body["order_id"], body["captured"]) == (30, "open", "o1", 0)
    assert datetime.fromisoformat(body["expires_at"]) >= before + timedelta(seconds=900)
    points = points_of(client)
    assert (points["available"], points["held"], points["value"]) == (70, 30, "21.00")
    assert client.get(f"/v1/points/holds/{body['hold_id']}").json == body
    entry = (client.get("/v1/members/m1/points/transactions").json or {})["data"][0]
    assert (entry["kind"], entry["hold_id"]) == ("hold", body["hold_id"])


def test_a_capture_spends_a_part_and_frees_the_rest(client: Client) -> None:
    with_points(client)
    hold_id = hold(client).json["hold_id"]
    response: Any = client.post(f"/v1/points/holds/{hold_id}/capture", json={"order_id": "o1", "points": 20})
    assert response.status_code == 200
    assert (response.json["state"], response.json["captured"]) == ("captured", 20)
    again = client.post(f"/v1/points/holds/{hold_id}/capture", json={"order_id": "o1", "points": 20})
    assert again.json == response.json
    points = points_of(client)
    assert (points["available"], points["held"]) == (80, 0)


def test_a_release_frees_everything(client: Client) -> None:
    with_points(client)
    hold_id = hold(client).json["hold_id"]
    response: Any = client.post(f"/v1/points/holds/{hold_id}/release")
    assert (response.status_code, response.json["state"]) == (200, "released")
    assert client.post(f"/v1/points/holds/{hold_id}/release").json == response.json
    assert points_of(client)["available"] == 100
    refused: Any = client.post(f"/v1/points/holds/{hold_id}/capture", json={"order_id": "o1"})
    assert (refused.status_code, refused.json["code"]) == (409, "hold-ended")


def test_a_hold_repeated_with_its_key_is_made_once(client: Client) -> None:
    with_points(client)
    first, again = hold(client, key="once"), hold(client, key="once")
    assert again.data == first.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert points_of(client)["held"] == 30
    assert hold(client, 31, key="once").json["code"] == "idempotency-key-reused"


def test_a_hold_without_a_key_is_refused(client: Client) -> None:
    with_points(client)
    response = client.post("/v1/members/m1/points/holds", json={"points": 5, "ttl_seconds": 60})
    assert (response.status_code, (response.json or {})["code"]) == (400, "idempotency-key-required")


def test_an_expired_hold_is_free_at_once_and_can_no_longer_be_captured(client: Client) -> None:
    with_points(client)
    hold_id = hold(client, 100).json["hold_id"]
    assert points_of(client)["available"] == 0
    let_time_pass(client, hold_id)
    assert points_of(client)["available"] == 100
    assert (client.get(f"/v1/points/holds/{hold_id}").json or {})["state"] == "expired"
    for verb, body in (("capture", {"order_id": "o1"}), ("release", None)):
        options = {} if body is None else {"json": body}
        refused: Any = client.post(f"/v1/points/holds/{hold_id}/{verb}", **options)
        assert (refused.status_code, refused.json["code"]) == (409, "hold-ended")
    assert hold(client, 100).status_code == 201


def test_a_hold_of_one_second_is_over_after_it(client: Client) -> None:
    with_points(client)
    hold(client, 100, ttl_seconds=1)
    time.sleep(1.1)
    assert points_of(client)["available"] == 100
    assert adjust(client, -100).status_code == 201


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"points": 1.5}, "/points"),
        ({"points": "12"}, "/points"),
        ({"points": True}, "/points"),
        ({"points": 0}, "/points"),
        ({"points": -5}, "/points"),
        ({"points": 10**30}, "/points"),
        ({"points": None}, "/points"),
        ({"ttl_seconds": 0}, "/ttl_seconds"),
        ({"ttl_seconds": 10**9}, "/ttl_seconds"),
        ({"ttl_seconds": 0.5}, "/ttl_seconds"),
        ({"order_id": " o1"}, "/order_id"),
        ({"hold": 1}, "/hold"),
    ],
)
def test_a_hold_that_is_not_acceptable_is_refused_at_its_place(
    client: Client, fields: dict[str, Any], pointer: str
) -> None:
    with_points(client)
    response = client.post(
        "/v1/members/m1/points/holds",
        data=json.dumps({"points": 10, "ttl_seconds": 60} | fields),
        content_type="application/json",
        headers={"Idempotency-Key": "bad"},
    )
    assert response.status_code == 422
    assert [error["pointer"] for error in (response.json or {})["errors"]] == [pointer]
    assert points_of(client)["held"] == 0


@pytest.mark.parametrize(
    ("points", "code"),
    [(31, "capture-above-hold"), (0, "invalid"), (-1, "invalid"), (1.5, "invalid"), (10**30, "invalid")],
)
def test_a_capture_that_is_not_acceptable_is_refused_and_the_hold_stands(
    client: Client, points: Any, code: str
) -> None:
    with_points(client)
    hold_id = hold(client).json["hold_id"]
    response = client.post(
        f"/v1/points/holds/{hold_id}/capture",
        data=json.dumps({"order_id": "o1", "points": points}),
        content_type="application/json",
    )
    assert (response.status_code, (response.json or {})["code"]) == (422, code)
    assert points_of(client)["held"] == 30


def test_a_hold_of_more_than_there_is_is_refused(client: Client) -> None:
    with_points(client)
    refused = hold(client, 101)
    assert (refused.status_code, refused.json["code"]) == (409, "insufficient-points")
    assert (hold(client, 5, member="nobody").json or {})["code"] == "unknown-member"


@pytest.mark.parametrize("hold_id", ["hold_1", "hold_019aa6c0f0d07b1f8d0f3f0a5f1e2d3c", "o1"])
def test_a_hold_that_is_not_there_is_not_found(client: Client, hold_id: str) -> None:
    answers = [
        client.get(f"/v1/points/holds/{hold_id}"),
        client.post(f"/v1/points/holds/{hold_id}/release"),
        client.post(f"/v1/points/holds/{hold_id}/capture", json={"order_id": "o1"}),
    ]
    assert {(answer.status_code, (answer.json or {})["code"]) for answer in answers} == {
        (404, "hold-not-found")
    }


def test_a_storefront_key_cannot_set_points_aside(client: Client) -> None:
    with_points(client)
    for role in ("storefront", "marketing"):
        response = client.post(
            "/v1/members/m1/points/holds",
            role=role,
            json={"points": 5, "ttl_seconds": 60},
            headers={"Idempotency-Key": "x"},
        )
        assert response.status_code in {401, 403}


def test_fifty_checkouts_at_once_hold_no_more_than_there_is(client: Client) -> None:
    with_points(client)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: hold(client, 30, key=f"race-{number}").status_code, range(50)))
    assert sorted(answers) == [201] * 3 + [409] * 47
    assert (points_of(client)["available"], points_of(client)["held"]) == (10, 90)
