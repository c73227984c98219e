"""Who is asking: an API key, or a member with a short-lived token behind a storefront key.

Keys are made once, shown once and stored hashed. Each process remembers a key for a few seconds; a change
made through the web service is seen at once by every process that was forked with it.
"""

from __future__ import annotations

import hashlib
import mmap
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.exc import SQLAlchemyError

from service.kit import member_tokens
from service.kit.errors import (
    FieldError,
    Forbidden,
    Malformed,
    MemberTokenExpired,
    MemberTokenNeeded,
    StoreOutOfScope,
    Unauthenticated,
    Unavailable,
)
from service.kit.ids import new_id

Role = Literal["storefront", "server", "marketing", "operations", "admin"]
ROLES: tuple[Role, ...] = ("storefront", "server", "marketing", "operations", "admin")

# A key changed elsewhere (another machine, the command line) is seen by every process within this time.
_CACHE_SECONDS = 5
_CACHE_SIZE = 10_000
_LAST_USE_GRAIN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking.

    `store_ids` None means every store. `member_id` is set by a member token. `origins` are the web pages
    that a storefront key may be used from.
    """

    key_id: str
    role: Role
    label: str
    store_ids: tuple[str, ...] | None = None
    origins: frozenset[str] = frozenset()
    expires_at: datetime | None = None
    member_id: str | None = None

    @property
    def scope(self) -> str:
        """Whose idempotency keys these are: the key's, or those of one member behind it."""
        if self.member_id is None:
            return self.key_id
        return f"{self.key_id}/{hashlib.sha256(self.member_id.encode()).hexdigest()[:32]}"

    def check_member(self, member_id: str) -> None:
        """Let a storefront reach nobody but the member of its token; others reach everybody.

        Raises:
            MemberTokenNeeded: a storefront key came without a token.
            Forbidden: the token is another member's.
        """
        if self.role != "storefront" or self.member_id == member_id:
            return
        if self.member_id is None:
            raise MemberTokenNeeded("what concerns a member needs that member's token")
        raise Forbidden("the token is another member's")

    def check_every_store(self) -> None:
        """Let nobody who is held to stores do or see what concerns all of them.

        Raises:
            StoreOutOfScope: the key is held to stores.
        """
        if self.store_ids is not None:
            raise StoreOutOfScope("this concerns every store, and the key is held to some")

    def sees_store(self, store_id: str | None) -> bool:
        """Tell whether facts of this store (None: of no store) lie within the key's scope."""
        return self.store_ids is None or store_id in self.store_ids

    def choose_store(self, store_id: str | None, *, pointer: str = "/store_id") -> str | None:
        """Return the store that is written to: the one given, or the only one of the key's scope.

        Raises:
            StoreOutOfScope: another store, or none where the scope has several.
        """
        if self.store_ids is None or store_id in self.store_ids:
            return store_id
        if store_id is None and len(self.store_ids) == 1:
            return self.store_ids[0]
        detail = "name one of this key's stores" if store_id is None else "not one of this key's stores"
        raise StoreOutOfScope(detail, errors=[FieldError(detail, pointer=pointer)])


_FIND = text(
    """
    SELECT k.key_id, k.role, k.label, k.store_ids, k.origins,
        LEAST(k.expires_at, s.accepted_until) AS expires_at
    FROM (
        SELECT key_id, CAST(NULL AS timestamptz) AS accepted_until FROM api_keys WHERE secret_hash = :hash
        UNION ALL
        SELECT key_id, accepted_until FROM retired_secrets WHERE secret_hash = :hash
    ) s
    JOIN api_keys k ON k.key_id = s.key_id
    WHERE k.revoked_at IS NULL
    """
)
_FIND_BY_ID = text(
    "SELECT key_id, role, label, store_ids, origins, expires_at FROM api_keys "
    "WHERE key_id = :key_id AND role = 'storefront' AND revoked_at IS NULL"
)
_LIST_ORIGINS = text(
    "SELECT DISTINCT unnest(origins) FROM api_keys "
    "WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)"
)
_MARK_USE = text(
    "UPDATE api_keys SET last_used_at = :now "
    "WHERE key_id = :key_id AND (last_used_at IS NULL OR last_used_at < :before)"
)
# A secret that was rotated out does not come back as a key of its own.
_INSERT = text(
    """
    INSERT INTO api_keys (
        key_id, role, label, secret_hash, store_ids, origins, expires_at, created_at, created_by
    )
    SELECT :key_id, :role, :label, :hash, CAST(:store_ids AS text[]), CAST(:origins AS text[]), :expires_at,
        :now, :created_by
    WHERE NOT EXISTS (SELECT 1 FROM retired_secrets WHERE secret_hash = :hash)
    ON CONFLICT (secret_hash) DO NOTHING
    """
)


def create_key(conn: Connection, *, role: Role, label: str, now: datetime) -> str:
    """Create a key for every store and return it; only its hash is kept: this is the one time it is seen."""
    token = new_secret(role)
    register_key(conn, token=token, role=role, label=label, now=now)
    return token


def register_key(
    conn: Connection,
    *,
    token: str,
    role: Role,
    label: str,
    now: datetime,
    store_ids: Sequence[str] | None = None,
    origins: Sequence[str] = (),
    expires_at: datetime | None = None,
    created_by: str | None = None,
) -> str:
    """Accept a key whose secret was chosen elsewhere (TIDEMARK_ADMIN_KEY); nothing if it is known.

    Return the id it has if it is new.
    """
    key_id = new_id("key", now)
    conn.execute(
        _INSERT,
        {
            "key_id": key_id,
            "role": role,
            "label": label,
            "hash": hash_secret(token),
            "store_ids": None if store_ids is None else list(store_ids),
            "origins": list(origins),
            "expires_at": expires_at,
            "created_by": created_by,
            "now": now,
        },
    )
    return key_id


