"""Who was merged into whom: the edges between members, and whose facts count for whom since when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from service.members import store_merging as store
from service.members.errors import MemberErased, SurvivorMerged
from service.members.rules import Beginning, Merged, Part


def keep_owners(conn: Connection) -> None:
    """Let nobody be merged or parted until the transaction ends; to be called before any account is locked.

    For whoever writes facts of many members without holding their accounts. Several hold it at once.
    """
    store.stay(conn)


def change_owners(conn: Connection) -> None:
    """Wait for whoever keeps owners as they are; to be called before any account is locked."""
    store.move(conn)


def record_merge(
    conn: Connection,
    *,
    from_key: int,
    into_key: int,
    now: datetime,
    reason: str,
    actor: str,
) -> int:
    """Let a member, and everybody merged into it before, go by another from now on; return the merge's key.

    The caller has seen under the accounts' locks that `from_key` is not merged.

    Raises:
        SurvivorMerged: `into_key` was merged into somebody else. MemberErased: one of the two was erased.
    """
    rows = {row.member_key: row for row in store.lock_members(conn, member_keys=[from_key, into_key])}
    if any(row.erased_at is not None for row in rows.values()):
        raise MemberErased
    if rows[into_key].merged_into is not None:
        raise SurvivorMerged
    key = store.add_merge(
        conn,
        values={
            "from_key": from_key,
            "into_key": into_key,
            "now": now,
            "reason": reason,
            "actor": actor,
        },
    )
    store.lead_to(conn, from_key=from_key, into_key=into_key, now=now)
    store.refresh_belonging(conn, member_key=into_key)
    return key


def note_details(conn: Connection, *, merge_key: int, details: Mapping[str, Any]) -> None:
    """Keep with a merge what undoing it will need to know."""
    store.note_details(conn, merge_key=merge_key, details=details)


def undo_merge(conn: Connection, *, merge: Merged, actor: str, reason: str, now: datetime) -> None:
    """Let a merged member, and everybody merged into it before, go by its own id again."""
    store.lock_members(conn, member_keys=[merge.from_key, merge.into_key])
    store.end_merge(conn, merge_key=merge.merge_key, actor=actor, reason=reason, now=now)
    origins = [row.origin_key for row in store.list_parts(conn, member_keys=[merge.from_key])]
    store.release(conn, from_key=merge.from_key, member_keys=origins)
    store.refresh_belonging(conn, member_key=merge.into_key)


def find_merge(conn: Connection, *, from_key: int) -> Merged | None:
    """Return the merge by which a member goes by another now."""
    row = store.find_merge(conn, from_key=from_key)
    return None if row is None else Merged(**row._mapping)


def find_survivors(conn: Connection, *, member_keys: Sequence[int]) -> dict[int, int]:
    """Return whom each of some members goes by now: itself where it was not merged."""
    return store.find_survivors(conn, member_keys=member_keys)


def list_beginnings(conn: Connection, *, member_keys: Sequence[int]) -> dict[int, Beginning]:
    """Return what some memberships begin with, in a second statement only where anybody was merged."""
    rows = store.list_beginnings(conn, member_keys=member_keys)
    grown = [row.member_key for row in rows if row.has_parts]
    parts: dict[int, list[Part]] = {}
    for part in store.list_parts(conn, member_keys=grown) if grown else ():
        parts.setdefault(part.member_key, []).append(
            Part(part.origin_key, part.via_key, part.merged_at, part.joined_at)
        )
    return {
        row.member_key: Beginning(
            row.member_key, row.joined_at, row.merged_at, tuple(parts.get(row.member_key, ()))
        )
        for row in rows
    }
