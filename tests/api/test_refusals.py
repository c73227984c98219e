"""Every refusal that the contract lists, provoked once each, in one shape."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from service.app import create_app
from service.kit.clock import read_clock
from service.kit.db import open_engine
from service.kit.idempotency import KeyedRequest, claim
from service.kit.settings import Settings
from tests.api.conftest import Client, an_order, enrol

KEYED = {"Idempotency-Key": "k1"}
Provoke = Callable[[Client], TestResponse]


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


@pytest.mark.parametrize(
    ("provoke", "status", "code"),
    [
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
    ],
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


def test_the_contracts_list_of_refusals_is_provoked_whole() -> None:
    """The numbers of the contract, beside those above: nothing is promised that nobody has seen."""
    source = Path(__file__).read_text()
    provoked = {int(number) for number in re.findall(r"\b([45]\d\d), \"", source)}
    assert provoked >= {400, 401, 403, 404, 409, 413, 415, 422, 429, 503}
