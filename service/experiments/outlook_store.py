"""Every SQL statement about what an experiment will be able to see."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from service.activity.readable import order_values
from service.experiments.readable import is_eligible
from service.members.readable import leaving_rows, member_rows

_bought = (
    select(literal(1))
    .where(
        order_values.c.member_key == member_rows.c.member_key,
        order_values.c.placed_at >= bindparam("since"),
        order_values.c.placed_at < bindparam("now"),
        order_values.c.order_goods_minor > 0,
    )
    .correlate(member_rows)
    .exists()
)
_ELIGIBLE: Select[int, int] = (
    select(func.count().label("members"), func.count().filter(_bought).label("buyers"))
    .select_from(member_rows.outerjoin(leaving_rows, leaving_rows.c.member_key == member_rows.c.member_key))
    .where(
        and_(
            leaving_rows.c.member_key.is_(None),
            is_eligible(bindparam("eligibility", type_=JSONB), member_key=member_rows.c.member_key),
        )
    )
)


def count_eligible(
    conn: Connection, *, eligibility: Mapping[str, Any], since: datetime, now: datetime
) -> Row[int, int]:
    """Return how many members meet the rules, and how many of them ordered since a moment."""
    parameters = {"eligibility": dict(eligibility), "since": since, "now": now}
    return conn.execute(_ELIGIBLE, parameters).one()
