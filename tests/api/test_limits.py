"""How much, how deep, how often and how many at once: refused with the right code, and nothing done."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from service.app import create_app
from service.kit.auth import ROLES, create_key
from service.kit.db import open_engine, transaction
from service.kit.settings import Settings
from service.startup import make_ready
from tests.api.conftest import Client, an_order, enrol


def make_client(engine: Engine, var: Path, **given: str) -> Client:
    """A client on an application with settings of the test's own."""
    environment = {f"TIDEMARK_{name}": value for name, value in given.items()}
    settings = Settings.from_environment(
        {"TIDEMARK_VAR": str(var), "TIDEMARK_SECRET_KEY": "a test's own"} | environment
    )
    now = datetime.now(UTC)
    make_ready(engine, settings, now=now)
    with transaction(engine) as conn:
        keys = {role: create_key(conn, role=role, label="test", now=now) for role in ROLES}
    return Client(create_app(settings, engine), engine, keys)


def post_raw(client: Client, body: bytes, path: str = "/v1/orders", **headers: str) -> tuple[int, str]:
    """Send bytes as JSON and return status and code."""
    given = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    response = client.post(path, data=body, headers=given)
    return response.status_code, (response.json or {}).get("code", "")


# --- size, depth, type --------------------------------------------------------------------------------


def test_a_body_above_the_limit_is_refused_on_every_route_that_takes_one(
    engine: Engine, tmp_path: Path
) -> None:
    client = make_client(engine, tmp_path, MAX_BODY_BYTES="2048")
    assert post_raw(client, b" " * 2049) == (413, "too-large")
    assert post_raw(client, b'"' + b"a" * 2046 + b'"') == (422, "invalid")
    assert post_raw(client, b"x" * 2049, path="/v1/models/m/promote")[0] in {403, 413}


@pytest.mark.parametrize("depth", [33, 500, 5_000, 200_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_deep_body_is_refused_before_it_is_walked(client: Client, depth: int, opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    body = opening * depth + b"1" + closing * depth
    started = time.perf_counter()
    assert post_raw(client, body) == (400, "malformed-request")
    assert time.perf_counter() - started < 2


def test_a_number_of_very_many_digits_is_refused_and_costs_little(client: Client) -> None:
    for number in (b"1" * 1_000_000, b"1e999999999", b"0." + b"1" * 1_000_000, b"-" + b"9" * 5_000):
        started = time.perf_counter()
        body = b'{"order_id": "o1", "shipping": ' + number + b"}"
        assert post_raw(client, body)[0] in {400, 422}
        assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/x-www-form-urlencoded"},
        {"Content_Type": "multipart/form-data; boundary=x"},
        {"Content_Type": "application/problem+json"},
        {"Content_Type": "application/json; charset=utf-16"},
        {"Content_Type": "application/json; charset=latin-1"},
        {"Content_Type": "application/json,text/plain"},
        {"Content_Encoding": "gzip"},
        {"Content_Type": ""},
    ],
)
def test_a_body_of_another_kind_is_refused(client: Client, headers: dict[str, str]) -> None:
    assert post_raw(client, b'{"order_id": "o1"}', **headers) == (415, "not-json")


def test_a_body_where_none_is_read_is_refused_and_an_empty_one_is_not(client: Client) -> None:
    path = "/v1/models/none/promote"
    for body, status in ((b"", 404), (b"{}", 404), (b'{"force": true}', 400), (b"x", 400)):
        response = client.post(path, role="admin", data=body)
        assert response.status_code == status, body


# --- paths --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "//v1/members",
        "/v1//members",
        "/v1/members//card",
        "/v1/members/",
        "/v1/members/../members",
        "/v1/../v1/members",
        "/v1/./members",
        "/v1/members/%2e%2e/card",
        "/v1/members/%2E%2E/card",
        "/v1/members/../card",
        "/v1/members/./card",
        "/v1/members/%2e/card",
        "/v1/members/a%00b/card",
        "/v1/members/" + "x" * 129 + "/card",
        "/v1/members/" + "%E5%BA%97" * 129 + "/card",
        "/v1/members/" + "x" * 5_000,
        "/v1%2Fmembers",
        "/v1/members%00",
        "/V1/members",
        "/v1/members;x=1",
        "/v1/%6dembers%2f",
    ],
)
def test_a_path_that_is_not_exactly_ours_leads_nowhere(client: Client, path: str) -> None:
    enrol(client)
    response = client.app.test_client().open(
        "/",
        method="GET",
        headers={"Authorization": f"Bearer {client.keys['admin']}"},
        environ_overrides={"RAW_URI": path, "REQUEST_URI": path, "PATH_INFO": decode(path)},
    )
    assert response.status_code == 404, response.data
    assert (response.json or {})["code"] == "no-such-path"


def decode(path: str) -> str:
    """Return PATH_INFO as a web server sets it."""
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(path).decode("latin-1")


# --- how often ----------------------------------------------------------------------------------------


def test_a_key_above_its_rate_is_told_when_to_come_back(engine: Engine, tmp_path: Path) -> None:
    client = make_client(engine, tmp_path, RATE_LIMIT_PER_KEY="5")
    first = client.get("/v1/members")
    assert first.headers["RateLimit-Policy"] == '"requests";q=5;w=60'
    assert first.headers["RateLimit"].startswith('"requests";r=4;t=')
    for _ in range(4):
        assert client.get("/v1/members").status_code == 200
    refused = client.get("/v1/members")
    assert (refused.status_code, (refused.json or {})["code"]) == (429, "too-many-requests")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit"].startswith('"requests";r=0;t=')
    assert client.get("/v1/members", role="operations").status_code == 200, "another key has its own"


