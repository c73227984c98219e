"""What has become due is posted for many members at a time, whoever asks, however many do at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from service.ledger import store_due


@dataclass(frozen=True, slots=True)
class Swept:
    """One chunk of a sweep: members looked at (0: nothing is left), lots released, expired, holds freed."""

    members: int
    released: int
    expired: int
    freed: int = 0


def release_due(conn: Connection, *, now: datetime, limit: int) -> Swept:
    """Post what is due for members with up to `limit` lots that became available or holds that ended.

    Several may run at once: accounts that somebody else has locked are left to them.
    """
    swept = _sweep(conn, kind="release", now=now, limit=limit)
    return swept if swept.members else _sweep(conn, kind="unhold", now=now, limit=limit)


def expire_due(conn: Connection, *, now: datetime, limit: int) -> Swept:
    """Post what is due for members with up to `limit` lots past their expiry, and return the counts.

    Several may run at once: accounts that somebody else has locked are left to them.
    """
    return _sweep(conn, kind="expire", now=now, limit=limit)


def _sweep(conn: Connection, *, kind: str, now: datetime, limit: int) -> Swept:
    member_keys = store_due.lock_due(conn, kind=kind, now=now, limit=limit)
    if not member_keys:
        return Swept(0, 0, 0)
    rows = store_due.post_due(conn, member_keys=member_keys, now=now)
    return Swept(
        members=len(member_keys),
        released=sum(row.lots_released for row in rows),
        expired=sum(row.lots_expired for row in rows),
        freed=sum(row.holds_freed for row in rows),
    )
