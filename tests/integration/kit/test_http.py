"""The door, on a small application of its own: what it reads, whom it lets in, what it undoes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import flask_smorest
import pytest
from flask import Flask
from marshmallow import fields as plain
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from service.kit import errors
from service.kit.auth import ROLES, Authenticator, create_key
from service.kit.fields import (
    FreeForm,
    MerchantId,
    Money,
    QueryWhole,
    StrictBoolean,
    StrictSchema,
    Text,
    Whole,
)
from service.kit.http import STAFF, Blueprint, Desk, Door
from service.kit.sealing import Sealer
from service.kit.settings import Settings
from service.kit.web import surround

NOW = datetime(2026, 11, 21, 11, 3, 11, tzinfo=UTC)
ADD_STORE = text("INSERT INTO stores (store_id, created_at) VALUES (:id, now())")

# A statement on its own begins its transaction with itself.
BEGUN = text("SELECT now() <> statement_timestamp()")


class StoreBody(StrictSchema):
    store_id = MerchantId(required=True)
    amount = Money()
    number = Whole(least=0, most=100)
    flag = StrictBoolean()
    attributes = FreeForm()


class ListQuery(StrictSchema):
    limit = QueryWhole(least=1, most=500, load_default=50)
    cursor = Text()


class Anything(StrictSchema):
    value = plain.Raw()


class Full(errors.Conflict):
    """The house is full."""

    code = "house-full"


class TestClient:
    """Sends requests with a key of some role, and remembers how often a view ran."""

    __test__ = False

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.runs: list[str] = []
        with engine.begin() as conn:
            self.keys = {role: create_key(conn, role=role, label="test", now=NOW) for role in ROLES}
        settings = Settings.from_environment({"TIDEMARK_SECRET_KEY": "x", "TIDEMARK_MAX_BODY_BYTES": "8192"})
        self.app = Flask("small")
        self.app.config.update(
            API_TITLE="Small",
            API_VERSION="1",
            OPENAPI_VERSION="3.1.0",
            MAX_CONTENT_LENGTH=settings.max_body_bytes,
            PROPAGATE_EXCEPTIONS=False,
        )
        self.app.extensions["tidemark"] = Desk(
            engine=engine, authenticator=Authenticator(engine), settings=settings, sealer=Sealer(b"x")
        )
        api = flask_smorest.Api(self.app)
        surround(self.app)
        api.register_blueprint(self._routes())

    def _routes(self) -> Blueprint:
        blueprint = Blueprint("small", __name__, url_prefix="/v1")
        answers = {200: Anything(), 201: Anything()}

        @blueprint.door("GET", "/stores", roles=STAFF, answers={200: Anything()}, query=ListQuery())
        def list_stores(door: Door, query: dict[str, Any]) -> object:
            """List."""
            return {"value": [*query.values(), door.locale, door.caller.role]}

        @blueprint.door("GET", "/stores/<id:store_id>", roles=("admin",), answers={200: Anything()})
        def get_store(door: Door, store_id: str) -> object:
            """Get one."""
            return {"value": store_id}

        @blueprint.door(
            "POST", "/stores", roles=STAFF, answers=answers, body=StoreBody(), idempotency_key="optional"
        )
        def add_store(door: Door, body: dict[str, Any]) -> object:
            """Add one."""
            self.runs.append(body["store_id"])
            door.conn.execute(ADD_STORE, {"id": body["store_id"]})
            if body["store_id"] == "full":
                raise Full("no room for another")
            if body["store_id"] == "broken":
                raise RuntimeError("a secret of the inside")
            return {"value": len(self.runs)}, 201

        @blueprint.door(
            "POST", "/wishes", roles=STAFF, answers=answers, body=StoreBody(), idempotency_key="required"
        )
        def add_wish(door: Door, body: dict[str, Any]) -> object:
            """Wish."""
            return {"value": 1}, 201

        @blueprint.door("POST", "/deadlocks/<id:first>", roles=STAFF, answers=answers, body=StoreBody())
        def deadlock(door: Door, first: str, body: dict[str, Any]) -> object:
            """Lock two things in an order of the caller's choosing."""
            self.runs.append(first)
            second = "2" if first == "1" else "1"
            door.conn.execute(text("SELECT pg_advisory_xact_lock(CAST(:n AS int))"), {"n": first})
            if len(self.runs) <= 2:
                self.both_hold_one.wait(10)
            door.conn.execute(text("SELECT pg_advisory_xact_lock(CAST(:n AS int))"), {"n": second})
            return {"value": first}

        @blueprint.door("GET", "/plain", roles=STAFF, answers={200: Anything()})
        def plain_read(door: Door) -> object:
            """Tell whether a transaction is open."""
            return {"value": door.conn.scalar(BEGUN)}

        @blueprint.door("GET", "/recording", roles=STAFF, answers={200: Anything()}, records=True)
        def recording_read(door: Door) -> object:
            """Tell whether a transaction is open."""
            return {"value": door.conn.scalar(BEGUN)}

        self.both_hold_one = threading.Barrier(2)
        return blueprint

    def call(
        self,
        method: str,
        path: str,
        role: str | None = "server",
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> TestResponse:
        given = {"Authorization": f"Bearer {self.keys[role]}"} if role else {}  # type: ignore[index]
        return self.app.test_client().open(path, method=method, headers={**given, **(headers or {})}, **more)

    def post(self, path: str, **more: Any) -> TestResponse:
        return self.call("POST", path, **more)

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.call("GET", path, **more)

    def count_stores(self) -> int:
        with self.engine.connect() as conn:
            return int(conn.execute(text("SELECT count(*) FROM stores")).scalar_one())


@pytest.fixture
def client(engine: Engine) -> TestClient:
    return TestClient(engine)


def check_problem(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    """Every refusal has the same shape."""
    assert response.status_code == status, response.data
    assert response.mimetype == "application/problem+json"
    body: dict[str, Any] = response.json or {}
    assert body["code"] == code
    assert body["status"] == status
    assert body["type"].endswith(f"#{code}")
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == response.headers["X-Request-Id"]
    return body


# --- reading the body ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"data": {"store_id": "s"}},
        {"data": "store_id=s", "content_type": "application/x-www-form-urlencoded"},
        {"data": '{"store_id": "s"}', "content_type": "text/plain"},
        {"data": '{"store_id": "s"}'},
        {},
        {"data": '{"store_id": "s"}', "content_type": "application/json-patch+json"},
    ],
)
def test_what_is_not_sent_as_json_is_refused_and_never_an_empty_body(
    client: TestClient, options: dict[str, Any]
) -> None:
    check_problem(client.post("/v1/stores", **options), 415, "not-json")
    assert client.runs == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"store_id": "s"',
        b"{'store_id': 's'}",
        b'{"store_id": "s"} x',
        b'{"store_id": NaN}',
        b'{"amount": Infinity}',
        b'{"amount": 1e9999999999999999999999}',
        b'{"amount": ' + b"1" * 4400 + b"}",
        b'{"store_id": "a", "store_id": "b"}',
        b'{"store_id": "\xff"}',
        b"\xff\xfe",
        b'{"attributes": ' + b"[" * 33 + b"]" * 33 + b"}",
        b"[" * 2000,
        b"\x00",
    ],
)
def test_malformed_json_is_told_apart_from_bad_fields(client: TestClient, body: bytes) -> None:
    response = client.post("/v1/stores", data=body, content_type="application/json")
    assert response.status_code in {400, 422}
    check_problem(
        response, response.status_code, "malformed-request" if response.status_code == 400 else "invalid"
    )
    assert client.runs == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ('{"store_id": "s", "colour": 1}', "/colour"),
        ('{"store_id": "s", "a/b~c": 1}', "/a~1b~0c"),
        ("{}", "/store_id"),
        ('{"store_id": null}', "/store_id"),
        ('{"store_id": "a\\u0000b"}', "/store_id"),
        ('{"store_id": "\\ud800"}', "/store_id"),
        ('{"store_id": "s", "number": "12"}', "/number"),
        ('{"store_id": "s", "number": true}', "/number"),
        ('{"store_id": "s", "number": 1.0}', "/number"),
        ('{"store_id": "s", "flag": "true"}', "/flag"),
        ('{"store_id": "s", "amount": "-1"}', "/amount"),
        ('{"store_id": "s", "amount": 1e400}', "/amount"),
        ('{"store_id": "s", "attributes": {"n": 99999999999999999999}}', "/attributes"),
        ('{"store_id": "s", "attributes": {"\\ud800": 1}}', "/attributes"),
        ("[]", ""),
        ("null", ""),
        ('"store"', ""),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_bad_fields_are_pointed_at(
    client: TestClient, body: str, pointer: str, headers: dict[str, str]
) -> None:
    response = client.post("/v1/stores", data=body, content_type="application/json", headers=headers)
    problem = check_problem(response, 422, "invalid")
    assert pointer in {wrong["pointer"] for wrong in problem["errors"]}
    assert client.runs == []


