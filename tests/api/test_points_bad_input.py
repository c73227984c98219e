"""Bad requests about points: each refused with its own code, and not a row of the ledger moved."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.conftest import Client
from tests.api.test_points_complaints_of_people import read_everything
from tests.api.test_points_holds import hold, let_time_pass, with_points

POINTS = "/v1/members/m1/points"
GIVEN = {"reason": "goodwill"}


@pytest.fixture
def shop(client: Client) -> Client:
    """A member with 100 points, 40 of them held, and a hold of 10 whose time is over."""
    with_points(client, 100)
    return client


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (f"{POINTS}/adjustments", GIVEN | {"points": 0.5}, 422, "invalid"),
        (f"{POINTS}/adjustments", GIVEN | {"points": 1e300}, 422, "invalid"),
        (f"{POINTS}/adjustments", GIVEN | {"points": 10**40}, 422, "invalid"),
        (f"{POINTS}/adjustments", GIVEN | {"points": -61}, 409, "insufficient-points"),
        (f"{POINTS}/adjustments", GIVEN | {"points": -(10**9)}, 409, "insufficient-points"),
        (f"{POINTS}/holds", {"points": 1.5, "ttl_seconds": 60}, 422, "invalid"),
        (f"{POINTS}/holds", {"points": 2**63, "ttl_seconds": 60}, 422, "invalid"),
        (f"{POINTS}/holds", {"points": 61, "ttl_seconds": 60}, 409, "insufficient-points"),
        ("/v1/points/holds/{open}/capture", {"order_id": "o1", "points": 41}, 422, "capture-above-hold"),
        ("/v1/points/holds/{open}/capture", {"order_id": "o1", "points": 0.1}, 422, "invalid"),
        ("/v1/points/holds/{over}/capture", {"order_id": "o1"}, 409, "hold-ended"),
        ("/v1/points/holds/{over}/release", None, 409, "hold-ended"),
        ("/v1/points/holds/hold_0/capture", {"order_id": "o1"}, 404, "hold-not-found"),
        ("/v1/members/nobody/points/adjustments", GIVEN | {"points": 5}, 404, "unknown-member"),
    ],
)
def test_a_bad_request_is_refused_with_its_code_and_moves_nothing(
    shop: Client, path: str, body: dict[str, Any] | None, status: int, code: str
) -> None:
    places = {"open": hold(shop, 40).json["hold_id"], "over": hold(shop, 10).json["hold_id"]}
    let_time_pass(shop, places["over"])
    before = read_everything(shop)
    sent = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    answer = shop.post(path.format(**places), headers={"Idempotency-Key": "bad"}, **sent)
    assert (answer.status_code, (answer.json or {})["code"]) == (status, code)
    assert read_everything(shop) == before
