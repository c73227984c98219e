"""The verbs of the members room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row

from service.kit.db import dumps
from service.kit.sealing import Sealer
from service.members import store
from service.members.errors import UnknownMember
from service.members.merging import (
    change_owners,
    find_merge,
    find_survivors,
    keep_owners,
    list_beginnings,
    note_details,
    record_merge,
    undo_merge,
)
from service.members.rules import Beginning, Consent, Member, Merged, Owner, Part, Profile

__all__ = [
    "Beginning",
    "Member",
    "Merged",
    "Owner",
    "Part",
    "Profile",
    "change_owners",
    "each_member_key",
    "enrol_or_update",
    "find_ids",
    "find_keys",
    "find_member",
    "find_merge",
    "find_owners",
    "find_profile",
    "find_survivors",
    "get_member",
    "get_own_member",
    "get_profile",
    "keep_owners",
    "list_beginnings",
    "list_joined",
    "list_members",
    "note_details",
    "record_merge",
    "undo_merge",
]


def find_member(conn: Connection, *, member_id: str) -> Member | None:
    """Return the member that goes by an id, or None; who was merged into another is that one."""
    row = store.find(conn, member_id=member_id)
    if row is None or row.merged_into is None:
        return None if row is None else _member(row)
    survivor = store.find_by_key(conn, member_key=row.merged_into)
    return None if survivor is None else replace(_member(survivor), origin_key=row.member_key)


def get_member(conn: Connection, *, member_id: str) -> Member:
    """Return the member that goes by an id; who was merged into another is that one.

    Raises:
        UnknownMember: nobody has this id.
    """
    member = find_member(conn, member_id=member_id)
    if member is None:
        raise UnknownMember(f"no member has the id {member_id}")
    return member


def get_own_member(conn: Connection, *, member_id: str) -> Member:
    """Return the member whose own id it is, merged or not.

    Raises:
        UnknownMember: nobody has this id.
    """
    row = store.find(conn, member_id=member_id)
    if row is None:
        raise UnknownMember(f"no member has the id {member_id}")
    return _member(row)


def enrol_or_update(
    conn: Connection,
    *,
    member_id: str,
    body: Mapping[str, Any],
    store_key: int | None,
    sealer: Sealer,
    now: datetime,
) -> tuple[Member, bool]:
    """Enrol a member, or change the fields that `body` names; return the member and whether it is new.

    `body` holds the fields of `PUT /members/{member_id}` as loaded. A field that is absent keeps its
    stored value; one given as null is emptied.
    """
    values, given = _columns(body, store_key=store_key, sealer=sealer, now=now)
    row = store.upsert(conn, member_id=member_id, values=values, given=given, now=now)
    return _member(row), row.is_new


def get_profile(conn: Connection, *, member_id: str, sealer: Sealer) -> Profile:
    """Return everything the row of the member that goes by an id holds, opened.

    Raises:
        UnknownMember: nobody has this id.
    """
    profile = find_profile(conn, member_id=member_id, sealer=sealer)
    if profile is None:
        raise UnknownMember(f"no member has the id {member_id}")
    if profile.member.merged_into is None:
        return profile
    survivor = get_member(conn, member_id=member_id)
    return get_profile(conn, member_id=survivor.member_id, sealer=sealer)


def find_profile(conn: Connection, *, member_id: str, sealer: Sealer) -> Profile | None:
    """Return everything the row of an id itself holds, opened, or None."""
    row = store.find_profile(conn, member_id=member_id)
    if row is None:
        return None
    birthday = sealer.open(row.birthday_sealed)
    consent = {"marketing": row.consent_marketing, "profiling": row.consent_profiling}
    return Profile(
        member=_member(row),
        store_id=row.store_id,
        name=sealer.open(row.name_sealed),
        email=sealer.open(row.email_sealed),
        phone=sealer.open(row.phone_sealed),
        birthday=date.fromisoformat(birthday) if birthday else None,
        consent={name: given for name, given in consent.items() if given is not None},
        attributes=row.attributes,
        referred_by=row.referred_by,
        acquisition=row.acquisition,
        created_at=row.created_at,
        updated_at=row.updated_at,
        merged_ids=tuple(row.merged_ids),
    )


def list_members(
    conn: Connection, *, after: str, limit: int, email: str | None, sealer: Sealer
) -> list[Member]:
    """Return up to `limit` members by id after one, optionally only those with this e-mail address."""
    index = sealer.blind_index(email)
    return [_member(row) for row in store.list_members(conn, after=after, limit=limit, email_index=index)]


def find_keys(conn: Connection, *, member_ids: Sequence[str]) -> dict[str, int]:
    """Return the own key of each id that is a member's."""
    return store.find_keys(conn, member_ids=member_ids)