def test_a_body_larger_than_the_limit_is_refused_unread(client: TestClient) -> None:
    response = client.post("/v1/stores", data=b" " * 9000, content_type="application/json")
    check_problem(response, 413, "too-large")


def test_the_charset_may_be_named(client: TestClient) -> None:
    response = client.post(
        "/v1/stores", data='{"store_id": "店"}'.encode(), content_type="application/json; charset=utf-8"
    )
    assert response.status_code == 201


# --- reading the query --------------------------------------------------------------------------------


def test_unknown_and_repeated_parameters_are_refused(client: TestClient) -> None:
    problem = check_problem(client.get("/v1/stores?limit=5&colour=red"), 400, "malformed-request")
    assert problem["errors"] == [{"parameter": "colour", "detail": "unknown parameter"}]
    check_problem(client.get("/v1/stores?limit=5&limit=6"), 400, "malformed-request")
    check_problem(client.get("/v1/stores/s1?verbose=1", role="admin"), 400, "malformed-request")
    response = client.post("/v1/stores?dry_run=1", json={"store_id": "s"})
    check_problem(response, 400, "malformed-request")
    assert client.runs == []


@pytest.mark.parametrize("value", ["0", "501", "many", "", "1.5", "%00"])
def test_parameters_out_of_range_are_named(client: TestClient, value: str) -> None:
    problem = check_problem(client.get(f"/v1/stores?limit={value}"), 422, "invalid")
    assert problem["errors"][0]["parameter"] == "limit"


