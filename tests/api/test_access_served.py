"""Access through a real server: what only the wire can carry, and what two processes must agree on."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from service.kit.auth import create_key
from service.kit.db import open_engine, transaction
from service.kit.settings import Settings
from service.startup import make_ready
from tests.conftest import create_database, drop_database
from tests.serving import WebServer, serve_web


class Wire:
    """Speaks HTTP byte by byte to a running server."""

    def __init__(self, server: WebServer, admin: str, engine: Engine) -> None:
        self.server = server
        self.admin = admin
        self.engine = engine

    def send(self, raw: bytes) -> tuple[int, dict[str, str], Any]:
        """Send bytes and return status, headers and JSON of the one answer."""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=20) as line:
            line.sendall(raw)
            line.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := line.recv(65_536):
                answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
        return int(first.split(" ")[1]), headers, json.loads(body) if body else None

    def ask(
        self, method: str, path: str, *extra: str, key: str | None = None, body: bytes | None = None
    ) -> tuple[int, dict[str, str], Any]:
        """Send a request with headers as they stand, repeated ones too."""
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: shop",
            "Connection: close",
            f"Authorization: Bearer {key or self.admin}",
            *extra,
        ]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return self.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))


@contextmanager
def serve(server_url: str, var: Path, **given: str) -> Iterator[Wire]:
    """Run two web processes on a database of their own."""
    url = create_database(server_url)
    engine = open_engine(url, pool_size=2)
    now = datetime.now(UTC)
    make_ready(engine, Settings.from_environment({"TIDEMARK_SECRET_KEY": "a test's own"}), now=now)
    with transaction(engine) as conn:
        admin = create_key(conn, role="admin", label="test", now=now)
    environment = {"TIDEMARK_SECRET_KEY": "a test's own"} | {
        f"TIDEMARK_{name}": value for name, value in given.items()
    }
    with serve_web(database_url=url, var=var, environment=environment) as server:
        yield Wire(server, admin, engine)
    engine.dispose()
    drop_database(server_url, url)


@pytest.fixture(scope="module")
def wire(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with serve(
        server_url, tmp_path_factory.mktemp("web"), MAX_BODY_BYTES="4096", RATE_LIMIT_PER_KEY="1000"
    ) as wire:
        yield wire


def chunked(body: bytes, size: int = 512) -> bytes:
    """Return a body in chunks, its length never announced."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts) + b"0\r\n\r\n"


def post_chunked(wire: Wire, body: bytes) -> tuple[int, dict[str, str], Any]:
    head = (
        "POST /v1/orders HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n"
        f"Authorization: Bearer {wire.admin}\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    return wire.send(head.encode() + chunked(body))


def test_a_body_of_unknown_length_is_measured_as_it_comes(wire: Wire) -> None:
    status, _, problem = post_chunked(wire, b'{"order_id": "' + b"a" * 8_000 + b'"}')
    assert (status, problem["code"]) == (413, "too-large"), problem
    exact = b'{"order_id": "' + b"a" * (4_096 - 16) + b'"}'
    assert len(exact) == 4_096
    assert post_chunked(wire, exact)[0] == 422
    # Cut off at the limit, this one would still be JSON.
    assert post_chunked(wire, exact + b" ")[0] == 413
    status, _, problem = post_chunked(wire, b'{"order_id": "' + b"a" * 1_000 + b'"}')
    assert (status, problem["code"]) == (422, "invalid")


def test_a_body_that_announces_too_much_is_refused_unread(wire: Wire) -> None:
    head = (
        "POST /v1/orders HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n"
        f"Authorization: Bearer {wire.admin}\r\nContent-Type: application/json\r\n"
        "Content-Length: 999999999\r\n\r\n"
    )
    status, _, problem = wire.send(head.encode())
    assert (status, problem["code"]) == (413, "too-large")


def test_repeated_headers_are_refused_and_nobody_is_chosen(wire: Wire) -> None:
    status, _, problem = wire.ask("GET", "/v1/keys", "Authorization: Bearer another")
    assert (status, problem["code"]) == (400, "malformed-request")
    status, _, problem = wire.ask("GET", "/v1/keys", f"Authorization: Bearer {wire.admin}")
    assert (status, problem["code"]) == (400, "malformed-request")
    body = b'{"role": "server", "label": "x"}'
    twice = ("Idempotency-Key: a", "Idempotency-Key: b")
    status, _, problem = wire.ask("POST", "/v1/keys", *twice, body=body)
    assert (status, problem["code"]) == (400, "idempotency-key-invalid")
    status, _, problem = wire.ask("POST", "/v1/orders", "Content-Length: 3", body=b"{}")
    assert status == 400


@pytest.mark.parametrize(
    "path",
    [
        "//v1/keys",
        "/v1//keys",
        "/v1/../v1/keys",
        "/./v1/keys",
        "/v1/keys/",
        "/v1%2Fkeys",
        "/v1/keys%00",
        "/v1/members/../keys",
        "/v1/members/%2e%2e/card",
        "/v1/members/a%00b/card",
        "/v1/members/" + "%E5%BA%97" * 129 + "/card",
        "/V1/KEYS",
    ],
)
def test_paths_reach_the_application_as_they_were_sent(wire: Wire, path: str) -> None:
    status, _, problem = wire.ask("GET", path)
    assert (status, problem["code"]) == (404, "no-such-path")


def test_a_path_without_end_is_refused(wire: Wire) -> None:
    status, headers, _ = wire.ask("GET", "/v1/members/" + "a" * 20_000)
    assert 400 <= status < 500
    assert headers["content-type"] == "application/problem+json"


def make_key(wire: Wire, name: str) -> dict[str, Any]:
    status, _, made = wire.ask(
        "POST", "/v1/keys", f"Idempotency-Key: {name}", body=b'{"role": "server", "label": "x"}'
    )
    assert status == 201
    found: dict[str, Any] = made
    return found


def test_every_process_of_a_server_knows_at_once_that_a_key_was_revoked(wire: Wire) -> None:
    for turn in range(5):
        made = make_key(wire, f"revoked-{turn}")
        for _ in range(8):
            assert wire.ask("GET", "/v1/members", key=made["secret"])[0] == 200
        assert wire.ask("DELETE", f"/v1/keys/{made['key_id']}")[0] == 200
        assert {wire.ask("GET", "/v1/members", key=made["secret"])[0] for _ in range(8)} == {401}


def test_processes_share_one_rate(server_url: str, tmp_path: Path) -> None:
    with serve(server_url, tmp_path, RATE_LIMIT_PER_KEY="40") as wire:
        statuses: list[int] = []

        def ask() -> None:
            for _ in range(15):
                statuses.append(wire.ask("GET", "/v1/keys")[0])

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sorted(statuses) == [200] * 40 + [429] * 20
