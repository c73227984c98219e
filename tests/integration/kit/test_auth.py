"""A caller is whoever shows a key; only its hash is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from service.kit.auth import ROLES, Authenticator, Role, create_key, register_key
from service.kit.errors import Unauthenticated

NOW = datetime(2026, 11, 21, 11, 3, 11, tzinfo=UTC)


def make_key(engine: Engine, role: Role = "server") -> str:
    with engine.begin() as conn:
        return create_key(conn, role=role, label="shop", now=NOW)


@pytest.mark.parametrize("role", ROLES)
def test_a_key_tells_its_role(engine: Engine, role: Role) -> None:
    token = make_key(engine, role)
    caller = Authenticator(engine).identify(f"Bearer {token}", now=NOW)
    assert (caller.role, caller.label) == (role, "shop")
    assert caller.key_id.startswith("key_")


def test_only_the_hash_of_a_key_is_stored(engine: Engine) -> None:
    token = make_key(engine)
    with engine.connect() as conn:
        row = conn.execute(text("SELECT api_keys::text FROM api_keys")).scalar_one()
    assert token not in row
    assert token.rsplit("_", 1)[1] not in row


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer tm_server_wrong", "tm_server_wrong"],
)
def test_anything_but_a_known_key_is_refused(engine: Engine, header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        Authenticator(engine).identify(header, now=NOW)


def test_the_scheme_may_be_written_in_any_case(engine: Engine) -> None:
    token = make_key(engine)
    assert Authenticator(engine).identify(f"bearer  {token} ", now=NOW).role == "server"


def test_a_revoked_key_is_refused_within_seconds(engine: Engine) -> None:
    token = make_key(engine)
    authenticator = Authenticator(engine)
    authenticator.identify(f"Bearer {token}", now=NOW)
    with engine.begin() as conn:
        conn.execute(text("UPDATE api_keys SET revoked_at = :now"), {"now": NOW})
    assert authenticator.identify(f"Bearer {token}", now=NOW + timedelta(seconds=1)).role == "server"
    with pytest.raises(Unauthenticated, match="revoked"):
        authenticator.identify(f"Bearer {token}", now=NOW + timedelta(seconds=16))
    with pytest.raises(Unauthenticated, match="revoked"):
        Authenticator(engine).identify(f"Bearer {token}", now=NOW)


def test_a_chosen_secret_is_accepted_however_often_it_is_registered(conn: Connection) -> None:
    for _ in range(2):
        register_key(conn, token="chosen elsewhere", role="admin", label="environment", now=NOW)
    assert conn.scalar(text("SELECT count(*) FROM api_keys")) == 1


def test_last_use_is_marked_coarsely(engine: Engine) -> None:
    token = make_key(engine)

    def last_used(at: datetime) -> datetime:
        Authenticator(engine).identify(f"Bearer {token}", now=at)
        with engine.connect() as conn:
            marked: datetime = conn.execute(text("SELECT last_used_at FROM api_keys")).scalar_one()
        return marked

    assert last_used(NOW) == NOW
    assert last_used(NOW + timedelta(minutes=9)) == NOW
    assert last_used(NOW + timedelta(minutes=11)) == NOW + timedelta(minutes=11)


def test_two_keys_are_never_the_same(conn: Connection) -> None:
    keys = {create_key(conn, role="server", label="shop", now=NOW) for _ in range(20)}
    assert len(keys) == 20
