"""API keys: made once, shown once, stored hashed; a caller is whoever shows one."""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, Engine, text

from service.kit.errors import Unauthenticated
from service.kit.ids import new_id

Role = Literal["storefront", "server", "marketing", "operations", "admin"]
ROLES: tuple[Role, ...] = ("storefront", "server", "marketing", "operations", "admin")

# A revoked key is refused by every worker within this time.
_CACHE_SECONDS = 15
_CACHE_SIZE = 10_000
_LAST_USE_GRAIN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking."""

    key_id: str
    role: Role
    label: str


_FIND = text("SELECT key_id, role, label FROM api_keys WHERE secret_hash = :hash AND revoked_at IS NULL")
_MARK_USE = text(
    "UPDATE api_keys SET last_used_at = :now "
    "WHERE key_id = :key_id AND (last_used_at IS NULL OR last_used_at < :before)"
)
_INSERT = text(
    "INSERT INTO api_keys (key_id, role, label, secret_hash, created_at) "
    "VALUES (:key_id, :role, :label, :hash, :now) ON CONFLICT (secret_hash) DO NOTHING"
)


def create_key(conn: Connection, *, role: Role, label: str, now: datetime) -> str:
    """Create a key and return it; only its hash is kept, so this is the one time it is seen."""
    token = f"tm_{role}_{secrets.token_urlsafe(32)}"
    register_key(conn, token=token, role=role, label=label, now=now)
    return token


def register_key(conn: Connection, *, token: str, role: Role, label: str, now: datetime) -> None:
    """Accept a key whose secret was chosen elsewhere (TIDEMARK_ADMIN_KEY); nothing if it is known."""
    conn.execute(
        _INSERT,
        {"key_id": new_id("key", now), "role": role, "label": label, "hash": _hash(token), "now": now},
    )


class Authenticator:
    """Tells callers by their keys, remembering each for a few seconds in this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._cache: dict[bytes, tuple[float, Caller]] = {}

    def identify(self, authorization: str | None, *, now: datetime) -> Caller:
        """Return the caller of an `Authorization` header.

        Raises:
            Unauthenticated: no key, not a key, or a revoked one.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated("send Authorization: Bearer <key>")
        digest = _hash(token.strip())
        seconds = now.timestamp()
        cached = self._cache.get(digest)
        if cached is not None and seconds < cached[0]:
            return cached[1]
        caller = self._look_up(digest, now)
        with self._lock:
            if len(self._cache) >= _CACHE_SIZE:
                self._cache.clear()
            self._cache[digest] = (seconds + _CACHE_SECONDS, caller)
        return caller

    def _look_up(self, digest: bytes, now: datetime) -> Caller:
        # Hashing a secret of 256 random bits first makes the index look-up safe against timing.
        with self._engine.begin() as conn:
            row = conn.execute(_FIND, {"hash": digest}).one_or_none()
            if row is None:
                raise Unauthenticated("this key is not known, or was revoked")
            conn.execute(_MARK_USE, {"key_id": row.key_id, "now": now, "before": now - _LAST_USE_GRAIN})
        return Caller(key_id=row.key_id, role=row.role, label=row.label)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
