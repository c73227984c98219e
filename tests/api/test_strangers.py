"""Callers without a key that stands: so many failures a minute from one address, and no write for any."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from werkzeug.test import TestResponse

from service.kit.member_tokens import MemberClaim, derive_key, sign_token
from tests.api.conftest import Client, enrol
from tests.api.test_limits import make_client
from tests.api.test_refusals import check_shape


def knock(
    client: Client, key: str | None, *, address: str = "192.0.2.1", forwarded: str | None = None
) -> TestResponse:
    """Ask for the members with some key (None: with none), from an address."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    if forwarded is not None:
        headers["X-Forwarded-For"] = forwarded
    return client.get("/v1/members", role=None, headers=headers, environ_overrides={"REMOTE_ADDR": address})


@pytest.fixture
def guarded(engine: Engine, tmp_path: Path) -> Client:
    """A client on an application where an address may fail three times a minute."""
    return make_client(engine, tmp_path, RATE_LIMIT_PER_ADDRESS="3")


@pytest.mark.parametrize("key", [None, "tm_server_guessed", "tmt_forged.token"])
def test_an_address_without_a_valid_key_is_told_to_wait(guarded: Client, key: str | None) -> None:
    assert [knock(guarded, key).status_code for _ in range(5)] == [401, 401, 401, 429, 429]
    refused = knock(guarded, key)
    check_shape(refused, 429, "too-many-requests")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit-Policy"] == '"failures";q=3;w=60'
    assert knock(guarded, key, address="192.0.2.2").status_code == 401, "another address has its own"


def test_every_kind_of_failure_counts_together(guarded: Client) -> None:
    assert (
        guarded.call("DELETE", f"/v1/keys/{key_id_of(guarded, 'marketing')}", role="admin").status_code == 200
    )
    tries = [None, "tm_server_guessed", guarded.keys["marketing"], None]
    assert [knock(guarded, key).status_code for key in tries] == [401, 401, 401, 429]


def key_id_of(client: Client, role: str) -> str:
    """Return the id of the key of a role."""
    listed = client.get("/v1/keys", role="admin").json or {}
    return str(next(row["key_id"] for row in listed["data"] if row["role"] == role))


def test_a_storm_of_bad_keys_writes_nothing_and_is_soon_not_even_looked_up(guarded: Client) -> None:
    statements: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(guarded.engine, "before_cursor_execute", note)
    try:
        statuses = [knock(guarded, f"tm_server_guess_{number}").status_code for number in range(200)]
    finally:
        event.remove(guarded.engine, "before_cursor_execute", note)
    assert statuses == [401] * 3 + [429] * 197
    assert len(statements) == 3
    assert all(statement.lstrip().startswith("SELECT") for statement in statements)


def test_keys_that_are_known_are_not_locked_out_by_a_neighbour(guarded: Client) -> None:
    server, operations = guarded.keys["server"], guarded.keys["operations"]
    assert knock(guarded, server).status_code == 200
    for _ in range(5):
        knock(guarded, "tm_server_guessed")
    assert knock(guarded, server).status_code == 200
    assert knock(guarded, operations).status_code == 429, "not met before: it waits, or comes from elsewhere"
    assert knock(guarded, operations, address="192.0.2.2").status_code == 200
    assert knock(guarded, operations).status_code == 200, "met meanwhile"


def test_a_key_that_is_revoked_is_no_longer_known(guarded: Client) -> None:
    server = guarded.keys["server"]
    assert knock(guarded, server).status_code == 200
    guarded.call("DELETE", f"/v1/keys/{key_id_of(guarded, 'server')}", role="admin")
    assert [knock(guarded, server).status_code for _ in range(5)] == [401, 401, 401, 429, 429]


def test_member_tokens_pass_a_crowded_address_and_expired_ones_do_not_count(guarded: Client) -> None:
    enrol(guarded)
    made = guarded.post("/v1/member-tokens", json={"member_id": "m1"}).json or {}
    for _ in range(5):
        knock(guarded, "tm_server_guessed")
    headers = {"Authorization": f"Bearer {made['token']}"}
    from_there = {"REMOTE_ADDR": "192.0.2.1"}
    card = guarded.get("/v1/members/m1/card", role=None, headers=headers, environ_overrides=from_there)
    assert card.status_code == 200


def test_an_expired_member_token_is_not_counted(guarded: Client) -> None:
    """Pages that were left open meet that in all innocence."""
    claim = MemberClaim(
        key_id=key_id_of(guarded, "storefront"),
        member_id="m1",
        expires_at=datetime.now(UTC) - timedelta(minutes=1),
    )
    secret = guarded.app.extensions["tidemark"].settings.secret_key
    expired = sign_token(claim, key=derive_key(secret))
    answers = [knock(guarded, expired).json or {} for _ in range(8)]
    assert {answer["code"] for answer in answers} == {"member-token-expired"}
    assert knock(guarded, None).status_code == 401


def test_the_senders_own_word_on_its_address_is_not_believed(guarded: Client) -> None:
    statuses = [knock(guarded, None, forwarded=f"198.51.100.{number}").status_code for number in range(5)]
    assert statuses == [401, 401, 401, 429, 429]


def test_behind_a_trusted_proxy_the_last_address_it_wrote_counts(engine: Engine, tmp_path: Path) -> None:
    client = make_client(engine, tmp_path, RATE_LIMIT_PER_ADDRESS="1", TRUSTED_PROXIES="1")

    def through_proxy(forwarded: str | None) -> int:
        return knock(client, None, address="10.0.0.1", forwarded=forwarded).status_code

    assert [through_proxy("198.51.100.1"), through_proxy("198.51.100.1")] == [401, 429]
    assert through_proxy("198.51.100.2") == 401
    assert through_proxy("203.0.113.9, 198.51.100.1") == 429, "what stands before it anybody can write"
    assert through_proxy(None) == 401


def test_without_a_limit_strangers_are_only_refused(engine: Engine, tmp_path: Path) -> None:
    client = make_client(engine, tmp_path, RATE_LIMIT_PER_ADDRESS="0")
    assert {knock(client, None).status_code for _ in range(20)} == {401}
