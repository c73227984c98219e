"""The same key and body get the first answer again, whatever happens in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from service.kit.errors import IdempotencyKeyInvalid, IdempotencyKeyReused, RequestInFlight
from service.kit.idempotency import (
    KeyedRequest,
    StoredAnswer,
    check_key,
    claim,
    forget_before,
    hash_request,
    keep,
)

NOW = datetime(2026, 11, 21, 11, 3, 11, tzinfo=UTC)
REQUEST = KeyedRequest("key_a", "order-1", hash_request(b"POST", b"/v1/orders", b'{"a":1}'))
SAME_KEY_OTHER_BODY = KeyedRequest("key_a", "order-1", hash_request(b"POST", b"/v1/orders", b'{"a":2}'))
OTHER_CALLER = KeyedRequest("key_b", "order-1", REQUEST.request_hash)


def answer_first(engine: Engine, request: KeyedRequest = REQUEST) -> None:
    with engine.begin() as conn:
        assert claim(conn, request=request) is None
        keep(conn, request=request, status=201, body=b'{"points":12}', now=NOW)


def test_a_repeated_request_gets_the_first_answer(engine: Engine) -> None:
    answer_first(engine)
    with engine.begin() as conn:
        assert claim(conn, request=REQUEST) == StoredAnswer(201, b'{"points":12}')


def test_the_same_key_with_another_body_is_refused(engine: Engine) -> None:
    answer_first(engine)
    with engine.begin() as conn, pytest.raises(IdempotencyKeyReused):
        claim(conn, request=SAME_KEY_OTHER_BODY)


def test_a_key_belongs_to_the_api_key_that_sent_it(engine: Engine) -> None:
    answer_first(engine)
    with engine.begin() as conn:
        assert claim(conn, request=OTHER_CALLER) is None


def test_a_second_request_while_the_first_runs_is_told_so(engine: Engine) -> None:
    with engine.begin() as first:
        assert claim(first, request=REQUEST) is None
        with engine.begin() as second, pytest.raises(RequestInFlight):
            claim(second, request=REQUEST)
        with engine.begin() as another:
            assert claim(another, request=OTHER_CALLER) is None


def test_a_refusal_rolls_back_and_frees_the_key(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match="refused"), engine.begin() as conn:
        claim(conn, request=REQUEST)
        keep(conn, request=REQUEST, status=201, body=b"{}", now=NOW)
        raise RuntimeError("refused")
    with engine.begin() as conn:
        assert claim(conn, request=SAME_KEY_OTHER_BODY) is None


def test_a_crash_of_the_first_frees_the_key(engine: Engine) -> None:
    crashing = engine.connect()
    claim(crashing, request=REQUEST)
    pid = crashing.scalar(text("SELECT pg_backend_pid()"))
    with engine.begin() as conn:
        # Waits until the backend is gone, and its lock with it.
        assert conn.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    crashing.invalidate()
    crashing.close()
    with engine.begin() as conn:
        assert claim(conn, request=REQUEST) is None


def test_the_answer_of_a_first_that_commits_after_our_transaction_began_is_seen(engine: Engine) -> None:
    with engine.begin() as second:
        second.execute(text("SELECT 1"))
        answer_first(engine)
        assert claim(second, request=REQUEST) is not None


def test_old_answers_are_forgotten_and_newer_ones_kept(conn: Connection) -> None:
    for number, age in enumerate((timedelta(days=3), timedelta(hours=1))):
        request = KeyedRequest("key_a", f"order-{number}", b"hash")
        keep(conn, request=request, status=200, body=b"{}", now=NOW - age)
    assert forget_before(conn, before=NOW - timedelta(days=1)) == 1
    assert conn.scalar(text("SELECT idempotency_key FROM idempotency_keys")) == "order-1"


def test_parts_of_a_request_do_not_run_into_each_other() -> None:
    assert hash_request(b"POST", b"/a", b"b") != hash_request(b"POST", b"/ab", b"")


@pytest.mark.parametrize("key", ["", " ", "a b", "a\n", "ä", "a" * 129])
def test_keys_are_visible_ascii(key: str) -> None:
    with pytest.raises(IdempotencyKeyInvalid):
        check_key(key)


def test_a_uuid_is_a_key() -> None:
    key = "2c1d9a5e-7f0b-4b51-9d5e-0f4a8c1e6b7d"
    assert check_key(key) == key
