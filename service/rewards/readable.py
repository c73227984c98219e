"""What later rooms may join: the least that any reward costs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import DateTime, bindparam, func, or_, select

from service.rewards.models import rewards

_now = bindparam("now", type_=DateTime(timezone=True))
least_points: Any = (
    select(func.min(rewards.c.points))
    .where(
        or_(rewards.c.starts_at.is_(None), rewards.c.starts_at <= _now),
        or_(rewards.c.ends_at.is_(None), rewards.c.ends_at > _now),
    )
    .scalar_subquery()
)
"""The points of the cheapest reward offered at `:now`, null without any: who has fewer need not be asked."""
