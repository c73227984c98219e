"""Traps that frameworks lay, on the real routes: each was fallen into once, and has its guard."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from tests.api.conftest import Client, an_order, enrol


def count_orders(client: Client) -> int:
    with client.engine.connect() as conn:
        return int(conn.execute(text("SELECT count(*) FROM order_keys")).scalar_one())


def test_a_form_post_is_not_an_empty_body(client: Client) -> None:
    response = client.post("/v1/orders", data={"order_id": "o1"})
    assert response.status_code == 415
    assert (response.json or {})["code"] == "not-json"


def test_unknown_query_parameters_are_not_ignored(client: Client) -> None:
    enrol(client)
    for path in ("/v1/members/m1/points?asof=2026-01-01", "/v1/members/m1/recommendations?limt=3"):
        response = client.get(path)
        assert response.status_code == 400, path
        assert (response.json or {})["errors"][0]["parameter"] in {"asof", "limt"}


@pytest.mark.parametrize(
    "amount", ["1.005", "0.001", "-1", "-0.01", "1e3", "NaN", "", " 1", "1,000", True, None]
)
def test_money_is_never_rounded_or_guessed(client: Client, amount: Any) -> None:
    enrol(client)
    response = client.post("/v1/orders", json=an_order(amount=amount))
    assert response.status_code == 422
    assert (response.json or {})["errors"][0]["pointer"] == "/lines/0/amount"
    assert count_orders(client) == 0


@pytest.mark.parametrize("quantity", ["12", True, 1.5, 0, -1, None])
def test_a_quantity_is_a_whole_json_number(client: Client, quantity: Any) -> None:
    enrol(client)
    order = an_order()
    order["lines"][0]["quantity"] = quantity
    response = client.post("/v1/orders", json=order)
    assert response.status_code == 422
    assert (response.json or {})["errors"][0]["pointer"] == "/lines/0/quantity"


@pytest.mark.parametrize("placed_at", ["2026-01-01T00:00:00", "2026-01-01", "yesterday", 1767225600, None])
def test_a_time_without_offset_is_refused(client: Client, placed_at: Any) -> None:
    enrol(client)
    response = client.post("/v1/orders", json=an_order(placed_at=placed_at))
    assert response.status_code == 422
    assert (response.json or {})["errors"][0]["pointer"] == "/placed_at"


def test_numbers_do_not_pass_through_floats(client: Client) -> None:
    enrol(client)
    body = an_order(amount="0")
    raw = client.app.json.dumps(body).replace('"amount":"0"', '"amount":9007199254740.93')
    response = client.post("/v1/orders", data=raw, content_type="application/json")
    assert response.status_code == 201, response.data
    assert (response.json or {})["order"]["goods"] == "9007199254740.93"


def test_documented_refusals_are_problems(client: Client) -> None:
    for path in client.spec["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                for status, answer in operation["responses"].items():
                    if status >= "4":
                        assert set(answer["content"]) == {"application/problem+json"}


@pytest.mark.parametrize("member_id", ["a%00b", "%20a", "a%0Ab", "%ED%A0%80", "x" * 129])
def test_an_id_that_cannot_be_stored_is_refused_and_not_a_crash(client: Client, member_id: str) -> None:
    response = client.put(f"/v1/members/{member_id}", json={})
    assert response.status_code in {404, 422}


@pytest.mark.parametrize("bad", ["nul\u0000", "\ud800"])
def test_text_that_cannot_be_stored_is_refused_wherever_it_stands(client: Client, bad: str) -> None:
    enrol(client)
    for change in ({"order_id": bad}, {"member_id": bad}, {"channel": bad}, {"store_id": bad}):
        response = client.call(
            "POST",
            "/v1/orders",
            data=json.dumps(an_order() | change),
            content_type="application/json",
        )
        assert response.status_code == 422, change
    assert count_orders(client) == 0


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/openapi.json"])
def test_probes_answer_without_a_key(client: Client, path: str) -> None:
    assert client.get(path, role=None).status_code == 200


def test_the_document_lists_every_route_and_is_what_the_file_holds(client: Client) -> None:
    document = client.get("/openapi.json", role=None).json or {}
    assert document == json.loads(json.dumps(client.spec))
    assert document["openapi"].startswith("3.1")
