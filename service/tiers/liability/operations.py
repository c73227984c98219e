"""The verb of the liability report: read the books as of a moment and say what they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from service.kit.clock import local_day, local_midnight
from service.programme.operations import Programme
from service.tiers.liability import store
from service.tiers.liability.rules import (
    Breakage,
    Flow,
    Vintage,
    expect_breakage,
    make_vintages,
    recognise_revenue,
)
from service.tiers.movement.operations import ladder_until
from service.tiers.movement.rules import Ladder

MOST_MONTHS = 120
"""Points that are older have no vintage of their own."""

_INSTANT = timedelta(microseconds=1)
_WHOLE = 10_000


@dataclass(frozen=True, slots=True)
class Cell:
    """Outstanding points of one tier (None: of nobody enrolled) and month, with what of them will lapse.

    `month` counts from 1; 0 is before every vintage.
    """

    tier: str | None
    month: int
    pending: int
    available: int
    held: int
    breakage: int = 0

    @property
    def points(self) -> int:
        """Return all of them."""
        return self.pending + self.available + self.held


@dataclass(frozen=True, slots=True)
class Revenue:
    """What was put aside for the points of one month, and what of it is revenue; minor units."""

    vintage: Vintage
    breakage: int
    allocated_minor: int
    recognised_minor: int


@dataclass(frozen=True, slots=True)
class Liability:
    """Outstanding points as of a moment; `months` are the first days of the months that cells count."""

    at: datetime
    currency: str
    point_value_minor: int
    allocated_bp: int
    ladder: Ladder
    months: tuple[date, ...]
    cells: tuple[Cell, ...]
    owed: dict[str | None, int]
    breakage: Breakage
    revenue: tuple[Revenue, ...]

    def age(self, month: int) -> int | None:
        """Return how many calendar months ago a month was; None before every vintage."""
        return len(self.months) - month if month else None


def see_liability(conn: Connection, *, at: datetime, allocated_bp: int, programme: Programme) -> Liability:
    """Return what was outstanding at a moment, what it cost, and what of it is expected to lapse.

    What was due by then counts as posted. `allocated_bp` is the part of a point's value that its price was
    put aside for, in basis points.
    """
    months = _list_months(store.find_first_lot(conn), at=at, timezone=programme.timezone)
    starts = [local_midnight(month, timezone=programme.timezone) for month in months]
    rows = store.read_books(conn, at=at, starts=starts)
    flows = [flow for row in rows for flow in _flows_of(row, last=len(months))]
    vintages = make_vintages(flows, last=len(months))
    cells = _make_cells(rows)
    breakage = expect_breakage([(cell.month, cell.points) for cell in cells], vintages, last=len(months))
    cells = [
        Cell(cell.tier, cell.month, cell.pending, cell.available, cell.held, part)
        for cell, part in zip(cells, breakage.by_cell, strict=True)
    ]
    value = programme.settings_at(at).point_value_minor
    return Liability(
        at=at,
        currency=programme.currency,
        point_value_minor=value,
        allocated_bp=allocated_bp,
        ladder=ladder_until(conn, moment=at + _INSTANT),
        months=tuple(months),
        cells=tuple(cells),
        owed=_sum_owed(rows),
        breakage=breakage,
        revenue=tuple(_recognise(vintages, cells, value_minor=value, allocated_bp=allocated_bp)),
    )


def _list_months(first: datetime | None, *, at: datetime, timezone: str) -> list[date]:
    """Return the first days of the months from the oldest points to the month that is not over at `at`."""
    day = local_day(at + _INSTANT, timezone=timezone)
    last = day.year * 12 + day.month - 1
    oldest = last
    if first is not None and first <= at:
        began = local_day(first, timezone=timezone)
        oldest = max(began.year * 12 + began.month - 1, last - MOST_MONTHS + 1)
    return [date(month // 12, month % 12 + 1, 1) for month in range(min(oldest, last), last + 1)]


def _flows_of(row: Row[Any], *, last: int) -> list[Flow]:
    """Return what a row says of points that are no longer open; what is due goes with what is posted."""
    if row.earned_in is None:
        return []
    if row.issued is not None:
        figures = (int(row.issued), int(row.used), int(row.flow_gone), int(row.taken))
        return [Flow(row.earned_in, row.moved_in, *figures)]
    flows = []
    if row.paid:
        flows.append(Flow(row.earned_in, last, taken=int(row.paid)))
    if row.gone:
        flows.append(Flow(row.earned_in, row.moved_in, gone=int(row.gone)))
    return flows


def _make_cells(rows: Sequence[Row[Any]]) -> list[Cell]:
    sums: dict[tuple[str | None, int], list[int]] = {}
    for row in rows:
        if row.issued is None and row.earned_in is not None:
            cell = sums.setdefault((row.tier, row.earned_in), [0, 0, 0])
            for place, points in enumerate((row.pending, row.available, row.held)):
                cell[place] += int(points)
    return [
        Cell(tier, month, *figures)
        for (tier, month), figures in sorted(sums.items(), key=lambda one: (one[0][0] or "", one[0][1]))
        if any(figures)
    ]


def _sum_owed(rows: Sequence[Row[Any]]) -> dict[str | None, int]:
    owed: dict[str | None, int] = {}
    for row in rows:
        if row.issued is None and row.owed:
            owed[row.tier] = owed.get(row.tier, 0) + int(row.owed)
    return owed


def _recognise(
    vintages: Sequence[Vintage], cells: Sequence[Cell], *, value_minor: int, allocated_bp: int
) -> list[Revenue]:
    lapsing: dict[int, int] = {}
    for cell in cells:
        lapsing[cell.month] = lapsing.get(cell.month, 0) + cell.breakage
    found = []
    for vintage in vintages:
        fate = vintage.fate()
        breakage = lapsing.get(vintage.month, 0)
        kept = vintage.issued - int(fate.taken)
        allocated = (2 * kept * value_minor * allocated_bp + _WHOLE) // (2 * _WHOLE)
        used = max(0, int(fate.used))
        expected = used + max(0, vintage.open() - breakage)
        recognised = recognise_revenue(max(0, allocated), used=used, expected=expected)
        found.append(Revenue(vintage, breakage, max(0, allocated), recognised))
    return found
