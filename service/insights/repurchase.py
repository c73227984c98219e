"""Who comes back, and after how long. Pure.

Orders are counted by day: two on one day are one occasion. Every share names its numerator and denominator.
Gaps that are still open when the data end are censored, not left out: E. L. Kaplan and P. Meier (1958),
Nonparametric estimation from incomplete observations, Journal of the American Statistical Association 53,
457–481.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from math import ceil

_ROUNDING = 1e-9
"""Products of fractions are not exact in floats: a share this little above a quantile stands on it."""


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    numerator: int
    denominator: int

    @property
    def value(self) -> float | None:
        """Return the share, None of nobody."""
        return self.numerator / self.denominator if self.denominator else None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The share of members still waiting for their next order after so many days."""

    days: int
    at_risk: int
    returned: int
    waiting: float


def repeat_rate(days_by_member: Iterable[Sequence[date]], *, start: date, end: date) -> Share:
    """Return the window form: of those who ordered within [start, end), those who did on two days or more."""
    counts = [len({day for day in days if start <= day < end}) for days in days_by_member]
    return Share(sum(count >= 2 for count in counts), sum(count >= 1 for count in counts))


def second_order_within(days_by_member: Iterable[Sequence[date]], *, days: int, until: date | None) -> Share:
    """Return the cohort form: of those seen for `days` or more, who came back in time.

    `until` is the first day without data, exclusive; None takes everybody as mature, for data that are known
    to be complete.
    """
    numerator = denominator = 0
    for ordered in days_by_member:
        distinct = sorted(set(ordered))
        if not distinct:
            continue
        limit = distinct[0] + timedelta(days=days)
        if until is not None and limit >= until:
            continue
        denominator += 1
        numerator += len(distinct) > 1 and distinct[1] <= limit
    return Share(numerator, denominator)


def list_gaps(days_by_member: Iterable[Sequence[date]]) -> list[int]:
    """Return the days between one order day and the next of the same member, all members together."""
    gaps: list[int] = []
    for ordered in days_by_member:
        distinct = sorted(set(ordered))
        gaps += [(later - earlier).days for earlier, later in pairwise(distinct)]
    return gaps


def list_open_gaps(days_by_member: Iterable[Sequence[date]], *, until: date) -> list[int]:
    """Return the days from each member's last order day to the end of the data, exclusive."""
    return [(until - max(ordered)).days - 1 for ordered in days_by_member if ordered]


def quantile(values: Sequence[int], share: float) -> int | None:
    """Return the smallest value that `share` of all values do not exceed, None of none."""
    if not values:
        return None
    return sorted(values)[max(0, ceil(share * len(values) - _ROUNDING) - 1)]


def estimate_waiting(closed: Iterable[int], still_open: Iterable[int]) -> tuple[Waiting, ...]:
    """Return the product-limit curve of days until the next order, open gaps at risk on their own."""
    returned: Mapping[int, int] = Counter(closed)
    ended = Counter(returned) + Counter(still_open)
    at_risk, waiting, curve = sum(ended.values()), 1.0, list[Waiting]()
    for days in sorted(ended):
        if returned.get(days):
            waiting *= 1 - returned[days] / at_risk
            curve.append(Waiting(days, at_risk, returned[days], waiting))
        at_risk -= ended[days]
    return tuple(curve)


def waiting_quantile(curve: Sequence[Waiting], share: float) -> int | None:
    """Return the days by which at least `share` came back, None where that was never seen."""
    return next((step.days for step in curve if step.waiting <= 1 - share + _ROUNDING), None)
