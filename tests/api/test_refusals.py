"""Every refusal that the contract lists, provoked once each, in one shape."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from service.app import create_app
from service.kit.clock import read_clock
from service.kit.db import open_engine
from service.kit.http import ROUTES
from service.kit.idempotency import KeyedRequest, claim
from service.kit.member_tokens import MemberClaim, derive_key, sign_token
from service.kit.settings import Settings
from tests.api.conftest import Client, an_order, enrol
from tests.clients.recording import FILE

KEYED = {"Idempotency-Key": "k1"}
Provoke = Callable[[Client], TestResponse]
LOST_MODEL = text(
    "INSERT INTO recommender_models (version, status, location, content_hash, manifest, created_at) "
    "VALUES ('lost', 'candidate', 'lost', 'none', '{}', now())"
)


def check_shape(response: TestResponse, status: int, code: str) -> None:
    """Hold a refusal against RFC 9457 and our own additions to it."""
    problem = response.json or {}
    assert (response.status_code, problem.get("code")) == (status, code), response.data
    assert response.mimetype == "application/problem+json"
    required = {"type", "title", "status", "detail", "code", "instance"}
    assert required <= set(problem) <= required | {"errors"}
    assert problem["type"].endswith(f"#{code}")
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == response.headers["X-Request-Id"]
    for error in problem.get("errors", []):
        assert {"detail"} < set(error) <= {"detail", "pointer", "parameter"}
        assert ("pointer" in error) != ("parameter" in error)
    assert ("WWW-Authenticate" in response.headers) == (status == 401)
    assert ("Retry-After" in response.headers) == (status in {429, 503})
    assert response.headers["Cache-Control"] == "no-store"


def malformed(client: Client) -> TestResponse:
    """Half an object."""
    return client.post("/v1/orders", data=b'{"order_id":', content_type="application/json")


def malformed_parameter(client: Client) -> TestResponse:
    """A query parameter that does not exist."""
    return client.get("/v1/members?sort=name")


def no_key_given(client: Client) -> TestResponse:
    """A write without natural id and without an idempotency key."""
    enrol(client)
    return client.post("/v1/members/m1/points/adjustments", json={"points": 1, "reason": "x"})


def no_access(client: Client) -> TestResponse:
    """No API key."""
    return client.get("/v1/members", role=None)


def unknown_access(client: Client) -> TestResponse:
    """A key that nobody made."""
    return client.get("/v1/members", role=None, headers={"Authorization": "Bearer tm_admin_guessed"})


def other_role(client: Client) -> TestResponse:
    """A role that may not."""
    return client.post("/v1/orders", json=an_order(), role="marketing")


def no_such_path(client: Client) -> TestResponse:
    """A path that is no route's."""
    return client.get("/v1/nothing")


def no_such_thing(client: Client) -> TestResponse:
    """A member that is not enrolled."""
    return client.get("/v1/members/nobody")


def method_not_allowed(client: Client) -> TestResponse:
    """A method that the path does not have."""
    return client.call("DELETE", "/v1/orders")


def other_content(client: Client) -> TestResponse:
    """The same order with another amount."""
    enrol(client)
    order = an_order()
    assert client.post("/v1/orders", json=order).status_code == 201
    return client.post("/v1/orders", json=order | {"lines": [{"sku": "tea", "quantity": 1, "amount": "1"}]})


def still_running(client: Client) -> TestResponse:
    """A key whose first request has not ended."""
    enrol(client)
    authenticator = client.app.extensions["tidemark"].authenticator
    caller = authenticator.identify(f"Bearer {client.keys['server']}", now=read_clock())
    with client.engine.begin() as conn:
        claim(conn, request=KeyedRequest(caller.scope, "k1", b"first"))
        return client.post(
            "/v1/members/m1/points/adjustments", json={"points": 1, "reason": "x"}, headers=KEYED
        )


def reused_key(client: Client) -> TestResponse:
    """A key that answered something else."""
    enrol(client)
    path = "/v1/members/m1/points/adjustments"
    assert client.post(path, json={"points": 1, "reason": "x"}, headers=KEYED).status_code == 201
    return client.post(path, json={"points": 2, "reason": "x"}, headers=KEYED)


