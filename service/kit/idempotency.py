"""Answer a repeated request with its first answer.

A key belongs to the API key that sent it, or to the member behind it. While the first request runs, an
advisory lock of its transaction marks it: a crash frees the lock with the transaction. Refusals roll back
and are not kept.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from service.kit.db import run
from service.kit.errors import IdempotencyKeyInvalid, IdempotencyKeyReused, RequestInFlight

# Repeated headers arrive joined by a comma, so no key holds one.
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,128}\Z", re.ASCII)
_LOCK = text("SELECT pg_try_advisory_xact_lock(:lock)")
_FIND = text(
    "SELECT request_hash, status, body FROM idempotency_keys "
    "WHERE api_key_id = :api_key_id AND idempotency_key = :key"
)
_INSERT = text(
    "INSERT INTO idempotency_keys (api_key_id, idempotency_key, request_hash, status, body, created_at) "
    "VALUES (:api_key_id, :key, :request_hash, :status, :body, :now)"
)
_FORGET = text("DELETE FROM idempotency_keys WHERE created_at < :before")


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """One request under its key: `request_hash` covers method, path and the normalised body."""

    api_key_id: str
    key: str
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The first answer, as it was sent."""

    status: int
    body: bytes


def check_key(key: str) -> str:
    """Return the key.

    Raises:
        IdempotencyKeyInvalid: not 1 to 128 visible ASCII characters without a comma.
    """
    if not _KEY.match(key):
        raise IdempotencyKeyInvalid
    return key


def hash_request(*parts: bytes) -> bytes:
    """Return a hash of the parts, which cannot run into each other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def claim(conn: Connection, *, request: KeyedRequest) -> StoredAnswer | None:
    """Claim the key for this transaction, or return the answer that is already stored.

    Raises:
        RequestInFlight: the first request is still running.
        IdempotencyKeyReused: the key was used with another request.
    """
    digest = hashlib.sha256(f"{request.api_key_id}\x00{request.key}".encode()).digest()
    lock = int.from_bytes(digest[:8], "big", signed=True)
    if not run(conn, _LOCK, {"lock": lock}).scalar_one():
        raise RequestInFlight
    # Read only once the lock is held: an earlier snapshot could miss what its last holder committed.
    row = run(conn, _FIND, {"api_key_id": request.api_key_id, "key": request.key}).one_or_none()
    if row is None:
        return None
    if bytes(row.request_hash) != request.request_hash:
        raise IdempotencyKeyReused
    return StoredAnswer(status=row.status, body=bytes(row.body))


def keep(conn: Connection, *, request: KeyedRequest, status: int, body: bytes, now: datetime) -> None:
    """Keep the answer in the same transaction as what it answers for."""
    run(
        conn,
        _INSERT,
        {
            "api_key_id": request.api_key_id,
            "key": request.key,
            "request_hash": request.request_hash,
            "status": status,
            "body": body,
            "now": now,
        },
    )


def forget_before(conn: Connection, *, before: datetime) -> int:
    """Delete answers kept before a moment and return how many there were."""
    return conn.execute(_FORGET, {"before": before}).rowcount
