"""The books as of any past time, and what changed between two of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from service.kit.clock import local_day
from service.ledger import store_past
from service.ledger.points import Expiring, Points
from service.ledger.rules import LotThen, Standing, stand_at
from service.programme.operations import Programme


@dataclass(frozen=True, slots=True)
class Figures:
    """Points by account; `available` is net of debt."""

    available: int
    pending: int
    held: int


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a statement: what it changed, and what there was after it."""

    transaction_key: int
    kind: str
    occurred_at: datetime
    recorded_at: datetime
    order_key: int | None
    refund_key: int | None
    hold_id: str | None
    reason: str | None
    change: Figures
    balance: Figures


@dataclass(frozen=True, slots=True)
class Statement:
    """What a member had, what changed, oldest first, and what there was in the end."""

    opening: Figures
    lines: tuple[Line, ...]
    closing: Figures


def get_points_at(conn: Connection, *, member_key: int, at: datetime, programme: Programme) -> Points:
    """Return what a member effectively had at a past moment, from the entries dated up to it.

    What was due by then counts as posted. Facts that came later but happened before are in it.
    """
    rows = store_past.list_lots_at(conn, member_key=member_key, at=at)
    standing = stand_at([_lot(row) for row in rows], debt=sum(row.debt for row in rows), at=at)
    return Points(
        available=standing.available - standing.debt,
        pending=standing.pending,
        held=standing.held,
        debt=standing.debt,
        lifetime_earned=sum(row.earned for row in rows),
        expiring=_list_expiring(standing, programme),
        value_minor=max(0, standing.available - standing.debt) * programme.settings_at(at).point_value_minor,
    )


def get_statement(
    conn: Connection,
    *,
    member_key: int,
    since: datetime,
    until: datetime,
    after: tuple[datetime, int] | None = None,
    limit: int,
) -> Statement:
    """Return up to `limit` entries from `since` to before `until`, as posted, after (`occurred_at`, key).

    `opening` and `closing` are those of the whole stretch.
    """
    totals = store_past.get_totals(conn, member_key=member_key, since=since, until=until)
    rows = store_past.list_changes(
        conn, member_key=member_key, since=since, until=until, after=after, limit=limit
    )
    return Statement(
        opening=Figures(totals.available_before, totals.pending_before, totals.held_before),
        lines=tuple(_line(row) for row in rows),
        closing=Figures(totals.available, totals.pending, totals.held),
    )


def _lot(row: Row[Any]) -> LotThen:
    return LotThen(
        lot_key=row.lot_key,
        pending=row.pending,
        available=row.available,
        held=row.held,
        available_at=row.available_at,
        expires_at=row.expires_at,
        freed=row.freed,
        freed_at=row.freed_at,
    )


def _list_expiring(standing: Standing, programme: Programme) -> tuple[Expiring, ...]:
    days: dict[str, int] = {}
    for expires_at, points in standing.expiring:
        on = local_day(expires_at, timezone=programme.timezone).isoformat()
        days[on] = days.get(on, 0) + points
    return tuple(Expiring(points, on) for on, points in sorted(days.items()))


def _line(row: Row[Any]) -> Line:
    return Line(
        transaction_key=row.transaction_key,
        kind=row.kind,
        occurred_at=row.occurred_at,
        recorded_at=row.recorded_at,
        order_key=row.order_key,
        refund_key=row.refund_key,
        hold_id=None if row.hold_id is None else f"hold_{row.hold_id.hex}",
        reason=row.reason,
        change=Figures(row.available, row.pending, row.held),
        balance=Figures(row.available_after, row.pending_after, row.held_after),
    )