def too_few_points(client: Client) -> TestResponse:
    """More points taken than there are."""
    enrol(client)
    return client.post("/v1/members/m1/points/adjustments", json={"points": -5, "reason": "x"}, headers=KEYED)


def too_large(client: Client) -> TestResponse:
    """A body above the limit."""
    limit = client.app.config["MAX_CONTENT_LENGTH"]
    return client.post("/v1/orders", data=b" " * (limit + 1), content_type="application/json")


def not_json(client: Client) -> TestResponse:
    """A form."""
    return client.post("/v1/orders", data={"order_id": "o1"})


def bad_field(client: Client) -> TestResponse:
    """A field that is no amount, and one that is not known."""
    return client.post("/v1/orders", json=an_order(amount="much", colour="red"))


def deep_body(client: Client) -> TestResponse:
    """A hundred lists in each other."""
    return client.post("/v1/orders", data=b"[" * 100 + b"]" * 100, content_type="application/json")


def doubled_name(client: Client) -> TestResponse:
    """An object that says one thing twice."""
    return client.post(
        "/v1/orders", data=b'{"order_id": "a", "order_id": "b"}', content_type="application/json"
    )


def doubled_parameter(client: Client) -> TestResponse:
    """A query parameter given twice."""
    return client.get("/v1/members?limit=1&limit=2")


def doubled_key(client: Client) -> TestResponse:
    """Two Authorization headers, as a web server hands them on."""
    joined = f"Bearer {client.keys['server']}, Bearer {client.keys['admin']}"
    return client.get("/v1/members", role=None, headers={"Authorization": joined})


def doubled_idempotency_key(client: Client) -> TestResponse:
    """Two Idempotency-Key headers, likewise."""
    return client.post("/v1/orders", json=an_order(), headers={"Idempotency-Key": "k1, k2"})


def expired_token(client: Client) -> TestResponse:
    """A member token of yesterday."""
    made = client.post("/v1/member-tokens", json={"member_id": "m1"}).json or {}
    claim = MemberClaim(made["storefront_key_id"], "m1", read_clock() - timedelta(days=1))
    token = sign_token(claim, key=derive_key(client.app.extensions["tidemark"].settings.secret_key))
    return client.get("/v1/members/m1/card", role=None, headers={"Authorization": f"Bearer {token}"})


def forged_token(client: Client) -> TestResponse:
    """A member token of another installation."""
    made = client.post("/v1/member-tokens", json={"member_id": "m1"}).json or {}
    claim = MemberClaim(made["storefront_key_id"], "m1", read_clock() + timedelta(hours=1))
    token = sign_token(claim, key=derive_key(b"another installation's"))
    return client.get("/v1/members/m1/card", role=None, headers={"Authorization": f"Bearer {token}"})


def no_token(client: Client) -> TestResponse:
    """A storefront key alone."""
    return client.get("/v1/members/m1/card", role="storefront")


def other_members_token(client: Client) -> TestResponse:
    """The token of one member, for another."""
    made = client.post("/v1/member-tokens", json={"member_id": "m1"}).json or {}
    return client.get("/v1/members/m2/card", role=None, headers={"Authorization": f"Bearer {made['token']}"})


def no_storefront(client: Client) -> TestResponse:
    """A token for a storefront key that nobody made."""
    return client.post("/v1/member-tokens", json={"member_id": "m1", "storefront_key_id": "key_none"})


def other_origin(client: Client) -> TestResponse:
    """A storefront key from somebody else's page."""
    made = make_key(client, "storefront", origins=["https://shop.example"])
    headers = {"Authorization": f"Bearer {made['secret']}", "Origin": "https://elsewhere.example"}
    return client.get("/v1/items/tea", role=None, headers=headers)


def other_store(client: Client) -> TestResponse:
    """A key of one store that writes to another."""
    enrol(client)
    made = make_key(client, "server", store_ids=["taipei-1"])
    headers = {"Authorization": f"Bearer {made['secret']}"}
    return client.post("/v1/orders", json=an_order(store_id="tainan-1"), role=None, headers=headers)


