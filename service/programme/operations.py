"""The verbs of the programme room."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Pool

from service.kit import audit, outbox
from service.kit.clock import format_time
from service.kit.errors import FieldError
from service.programme import store
from service.programme.errors import EffectiveInPast, ProgrammeMismatch, ProgrammeNotFixed
from service.programme.rules import (
    NAMES,
    PointsExpiry,
    Programme,
    ProgrammeSettings,
    SettingsRow,
    complete,
    default_values,
    differences,
    find_row_in_force,
    list_standing,
    plan_change,
    read_settings,
)
from service.programme.stores import (
    Store,
    StoreRef,
    ensure_stores,
    find_zone,
    get_store,
    list_stores,
    put_store,
)

__all__ = [
    "PointsExpiry",
    "Programme",
    "ProgrammeSettings",
    "SettingsRow",
    "SettingsVersion",
    "Store",
    "StoreRef",
    "change_settings",
    "ensure_stores",
    "find_zone",
    "fix_programme",
    "get_programme",
    "get_store",
    "list_settings",
    "list_stores",
    "list_versions",
    "put_store",
    "revise_settings",
]

# Settings change a few times a year; every worker sees a change within this time.
_CACHE_SECONDS = 5.0
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
_cache: dict[str, tuple[float, Programme]] = {}
_cache_lock = threading.Lock()
_names: WeakKeyDictionary[Pool, str] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class SettingsVersion:
    """One version as staff see it.

    `status`: `in_force`, `upcoming`, `past`, or `replaced` by a later version from the same moment.
    `changes` is what it changes of the version before it: name → (before, after).
    """

    row: SettingsRow
    status: str
    changes: Mapping[str, tuple[Any, Any]]


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
    if not store.list_settings(conn):
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
    key = _name_of(conn)
    cached = _cache.get(key)
    if cached is not None and not fresh and time.monotonic() < cached[0]:
        return cached[1]
    row = store.find_programme(conn)
    rows = list_standing(store.list_settings(conn))
    in_force = None if row is None else find_row_in_force(rows, at=row.read_at)
    if row is None or in_force is None:
        raise ProgrammeNotFixed
    programme = Programme(
        currency=row.currency,
        timezone=row.timezone,
        settings=read_settings(in_force.version, in_force.values),
        versions=_read_versions(rows),
    )
    with _cache_lock:
        _cache[key] = (time.monotonic() + _CACHE_SECONDS, programme)
    return programme


def _name_of(conn: Connection) -> str:
    """Return the address of a connection's database; writing it out costs more than looking it up."""
    pool = conn.engine.pool
    name = _names.get(pool)
    if name is None:
        name = _names[pool] = str(conn.engine.url)
    return name


def list_settings(conn: Connection) -> list[tuple[datetime, ProgrammeSettings]]:
    """Return every version of the settings with the time it came or comes into force, in that order.

    What happened is judged by the last one in force at its time: imported history by the settings of then.
    """
    return list(_read_versions(list_standing(store.list_settings(conn))))


def _read_versions(rows: list[SettingsRow]) -> tuple[tuple[datetime, ProgrammeSettings], ...]:
    return tuple((row.effective_from, read_settings(row.version, row.values)) for row in rows)


def list_versions(conn: Connection, *, now: datetime) -> list[SettingsVersion]:
    """Return every version of the settings as staff see it, the newest first."""
    rows = store.list_settings(conn)
    standing = list_standing(rows)
    in_force = find_row_in_force(rows, at=now)
    found = []
    for row in sorted(rows, key=lambda row: -row.version):
        status = "past"
        if row == in_force:
            status = "in_force"
        elif row not in standing:
            status = "replaced"
        elif row.effective_from > now:
            status = "upcoming"
        # What it was made on top of: what stood at its moment before it was written.
        earlier = [other for other in rows if other.version < row.version]
        base = find_row_in_force(earlier, at=row.effective_from)
        changes = differences(None if base is None else complete(base.values), complete(row.values))
        found.append(SettingsVersion(row, status, changes))
    return found


def revise_settings(
    conn: Connection,
    *,
    changes: Mapping[str, Any],
    effective_from: datetime | None,
    reason: str,
    actor: str,
    request_id: str | None = None,
    now: datetime,
) -> SettingsVersion:
    """Change some settings from a moment on (None: now) and return the version that says so.

    Versions scheduled for later are stated again on top of the change. When nothing differs, no version is
    added and the one in force then is returned. Lots of points keep the dates that they have.

    Raises:
        EffectiveInPast: `effective_from` lies before `now`.
        ValueError: a value is unknown or out of range.
    """
    at = now if effective_from is None else effective_from
    if at < now:
        raise EffectiveInPast(errors=[FieldError("before now", pointer="/effective_from")])
    store.lock_programme(conn)
    rows = store.list_settings(conn)
    if effective_from is None:
        # Of changes at the same moment, the one that got the lock later comes later, whatever its clock said.
        at = max([now, *(row.effective_from for row in rows if row.effective_from <= row.created_at)])
    planned = plan_change(rows, changes=changes, at=at)
    base = find_row_in_force(rows, at=at)
    version = base.version if base is not None else 0
    for position, one in enumerate(planned):
        restated = f"version {version} changed what this was scheduled on top of"
        added = change_settings(
            conn,
            values=one.values,
            effective_from=one.effective_from,
            fields=one.fields,
            changed_by=actor,
            reason=reason if position == 0 else restated,
            now=now,
        )
        version = added if position == 0 else version
    seen_at = at if effective_from is None else now
    found = next(one for one in list_versions(conn, now=seen_at) if one.row.version == version)
    if planned:
        _tell_change(conn, found, actor=actor, request_id=request_id, now=now)
    return found


def _tell_change(
    conn: Connection, version: SettingsVersion, *, actor: str, request_id: str | None, now: datetime
) -> None:
    row = version.row
    audit.record(
        conn,
        actor=actor,
        action="settings.changed",
        subject=("settings", str(row.version)),
        before={name: before for name, (before, _) in version.changes.items()},
        after={name: after for name, (_, after) in version.changes.items()},
        reason=row.reason,
        request_id=request_id,
        now=now,
    )
    payload = {
        "version": row.version,
        "effective_from": format_time(row.effective_from),
        "fields": list(version.changes),
    }
    outbox.emit(conn, topic="settings.changed", member_key=None, payload=payload, occurred_at=now)


def change_settings(
    conn: Connection,
    *,
    values: Mapping[str, Any],
    effective_from: datetime,
    changed_by: str,
    reason: str,
    now: datetime,
    fields: Sequence[str] = NAMES,
) -> int:
    """Add a version of the settings, in force from `effective_from`, and return its number.

    `fields` names the values that are meant; the others are only carried along from the version before.

    Raises:
        ValueError: a value is missing, unknown or out of range.
    """
    read_settings(0, values)
    version = store.insert_settings(
        conn,
        values=values,
        effective_from=effective_from,
        created_by=changed_by,
        reason=reason,
        fields=fields,
        now=now,
    )
    with _cache_lock:
        _cache.pop(str(conn.engine.url), None)
    return version