def test_defaults_fill_what_is_not_asked(client: TestClient) -> None:
    assert (client.get("/v1/stores").json or {})["value"] == [50, "en", "server"]


@pytest.mark.parametrize(
    ("header", "locale"),
    [
        ("zh-TW,zh;q=0.9,en;q=0.8", "zh-Hant"),
        ("zh-Hant", "zh-Hant"),
        ("en-GB,zh;q=0.5", "en"),
        ("fr,ja;q=0.9", "en"),
        ("zh;q=0", "en"),
        ("*", "en"),
        ("garbage;;;q=x", "en"),
    ],
)
def test_the_language_follows_the_caller(client: TestClient, header: str, locale: str) -> None:
    response = client.get("/v1/stores", headers={"Accept-Language": header})
    assert (response.json or {})["value"][1] == locale


# --- ids in paths -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "store_id"),
    [
        ("plain", "plain"),
        ("%E5%BA%97", "店"),
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("100%25", "100%"),
        ("a%252Fb", "a%2Fb"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("..%2F..", "../.."),
        ("x" * 128, "x" * 128),
    ],
)
def test_ids_arrive_as_they_were_before_encoding(client: TestClient, path: str, store_id: str) -> None:
    full = f"/v1/stores/{path}"
    response = client.get(full, role="admin", environ_overrides={"RAW_URI": full, "REQUEST_URI": full})
    assert response.status_code == 200, response.data
    assert (response.json or {})["value"] == store_id


@pytest.mark.parametrize("path", ["a%00b", "%ED%A0%80", "%FF", "%20a", "a%0Ab", "x" * 129, "a/b", ""])
def test_what_is_no_id_has_no_path(client: TestClient, path: str) -> None:
    full = f"/v1/stores/{path}"
    response = client.get(full, role="admin", environ_overrides={"RAW_URI": full, "REQUEST_URI": full})
    check_problem(response, 404, "no-such-path")


def test_the_framework_refuses_in_the_same_shape(client: TestClient) -> None:
    check_problem(client.get("/v2/nothing"), 404, "no-such-path")
    response = client.call("DELETE", "/v1/stores")
    check_problem(response, 405, "method-not-allowed")
    assert {"GET", "POST"} <= set(response.headers["Allow"].split(", "))


# --- who may ------------------------------------------------------------------------------------------


def test_without_a_key_nobody_enters(client: TestClient) -> None:
    response = client.get("/v1/stores", role=None)
    check_problem(response, 401, "unauthenticated")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    check_problem(client.get("/v1/stores", headers={"Authorization": "Bearer wrong"}), 401, "unauthenticated")


@pytest.mark.parametrize("role", ROLES)
def test_only_the_routes_roles_may_use_it(client: TestClient, role: str) -> None:
    response = client.get("/v1/stores", role=role)
    if role in STAFF:
        assert response.status_code == 200
    else:
        check_problem(response, 403, "forbidden")


def test_a_caller_without_the_role_learns_nothing_of_the_body(client: TestClient) -> None:
    response = client.post("/v1/stores", role="storefront", data=b"{", content_type="application/json")
    check_problem(response, 403, "forbidden")


# --- one transaction ----------------------------------------------------------------------------------


def test_a_refusal_leaves_nothing_half_written(client: TestClient) -> None:
    problem = check_problem(client.post("/v1/stores", json={"store_id": "full"}), 409, "house-full")
    assert problem["title"] == "The house is full"
    assert client.runs == ["full"]
    assert client.count_stores() == 0