def test_refusals_count_too_and_a_refused_request_does_nothing(engine: Engine, tmp_path: Path) -> None:
    client = make_client(engine, tmp_path, RATE_LIMIT_PER_KEY="3")
    enrol(client)
    assert client.get("/v1/keys").status_code == 403
    assert client.get("/v1/members/nobody").status_code == 404
    assert client.post("/v1/orders", json=an_order()).status_code == 429
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM order_keys")) == 0


def test_two_processes_share_one_limit(engine: Engine, tmp_path: Path) -> None:
    first = make_client(engine, tmp_path, RATE_LIMIT_PER_KEY="10")
    settings = first.app.extensions["tidemark"].settings
    second = Client(create_app(settings, engine), engine, first.keys)
    statuses = [client.get("/v1/members").status_code for _ in range(8) for client in (first, second)]
    assert statuses == [200] * 10 + [429] * 6


def test_one_member_cannot_use_up_what_belongs_to_all(engine: Engine, tmp_path: Path) -> None:
    client = make_client(engine, tmp_path, RATE_LIMIT_PER_MEMBER="3")
    for member_id in ("m1", "m2"):
        enrol(client, member_id)

    def ask(member_id: str) -> int:
        made = client.post("/v1/member-tokens", json={"member_id": member_id}).json or {}
        headers = {"Authorization": f"Bearer {made['token']}"}
        return client.get(f"/v1/members/{member_id}/card", role=None, headers=headers).status_code

    assert [ask("m1") for _ in range(5)] == [200, 200, 200, 429, 429], "a new token is not a new allowance"
    assert ask("m2") == 200


def test_without_limits_nothing_is_counted(engine: Engine, tmp_path: Path) -> None:
    client = make_client(engine, tmp_path, RATE_LIMIT_PER_KEY="0", RATE_LIMIT_PER_MEMBER="0")
    response = client.get("/v1/members")
    assert "RateLimit" not in response.headers
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM rate_windows")) == 0


def test_access_costs_no_statement_on_most_requests(client: Client) -> None:
    """Who asks, what it may and how often: known without a round trip once the process has seen the key."""
    enrol(client)
    for _ in range(3):
        client.get("/v1/members/m1/points")
    statements: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(client.engine, "before_cursor_execute", note)
    try:
        for _ in range(5):
            assert client.get("/v1/members/m1/points").status_code == 200
    finally:
        event.remove(client.engine, "before_cursor_execute", note)
    assert statements
    assert not [one for one in statements if "api_keys" in one or "rate_windows" in one or "retired" in one]


# --- how many at once ---------------------------------------------------------------------------------


def test_one_request_too_many_is_told_to_come_back_and_probes_are_not(engine: Engine, tmp_path: Path) -> None:
    client = make_client(engine, tmp_path, MAX_IN_FLIGHT="1")
    enrol(client)
    statuses: list[int] = []
    with engine.begin() as conn:
        conn.execute(text("SELECT 1 FROM balances FOR UPDATE"))
        slow = threading.Thread(
            target=lambda: statuses.append(client.post("/v1/orders", json=an_order()).status_code)
        )
        slow.start()
        wait_for_a_waiter(engine)
        started = time.perf_counter()
        crowded = Client(client.app, engine, client.keys).get("/v1/members")
        assert time.perf_counter() - started < 0.5
        assert (crowded.status_code, (crowded.json or {})["code"]) == (503, "unavailable")
        assert int(crowded.headers["Retry-After"]) >= 1
        for probe in ("/livez", "/readyz"):
            assert client.app.test_client().get(probe).status_code == 200
    slow.join(30)
    assert statuses == [201]
    assert client.get("/v1/members").status_code == 200


def wait_for_a_waiter(engine: Engine) -> None:
    """Return once somebody waits for a lock."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    for _ in range(500):
        with engine.connect() as conn:
            if conn.scalar(waiting):
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


def test_a_lock_that_is_not_given_is_not_waited_for_long(engine: Engine, tmp_path: Path) -> None:
    url = engine.url.render_as_string(hide_password=False)
    patient = make_client(engine, tmp_path)
    enrol(patient)
    impatient = open_engine(url, pool_size=2, lock_timeout_ms=200, statement_timeout_ms=10_000)
    client = Client(
        create_app(patient.app.extensions["tidemark"].settings, impatient), impatient, patient.keys
    )
    with engine.begin() as conn:
        conn.execute(text("SELECT 1 FROM balances FOR UPDATE"))
        response = client.post("/v1/orders", json=an_order())
    assert (response.status_code, (response.json or {})["code"]) == (503, "unavailable")
    assert client.post("/v1/orders", json=an_order()).status_code == 201, "nothing of the first had happened"
    impatient.dispose()


def test_no_free_connection_is_not_waited_for_long(engine: Engine, tmp_path: Path) -> None:
    url = engine.url.render_as_string(hide_password=False)
    client = make_client(engine, tmp_path)
    small = open_engine(url, pool_size=1, pool_timeout_ms=200)
    crowded = Client(create_app(client.app.extensions["tidemark"].settings, small), small, client.keys)
    with small.connect():
        for role in ("server", "operations"):
            response = crowded.get("/v1/members", role=role)
            assert (response.status_code, (response.json or {})["code"]) == (503, "unavailable")
    assert crowded.get("/v1/members").status_code == 200
    with small.connect():
        known = crowded.get("/v1/members")
    assert (known.status_code, (known.json or {})["code"]) == (503, "unavailable")
    small.dispose()
