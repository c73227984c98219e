"""The same experiment over windows of other lengths, side by side. Pure.

What came early may only have come earlier: then the difference shrinks as the window grows.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.experiments.statistics.comparison import Sides, find_difference, take_sides
from service.experiments.statistics.plan import Plan
from service.experiments.statistics.report import Estimate, WindowReport
from service.experiments.statistics.sums import WindowSums


def list_windows(own: Sides, windows: Sequence[WindowSums], plan: Plan) -> tuple[WindowReport, ...]:
    """Return a row per window, shortest first, the plan's own among them; immature windows are left out.

    A window is mature where both arms hold the plan's minimum of members.
    """
    if not windows:
        return ()
    metrics = (plan.primary, plan.value_metric)
    by_days = {one.window_days: take_sides(one.arms, plan, metrics) for one in windows} | {
        plan.window_days: own
    }
    rows: list[WindowReport] = []
    for days in sorted(by_days):
        row = _row(days, by_days[days], plan, rows[0].value if rows else None)
        if row is not None:
            rows.append(row)
    return tuple(rows)


def _row(days: int, sides: Sides, plan: Plan, first: Estimate | None) -> WindowReport | None:
    tried, baseline = sides.whole(plan.primary)
    if min(tried.members, baseline.members) < plan.minimum_members:
        return None
    primary = find_difference(tried, baseline, plan.primary, level=plan.level)
    value = find_difference(*sides.whole(plan.value_metric), plan.value_metric, level=plan.level)
    # A share of something that may be nothing says nothing.
    kept = value.value / first.value if first is not None and first.low > 0 else None
    return WindowReport(days, baseline.members, tried.members, primary, value, kept)
