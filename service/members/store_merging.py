"""Every SQL statement about members that were merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.db import dumps, run

_LOCK = text(
    "SELECT member_key, merged_into, erased_at FROM members WHERE member_key = ANY(:member_keys) "
    "ORDER BY member_key FOR NO KEY UPDATE"
)
# A constant of its own among the advisory locks; whoever only reads holds it beside others who do.
_STAY = text("SELECT pg_advisory_xact_lock_shared(hashtext('members.merging'))")
_MOVE = text("SELECT pg_advisory_xact_lock(hashtext('members.merging'))")
_ADD = text(
    "INSERT INTO member_merges (from_key, into_key, merged_at, reason, actor) "
    "VALUES (:from_key, :into_key, :now, :reason, :actor) RETURNING merge_key"
)
_NOTE = text("UPDATE member_merges SET details = CAST(:details AS jsonb) WHERE merge_key = :merge_key")
_END = text(
    "UPDATE member_merges SET undone_at = :now, undone_by = :actor, undone_because = :reason "
    "WHERE merge_key = :merge_key"
)
# Who went by the member before goes by the survivor too, and keeps its own time.
_LEAD = text(
    "UPDATE members SET merged_into = :into_key, "
    "merged_at = CASE member_key WHEN :from_key THEN CAST(:now AS timestamptz) ELSE merged_at END "
    "WHERE member_key = :from_key OR merged_into = :from_key"
)
_RELEASE = text("UPDATE members SET merged_into = NULL, merged_at = NULL WHERE member_key = :from_key")
_LEAD_BACK = text("UPDATE members SET merged_into = :from_key WHERE member_key = ANY(:member_keys)")
_LINE = """
WITH RECURSIVE line AS (
    SELECT e.into_key AS member_key, e.from_key AS via_key, e.from_key AS origin_key, e.merged_at
    FROM member_merges e WHERE e.into_key = ANY(:member_keys) AND e.undone_at IS NULL
    UNION ALL
    SELECT l.member_key, l.via_key, e.from_key, l.merged_at
    FROM line l JOIN member_merges e ON e.into_key = l.origin_key AND e.undone_at IS NULL
)
"""
_PARTS = text(
    f"{_LINE} SELECT l.member_key, l.via_key, l.origin_key, l.merged_at, m.joined_at "  # noqa: S608  own text
    "FROM line l JOIN members m ON m.member_key = l.origin_key "
    "ORDER BY l.member_key, l.merged_at, l.via_key, l.origin_key"
)
_REFRESH = text(
    f"{_LINE} UPDATE members SET belongs_since = (SELECT min(m.joined_at) FROM line l "  # noqa: S608  own text
    "JOIN members m ON m.member_key = l.origin_key) WHERE member_key = ANY(:member_keys)"
)
_FIND = text(
    "SELECT merge_key, from_key, into_key, merged_at, reason, details FROM member_merges "
    "WHERE from_key = :from_key AND undone_at IS NULL"
)
_SURVIVORS = text(
    "SELECT member_key, coalesce(merged_into, member_key) AS survivor_key FROM members "
    "WHERE member_key = ANY(:member_keys)"
)
_BEGINNINGS = text(
    "SELECT m.member_key, m.joined_at, m.merged_at, "
    "EXISTS (SELECT FROM member_merges e WHERE e.into_key = m.member_key AND e.undone_at IS NULL) "
    "AS has_parts "
    "FROM members m WHERE m.member_key = ANY(:member_keys)"
)


def stay(conn: Connection) -> None:
    """Wait for merges that are under way, and let none begin until the transaction ends."""
    run(conn, _STAY, {})


def move(conn: Connection) -> None:
    """Wait for whoever has called `stay`, and let none go on until the transaction ends."""
    run(conn, _MOVE, {})


def lock_members(conn: Connection, *, member_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return who of some members was merged or erased, by key, held until the transaction ends."""
    return conn.execute(_LOCK, {"member_keys": list(member_keys)}).all()


def add_merge(conn: Connection, *, values: Mapping[str, Any]) -> int:
    """Write a merge and return its key."""
    key: int = conn.execute(_ADD, values).scalar_one()
    return key


def note_details(conn: Connection, *, merge_key: int, details: Mapping[str, Any]) -> None:
    """Write what undoing a merge needs."""
    conn.execute(_NOTE, {"merge_key": merge_key, "details": dumps(dict(details))})


def end_merge(conn: Connection, *, merge_key: int, actor: str, reason: str, now: datetime) -> None:
    """Mark a merge as undone."""
    conn.execute(_END, {"merge_key": merge_key, "actor": actor, "reason": reason, "now": now})


def lead_to(conn: Connection, *, from_key: int, into_key: int, now: datetime) -> None:
    """Let a member, and whoever went by it, go by another."""
    conn.execute(_LEAD, {"from_key": from_key, "into_key": into_key, "now": now})


def release(conn: Connection, *, from_key: int, member_keys: Sequence[int]) -> None:
    """Let a member go by its own id again, and those who were merged into it go by it."""
    conn.execute(_RELEASE, {"from_key": from_key})
    conn.execute(_LEAD_BACK, {"from_key": from_key, "member_keys": list(member_keys)})


def refresh_belonging(conn: Connection, *, member_key: int) -> None:
    """Work out anew when the first of those merged into a member joined."""
    conn.execute(_REFRESH, {"member_keys": [member_key]})


def find_merge(conn: Connection, *, from_key: int) -> Row[Any] | None:
    """Return the merge by which a member goes by another now."""
    return conn.execute(_FIND, {"from_key": from_key}).one_or_none()


def list_parts(conn: Connection, *, member_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return (member_key, via_key, origin_key, merged_at, joined_at): who counts for whom, and since when."""
    return conn.execute(_PARTS, {"member_keys": list(member_keys)}).all()


def find_survivors(conn: Connection, *, member_keys: Sequence[int]) -> dict[int, int]:
    """Return whom each of some members goes by now."""
    rows = conn.execute(_SURVIVORS, {"member_keys": list(member_keys)})
    return {row.member_key: row.survivor_key for row in rows}


def list_beginnings(conn: Connection, *, member_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return (member_key, joined_at, merged_at, has_parts) of some members."""
    return conn.execute(_BEGINNINGS, {"member_keys": list(member_keys)}).all()
