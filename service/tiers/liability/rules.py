"""How many outstanding points will never be used, and what of the price of points is revenue by now. Pure.

The vintage method: the points earned in one month are a vintage. For every age in months, all vintages that
have lived through it say which part of what was still open was used, expired or was taken back at that age.
Points that are open now are led through the ages ahead of them. What is still open after the last age that
anybody has lived through is not counted as lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from math import floor, sqrt

from service.kit.money import spread
from service.tiers.worth.statistics import Interval, t_quantile

LEAST_VINTAGES = 6
"""Below so many vintages that are a month old nothing is expected to lapse: there is no experience."""

BANDS: tuple[tuple[int, int | None], ...] = ((0, 2), (3, 5), (6, 11), (12, 17), (18, 23), (24, None))
"""Ages in calendar months since earning, first and last."""

_NOISE = 1e-6
_FINENESS = 2**20


@dataclass(frozen=True, slots=True)
class Flow:
    """What happened in one month to the points earned in one month (both counted from 1), in points.

    `used` is net of what was given back. Month 0 holds everything before the first.
    """

    earned_in: int
    moved_in: int
    issued: int = 0
    used: int = 0
    gone: int = 0
    taken: int = 0


@dataclass(frozen=True, slots=True)
class Fate:
    """Points by what became of them: used, gone (expired), taken back."""

    used: float = 0
    gone: float = 0
    taken: float = 0

    def __add__(self, other: Fate) -> Fate:
        return Fate(self.used + other.used, self.gone + other.gone, self.taken + other.taken)

    def total(self) -> float:
        """Return all that is no longer open."""
        return self.used + self.gone + self.taken


@dataclass(frozen=True, slots=True)
class Vintage:
    """The points of one month: how many there were, and what became of them at each age, in months."""

    month: int
    issued: int
    by_age: tuple[Fate, ...]

    def fate(self) -> Fate:
        """Return what became of them so far."""
        return reduce(Fate.__add__, self.by_age, Fate())

    def open(self) -> int:
        """Return what is left of them."""
        return self.issued - int(self.fate().total())


@dataclass(frozen=True, slots=True)
class Breakage:
    """How many of the outstanding points will lapse: by cell, in all, and between which bounds (95 %).

    `unresolved` are still open after the last age (`ages` months) that a vintage has lived through. There is
    no interval where too few vintages have lived (`vintages`), or where they do not differ.
    """

    points: int
    by_cell: tuple[int, ...]
    interval: Interval | None
    unresolved: int
    vintages: int
    ages: int


def make_vintages(flows: Iterable[Flow], *, last: int) -> list[Vintage]:
    """Return the vintages of the months 1 to `last`, the oldest first; month 0 has no age and is left out."""
    issued = [0] * (last + 1)
    fates: list[dict[int, Fate]] = [{} for _ in range(last + 1)]
    for flow in flows:
        issued[flow.earned_in] += flow.issued
        # What is dated before its points is told with their first month.
        age = max(0, flow.moved_in - flow.earned_in)
        known = fates[flow.earned_in].get(age, Fate())
        fates[flow.earned_in][age] = known + Fate(flow.used, flow.gone, flow.taken)
    return [
        Vintage(
            month,
            issued[month],
            tuple(fates[month].get(age, Fate()) for age in range(last - month + 1)),
        )
        for month in range(1, last + 1)
        if issued[month]
    ]


def develop(vintages: Sequence[Vintage], *, last: int) -> list[Fate]:
    """Return which share of what is open at each age becomes used, gone and taken in that month of its life.

    All vintages that lived through an age count with their points; the month `last` is not over, so nobody
    has lived through an age that falls in it. It ends before the first age that nobody with open points has
    seen.
    """
    at_risk, moved = [0.0] * last, [Fate()] * last
    for vintage in vintages:
        left: float = vintage.issued
        for age, fate in enumerate(vintage.by_age[: last - vintage.month]):
            at_risk[age] += left
            moved[age] += fate
            left -= fate.total()
    shares = []
    for risk, fate in zip(at_risk, moved, strict=True):
        if risk <= 0:
            break
        shares.append(Fate(*(min(1.0, max(0.0, part / risk)) for part in (fate.used, fate.gone, fate.taken))))
    return shares


def outlook(shares: Sequence[Fate]) -> list[tuple[float, float]]:
    """Return for each age, and the one after the last, which share will be gone and which is unresolved."""
    ahead = [(0.0, 1.0)]
    for share in reversed(shares):
        stays = max(0.0, 1 - share.total())
        gone, unresolved = ahead[-1]
        ahead.append((share.gone + stays * gone, stays * unresolved))
    return ahead[::-1]


def expect_breakage(cells: Sequence[tuple[int, int]], vintages: Sequence[Vintage], *, last: int) -> Breakage:
    """Return how many of the outstanding points will lapse; `cells` are (month earned in, points
    outstanding).

    The interval comes from leaving out one vintage after the other (the jackknife: J. W. Tukey 1958, Annals
    of Mathematical Statistics 29, 614; B. Efron & C. Stein 1981, Annals of Statistics 9, 586-596), with
    Student's quantile, between nothing and everything that is outstanding. Points are rounded down, and
    shared out to the cells by largest remainder.
    """
    seen = [vintage for vintage in vintages if vintage.month < last]
    shares = develop(seen, last=last) if len(seen) >= LEAST_VINTAGES else []
    gone, unresolved = _lead_on(cells, shares, last=last)
    total = sum(gone)
    points = floor(total + _NOISE)
    return Breakage(
        points=points,
        by_cell=tuple(spread(points, weights=[round(part * _FINENESS) for part in gone])),
        interval=_leave_one_out(cells, seen, last=last, total=total) if shares else None,
        unresolved=floor(unresolved + _NOISE),
        vintages=len(seen),
        ages=len(shares),
    )


def _lead_on(
    cells: Sequence[tuple[int, int]], shares: Sequence[Fate], *, last: int
) -> tuple[list[float], float]:
    """Return what of each cell will be gone, and what of all of them is unresolved."""
    ahead = outlook(shares)
    of_cells = [ahead[min(last - month, len(shares)) if month else len(shares)] for month, _ in cells]
    gone = [points * share for (_, points), (share, _) in zip(cells, of_cells, strict=True)]
    return gone, sum(points * share for (_, points), (_, share) in zip(cells, of_cells, strict=True))


def _leave_one_out(
    cells: Sequence[tuple[int, int]], vintages: Sequence[Vintage], *, last: int, total: float
) -> Interval | None:
    without = [
        sum(_lead_on(cells, develop([*vintages[:n], *vintages[n + 1 :]], last=last), last=last)[0])
        for n in range(len(vintages))
    ]
    count, mean = len(without), sum(without) / len(without)
    error = sqrt((count - 1) / count * sum((one - mean) ** 2 for one in without))
    if error <= _NOISE:
        return None
    reach = t_quantile(count - 1) * error
    return Interval(max(0.0, total - reach), min(float(sum(points for _, points in cells)), total + reach))


def recognise_revenue(allocated_minor: int, *, used: int, expected: int) -> int:
    """Return what of the price that was put aside for points is revenue by now, in minor units, half up.

    IFRS 15, B44-B47 with the worked example of its customer loyalty programme: revenue follows the points
    that were used, out of all that are expected to be used in the end. A new expectation applies to
    everything used so far, so that a period's revenue is the difference of two such sums. Where nothing more
    is expected to be used, all of it is revenue.

    Raises:
        ValueError: an amount or a number of points below zero.
    """
    if min(allocated_minor, used, expected) < 0:
        raise ValueError("a price and numbers of points are not negative")
    if used >= expected:
        return allocated_minor
    return (2 * allocated_minor * used + expected) // (2 * expected)


def band_of(age: int | None) -> tuple[int, int | None]:
    """Return the band of an age in months; None (before every vintage) belongs to the last."""
    if age is None:
        return BANDS[-1]
    return next(band for band in reversed(BANDS) if age >= band[0])
