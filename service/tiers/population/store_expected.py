"""The day on which a rating is due next, read over everybody: `Judge._next_review` in SQL.

What a fall asks of the calendar the rules themselves work out, for every day on which a risk can begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Date,
    Integer,
    Subquery,
    case,
    cast,
    func,
    literal,
    null,
    type_coerce,
)

from service.tiers.judge import next_step
from service.tiers.periods import CalendarYear, RollingWindow
from service.tiers.population.store_metrics import local_day_sql, period_start
from service.tiers.rules import RuleSet

_MARGIN = 40
"""Days between the end of the grace and the day of a fall at most, and what zones may differ by."""


def expected_review(
    rules: RuleSet, states: Subquery, sums: Subquery, *, day: date, timezone: str
) -> ColumnElement[date]:
    """Return the day that `next_review_on` should name for a state that was not due by `day`.

    `states` are left-joined to `sums` of the rules' window on `day`.
    """
    today = literal(day, Date)
    parts: list[ColumnElement[date]] = [_window_moves(rules, states, sums, day=day, timezone=timezone)]
    if rules.recency_days:
        parts.append(_next_point(sums.c.last_day, rules.recency_days, today))
    if rules.asks_for_tenure and rules.tenure_days:
        joined = local_day_sql(states.c.joined_at, timezone)
        parts.append(_next_point(joined, rules.tenure_days, today))
    parts.append(
        case(
            (states.c.unqualified_since.is_not(None), _next_step(rules, states, day=day, timezone=timezone)),
            else_=states.c.stands_until,
        )
    )
    pinned = func.greatest(today + literal(1, Integer), local_day_sql(states.c.pinned_until, timezone))
    parts.append(case((states.c.pinned_until.is_not(None), pinned)))
    return func.least(*parts)


def _window_moves(
    rules: RuleSet, states: Subquery, sums: Subquery, *, day: date, timezone: str
) -> ColumnElement[date]:
    """When something leaves the window: its first day that counts, or all of it at the end of the period."""
    window = rules.window
    if isinstance(window, RollingWindow):
        return type_coerce(sums.c.counting_day + literal(window.days, Integer), Date)
    if isinstance(window, CalendarYear):
        ends: ColumnElement[date] = literal(date(day.year + 1, 1, 1), Date)
    else:
        anchor = states.c.joined_at if window.anchor == "joining" else states.c.anchored_at
        ends = period_start(local_day_sql(anchor, timezone), day, later_years=1)
    return case((sums.c.counting_day.is_not(None), ends))


def _next_point(
    since: ColumnElement[date], points: Sequence[int], today: ColumnElement[date]
) -> ColumnElement[date]:
    """Return the first day after today that lies one of `points` days after another; null: none does."""
    age = type_coerce(today - since, Integer)
    days = {point: type_coerce(since + literal(point, Integer), Date) for point in points}
    return case(*((age < point, days[point]) for point in sorted(points)), else_=cast(null(), Date))


def _next_step(rules: RuleSet, states: Subquery, *, day: date, timezone: str) -> ColumnElement[date]:
    """Return the next day in the course of a fall; null for a risk that would have become one."""
    today, downgrade = day.toordinal(), rules.downgrade
    since = local_day_sql(states.c.anchored_at, timezone)
    held_until = since + literal(downgrade.min_hold_days, Integer)
    risk = func.greatest(states.c.unqualified_since, type_coerce(held_until, Date))
    risks = range(today - downgrade.grace_days - _MARGIN, today + downgrade.min_hold_days + _MARGIN)
    first = literal(date.fromordinal(risks[0]), Date)
    steps = [date.fromordinal(next_step(rules, today, one)) for one in risks]
    place = type_coerce(risk - first, Integer) + 1
    # Only of a function, not of a parameter, is an element taken in brackets of its own.
    return func.coalesce(literal(steps, ARRAY(Date)), type_=ARRAY(Date))[place]