def make_key(client: Client, role: str, **fields: Any) -> dict[str, Any]:
    """Make a key with limits of its own."""
    body = {"role": role, "label": "narrow"} | fields
    made = client.post("/v1/keys", role="admin", json=body, headers=KEYED)
    assert made.status_code == 201, made.data
    return made.json or {}


def encoded_dots(client: Client) -> TestResponse:
    """A path that climbs."""
    return client.get("/v1/members/%2e%2e/card")


def long_id(client: Client) -> TestResponse:
    """An id of more than 128 characters."""
    return client.get("/v1/members/" + "m" * 129)


def fixed_zone(client: Client) -> TestResponse:
    """Another zone for a store that has sold."""
    store = {"name": "Tokyo", "timezone": "Asia/Tokyo"}
    client.put("/v1/stores/tokyo-1", json=store, role="admin")
    enrol(client)
    client.post("/v1/orders", json=an_order(store_id="tokyo-1"))
    return client.put("/v1/stores/tokyo-1", json=store | {"timezone": "Asia/Taipei"}, role="admin")


def settings_of_yesterday(client: Client) -> TestResponse:
    """Settings that begin in the past."""
    yesterday = (read_clock() - timedelta(days=1)).isoformat()
    change = {"values": {"return_period_days": 9}, "reason": "late", "effective_from": yesterday}
    return client.put("/v1/settings", json=change, role="admin")


def unknown_change(client: Client) -> TestResponse:
    """A change to read on from that is not here."""
    return client.get("/v1/changes?since=Wzk5OTk5OTk5OV0")


def unusable_model(client: Client) -> TestResponse:
    """A model that is recorded and whose files are gone."""
    with client.engine.begin() as conn:
        conn.execute(LOST_MODEL)
    return client.post("/v1/models/lost/promote", role="admin", headers=KEYED)


def no_rules(client: Client) -> TestResponse:
    """A programme in which no rule set was ever published."""
    enrol(client)
    with client.engine.begin() as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        conn.execute(text("DELETE FROM tier_rulesets"))
    return client.post("/v1/tier-reviews", json={"scope": "all"}, role="operations", headers=KEYED)


PROVOKED: list[tuple[Provoke, int, str]] = [
    (malformed, 400, "malformed-request"),
    (malformed_parameter, 400, "malformed-request"),
    (no_key_given, 400, "idempotency-key-required"),
    (no_access, 401, "unauthenticated"),
    (unknown_access, 401, "unauthenticated"),
    (other_role, 403, "forbidden"),
    (no_such_path, 404, "no-such-path"),
    (no_such_thing, 404, "unknown-member"),
    (method_not_allowed, 405, "method-not-allowed"),
    (other_content, 409, "order-conflict"),
    (still_running, 409, "request-in-flight"),
    (too_few_points, 409, "insufficient-points"),
    (too_large, 413, "too-large"),
    (not_json, 415, "not-json"),
    (bad_field, 422, "invalid"),
    (reused_key, 422, "idempotency-key-reused"),
    (deep_body, 400, "malformed-request"),
    (doubled_name, 400, "malformed-request"),
    (doubled_parameter, 400, "malformed-request"),
    (doubled_key, 400, "malformed-request"),
    (doubled_idempotency_key, 400, "idempotency-key-invalid"),
    (expired_token, 401, "member-token-expired"),
    (forged_token, 401, "unauthenticated"),
    (no_token, 403, "member-token-needed"),
    (other_members_token, 403, "forbidden"),
    (other_origin, 403, "origin-not-allowed"),
    (other_store, 403, "store-out-of-scope"),
    (no_storefront, 422, "storefront-key-needed"),
    (encoded_dots, 404, "no-such-path"),
    (long_id, 404, "no-such-path"),
    (fixed_zone, 409, "store-zone-fixed"),
    (unknown_change, 409, "change-cursor-unknown"),
    (unusable_model, 409, "model-unusable"),
    (settings_of_yesterday, 422, "effective-in-past"),
    (no_rules, 503, "no-active-ruleset"),
]


