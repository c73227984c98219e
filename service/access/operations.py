"""The verbs of the access room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from service.access import store
from service.access.errors import KeyNotLive, StorefrontKeyNeeded, UnknownKey
from service.access.rules import check_key
from service.kit import audit
from service.kit.auth import Role, hash_secret, new_secret, register_key
from service.kit.clock import format_time
from service.kit.errors import FieldError, Invalid
from service.kit.member_tokens import MemberClaim, sign_token


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it may be shown: everything but its secret. `store_ids` None means every store."""

    key_id: str
    role: Role
    label: str
    store_ids: tuple[str, ...] | None
    origins: tuple[str, ...]
    created_at: datetime
    created_by: str | None
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    previous_until: datetime | None


def create_key(
    conn: Connection,
    *,
    role: Role,
    label: str,
    store_ids: Sequence[str] | None,
    origins: Sequence[str],
    expires_at: datetime | None,
    actor: str,
    request_id: str | None = None,
    now: datetime,
) -> tuple[Key, str]:
    """Make a key and return it with its secret, which is not kept: this is the one time it is seen.

    Raises:
        Invalid: an origin or the end is not acceptable.
    """
    wrong = check_key(role=role, origins=origins, expires_at=expires_at, now=now)
    if wrong:
        raise Invalid("the key is not acceptable", errors=wrong)
    secret = new_secret(role)
    key_id = register_key(
        conn,
        token=secret,
        role=role,
        label=label,
        store_ids=None if store_ids is None else sorted(set(store_ids)),
        origins=sorted(set(origins)),
        expires_at=expires_at,
        created_by=actor,
        now=now,
    )
    key = get_key(conn, key_id=key_id, now=now)
    _log(conn, "key.created", key, after=_limits(key), actor=actor, request_id=request_id, now=now)
    return key, secret


def get_key(conn: Connection, *, key_id: str, now: datetime) -> Key:
    """Return a key.

    Raises:
        UnknownKey: there is none.
    """
    row = store.find_key(conn, key_id=key_id, now=now)
    if row is None:
        raise UnknownKey(f"no key has the id {key_id}")
    return _key_of(row)


def list_keys(conn: Connection, *, after: str, limit: int, now: datetime) -> list[Key]:
    """Return keys in the order they were made, revoked ones too."""
    return [_key_of(row) for row in store.list_keys(conn, after=after, limit=limit, now=now)]


def rotate_key(
    conn: Connection,
    *,
    key_id: str,
    overlap_seconds: int,
    actor: str,
    request_id: str | None = None,
    now: datetime,
) -> tuple[Key, str]:
    """Give a key a new secret; the old one is accepted for the overlap. Its id and its limits stay.

    Raises:
        UnknownKey: there is none. KeyNotLive: it was revoked or has expired.
    """
    store.lock_key(conn, key_id=key_id)
    key = get_key(conn, key_id=key_id, now=now)
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        raise KeyNotLive("make a new key instead")
    secret = new_secret(key.role)
    store.replace_secret(
        conn,
        key_id=key_id,
        secret_hash=hash_secret(secret),
        previous_until=now + timedelta(seconds=overlap_seconds),
        now=now,
    )
    key = get_key(conn, key_id=key_id, now=now)
    after = {"previous_until": format_time(now + timedelta(seconds=overlap_seconds))}
    _log(conn, "key.rotated", key, after=after, actor=actor, request_id=request_id, now=now)
    return key, secret


def revoke_key(
    conn: Connection, *, key_id: str, actor: str, request_id: str | None = None, now: datetime
) -> Key:
    """End a key, with any secret it ever had and every member token made for it; again changes nothing.

    Raises:
        UnknownKey: there is none.
    """
    store.lock_key(conn, key_id=key_id)
    key = get_key(conn, key_id=key_id, now=now)
    if key.revoked_at is not None:
        return key
    store.revoke_key(conn, key_id=key_id, now=now)
    after = {"revoked_at": format_time(now)}
    _log(conn, "key.revoked", key, after=after, actor=actor, request_id=request_id, now=now)
    return get_key(conn, key_id=key_id, now=now)


def issue_member_token(
    conn: Connection,
    *,
    member_id: str,
    storefront_key_id: str | None,
    ttl_seconds: int,
    token_key: bytes,
    now: datetime,
) -> tuple[MemberClaim, str]:
    """Sign a token that lets a browser reach this member; nothing is stored, nobody is looked up.

    It belongs to the storefront key that is named, or to the oldest that stands.

    Raises:
        StorefrontKeyNeeded: there is none, or the one named does not stand.
    """
    key_id = store.find_storefront_key(conn, key_id=storefront_key_id, now=now)
    if key_id is None:
        wrong = [FieldError("not a storefront key that stands", pointer="/storefront_key_id")]
        raise StorefrontKeyNeeded(errors=wrong)
    claim = MemberClaim(
        key_id=key_id,
        member_id=member_id,
        expires_at=(now + timedelta(seconds=ttl_seconds)).replace(microsecond=0),
    )
    return claim, sign_token(claim, key=token_key)


def _limits(key: Key) -> dict[str, Any]:
    return {
        "role": key.role,
        "label": key.label,
        "store_ids": None if key.store_ids is None else list(key.store_ids),
        "origins": list(key.origins),
        "expires_at": None if key.expires_at is None else format_time(key.expires_at),
    }


def _log(
    conn: Connection,
    action: str,
    key: Key,
    *,
    after: dict[str, Any],
    actor: str,
    request_id: str | None,
    now: datetime,
) -> None:
    audit.record(
        conn,
        actor=actor,
        action=action,
        subject=("key", key.key_id),
        after=after,
        request_id=request_id,
        now=now,
    )


def _key_of(row: Row[Any]) -> Key:
    return Key(
        key_id=row.key_id,
        role=row.role,
        label=row.label,
        store_ids=None if row.store_ids is None else tuple(row.store_ids),
        origins=tuple(row.origins),
        created_at=row.created_at,
        created_by=row.created_by,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        previous_until=row.previous_until,
    )
