"""Every SQL statement of the programme room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.db import dumps

_PROGRAMME = text("SELECT currency, timezone FROM programme")
_INSERT_PROGRAMME = text(
    "INSERT INTO programme (programme_key, currency, timezone, created_at) "
    "VALUES (1, :currency, :timezone, :now) ON CONFLICT DO NOTHING"
)
_SETTINGS = text(
    'SELECT version, "values" FROM programme_settings WHERE effective_from <= now() '
    "ORDER BY effective_from DESC, version DESC LIMIT 1"
)
_ALL_SETTINGS = text(
    'SELECT version, "values", effective_from FROM programme_settings ORDER BY effective_from, version'
)
_INSERT_SETTINGS = text(
    'INSERT INTO programme_settings ("values", effective_from, created_at, created_by, reason) '
    "VALUES (CAST(:values AS jsonb), :effective_from, :now, :created_by, :reason) RETURNING version"
)
_STORES = text("SELECT store_id, store_key, timezone FROM stores WHERE store_id = ANY(:store_ids)")
_ADD_STORES = text(
    "INSERT INTO stores (store_id, created_at) SELECT DISTINCT unnest(CAST(:store_ids AS text[])), "
    "CAST(:now AS timestamptz) ON CONFLICT (store_id) DO NOTHING"
)


def find_programme(conn: Connection) -> Row[Any] | None:
    """Return currency and zone, or None before the first start."""
    return conn.execute(_PROGRAMME).one_or_none()


def insert_programme(conn: Connection, *, currency: str, timezone: str, now: datetime) -> None:
    """Fix currency and zone, unless they are fixed already."""
    conn.execute(_INSERT_PROGRAMME, {"currency": currency, "timezone": timezone, "now": now})


def find_settings(conn: Connection) -> Row[Any] | None:
    """Return version and values in force."""
    return conn.execute(_SETTINGS).one_or_none()


def list_settings(conn: Connection) -> Sequence[Row[Any]]:
    """Return every version of the settings, in the order of coming into force."""
    return conn.execute(_ALL_SETTINGS).all()


def insert_settings(
    conn: Connection,
    *,
    values: Mapping[str, Any],
    effective_from: datetime,
    created_by: str,
    reason: str,
    now: datetime,
) -> int:
    """Add a version of the settings and return its number."""
    parameters = {
        "values": dumps(dict(values)),
        "effective_from": effective_from,
        "created_by": created_by,
        "reason": reason,
        "now": now,
    }
    version: int = conn.execute(_INSERT_SETTINGS, parameters).scalar_one()
    return version


def find_stores(conn: Connection, *, store_ids: list[str]) -> dict[str, tuple[int, str | None]]:
    """Return key and own zone of each known store."""
    rows = conn.execute(_STORES, {"store_ids": store_ids})
    return {row.store_id: (row.store_key, row.timezone) for row in rows}


def add_stores(conn: Connection, *, store_ids: list[str], now: datetime) -> None:
    """Add stores that are not known yet."""
    conn.execute(_ADD_STORES, {"store_ids": store_ids, "now": now})
