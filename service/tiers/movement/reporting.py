"""Reports on movement as JSON and as tables, ready for a Sankey diagram. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from service.kit.clock import format_time
from service.kit.money import divide_half_up
from service.kit.tables import Table
from service.tiers.movement.rules import Flow, Ladder, Movement, Rates, Share, TierTotal, View
from service.tiers.movement.survival import Curve, Step

_PRECISION = 10_000


@dataclass(frozen=True, slots=True)
class MovementReport:
    """Movement between the starts of two days.

    `groups` is None where nothing was asked to be split. `passed_through` counts who joined and left in
    between, whom the cohort view does not see.
    """

    start: date
    end: date
    view: View
    basis: str
    split: str | None
    as_of: datetime
    ladder: Ladder
    overall: Movement
    passed_through: int
    groups: tuple[tuple[str | None, Movement], ...] | None
    days_to_upgrade: Mapping[str, Curve]


@dataclass(frozen=True, slots=True)
class DistributionReport:
    """How many members held each tier just before each moment."""

    basis: str
    ladder: Ladder
    points: tuple[tuple[datetime, Mapping[str, int]], ...]


def share_json(share: Share) -> dict[str, object]:
    """Return a share with its parts; `value` has four decimals, None of nothing."""
    value = None
    if share.denominator:
        parts = divide_half_up(share.numerator * _PRECISION, share.denominator)
        value = f"{parts // _PRECISION}.{parts % _PRECISION:04d}"
    return {"numerator": share.numerator, "denominator": share.denominator, "value": value}


def tiers_json(ladder: Ladder, *, locale: str) -> list[dict[str, object]]:
    """Return the tiers of a ladder, the lowest first."""
    return [{"tier": code, "name": ladder.names[code][locale]} for code in ladder.codes]


def movement_json(report: MovementReport, *, locale: str) -> dict[str, Any]:
    """Return a report in the shape of `GET /v1/tier-movements`."""
    return {
        "from": report.start.isoformat(),
        "to": report.end.isoformat(),
        "view": report.view,
        "basis": report.basis,
        "by": report.split,
        "as_of": format_time(report.as_of),
        "tiers": tiers_json(report.ladder, locale=locale),
        **_movement_json(report.overall, report.ladder),
        "joined_and_left": report.passed_through,
        "groups": None
        if report.groups is None
        else [{"group": part} | _movement_json(movement, report.ladder) for part, movement in report.groups],
        "days_to_upgrade": [
            {"tier": tier, **_curve_json(curve)} for tier, curve in report.days_to_upgrade.items()
        ],
        "sankey": _sankey_json(report, locale=locale),
    }


def _movement_json(movement: Movement, ladder: Ladder) -> dict[str, object]:
    totals = movement.totals
    return {
        "members": None if totals is None else _sums_json(totals),
        "matrix": [
            {
                "from": flow.from_tier,
                "to": flow.to_tier,
                "direction": ladder.direction(flow.from_tier, flow.to_tier),
                "count": flow.count,
                "share": share_json(share),
            }
            for flow, share in _with_shares(movement.flows)
        ],
        "totals": None if totals is None else [_total_json(total) for total in totals],
        "rates": None if movement.rates is None else _rates_json(movement.rates),
        "rates_by_tier": [
            {"tier": tier} | _rates_json(rates) for tier, rates in movement.rates_by_tier.items()
        ],
    }


def _with_shares(flows: Sequence[Flow]) -> list[tuple[Flow, Share]]:
    """Pair each flow with its share of all flows from the same tier."""
    whole = Counter[str | None]()
    for flow in flows:
        whole[flow.from_tier] += flow.count
    return [(flow, Share(flow.count, whole[flow.from_tier])) for flow in flows]


def _sums_json(totals: Sequence[TierTotal]) -> dict[str, int]:
    return {
        name: sum(getattr(total, name) for total in totals)
        for name in ("opening", "joined", "left", "closing", "difference")
    }


def _total_json(total: TierTotal) -> dict[str, object]:
    return {
        "tier": total.tier,
        "opening": total.opening,
        "joined": total.joined,
        "rose_in": total.rose_in,
        "fell_in": total.fell_in,
        "rose_out": total.rose_out,
        "fell_out": total.fell_out,
        "left": total.left,
        "closing": total.closing,
        "difference": total.difference,
    }


def _rates_json(rates: Rates) -> dict[str, object]:
    return {
        "upgrade": share_json(rates.upgrade),
        "downgrade": share_json(rates.downgrade),
        "churn": share_json(rates.churn),
    }


def _curve_json(curve: Curve) -> dict[str, object]:
    return {
        "stays": curve.stays,
        "risen": curve.risen,
        "censored": curve.censored,
        "lower_quartile": _step_json(curve.quantile(0.25)),
        "median": _step_json(curve.quantile(0.5)),
        "upper_quartile": _step_json(curve.quantile(0.75)),
        "curve": [_step_json(step) for step in curve.steps],
    }


def _step_json(step: Step | None) -> dict[str, object] | None:
    if step is None:
        return None
    risen = f"{1 - step.waiting:.4f}"
    return {"days": step.days, "at_risk": step.at_risk, "risen": step.risen, "share_risen": risen}


def _sankey_json(report: MovementReport, *, locale: str) -> dict[str, object]:
    """Return nodes and the links between their places, as Plotly and d3 take them."""
    flows, codes = report.overall.flows, (*report.ladder.codes, None)
    nodes: dict[tuple[str, str | None], int] = {}
    for side in ("from", "to"):
        ends = {flow.from_tier if side == "from" else flow.to_tier for flow in flows}
        for code in codes:
            if code in ends:
                nodes[side, code] = len(nodes)
    names = {code: report.ladder.names[code][locale] for code in report.ladder.codes}
    outside = {"en": "Outside", "zh-Hant": "非會員"}[locale]
    return {
        "nodes": [
            {"side": side, "tier": code, "label": outside if code is None else names[code]}
            for side, code in nodes
        ],
        "links": [
            {
                "source": nodes["from", flow.from_tier],
                "target": nodes["to", flow.to_tier],
                "value": flow.count,
            }
            for flow in flows
        ],
    }


def movement_table(report: MovementReport) -> Table:
    """Return the cells of the matrix, of each group where it was split."""
    parts: Sequence[tuple[str | None, Movement]] = ((None, report.overall),)
    if report.groups is not None:
        parts = report.groups
    return Table(
        "tier-movements",
        ("by", "group", "from", "to", "direction", "count", "share_numerator", "share_denominator"),
        [
            (
                report.split,
                part,
                flow.from_tier,
                flow.to_tier,
                report.ladder.direction(flow.from_tier, flow.to_tier),
                flow.count,
                share.numerator,
                share.denominator,
            )
            for part, movement in parts
            for flow, share in _with_shares(movement.flows)
        ],
    )


def distribution_json(report: DistributionReport, *, locale: str) -> dict[str, Any]:
    """Return a report in the shape of `GET /v1/tier-distribution`."""
    return {
        "basis": report.basis,
        "tiers": tiers_json(report.ladder, locale=locale),
        "points": [
            {
                "at": format_time(at),
                "members": sum(held.values()),
                "tiers": [
                    {"tier": code, "members": held[code], "share": share_json(_share(held, code))}
                    for code in report.ladder.codes
                ],
            }
            for at, held in report.points
        ],
    }


def distribution_table(report: DistributionReport) -> Table:
    """Return a row for each tier at each moment."""
    return Table(
        "tier-distribution",
        ("at", "tier", "members", "share_numerator", "share_denominator"),
        [
            (format_time(at), code, held[code], held[code], sum(held.values()))
            for at, held in report.points
            for code in report.ladder.codes
        ],
    )


def _share(held: Mapping[str, int], code: str) -> Share:
    return Share(held[code], sum(held.values()))
