"""Sent twice, done once: on every route that writes, at the same time, and with secrets in the answer."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from service.kit.http import ROUTES
from tests.api.conftest import Client, an_order, enrol
from tests.conftest import SCALE

CALLERS = 50

NATURAL = {
    "access.issue_member_token": "writes nothing: a second token harms nobody",
    "events.record_events": "event_id",
    "imports.cancel_import": "import_id",
    "intake.cancel_order": "order_id",
    "intake.place_order": "order_id",
    "intake.record_shipment": "shipment_id and status",
    "intake.record_refund": "refund_id",
    "ledger.capture_hold": "hold_id",
    "ledger.release_hold": "hold_id",
    "recommendations.cancel_export": "export_id",
    "review_queue.resolve_review_entry": "entry_id and note",
    "rewards.cancel_redemption": "redemption_id",
    "rewards.import_codes": "the codes themselves",
    "rewards.release_voucher": "code and order_id",
    "rewards.reserve_voucher": "code and order_id: the time begins anew",
    "rewards.use_redemption": "redemption_id",
    "rewards.use_voucher": "code and order_id",
    "quotes.quote_points": "writes nothing",
    "recommendations.expose_crowd": "member_ids: the arms stay as first drawn",
    "recommendations.expose_visitor": "member_id or anonymous_id: the arm stays as first drawn",
    "recommendations.promote_model": "version: promoting what is in force changes nothing",
    "recommendations.retrain_model": "one training at most is waiting",
}
"""POST routes that may come without a key, and what else tells a repetition there."""


def test_a_key_is_demanded_of_every_post_without_a_natural_id(client: Client) -> None:
    """When this fails for a new route: demand a key, or say here what else tells a repetition."""
    posts = {
        rule.endpoint
        for rule in client.app.url_map.iter_rules()
        if rule.endpoint in ROUTES and "POST" in (rule.methods or ())
    }
    without = {name for name in posts if ROUTES[name].idempotency_key != "required"}
    assert without == set(NATURAL)
    assert all(ROUTES[name].idempotency_key == "optional" for name in without)


def count(client: Client, table: str) -> int:
    with client.engine.connect() as conn:
        return int(conn.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


def ask_together(client: Client, **request: Any) -> list[Any]:
    """Send one request from many threads at the same moment."""
    begin = threading.Barrier(CALLERS)
    answers: list[Any] = []

    def ask() -> None:
        own = Client(client.app, client.engine, client.keys)
        begin.wait()
        answers.append(own.call("POST", **request))

    threads = [threading.Thread(target=ask) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == CALLERS
    return answers


@pytest.mark.parametrize("turn", range(2 if SCALE == 1 else 10))
def test_fifty_at_once_have_one_effect_and_one_answer(client: Client, turn: int) -> None:
    enrol(client)
    before = {"ledger_transactions": count(client, "ledger_transactions")}
    answers = ask_together(
        client,
        path="/v1/members/m1/points/adjustments",
        json={"points": 7, "reason": "thanks"},
        headers={"Idempotency-Key": f"k{turn}"},
    )
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {201, 409}
    good = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.data for answer in good}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in good) == 1
    assert {(answer.json or {})["code"] for answer in answers if answer.status_code == 409} <= {
        "request-in-flight"
    }
    assert count(client, "ledger_transactions") == before["ledger_transactions"] + 1
    again = client.post(
        "/v1/members/m1/points/adjustments",
        json={"points": 7, "reason": "thanks"},
        headers={"Idempotency-Key": f"k{turn}"},
    )
    assert (again.data, again.headers["Idempotent-Replayed"]) == (good[0].data, "true")


def test_fifty_orders_of_one_id_without_a_key_are_one_order(client: Client) -> None:
    enrol(client)
    answers = ask_together(client, path="/v1/orders", json=an_order())
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: CALLERS - 1}
    assert count(client, "order_keys") == 1


def test_every_refusal_leaves_the_key_free(client: Client) -> None:
    headers = {"Idempotency-Key": "k1"}
    order = an_order()
    assert client.post("/v1/orders", json=order, headers=headers).status_code in {404, 422}
    assert client.post("/v1/orders", json={"order_id": "o1"}, headers=headers).status_code == 422
    enrol(client)
    placed = client.post("/v1/orders", json=order, headers=headers)
    assert placed.status_code == 201
    assert "Idempotent-Replayed" not in placed.headers
    assert count(client, "idempotency_keys") == 1


def test_the_spelling_of_a_number_makes_no_other_request(client: Client) -> None:
    enrol(client)
    headers = {"Idempotency-Key": "k1", "Content-Type": "application/json"}
    placed_at = datetime.now(UTC).isoformat()

    def body(amount: str) -> str:
        line = f'{{"sku": "tea", "quantity": 1, "amount": {amount}}}'
        return (
            f'{{"order_id": "o1", "member_id": "m1", "placed_at": "{placed_at}", "currency": "TWD", '
            f'"lines": [{line}]}}'
        )

    first = client.post("/v1/orders", data=body("12.50"), headers=headers)
    again = client.post("/v1/orders", data=body("1.25e1"), headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.data == first.data
    other = client.post("/v1/orders", data=body("12.51"), headers=headers)
    assert (other.json or {})["code"] == "idempotency-key-reused"


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 129, "a,b", "a, b"])
def test_a_key_is_one_visible_word(client: Client, key: str) -> None:
    headers = {"Idempotency-Key": key}
    response = client.post("/v1/member-tokens", json={"member_id": "m1"}, headers=headers)
    assert (response.status_code, (response.json or {})["code"]) == (400, "idempotency-key-invalid")


def test_a_secret_is_shown_once_and_never_stored(client: Client) -> None:
    headers = {"Idempotency-Key": "k1"}
    body = {"role": "server", "label": "x"}
    first = client.post("/v1/keys", role="admin", json=body, headers=headers)
    again = client.post("/v1/keys", role="admin", json=body, headers=headers)
    made, shown = first.json or {}, again.json or {}
    assert again.status_code == 201
    assert again.headers["Idempotent-Replayed"] == "true"
    assert shown["secret"] is None
    assert "not kept" in shown["note"]
    assert {name: value for name, value in made.items() if name != "secret"} == {
        name: value for name, value in shown.items() if name not in {"secret", "note"}
    }
    rotated = client.post(
        f"/v1/keys/{made['key_id']}/rotate", role="admin", json={}, headers={"Idempotency-Key": "k2"}
    )
    token = client.post("/v1/member-tokens", json={"member_id": "m1"}, headers={"Idempotency-Key": "k3"})
    replayed = client.post("/v1/member-tokens", json={"member_id": "m1"}, headers={"Idempotency-Key": "k3"})
    assert (replayed.json or {})["token"] is None
    with client.engine.connect() as conn:
        kept = conn.scalars(text("SELECT convert_from(body, 'UTF8') FROM idempotency_keys")).all()
    assert len(kept) == 3
    for secret in (made["secret"], (rotated.json or {})["secret"], (token.json or {})["token"]):
        assert secret
        assert not any(secret in one for one in kept)


def test_every_answer_that_shows_a_secret_says_so_in_the_table(client: Client) -> None:
    secret = {name for name, route in ROUTES.items() if route.secret_fields}
    assert secret == {"access.create_key", "access.rotate_key", "access.issue_member_token"}


def test_answers_are_kept_for_a_day_at_least(client: Client) -> None:
    from service import worker

    assert worker._IDEMPOTENCY_KEPT.total_seconds() >= 86_400