def find_owners(conn: Connection, *, member_ids: Sequence[str]) -> dict[str, Owner]:
    """Return whom the facts sent under each known id count for."""
    rows = store.find_owners(conn, member_ids=member_ids)
    return {row.member_id: Owner(row.member_key, row.origin_key) for row in rows}


def find_ids(conn: Connection, *, member_keys: Sequence[int]) -> dict[int, str]:
    """Return the id of each key."""
    return store.find_ids(conn, member_keys=member_keys)


def list_joined(conn: Connection, *, member_keys: Sequence[int]) -> dict[int, datetime]:
    """Return when each member joined, or the first of those merged into it."""
    return store.list_joined(conn, member_keys=member_keys)


def each_member_key(conn: Connection, *, chunk: int = 5_000) -> Iterator[list[int]]:
    """Yield every member key in ascending chunks; stable under enrolments meanwhile."""
    after = 0
    while keys := store.list_keys(conn, after=after, limit=chunk):
        yield keys
        after = keys[-1]


def seal_columns(
    body: Mapping[str, Any], *, store_key: int | None, sealer: Sealer, now: datetime
) -> dict[str, object]:
    """Return the row values for a body, as a bulk import stages them."""
    return _columns(body, store_key=store_key, sealer=sealer, now=now)[0]


def _columns(
    body: Mapping[str, Any], *, store_key: int | None, sealer: Sealer, now: datetime
) -> tuple[dict[str, object], list[str]]:
    values: dict[str, object] = {}
    for name in ("joined_at", "locale", "referred_by"):
        if name in body:
            values[name] = body[name]
    if body.get("joined_at", now) is None:
        del values["joined_at"]
    if "store_id" in body:
        values["store_key"] = store_key
    for name in ("name", "email", "phone"):
        if name in body:
            values[f"{name}_sealed"] = sealer.seal(body[name])
    for name in ("email", "phone"):
        if name in body:
            values[f"{name}_index"] = sealer.blind_index(body[name])
    if "birthday" in body:
        day = body["birthday"]
        values["birthday_sealed"] = sealer.seal(day.isoformat()) if day else None
        values["birth_month"] = day.month if day else None
        values["birth_day"] = day.day if day else None
    for name in ("attributes", "acquisition"):
        if name in body:
            values[name] = None if body[name] is None else dumps(_jsonable(body[name]))
    if body.get("attributes", {}) is None:
        values["attributes"] = "{}"
    values |= _consent_columns(body, now=now)
    return values, list(values)


def _consent_columns(body: Mapping[str, Any], *, now: datetime) -> dict[str, object]:
    given = body.get("consent") or {}
    return {
        f"consent_{purpose}": dumps(Consent(given[purpose], given.get("text_version"), now).to_json())
        for purpose in ("marketing", "profiling")
        if purpose in given
    }


def _jsonable(value: Any) -> Any:
    return {key: str(inner) if key == "cost" and inner is not None else inner for key, inner in value.items()}


def _member(row: Row[Any]) -> Member:
    profiling = row.consent_profiling
    return Member(
        member_key=row.member_key,
        member_id=row.member_id,
        joined_at=row.joined_at,
        locale=row.locale,
        # Never asked is not a refusal: consent is recorded where the shop asks for it.
        profiling_allowed=profiling is None or bool(profiling["granted"]),
        merged_into=row.merged_into,
    )