@pytest.mark.parametrize(
    ("provoke", "status", "code"),
    PROVOKED,
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_refusal_has_its_status_its_code_and_the_one_shape(
    client: Client, provoke: Provoke, status: int, code: str
) -> None:
    check_shape(provoke(client), status, code)


def test_too_many_requests_are_refused_in_the_one_shape(
    client: Client, engine: Engine, tmp_path: Path
) -> None:
    given = {"TIDEMARK_VAR": str(tmp_path), "TIDEMARK_RATE_LIMIT_PER_KEY": "2"}
    limited = Client(create_app(Settings.from_environment(given), engine), engine, client.keys)
    for _ in range(2):
        assert limited.get("/v1/members").status_code == 200
    refused = limited.get("/v1/members")
    check_shape(refused, 429, "too-many-requests")
    assert int(refused.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("path", ["/v1/members", "/readyz"])
def test_a_database_that_does_not_answer_is_said_in_the_one_shape(
    client: Client, settings: Settings, path: str
) -> None:
    nowhere = open_engine("postgresql://nobody@127.0.0.1:9/nothing", pool_size=1)
    broken = Client(create_app(settings, nowhere), nowhere, client.keys)
    check_shape(broken.get(path), 503, "unavailable")


ELSEWHERE = {
    "member-erased": "test_merges.py",
    "merged-points-held": "test_merges.py",
    "balance-too-low": "test_checkout.py",
    "changed-meanwhile": "test_two_editors.py",
    "code-pool-not-known": "test_rewards.py",
    "codes-used-up": "test_rewards.py",
    "no-forecast": "test_tier_movements.py",
    "redemption-ended": "test_rewards.py",
    "review-entry-resolved": "test_review_queue.py",
    "reward-kind-fixed": "test_rewards.py",
    "reward-limit-reached": "test_rewards.py",
    "reward-not-for-tier": "test_rewards.py",
    "reward-not-known": "test_rewards.py",
    "reward-not-offered": "test_rewards.py",
    "reward-out-of-stock": "test_rewards.py",
    "stock-below-taken": "test_rewards.py",
    "unknown-code-pool": "test_rewards.py",
    "unknown-redemption": "test_rewards.py",
    "unknown-review-entry": "test_review_queue.py",
    "unknown-reward": "test_rewards.py",
    "unknown-voucher": "test_checkout.py",
    "voucher-below-minimum": "test_checkout.py",
    "voucher-cancelled": "test_checkout.py",
    "voucher-expired": "test_checkout.py",
    "voucher-mistyped": "test_checkout.py",
    "voucher-not-applicable": "test_checkout.py",
    "voucher-not-combinable": "test_checkout.py",
    "voucher-not-known": "test_checkout.py",
    "voucher-not-reserved": "test_checkout.py",
    "voucher-of-other-member": "test_checkout.py",
    "voucher-reserved": "test_checkout.py",
    "voucher-used": "test_checkout.py",
    "schedule-taken": "test_tier_rulesets.py",
    "simulation-not-done": "test_tier_rulesets.py",
    "simulation-stale": "test_tier_rulesets.py",
    "too-many-demotions": "test_tier_rulesets.py",
    "undo-too-late": "test_merges.py",
}
"""Codes that need more than one request to be provoked, and the tests of this folder that do."""


def test_the_contracts_list_of_refusals_is_provoked_whole() -> None:
    """Nothing is promised that nobody has seen: neither a number of the contract nor a code of any route.

    Those of single rooms are provoked by the story that the document's examples are recorded from, which
    `test_documents` plays.
    """
    numbers = {status for _, status, _ in PROVOKED} | {429}
    assert numbers >= {400, 401, 403, 404, 409, 413, 415, 422, 429, 503}
    told = json.loads(FILE.read_text())["problems"]
    seen = {code for _, _, code in PROVOKED} | set(told) | {"too-many-requests", "unavailable"}
    for code, where in ELSEWHERE.items():
        assert f'"{code}"' in Path(__file__).with_name(where).read_text(), code
        seen.add(code)
    promised = {kind.code for route in ROUTES.values() for kind in route.problems}
    assert promised - seen == set()