def test_what_breaks_is_logged_but_not_told(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        response = client.post("/v1/stores", json={"store_id": "broken"})
    check_problem(response, 500, "internal-error")
    assert b"secret" not in response.data
    assert "a secret of the inside" in caplog.text
    assert client.count_stores() == 0


def test_a_broken_deadlock_is_tried_again(client: TestClient) -> None:
    statuses: list[int] = []

    def ask(first: str) -> None:
        statuses.append(client.post(f"/v1/deadlocks/{first}", json={"store_id": "x"}).status_code)

    threads = [threading.Thread(target=ask, args=(first,)) for first in ("1", "2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert statuses == [200, 200]
    assert len(client.runs) == 3, "the one that lost ran once more"


# --- once ---------------------------------------------------------------------------------------------


def test_the_same_key_and_body_get_the_first_answer_again(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = client.post("/v1/stores", json={"store_id": "s", "amount": "1.50"}, headers=headers)
    spaced = '{ "amount":"1.50" , "store_id":"s" }'
    again = client.post("/v1/stores", data=spaced, content_type="application/json", headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.data == first.data
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert client.runs == ["s"]


def test_the_same_key_with_another_request_is_refused(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    client.post("/v1/stores", json={"store_id": "s"}, headers=headers)
    response = client.post("/v1/stores", json={"store_id": "t"}, headers=headers)
    check_problem(response, 422, "idempotency-key-reused")
    response = client.post("/v1/wishes", json={"store_id": "s"}, headers=headers)
    check_problem(response, 422, "idempotency-key-reused")
    assert client.count_stores() == 1


def test_another_caller_may_use_the_same_key(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    client.post("/v1/stores", json={"store_id": "s"}, headers=headers)
    other = client.post("/v1/stores", json={"store_id": "t"}, headers=headers, role="admin")
    assert other.status_code == 201
    assert "Idempotent-Replayed" not in other.headers


def test_a_refusal_is_not_kept(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    check_problem(client.post("/v1/stores", json={"store_id": "full"}, headers=headers), 409, "house-full")
    assert client.post("/v1/stores", json={"store_id": "s"}, headers=headers).status_code == 201


def test_a_key_is_demanded_where_nothing_else_tells_repetitions(client: TestClient) -> None:
    check_problem(client.post("/v1/wishes", json={"store_id": "s"}), 400, "idempotency-key-required")
    response = client.post("/v1/wishes", json={"store_id": "s"}, headers={"Idempotency-Key": "a b"})
    check_problem(response, 400, "idempotency-key-invalid")


def test_concurrent_repetitions_run_once(client: TestClient) -> None:
    statuses: list[int] = []
    begin = threading.Barrier(10)

    def ask() -> None:
        begin.wait()
        response = client.post("/v1/stores", json={"store_id": "s"}, headers={"Idempotency-Key": "k1"})
        statuses.append(response.status_code)

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    assert client.runs == ["s"]
    assert client.count_stores() == 1


# --- around every request -----------------------------------------------------------------------------


def test_a_callers_request_id_comes_back_and_a_bad_one_is_replaced(client: TestClient) -> None:
    given = client.get("/v1/stores", headers={"X-Request-Id": "abc-123"})
    assert given.headers["X-Request-Id"] == "abc-123"
    for bad in ("a b", "x" * 65, "<script>"):
        replaced = client.get("/v1/stores", headers={"X-Request-Id": bad})
        assert replaced.headers["X-Request-Id"].startswith("req_")


def test_answers_are_not_stored_by_caches_between(client: TestClient) -> None:
    response = client.get("/v1/stores")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_request_is_logged_with_its_route_and_never_its_id(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="tidemark.request"):
        client.get("/v1/stores/wang@example.com", role="admin")
    record = vars(caplog.records[-1])
    assert record["route"] == "/v1/stores/<id:store_id>"
    assert (record["status"], record["method"]) == (200, "GET")
    assert record["key_id"].startswith("key_")
    assert "wang@example.com" not in str(record)


def test_a_plain_read_opens_no_transaction_and_one_that_records_does(client: TestClient) -> None:
    assert (client.call("GET", "/v1/plain").json or {})["value"] is False
    assert (client.call("GET", "/v1/recording").json or {})["value"] is True


def test_a_write_after_reads_on_the_same_connection_is_a_transaction_again(client: TestClient) -> None:
    for number in range(5):
        client.call("GET", "/v1/plain")
        assert client.call("POST", "/v1/stores", json={"store_id": "full"}).status_code == 409
        assert client.call("POST", "/v1/stores", json={"store_id": f"s{number}"}).status_code == 201
    with client.engine.connect() as conn:
        kept = conn.scalars(text("SELECT store_id FROM stores ORDER BY 1")).all()
    assert kept == [f"s{number}" for number in range(5)]
