"""Every SQL statement of the access room; new keys are written by the kit."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

_COLUMNS = """
    k.key_id, k.role, k.label, k.store_ids, k.origins, k.created_at, k.created_by, k.last_used_at,
    k.expires_at, k.revoked_at,
    (SELECT max(s.accepted_until) FROM retired_secrets s
     WHERE s.key_id = k.key_id AND s.accepted_until > :now) AS previous_until
"""
_FIND = text(f"SELECT {_COLUMNS} FROM api_keys k WHERE k.key_id = :key_id")  # noqa: S608
_LIST = text(
    f"SELECT {_COLUMNS} FROM api_keys k "  # noqa: S608
    'WHERE k.key_id COLLATE "C" > :after ORDER BY k.key_id COLLATE "C" LIMIT :limit'
)
_LOCK = text("SELECT key_id FROM api_keys WHERE key_id = :key_id FOR UPDATE")
_RETIRE = text(
    "INSERT INTO retired_secrets (secret_hash, key_id, accepted_until) "
    "SELECT secret_hash, key_id, :until FROM api_keys WHERE key_id = :key_id"
)
_SHORTEN = text(
    "UPDATE retired_secrets SET accepted_until = :now WHERE key_id = :key_id AND accepted_until > :now"
)
_REPLACE = text("UPDATE api_keys SET secret_hash = :hash WHERE key_id = :key_id")
_REVOKE = text("UPDATE api_keys SET revoked_at = :now WHERE key_id = :key_id AND revoked_at IS NULL")
_FIND_STOREFRONT = text(
    """
    SELECT key_id FROM api_keys
    WHERE role = 'storefront' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)
      AND (CAST(:key_id AS text) IS NULL OR key_id = :key_id)
    ORDER BY created_at, key_id
    LIMIT 1
    """
)


def find_key(conn: Connection, *, key_id: str, now: datetime) -> Row[Any] | None:
    """Return a key's row, or None."""
    return conn.execute(_FIND, {"key_id": key_id, "now": now}).one_or_none()


def lock_key(conn: Connection, *, key_id: str) -> None:
    """Keep others from changing a key until the transaction ends."""
    conn.execute(_LOCK, {"key_id": key_id})


def list_keys(conn: Connection, *, after: str, limit: int, now: datetime) -> list[Row[Any]]:
    """Return keys by id, which is the order they were made in."""
    return list(conn.execute(_LIST, {"after": after, "limit": limit, "now": now}))


def replace_secret(
    conn: Connection, *, key_id: str, secret_hash: bytes, previous_until: datetime, now: datetime
) -> None:
    """Give a key another secret; the one it had goes on until then, any before that end now."""
    conn.execute(_SHORTEN, {"key_id": key_id, "now": now})
    conn.execute(_RETIRE, {"key_id": key_id, "until": previous_until})
    conn.execute(_REPLACE, {"key_id": key_id, "hash": secret_hash})


def revoke_key(conn: Connection, *, key_id: str, now: datetime) -> None:
    """End a key; nothing if it has been."""
    conn.execute(_REVOKE, {"key_id": key_id, "now": now})


def find_storefront_key(conn: Connection, *, key_id: str | None, now: datetime) -> str | None:
    """Return the named storefront key if it stands, or the oldest that does."""
    found: str | None = conn.scalar(_FIND_STOREFRONT, {"key_id": key_id, "now": now})
    return found
