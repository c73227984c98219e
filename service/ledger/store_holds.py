"""Every statement of holds: points set aside for a checkout, and the lots they came from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from service.kit.db import run
from service.ledger.rules import Draw, Lot

_ADD = text("""
WITH hold AS (
    INSERT INTO point_holds (hold_id, member_key, points, order_id, created_at, expires_at)
    VALUES (:hold_id, :member_key, :points, :order_id, :now, :expires_at)
    RETURNING hold_id
)
INSERT INTO point_hold_lots (hold_id, lot_key, points)
SELECT hold_id, lot.* FROM hold, unnest(CAST(:lot_keys AS bigint[]), CAST(:amounts AS bigint[])) AS lot
""")

_FIND = text(
    "SELECT hold_id, member_key, points, order_id, order_key, captured, created_at, ended_at, expires_at, "
    # A hold that is past its time has ended, whether or not that has been posted.
    "CASE WHEN state = 'open' AND expires_at <= :now THEN 'expired' ELSE state END AS state "
    "FROM point_holds WHERE hold_id = :hold_id"
)

_LOTS = text(
    "SELECT p.lot_key, l.order_key, p.points AS remaining, false AS pending, l.earned_at, l.expires_at "
    "FROM point_hold_lots p JOIN lots l USING (lot_key) WHERE p.hold_id = :hold_id"
)

_END = text(
    "UPDATE point_holds SET state = :state, captured = :captured, ended_at = :now, "
    "order_id = coalesce(:order_id, order_id), order_key = coalesce(CAST(:order_key AS bigint), order_key) "
    "WHERE hold_id = :hold_id"
)

_LINK = text("UPDATE point_holds SET order_key = :order_key WHERE hold_id = :hold_id")


def add_hold(
    conn: Connection,
    *,
    hold_id: UUID,
    member_key: int,
    points: int,
    order_id: str | None,
    draws: Sequence[Draw],
    expires_at: datetime,
    now: datetime,
) -> None:
    """Write a hold with what it set aside of each lot."""
    values = {
        "hold_id": hold_id,
        "member_key": member_key,
        "points": points,
        "order_id": order_id,
        "expires_at": expires_at,
        "now": now,
        "lot_keys": [draw.lot_key for draw in draws],
        "amounts": [draw.points for draw in draws],
    }
    run(conn, _ADD, values)


def find_hold(conn: Connection, *, hold_id: UUID, now: datetime) -> Row[Any] | None:
    """Return a hold as it effectively stands."""
    return run(conn, _FIND, {"hold_id": hold_id, "now": now}).one_or_none()


def list_hold_lots(conn: Connection, *, hold_id: UUID) -> list[Lot]:
    """Return what a hold set aside, each with the dates of its lot."""
    rows = run(conn, _LOTS, {"hold_id": hold_id})
    return [
        Lot(row.lot_key, row.order_key, row.remaining, row.pending, row.earned_at, row.expires_at)
        for row in rows
    ]


def end_hold(
    conn: Connection,
    *,
    hold_id: UUID,
    state: str,
    captured: int,
    order_id: str | None,
    order_key: int | None,
    now: datetime,
) -> None:
    """Write how a hold ended."""
    values = {
        "hold_id": hold_id,
        "state": state,
        "captured": captured,
        "order_id": order_id,
        "order_key": order_key,
        "now": now,
    }
    run(conn, _END, values)


def link_hold(conn: Connection, *, hold_id: UUID, order_key: int) -> None:
    """Write which recorded order a captured hold paid for."""
    run(conn, _LINK, {"hold_id": hold_id, "order_key": order_key})
