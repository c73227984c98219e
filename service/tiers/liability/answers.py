"""The liability report as JSON and as a table. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from service.kit.clock import format_time
from service.kit.money import to_text
from service.kit.tables import Table
from service.tiers.liability.operations import Cell, Liability
from service.tiers.liability.rules import BANDS, LEAST_VINTAGES, band_of


def liability_json(found: Liability, *, locale: str) -> dict[str, Any]:
    """Return the report in the shape of `GET /v1/points/liability`."""
    return {
        "as_of": format_time(found.at),
        "currency": found.currency,
        "point_value": to_text(found.point_value_minor, currency=found.currency),
        "outstanding": _sums(found, found.cells) | {"owed": sum(found.owed.values())},
        "by_age": [
            {"from_months": first, "to_months": last} | _sums(found, _in_band(found, first))
            for first, last in BANDS
        ],
        "by_tier": [
            {"tier": tier, "name": found.ladder.names[tier][locale] if tier is not None else None}
            | _sums(found, [cell for cell in found.cells if cell.tier == tier])
            | {"owed": found.owed.get(tier, 0)}
            for tier in _list_tiers(found)
        ],
        "breakage": _breakage_json(found),
        "revenue": _revenue_json(found),
        "vintages": _vintages_json(found),
    }


def liability_table(found: Liability) -> Table:
    """Return a row for each tier and age with what is outstanding, and one for what a tier owes."""
    rows: list[tuple[object, ...]] = []
    for tier in _list_tiers(found):
        for first, last in BANDS:
            cells = [cell for cell in _in_band(found, first) if cell.tier == tier]
            sums = _sums(found, cells)
            if sums["points"]:
                rows.append((tier, first, last, *(sums[name] for name in _COLUMNS), None))
        if found.owed.get(tier):
            rows.append((tier, None, None, *(None for _ in _COLUMNS), found.owed[tier]))
    return Table("points-liability", ("tier", "from_months", "to_months", *_COLUMNS, "owed"), rows)


_COLUMNS = ("pending", "available", "held", "points", "cost", "expected_breakage", "expected_cost")


def _sums(found: Liability, cells: Iterable[Cell]) -> dict[str, Any]:
    chosen = list(cells)
    points = sum(cell.points for cell in chosen)
    breakage = sum(cell.breakage for cell in chosen)
    return {
        "pending": sum(cell.pending for cell in chosen),
        "available": sum(cell.available for cell in chosen),
        "held": sum(cell.held for cell in chosen),
        "points": points,
        "cost": _cost(found, points),
        "expected_breakage": breakage,
        "expected_cost": _cost(found, points - breakage),
    }


def _cost(found: Liability, points: int) -> str:
    return to_text(points * found.point_value_minor, currency=found.currency)


def _in_band(found: Liability, first: int) -> Sequence[Cell]:
    return [cell for cell in found.cells if band_of(found.age(cell.month))[0] == first]


def _list_tiers(found: Liability) -> list[str | None]:
    """Return the tiers, the lowest first; None at the end where somebody without one has points."""
    tiers: list[str | None] = list(found.ladder.codes)
    if any(cell.tier is None for cell in found.cells) or None in found.owed:
        tiers.append(None)
    return tiers


def _breakage_json(found: Liability) -> dict[str, Any]:
    breakage = found.breakage
    bounds = breakage.interval
    low, high = (None, None) if bounds is None else (int(bounds.low), -int(-bounds.high // 1))
    return {
        "points": breakage.points,
        "low": low,
        "high": high,
        "confidence": "0.95",
        "cost": _cost(found, breakage.points),
        "unresolved": breakage.unresolved,
        "vintages": breakage.vintages,
        "least_vintages": LEAST_VINTAGES,
        "observed_months": breakage.ages,
    }


def _revenue_json(found: Liability) -> dict[str, Any]:
    allocated = sum(one.allocated_minor for one in found.revenue)
    recognised = sum(one.recognised_minor for one in found.revenue)
    return {
        "allocated_bp": found.allocated_bp,
        "allocated": to_text(allocated, currency=found.currency),
        "recognised": to_text(recognised, currency=found.currency),
        "deferred": to_text(allocated - recognised, currency=found.currency),
    }


def _vintages_json(found: Liability) -> list[dict[str, Any]]:
    rows = []
    for one in found.revenue:
        fate = one.vintage.fate()
        deferred = one.allocated_minor - one.recognised_minor
        rows.append(
            {
                "month": found.months[one.vintage.month - 1].isoformat()[:7],
                "issued": one.vintage.issued,
                "taken_back": int(fate.taken),
                "used": int(fate.used),
                "expired": int(fate.gone),
                "open": one.vintage.open(),
                "expected_breakage": one.breakage,
                "deferred": to_text(deferred, currency=found.currency),
            }
        )
    return rows
