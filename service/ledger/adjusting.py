"""Points given and taken by hand, with who did it and why."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from service.kit import audit, outbox
from service.ledger import store
from service.ledger.accounts import lock_account
from service.ledger.errors import InsufficientPoints
from service.ledger.rules import allocate, reversals
from service.ledger.store import Entry


def adjust_points(
    conn: Connection,
    *,
    member_key: int,
    points: int,
    reason: str,
    actor: str,
    expires_at: datetime | None,
    now: datetime,
    request_id: str | None = None,
    rolls: bool = False,
) -> int:
    """Give (+) or take (−) points by hand, available at once, and return the transaction's key.

    `expires_at` is for points that are given; with `rolls` activity moves it on. Points
    that are taken come from what expires soonest.

    Raises:
        ValueError: 0 points.
        InsufficientPoints: more is taken than is available.
    """
    if points == 0:
        raise ValueError("an adjustment by 0 points adjusts nothing")
    balance = lock_account(conn, member_key=member_key, now=now)
    member_key = balance.member_key
    entry = Entry(
        member_key=member_key, kind="adjust", occurred_at=now, recorded_at=now, reason=reason, actor=actor
    )
    if points > 0:
        given = store.earn(
            conn, entry=entry, points=points, available_at=now, expires_at=expires_at, rolls=rolls
        )
        if given is None:
            raise RuntimeError("an adjustment never repeats another")
        key = given
    else:
        if balance.available < -points:
            raise InsufficientPoints(f"{balance.available} points are available, {-points} were asked for")
        lots = store.list_available_lots(conn, member_key=member_key, points=-points)
        draws, _ = allocate(-points, lots)
        key = store.post(conn, entry=entry, moves=reversals(draws))
    _tell_adjustment(conn, entry, points=points, key=key, request_id=request_id)
    return key


def _tell_adjustment(
    conn: Connection, entry: Entry, *, points: int, key: int, request_id: str | None
) -> None:
    told = {"points": points, "transaction_id": f"txn_{key}"}
    audit.record(
        conn,
        actor=entry.actor or "",
        action="points.adjusted",
        subject=("member", None),
        member_key=entry.member_key,
        after=told,
        reason=entry.reason,
        request_id=request_id,
        now=entry.recorded_at,
    )
    outbox.emit(
        conn,
        topic="points.adjusted",
        member_key=entry.member_key,
        payload=told,
        occurred_at=entry.occurred_at,
    )
