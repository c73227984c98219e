"""Stores: what they are called, and the zone their days are counted in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from service.kit import audit, outbox
from service.kit.errors import FieldError
from service.programme import store
from service.programme.errors import StoreZoneFixed, UnknownStore
from service.programme.rules import Programme


@dataclass(frozen=True, slots=True)
class StoreRef:
    """A store's key and the zone its days are counted in."""

    store_key: int | None
    timezone: str


@dataclass(frozen=True, slots=True)
class Store:
    """A store; `timezone` None means the programme's, `first_used_at` None that no fact names it yet."""

    store_id: str
    name: str | None
    timezone: str | None
    created_at: datetime
    first_used_at: datetime | None


def ensure_stores(
    conn: Connection,
    *,
    store_ids: Iterable[str],
    programme: Programme,
    now: datetime,
    for_facts: bool = True,
) -> dict[str, StoreRef]:
    """Return every named store, adding those seen for the first time.

    `for_facts` says that days are going to be counted by their zones, which are fixed from then on.
    """
    wanted = sorted(set(store_ids))
    if not wanted:
        return {}
    rows = store.find_stores(conn, store_ids=wanted)
    if len(rows) < len(wanted):
        store.add_stores(conn, store_ids=wanted, now=now)
        rows = store.find_stores(conn, store_ids=wanted)
    if for_facts and any(row.first_used_at is None for row in rows):
        rows = store.use_stores(conn, store_ids=wanted, now=now)
    return {row.store_id: StoreRef(row.store_key, row.timezone or programme.timezone) for row in rows}


def find_zone(conn: Connection, *, store_id: str | None, programme: Programme) -> str:
    """Return the zone that a store's days are counted in, the programme's where it has none of its own.

    A store that is not known yet has none; it is not added.
    """
    rows = [] if store_id is None else store.find_stores(conn, store_ids=[store_id])
    return next((str(row.timezone) for row in rows if row.timezone is not None), programme.timezone)


def get_store(conn: Connection, *, store_id: str) -> Store:
    """Return a store.

    Raises:
        UnknownStore: none has this id.
    """
    row = store.find_store(conn, store_id=store_id)
    if row is None:
        raise UnknownStore(f"no store has the id {store_id}")
    return _read(row)


def list_stores(
    conn: Connection, *, among: Sequence[str] | None = None, after: str, limit: int
) -> list[Store]:
    """Return up to `limit` stores by id, after one; `among` None means every store."""
    return [_read(row) for row in store.list_stores(conn, among=among, after=after, limit=limit)]


def put_store(
    conn: Connection,
    *,
    store_id: str,
    given: dict[str, str | None],
    programme: Programme,
    actor: str,
    request_id: str | None = None,
    now: datetime,
) -> tuple[Store, bool]:
    """Add a store or change what is given of `name` and `timezone`; tell whether it is new.

    Raises:
        StoreZoneFixed: the zone would change though days have been counted by it.
    """
    is_new = store.add_stores(conn, store_ids=[store_id], now=now) == 1
    before = store.find_store(conn, store_id=store_id, lock=True)
    if before is None:
        raise RuntimeError("a store that was just added is gone")
    old = {"name": before.name, "timezone": before.timezone}
    new = old | given
    zones = [values["timezone"] or programme.timezone for values in (old, new)]
    if zones[0] != zones[1] and before.first_used_at is not None:
        raise StoreZoneFixed(
            f"orders or refunds of {store_id} have been counted in the days of {zones[0]}",
            errors=[FieldError("cannot be changed any more", pointer="/timezone")],
        )
    if new != old or is_new:
        store.set_store(conn, store_id=store_id, name=new["name"], timezone=new["timezone"])
        _tell_change(conn, store_id, None if is_new else old, new, actor, request_id, now)
    return get_store(conn, store_id=store_id), is_new


def _tell_change(
    conn: Connection,
    store_id: str,
    before: dict[str, str | None] | None,
    after: dict[str, str | None],
    actor: str,
    request_id: str | None,
    now: datetime,
) -> None:
    audit.record(
        conn,
        actor=actor,
        action="store.added" if before is None else "store.changed",
        subject=("store", store_id),
        before=before,
        after=after,
        request_id=request_id,
        now=now,
    )
    payload = {"store_id": store_id, "fields": audit.changed_fields(before, after)}
    outbox.emit(conn, topic="store.changed", member_key=None, payload=payload, occurred_at=now)


def _read(row: Row[Any]) -> Store:
    return Store(**row._mapping)
