"""A process dies while it holds an idempotency key: the key is free, and nothing is half done."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from service.kit.errors import RequestInFlight
from service.kit.idempotency import KeyedRequest, StoredAnswer, claim, hash_request, keep
from tests.killing import process_at

NOW = datetime(2026, 11, 21, 11, 3, 11, tzinfo=UTC)
REQUEST = KeyedRequest("key_a", "order-1", hash_request(b"POST", b"/v1/orders", b"", b'{"a":1}'))


def test_a_killed_process_frees_the_key_and_the_retry_runs_once(engine: Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)
    arguments = [url, REQUEST.api_key_id, REQUEST.key, REQUEST.request_hash.hex()]
    module = "tests.integration.access.idempotent_holder"
    with process_at("-m", module, *arguments) as (_, place):
        assert place == "holding"
        with engine.begin() as conn, pytest.raises(RequestInFlight):
            claim(conn, request=REQUEST)
    answer_once(engine)
    with engine.begin() as conn:
        assert claim(conn, request=REQUEST) == StoredAnswer(201, b"{}")
        assert conn.scalar(text("SELECT array_agg(store_id) FROM stores")) == ["done once"]


def answer_once(engine: Engine) -> None:
    """Send the request again until the dead process's connection is gone."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with engine.begin() as conn:
                assert claim(conn, request=REQUEST) is None
                conn.execute(text("INSERT INTO stores (store_id, created_at) VALUES ('done once', now())"))
                keep(conn, request=REQUEST, status=201, body=b"{}", now=NOW)
            return
        except RequestInFlight:
            assert time.monotonic() < deadline
            time.sleep(0.05)
