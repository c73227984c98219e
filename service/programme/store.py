"""Every SQL statement of the programme room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.db import dumps
from service.programme.rules import SettingsRow

_PROGRAMME = text("SELECT currency, timezone, now() AS read_at FROM programme")
_INSERT_PROGRAMME = text(
    "INSERT INTO programme (programme_key, currency, timezone, created_at) "
    "VALUES (1, :currency, :timezone, :now) ON CONFLICT DO NOTHING"
)
_LOCK = text("SELECT programme_key FROM programme FOR UPDATE")
_ALL_SETTINGS = text(
    'SELECT version, "values", effective_from, created_at, created_by, reason, fields '
    "FROM programme_settings ORDER BY effective_from, version"
)
_INSERT_SETTINGS = text(
    'INSERT INTO programme_settings ("values", effective_from, created_at, created_by, reason, fields) '
    "VALUES (CAST(:values AS jsonb), :effective_from, :now, :created_by, :reason, CAST(:fields AS text[])) "
    "RETURNING version"
)
_STORES = text(
    "SELECT store_id, store_key, timezone, first_used_at FROM stores WHERE store_id = ANY(:store_ids)"
)
_ADD_STORES = text(
    "INSERT INTO stores (store_id, created_at) SELECT DISTINCT unnest(CAST(:store_ids AS text[])), "
    "CAST(:now AS timestamptz) ON CONFLICT (store_id) DO NOTHING"
)
# Waits for a change of the zone that is on its way, and then tells what it came to.
_USE_STORES = text(
    "UPDATE stores SET first_used_at = coalesce(first_used_at, :now) WHERE store_key IN "
    "(SELECT store_key FROM stores WHERE store_id = ANY(:store_ids) ORDER BY store_key FOR UPDATE) "
    "RETURNING store_id, store_key, timezone, first_used_at"
)
_STORE = "SELECT store_id, name, timezone, created_at, first_used_at FROM stores "
_FIND_STORE = text(_STORE + "WHERE store_id = :store_id")
_LOCK_STORE = text(_STORE + "WHERE store_id = :store_id FOR UPDATE")
_LIST_STORES = text(
    _STORE + "WHERE store_id > CAST(:after AS text) "
    "AND (CAST(:among AS text[]) IS NULL OR store_id = ANY (CAST(:among AS text[]))) "
    "ORDER BY store_id LIMIT :limit"
)
_SET_STORE = text("UPDATE stores SET name = :name, timezone = :timezone WHERE store_id = :store_id")


def find_programme(conn: Connection) -> Row[Any] | None:
    """Return currency and zone, or None before the first start."""
    return conn.execute(_PROGRAMME).one_or_none()


def insert_programme(conn: Connection, *, currency: str, timezone: str, now: datetime) -> None:
    """Fix currency and zone, unless they are fixed already."""
    conn.execute(_INSERT_PROGRAMME, {"currency": currency, "timezone": timezone, "now": now})


def lock_programme(conn: Connection) -> None:
    """Let one change of the settings happen at a time."""
    conn.execute(_LOCK)


def list_settings(conn: Connection) -> list[SettingsRow]:
    """Return every version of the settings, in the order of coming into force."""
    return [SettingsRow(**row._mapping) for row in conn.execute(_ALL_SETTINGS)]


def insert_settings(
    conn: Connection,
    *,
    values: Mapping[str, Any],
    effective_from: datetime,
    created_by: str,
    reason: str,
    fields: Sequence[str],
    now: datetime,
) -> int:
    """Add a version of the settings and return its number."""
    parameters = {
        "values": dumps(dict(values)),
        "effective_from": effective_from,
        "created_by": created_by,
        "reason": reason,
        "fields": list(fields),
        "now": now,
    }
    version: int = conn.execute(_INSERT_SETTINGS, parameters).scalar_one()
    return version


def find_stores(conn: Connection, *, store_ids: list[str]) -> list[Row[Any]]:
    """Return key, own zone and first use of each known store."""
    return list(conn.execute(_STORES, {"store_ids": store_ids}))


def add_stores(conn: Connection, *, store_ids: list[str], now: datetime) -> int:
    """Add stores that are not known yet and return how many."""
    return conn.execute(_ADD_STORES, {"store_ids": store_ids, "now": now}).rowcount


def use_stores(conn: Connection, *, store_ids: list[str], now: datetime) -> list[Row[Any]]:
    """Remember that stores have facts from now on, and return them as `find_stores` does."""
    return list(conn.execute(_USE_STORES, {"store_ids": store_ids, "now": now}))


def find_store(conn: Connection, *, store_id: str, lock: bool = False) -> Row[Any] | None:
    """Return a store, locked until the transaction ends if asked for."""
    return conn.execute(_LOCK_STORE if lock else _FIND_STORE, {"store_id": store_id}).one_or_none()


def list_stores(
    conn: Connection, *, among: Sequence[str] | None, after: str, limit: int
) -> Sequence[Row[Any]]:
    """Return up to `limit` stores by id, after one; `among` None means every store."""
    values = {"among": None if among is None else list(among), "after": after, "limit": limit}
    return conn.execute(_LIST_STORES, values).all()


def set_store(conn: Connection, *, store_id: str, name: str | None, timezone: str | None) -> None:
    """Write a store's name and zone."""
    conn.execute(_SET_STORE, {"store_id": store_id, "name": name, "timezone": timezone})