def new_secret(role: Role) -> str:
    """Return a new secret: 256 random bits behind its role."""
    return f"tm_{role}_{secrets.token_urlsafe(32)}"


def hash_secret(token: str) -> bytes:
    """Return what is stored of a secret. Its 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(token.encode(errors="replace")).digest()


class Generation:
    """A number that every process forked from this one sees change, in shared memory."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    def read(self) -> bytes:
        """Return the number as it stands."""
        return self._memory[:8]

    def advance(self) -> None:
        """Change the number. Random, so that two who change it at once do not agree."""
        self._memory[:8] = secrets.token_bytes(8)


class Authenticator:
    """Tells callers by their keys and tokens, remembering each key for a few seconds in this process."""

    def __init__(self, engine: Engine, *, token_key: bytes | None = None) -> None:
        self._engine = engine
        self._token_key = token_key
        self._lock = threading.Lock()
        self._generation = Generation()
        self._cache: dict[bytes | str, tuple[float, bytes, Caller]] = {}
        self._origins: tuple[float, bytes, frozenset[str]] = (0.0, b"", frozenset())

    def identify(self, authorization: str | None, *, now: datetime, known_only: bool = False) -> Caller:
        """Return the caller of an `Authorization` header.

        With `known_only` a secret that this process has never known is refused without looking it up.

        Raises:
            Unauthenticated: no key, not a key, or a revoked or expired one; likewise of member tokens.
            Malformed: the header came more than once.
        """
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("send Authorization: Bearer <key>")
        if " " in token:
            # Repeated headers arrive joined: "Bearer one, Bearer two".
            raise Malformed("send Authorization once, with one key")
        if token.startswith(member_tokens.PREFIX):
            return self._identify_member(token, now)
        caller = self._remember(hash_secret(token), now, known_only=known_only)
        if caller is None:
            raise Unauthenticated("this key is not known, or was revoked")
        _refuse_expired(caller, now)
        return caller

    def _identify_member(self, token: str, now: datetime) -> Caller:
        """Return the storefront behind a member token, narrowed to that member."""
        claim = None if self._token_key is None else member_tokens.read_token(token, key=self._token_key)
        if claim is None:
            raise Unauthenticated("this is not a member token of ours")
        caller = self._remember(claim.key_id, now)
        if caller is None:
            raise Unauthenticated("the storefront key of this token is not known, or was revoked")
        _refuse_expired(caller, now)
        if now >= claim.expires_at:
            raise MemberTokenExpired("ask for a new one", origins=caller.origins)
        return replace(caller, member_id=claim.member_id)

    def list_origins(self, *, now: datetime) -> frozenset[str]:
        """Return every origin that some storefront key may be used from (a preflight carries no key)."""
        deadline, generation, origins = self._origins
        current = self._generation.read()
        if now.timestamp() < deadline and generation == current:
            return origins
        with self._ask() as conn:
            origins = frozenset(conn.scalars(_LIST_ORIGINS, {"now": now}))
        self._origins = (now.timestamp() + _CACHE_SECONDS, current, origins)
        return origins

    def forget(self) -> None:
        """Have every process on this machine read the keys anew; called after a change was committed."""
        self._generation.advance()

    @contextmanager
    def _ask(self) -> Iterator[Connection]:
        """Yield a connection in a transaction of its own, outside the request's."""
        try:
            with self._engine.begin() as conn:
                yield conn
        except SQLAlchemyError as error:
            raise Unavailable("keys cannot be looked up right now; try again shortly") from error

    def _remember(self, name: bytes | str, now: datetime, *, known_only: bool = False) -> Caller | None:
        """Return the caller of a hashed secret, or of a storefront key's id."""
        seconds, current = now.timestamp(), self._generation.read()
        cached = self._cache.get(name)
        if cached is not None and seconds < cached[0] and cached[1] == current:
            return cached[2]
        if cached is None and known_only:
            return None
        caller = self._look_up(name, now)
        with self._lock:
            if caller is None:
                self._cache.pop(name, None)
            else:
                if len(self._cache) >= _CACHE_SIZE:
                    self._cache.clear()
                self._cache[name] = (seconds + _CACHE_SECONDS, current, caller)
        return caller

    def _look_up(self, name: bytes | str, now: datetime) -> Caller | None:
        # Hashing a secret of 256 random bits first makes the index look-up safe against timing.
        find, parameters = (
            (_FIND, {"hash": name}) if isinstance(name, bytes) else (_FIND_BY_ID, {"key_id": name})
        )
        with self._ask() as conn:
            row = conn.execute(find, parameters).one_or_none()
            if row is None:
                return None
            conn.execute(_MARK_USE, {"key_id": row.key_id, "now": now, "before": now - _LAST_USE_GRAIN})
        return _caller_of(row)


def _caller_of(row: Row[Any]) -> Caller:
    return Caller(
        key_id=row.key_id,
        role=row.role,
        label=row.label,
        store_ids=None if row.store_ids is None else tuple(row.store_ids),
        origins=frozenset(row.origins),
        expires_at=row.expires_at,
    )


def _refuse_expired(caller: Caller, now: datetime) -> None:
    if caller.expires_at is not None and now >= caller.expires_at:
        raise Unauthenticated("this key has expired")
