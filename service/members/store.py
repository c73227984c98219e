"""Every SQL statement of the members room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.db import run
from service.members.rules import MEMBER_COLUMNS

_ROW = "member_key, member_id, joined_at, locale, consent_profiling, merged_into"
_FIND = text(f"SELECT {_ROW} FROM members WHERE member_id = :member_id")  # noqa: S608  own names only
_FIND_BY_KEY = text(f"SELECT {_ROW} FROM members WHERE member_key = :member_key")  # noqa: S608  likewise
_FIND_PROFILE = text(
    "SELECT m.*, s.store_id, ARRAY(SELECT x.member_id FROM members x WHERE x.merged_into = m.member_key "
    "ORDER BY x.merged_at, x.member_id) AS merged_ids "
    "FROM members m LEFT JOIN stores s USING (store_key) WHERE m.member_id = :member_id"
)
_LIST = text(
    f"SELECT {_ROW} FROM members "  # noqa: S608  likewise
    "WHERE member_id > CAST(:after AS text) ORDER BY member_id LIMIT :limit"
)
_LIST_BY_EMAIL = text(
    f"SELECT {_ROW} FROM members "  # noqa: S608  likewise
    "WHERE email_index = :email_index AND member_id > CAST(:after AS text) ORDER BY member_id LIMIT :limit"
)
_KEYS = text("SELECT member_id, member_key FROM members WHERE member_id = ANY(:member_ids)")
_IDS = text("SELECT member_key, member_id FROM members WHERE member_key = ANY(:member_keys)")
_OWNERS = text(
    "SELECT member_id, coalesce(merged_into, member_key) AS member_key, "
    "CASE WHEN merged_into IS NOT NULL THEN member_key END AS origin_key "
    "FROM members WHERE member_id = ANY(:member_ids)"
)
_JOINED = text(
    "SELECT member_key, least(joined_at, belongs_since) AS joined_at FROM members "
    "WHERE member_key = ANY(:member_keys)"
)
_PAGE_OF_KEYS = text(
    "SELECT member_key FROM members WHERE member_key > :after ORDER BY member_key LIMIT :limit"
)

_JSON = {"consent_marketing", "consent_profiling", "attributes", "acquisition"}


def _placeholder(column: str) -> str:
    return f"CAST(:{column} AS jsonb)" if column in _JSON else f":{column}"


# Absent fields keep what is stored: `given` names the columns that the caller sent.
_UPSERT = text(
    "INSERT INTO members (member_id, " + ", ".join(MEMBER_COLUMNS) + ", created_at, updated_at) "
    "VALUES (:member_id, COALESCE(CAST(:joined_at AS timestamptz), :now), "
    + ", ".join(
        "COALESCE(CAST(:attributes AS jsonb), '{}')" if column == "attributes" else _placeholder(column)
        for column in MEMBER_COLUMNS
        if column != "joined_at"
    )
    + ", :now, :now) ON CONFLICT (member_id) DO UPDATE SET "
    + ", ".join(
        f"{column} = CASE WHEN '{column}' = ANY(:given) THEN EXCLUDED.{column} ELSE members.{column} END"
        for column in MEMBER_COLUMNS
    )
    + f", updated_at = :now RETURNING {_ROW}, (xmax = 0) AS is_new"
)


def find(conn: Connection, *, member_id: str) -> Row[Any] | None:
    """Return what other rooms need of a member."""
    return run(conn, _FIND, {"member_id": member_id}).one_or_none()


def find_by_key(conn: Connection, *, member_key: int) -> Row[Any] | None:
    """Return the same, by key."""
    return run(conn, _FIND_BY_KEY, {"member_key": member_key}).one_or_none()


def find_profile(conn: Connection, *, member_id: str) -> Row[Any] | None:
    """Return a member's whole row, sealed, with the store's id."""
    return conn.execute(_FIND_PROFILE, {"member_id": member_id}).one_or_none()


def upsert(
    conn: Connection, *, member_id: str, values: Mapping[str, object], given: Sequence[str], now: datetime
) -> Row[Any]:
    """Insert a member or update the given columns; `is_new` tells which."""
    parameters = dict.fromkeys(MEMBER_COLUMNS) | dict(values)
    return conn.execute(
        _UPSERT, parameters | {"member_id": member_id, "given": list(given), "now": now}
    ).one()


def list_members(
    conn: Connection, *, after: str, limit: int, email_index: bytes | None
) -> Sequence[Row[Any]]:
    """Return members by id, after one."""
    if email_index is not None:
        parameters = {"after": after, "limit": limit, "email_index": email_index}
        return conn.execute(_LIST_BY_EMAIL, parameters).all()
    return conn.execute(_LIST, {"after": after, "limit": limit}).all()


def find_keys(conn: Connection, *, member_ids: Sequence[str]) -> dict[str, int]:
    """Return the key of each known id."""
    rows = conn.execute(_KEYS, {"member_ids": list(member_ids)})
    return {row.member_id: row.member_key for row in rows}


def find_ids(conn: Connection, *, member_keys: Sequence[int]) -> dict[int, str]:
    """Return the id of each key."""
    rows = conn.execute(_IDS, {"member_keys": list(member_keys)})
    return {row.member_key: row.member_id for row in rows}


def find_owners(conn: Connection, *, member_ids: Sequence[str]) -> Sequence[Row[Any]]:
    """Return (member_id, member_key, origin_key): whom the facts sent under each known id count for."""
    return conn.execute(_OWNERS, {"member_ids": list(member_ids)}).all()


def list_joined(conn: Connection, *, member_keys: Sequence[int]) -> dict[int, datetime]:
    """Return when each member joined, or the first of those merged into it."""
    rows = conn.execute(_JOINED, {"member_keys": list(member_keys)})
    return {row.member_key: row.joined_at for row in rows}


def list_keys(conn: Connection, *, after: int, limit: int) -> list[int]:
    """Return a page of member keys in ascending order."""
    return list(conn.scalars(_PAGE_OF_KEYS, {"after": after, "limit": limit}))
