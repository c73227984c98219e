"""Routes of the programme: settings and stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from service.kit.audit import actor_of
from service.kit.auth import Role
from service.kit.clock import format_time
from service.kit.errors import FieldError, Invalid, StoreOutOfScope
from service.kit.http import STAFF, Blueprint, Door
from service.kit.money import to_minor, to_text
from service.kit.pagination import decode_cursor, encode_cursor, page
from service.programme import operations
from service.programme.errors import EffectiveInPast, StoreZoneFixed, UnknownStore
from service.programme.operations import Programme, SettingsVersion, Store
from service.programme.rules import DEFAULT_NOTICE_DAYS, MAX_MINOR, complete
from service.programme.schemas import (
    ProgrammePageQuery,
    SettingsBody,
    SettingsSchema,
    SettingsVersionSchema,
    SettingsVersionsSchema,
    StoreBody,
    StoreSchema,
    StoresSchema,
)

blueprint = Blueprint(
    "programme", __name__, url_prefix="/v1", description="Settings that staff may change, and the stores."
)

_DECIDERS: tuple[Role, ...] = ("marketing", "admin")
_KEEPERS: tuple[Role, ...] = ("server", "operations", "admin")


@blueprint.door("GET", "/settings", roles=STAFF, answers={200: SettingsSchema()})
def get_settings(door: Door) -> object:
    """Return the settings in force, who set them and why, and those scheduled for later.

    Currency and time zone were fixed by the first start; no route changes them.
    """
    programme = operations.get_programme(door.conn)
    versions = operations.list_versions(door.conn, now=door.now)
    in_force = next(version for version in versions if version.status == "in_force")
    upcoming = sorted(
        (version for version in versions if version.status == "upcoming"),
        key=lambda version: version.row.effective_from,
    )
    return {
        **_version_to_json(in_force, programme),
        "currency": programme.currency,
        "timezone": programme.timezone,
        "upcoming": [_version_to_json(version, programme) for version in upcoming],
    }


@blueprint.door(
    "PUT",
    "/settings",
    roles=_DECIDERS,
    body=SettingsBody(),
    answers={200: SettingsVersionSchema()},
    refusals=(EffectiveInPast,),
)
def change_settings(door: Door, body: dict[str, Any]) -> object:
    """Change some settings, now or from a later moment on, with a reason.

    A new version is added; none is ever rewritten. Versions scheduled for later are stated again on top of
    it. Orders are judged by the settings of when they were placed. Points keep the dates they were given:
    turning expiry on never touches points that were earned without. Every process follows within seconds.
    """
    programme = operations.get_programme(door.conn)
    version = operations.revise_settings(
        door.conn,
        changes=_read_values(body["values"], currency=programme.currency),
        effective_from=body.get("effective_from"),
        reason=body["reason"],
        actor=actor_of(door.caller),
        request_id=door.request_id,
        now=door.now,
    )
    return _version_to_json(version, programme)


@blueprint.door(
    "GET",
    "/settings/versions",
    roles=STAFF,
    query=ProgrammePageQuery(),
    answers={200: SettingsVersionsSchema()},
)
def list_settings_versions(door: Door, query: dict[str, Any]) -> object:
    """List every version of the settings, the newest first, with what each changed."""
    programme = operations.get_programme(door.conn)
    key = decode_cursor(query.get("cursor"), types=(int,))
    found = [
        version
        for version in operations.list_versions(door.conn, now=door.now)
        if key is None or version.row.version < key[0]
    ][: query["limit"] + 1]
    rows = [_version_to_json(version, programme) for version in found]
    return page(rows, limit=query["limit"], cursors=[encode_cursor(one.row.version) for one in found])


@blueprint.door(
    "GET",
    "/stores",
    roles=STAFF,
    query=ProgrammePageQuery(),
    answers={200: StoresSchema()},
    store_scope=True,
)
def list_stores(door: Door, query: dict[str, Any]) -> object:
    """List the stores by id; a key held to stores sees those."""
    programme = operations.get_programme(door.conn)
    key = decode_cursor(query.get("cursor"), types=(str,))
    found = operations.list_stores(
        door.conn, among=door.caller.store_ids, after=key[0] if key else "", limit=query["limit"] + 1
    )
    rows = [_store_to_json(store, programme) for store in found]
    return page(rows, limit=query["limit"], cursors=[encode_cursor(store.store_id) for store in found])


@blueprint.door(
    "GET",
    "/stores/<id:store_id>",
    roles=STAFF,
    answers={200: StoreSchema()},
    refusals=(UnknownStore,),
    store_scope=True,
)
def get_store(door: Door, store_id: str) -> object:
    """Return a store; one that a key is not held to is not there."""
    if not door.caller.sees_store(store_id):
        raise UnknownStore(f"no store has the id {store_id}")
    programme = operations.get_programme(door.conn)
    return _store_to_json(operations.get_store(door.conn, store_id=store_id), programme)


@blueprint.door(
    "PUT",
    "/stores/<id:store_id>",
    roles=_KEEPERS,
    body=StoreBody(),
    answers={200: StoreSchema(), 201: StoreSchema()},
    refusals=(StoreZoneFixed,),
    store_scope=True,
)
def put_store(door: Door, store_id: str, body: dict[str, Any]) -> object:
    """Add a store, or change its name or zone.

    A store that an order or a member names before it was added exists without a name, in the programme's
    zone. Its zone can be changed until the first order or refund was counted in one of its days.
    """
    if not door.caller.sees_store(store_id):
        raise StoreOutOfScope("not one of this key's stores")
    programme = operations.get_programme(door.conn)
    store, is_new = operations.put_store(
        door.conn,
        store_id=store_id,
        given=body,
        programme=programme,
        actor=actor_of(door.caller),
        request_id=door.request_id,
        now=door.now,
    )
    return _store_to_json(store, programme), 201 if is_new else 200


def _read_values(given: Mapping[str, Any], *, currency: str) -> dict[str, Any]:
    """Return the values to keep from the fields of the body."""
    values: dict[str, Any] = {
        name: given[name] for name in ("return_period_days", "shortfall_policy") if name in given
    }
    if "points_expiry" in given:
        expiry = given["points_expiry"]
        # Kept without what says nothing, so that the same expiry is always kept alike.
        silent = {"notice_days": DEFAULT_NOTICE_DAYS}
        values["points_expiry"] = {
            name: value for name, value in expiry.items() if value is not None and silent.get(name) != value
        }
    if "earning" in given:
        values["earn_points"] = given["earning"]["points"]
        values["earn_per_minor"] = _minor(given["earning"]["per"], currency, "/values/earning/per")
    if "point_value" in given:
        values["point_value_minor"] = _minor(given["point_value"], currency, "/values/point_value")
    if "spend_counts" in given:
        values["tax_counts"] = given["spend_counts"]["tax"]
    return values


def _minor(amount: Decimal, currency: str, pointer: str) -> int:
    try:
        minor = to_minor(amount, currency=currency)
    except ValueError as error:
        raise Invalid(
            "an amount is not acceptable", errors=[FieldError(str(error), pointer=pointer)]
        ) from error
    if minor > MAX_MINOR:
        largest = to_text(MAX_MINOR, currency=currency)
        raise Invalid("an amount is too large", errors=[FieldError(f"at most {largest}", pointer=pointer)])
    return minor


def _values_to_json(values: Mapping[str, Any], programme: Programme) -> dict[str, Any]:
    currency = programme.currency
    return {
        "return_period_days": values["return_period_days"],
        "points_expiry": _expiry_to_json(values["points_expiry"]),
        "earning": {
            "points": values["earn_points"],
            "per": to_text(values["earn_per_minor"], currency=currency),
        },
        "point_value": to_text(values["point_value_minor"], currency=currency),
        "shortfall_policy": values["shortfall_policy"],
        "spend_counts": {"tax": values["tax_counts"]},
    }


def _expiry_to_json(expiry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model": expiry["model"],
        "months": expiry.get("months"),
        "period": expiry.get("period"),
        "periods": expiry.get("periods"),
        "notice_days": expiry.get("notice_days", DEFAULT_NOTICE_DAYS),
    }


def _version_to_json(version: SettingsVersion, programme: Programme) -> dict[str, Any]:
    row = version.row
    return {
        "version": row.version,
        "status": version.status,
        "effective_from": format_time(row.effective_from),
        "created_at": format_time(row.created_at),
        "created_by": row.created_by,
        "reason": row.reason,
        "values": _values_to_json(complete(row.values), programme),
        "changes": [
            _change_to_json(name, before, after, programme)
            for name, (before, after) in version.changes.items()
        ],
    }


def _change_to_json(name: str, before: object, after: object, programme: Programme) -> dict[str, Any]:
    """Name a kept value as the body does, and show it likewise."""

    def money(value: Any) -> str:
        return to_text(value, currency=programme.currency)

    shown: dict[str, tuple[str, Callable[[Any], object]]] = {
        "points_expiry": ("points_expiry", _expiry_to_json),
        "earn_points": ("earning.points", int),
        "earn_per_minor": ("earning.per", money),
        "point_value_minor": ("point_value", money),
        "tax_counts": ("spend_counts.tax", bool),
    }
    field, show = shown.get(name, (name, lambda value: value))
    return {
        "field": field,
        "before": None if before is None else show(before),
        "after": None if after is None else show(after),
    }


def _store_to_json(store: Store, programme: Programme) -> dict[str, Any]:
    return {
        "store_id": store.store_id,
        "name": store.name,
        "timezone": store.timezone,
        "counts_days_in": store.timezone or programme.timezone,
        "zone_fixed": store.first_used_at is not None,
        "created_at": format_time(store.created_at),
    }
