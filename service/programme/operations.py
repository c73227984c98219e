"""The verbs of the programme room."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from service.programme import store
from service.programme.errors import ProgrammeMismatch, ProgrammeNotFixed
from service.programme.rules import (
    PointsExpiry,
    Programme,
    ProgrammeSettings,
    default_values,
    read_settings,
)

__all__ = [
    "PointsExpiry",
    "Programme",
    "ProgrammeSettings",
    "StoreRef",
    "change_settings",
    "ensure_stores",
    "fix_programme",
    "get_programme",
    "list_settings",
]

# Settings change a few times a year; every worker sees a change within this time.
_CACHE_SECONDS = 5.0
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
_cache: dict[str, tuple[float, Programme]] = {}
_cache_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class StoreRef:
    """A store's key and the zone its days are counted in."""

    store_key: int | None
    timezone: str


def fix_programme(conn: Connection, *, currency: str, timezone: str, now: datetime) -> Programme:
    """Fix currency and zone on the first start; later starts must agree.

    Raises:
        ProgrammeMismatch: the database was started with another currency or zone.
    """
    store.insert_programme(conn, currency=currency, timezone=timezone, now=now)
    row = store.find_programme(conn)
    if row is None or (row.currency, row.timezone) != (currency, timezone):
        found = "nothing" if row is None else f"{row.currency}, {row.timezone}"
        raise ProgrammeMismatch(
            f"this database was started with {found}; the environment says {currency}, {timezone} "
            "(another currency or zone needs another database: set TIDEMARK_VAR or DATABASE_URL)"
        )
    if store.find_settings(conn) is None:
        change_settings(
            conn,
            values=default_values(currency),
            effective_from=_ALWAYS,
            changed_by="tidemark",
            reason="defaults of the first start",
            now=now,
        )
    return get_programme(conn, fresh=True)


def get_programme(conn: Connection, *, fresh: bool = False) -> Programme:
    """Return the programme with the settings in force, remembered for a few seconds per process.

    Raises:
        ProgrammeNotFixed: the database has not been started yet.
    """
    key = str(conn.engine.url)
    cached = _cache.get(key)
    if cached is not None and not fresh and time.monotonic() < cached[0]:
        return cached[1]
    row = store.find_programme(conn)
    settings = store.find_settings(conn)
    if row is None or settings is None:
        raise ProgrammeNotFixed
    programme = Programme(
        currency=row.currency,
        timezone=row.timezone,
        settings=read_settings(settings.version, settings.values),
    )
    with _cache_lock:
        _cache[key] = (time.monotonic() + _CACHE_SECONDS, programme)
    return programme


def list_settings(conn: Connection) -> list[tuple[datetime, ProgrammeSettings]]:
    """Return every version of the settings with the time it came or comes into force, in that order.

    What happened is judged by the last one in force at its time: imported history by the settings of then.
    """
    return [(row.effective_from, read_settings(row.version, row.values)) for row in store.list_settings(conn)]


def change_settings(
    conn: Connection,
    *,
    values: Mapping[str, Any],
    effective_from: datetime,
    changed_by: str,
    reason: str,
    now: datetime,
) -> int:
    """Add a version of the settings, in force from `effective_from`, and return its number.

    Raises:
        ValueError: a value is missing, unknown or out of range.
    """
    read_settings(0, values)
    version = store.insert_settings(
        conn, values=values, effective_from=effective_from, created_by=changed_by, reason=reason, now=now
    )
    with _cache_lock:
        _cache.pop(str(conn.engine.url), None)
    return version


def ensure_stores(
    conn: Connection, *, store_ids: Iterable[str], programme: Programme, now: datetime
) -> dict[str, StoreRef]:
    """Return every named store, adding those seen for the first time."""
    wanted = sorted(set(store_ids))
    if not wanted:
        return {}
    known = store.find_stores(conn, store_ids=wanted)
    if len(known) < len(wanted):
        store.add_stores(conn, store_ids=wanted, now=now)
        known = store.find_stores(conn, store_ids=wanted)
    return {
        store_id: StoreRef(store_key, timezone or programme.timezone)
        for store_id, (store_key, timezone) in known.items()
    }
