"""Reports as they are kept and shown, from sums and rule sets alone. Pure.

Money stands as decimal strings, rates and intervals as numbers from 0 to 1 with four decimals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any

from service.kit.money import to_text
from service.tiers.conditions import Compare, MetricName, leaves_of
from service.tiers.rules import RuleSet, Tier
from service.tiers.standing import value_json
from service.tiers.worth.bins import day_edges, money_edges, place_counts
from service.tiers.worth.rules import Cell, Comparison, above_base, add_up, compare, of_tier
from service.tiers.worth.sentences import tell_comparison
from service.tiers.worth.statistics import CONFIDENCE, Interval, Sums, mean_interval, wilson

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
DRAWN_UP_TO = QUANTILES.index(0.99)
"""Bins end with the largest of these and of the thresholds; who lies beyond stands in the last, open one."""


def show_worth(
    cells: Sequence[Cell], *, rules: RuleSet, as_of: date, months: int, following: tuple[date, date]
) -> dict[str, Any]:
    """Return the report `worth`."""
    everyone = add_up(cell.sums for cell in cells)
    above = compare(cells, chosen=above_base)
    currency = rules.currency
    return {
        "ruleset_version": rules.version,
        "as_of": as_of.isoformat(),
        "months": months,
        "following": {"from": following[0].isoformat(), "to": following[1].isoformat()},
        "currency": currency,
        "confidence": CONFIDENCE,
        "everyone": _outcome(everyone, currency=currency),
        "tiers": [
            {
                "tier": tier.code,
                "names": dict(tier.names),
                "rank": tier.rank,
                **_show_comparison(compare(cells, chosen=of_tier(tier.rank)), currency=currency),
            }
            for tier in rules.tiers
        ],
        "above_base": {
            **_show_comparison(above, currency=currency),
            "share_of_net_spend": {
                "by_tier": _share(above.by_tier, everyone),
                "by_spend": _share(above.by_spend, everyone),
            },
            "verdict": above.verdict(),
            "explanation": tell_comparison(
                above, everyone, base=rules.tiers[0].names, as_of=as_of, months=months
            ),
        },
    }


def _show_comparison(comparison: Comparison, *, currency: str) -> dict[str, Any]:
    return {
        "by_tier": _outcome(comparison.by_tier, currency=currency),
        "by_spend": _outcome(comparison.by_spend, currency=currency),
        "chosen_by_both": comparison.chosen_by_both,
        "repurchase_difference": {
            "value": _four(comparison.difference),
            **_bounds(comparison.interval),
        },
        "net_spend_difference": {
            "value": _money(comparison.mean_difference_minor, currency=currency),
            **_money_bounds(comparison.mean_interval_minor, currency=currency),
        },
    }


def _outcome(sums: Sums, *, currency: str) -> dict[str, Any]:
    return {
        "members": sums.members,
        "repurchase": {
            "rate": _four(sums.buyers / sums.members) if sums.members else None,
            "numerator": sums.buyers,
            "denominator": sums.members,
            **_bounds(wilson(sums.buyers, sums.members)),
        },
        "net_spend": {
            "total": to_text(sums.net_minor, currency=currency),
            "mean": _money(sums.mean(), currency=currency),
            **_money_bounds(mean_interval(sums), currency=currency),
        },
    }


def _share(part: Sums, whole: Sums) -> float | None:
    return _four(part.net_minor / whole.net_minor) if whole.net_minor > 0 else None


def _bounds(interval: Interval | None) -> dict[str, float | None]:
    if interval is None:
        return {"low": None, "high": None}
    return {"low": _four(interval.low), "high": _four(interval.high)}


def _money_bounds(interval: Interval | None, *, currency: str) -> dict[str, str | None]:
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return {"low": _money(low, currency=currency), "high": _money(high, currency=currency)}


def _four(value: float | None) -> float | None:
    return None if value is None else round(value, 4) + 0.0


def _money(minor: float | None, *, currency: str) -> str | None:
    return None if minor is None else to_text(round(minor), currency=currency)


def list_thresholds(rules: RuleSet) -> list[tuple[Tier, str, Compare]]:
    """Return every comparison of a rule set with its tier and its part, `enter` or `keep`."""
    return [
        (tier, part, leaf)
        for tier in rules.tiers
        for part, condition in (("enter", tier.enter), ("keep", tier.keep))
        if condition is not None
        for leaf in leaves_of(condition)
    ]


def edges_for(metric: MetricName, *, highest: int, rules: RuleSet) -> list[int]:
    """Return bin edges of a metric that reach its highest value of note and every threshold on it."""
    ends = [
        int(end)
        for _, _, leaf in list_thresholds(rules)
        if leaf.metric == metric
        for end in (leaf.value, leaf.upper)
        if end is not None
    ]
    top = max([highest, *ends])
    return money_edges(top) if metric == "net_spend" else day_edges(top)


def show_metric(
    metric: MetricName,
    *,
    members: int,
    defined: int,
    range_and_quantiles: Mapping[str, Any],
    edges: Sequence[int],
    counted: Mapping[int, int],
    thresholds: Sequence[tuple[Tier, str, Compare, int]],
    currency: str,
) -> dict[str, Any]:
    """Return one histogram with its thresholds; `thresholds` carry how many members meet each."""

    def show(value: Any) -> int | str | None:
        return value_json(metric, None if value is None else Fraction(value), currency=currency)

    def edge(bucket: int) -> int | str | None:
        return show(edges[bucket]) if 0 <= bucket < len(edges) else None

    return {
        "metric": metric,
        "undefined": members - defined,
        "least": show(range_and_quantiles["least"]),
        "largest": show(range_and_quantiles["largest"]),
        "quantiles": [
            {"share": share, "value": show(value)}
            for share, value in zip(QUANTILES, range_and_quantiles["quantiles"], strict=True)
        ],
        "bins": [
            {"from": edge(bucket - 1), "to": edge(bucket), "members": count}
            for bucket, count in place_counts(edges, counted)
        ],
        "thresholds": [
            {
                "tier": tier.code,
                "names": dict(tier.names),
                "part": part,
                "op": leaf.op,
                "value": show(leaf.value),
                "upper": show(leaf.upper),
                "members_meeting": meeting,
            }
            for tier, part, leaf, meeting in thresholds
        ],
    }
