"""The statement of the card: what several rooms know of one member, read at once."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Date, Integer, Row, bindparam, func, literal, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from service.activity.readable import day_rows
from service.experiments.readable import subject
from service.kit.db import run
from service.ledger.readable import effective_points
from service.members.readable import known_rows
from service.rewards.readable import least_points
from service.tiers.readable import state_rows, timeline_stamp

_DAY_ONE: Any = literal_column("DATE '0001-01-01'", Date)
_today = bindparam("today", type_=Date)
_days_after = func.least(_today, func.coalesce(state_rows.c.next_review_on, _today)) - bindparam(
    "lookback_days", type_=Integer
)
_day = func.json_build_array(
    # As Python counts days.
    day_rows.c.day - _DAY_ONE + literal(1, Integer),
    day_rows.c.goods_minor,
    day_rows.c.spend_minor,
    day_rows.c.orders,
    day_rows.c.unlinked_minor,
)
_days = (
    select(func.json_agg(aggregate_order_by(_day, day_rows.c.day), type_=JSONB))
    .where(day_rows.c.member_key == known_rows.c.member_key, day_rows.c.day > _days_after)
    .correlate(known_rows, state_rows)
    .scalar_subquery()
)
_CARD = subject.add_columns(
    *(column for column in state_rows.c if column.name not in subject.selected_columns),
    timeline_stamp.label("stamp"),
    _days.label("days"),
    effective_points(known_rows.c.member_key).label("points"),
    least_points.label("least_points"),
).join(state_rows, state_rows.c.member_key == known_rows.c.member_key, isouter=True)


def find_card(
    conn: Connection, *, member_id: str, today: date, lookback_days: int, now: datetime
) -> Row[Any]:
    """Return the one row of a card: the subject's columns, the tier's state with its days, the points.

    `least_points` is what the cheapest reward costs, None without any.
    """
    values = {"member_id": member_id, "today": today, "lookback_days": lookback_days, "now": now}
    return run(conn, _CARD, values).one()
