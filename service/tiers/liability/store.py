"""The statements behind the liability report: what is outstanding, and what became of points before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, DateTime, Row, bindparam, func, null, select, union_all
from sqlalchemy.dialects.postgresql import distinct_on

from service.ledger.readable import first_lot, flow_rows, outstanding_rows
from service.tiers.models import tier_changes

_FIRST_LOT = select(first_lot)

_held = (
    select(tier_changes.c.member_key, tier_changes.c.to_tier.label("tier"))
    .ext(distinct_on(tier_changes.c.member_key))
    .where(
        tier_changes.c.superseded_at.is_(None),
        tier_changes.c.effective_at <= bindparam("at", type_=DateTime(timezone=True)),
    )
    .order_by(tier_changes.c.member_key, tier_changes.c.effective_at.desc(), tier_changes.c.change_key.desc())
    .subquery("held")
)

_open = outstanding_rows.c
_FIGURES = ("issued", "used", "flow_gone", "taken", "pending", "available", "held", "paid", "gone", "owed")

# Both in one statement, so that they are of one snapshot and add up.
_BOOKS = union_all(
    select(
        null().label("tier"),
        flow_rows.c.earned_in,
        flow_rows.c.moved_in,
        flow_rows.c.issued,
        flow_rows.c.used,
        flow_rows.c.gone.label("flow_gone"),
        flow_rows.c.taken,
        *(null().label(name) for name in _FIGURES[4:]),
    ),
    select(
        _held.c.tier,
        _open.earned_in,
        _open.gone_in,
        *(null() for _ in _FIGURES[:4]),
        *(func.sum(_open[name]) for name in _FIGURES[4:]),
    )
    .select_from(outstanding_rows.outerjoin(_held, _held.c.member_key == _open.member_key))
    .group_by(_held.c.tier, _open.earned_in, _open.gone_in),
)


def find_first_lot(conn: Connection) -> datetime | None:
    """Return when the oldest points were earned."""
    at: datetime | None = conn.execute(_FIRST_LOT).scalar_one()
    return at


def read_books(conn: Connection, *, at: datetime, starts: Sequence[datetime]) -> Sequence[Row[Any]]:
    """Return two kinds of rows, of one snapshot; amounts are points, months count the `starts` up to them.

    What entries did: `earned_in`, `moved_in`, issued, used, flow_gone, taken; the others null. What is
    outstanding: tier, earned_in (null: owed), moved_in (of what is gone), pending, available, held, paid,
    gone, owed.
    """
    return conn.execute(_BOOKS, {"at": at, "starts": list(starts)}).all()
