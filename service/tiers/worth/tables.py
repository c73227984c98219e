"""The reports as rows for a spreadsheet. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from service.kit.tables import Table

_OUTCOME = (
    "members", "repurchase_rate", "repurchase_low", "repurchase_high", "net_spend_mean", "net_spend_total",
)  # fmt: skip


def worth_table(report_id: str, worth: Mapping[str, Any]) -> Table:
    """Return one row per tier, and one for every member above the base tier."""
    columns = (
        "tier",
        *(f"by_tier_{name}" for name in _OUTCOME),
        *(f"by_spend_{name}" for name in _OUTCOME),
        "repurchase_difference",
        "repurchase_difference_low",
        "repurchase_difference_high",
    )
    return Table(report_id, columns, list(_worth_rows(worth)))


def _worth_rows(worth: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    named = [(tier["tier"], tier) for tier in worth["tiers"]] + [("above_base", worth["above_base"])]
    for name, beside in named:
        difference = beside["repurchase_difference"]
        yield (
            name,
            *_outcome(beside["by_tier"]),
            *_outcome(beside["by_spend"]),
            difference["value"],
            difference["low"],
            difference["high"],
        )


def _outcome(outcome: Mapping[str, Any]) -> tuple[object, ...]:
    repurchase, spend = outcome["repurchase"], outcome["net_spend"]
    return (
        outcome["members"],
        repurchase["rate"],
        repurchase["low"],
        repurchase["high"],
        _number(spend["mean"]),
        _number(spend["total"]),
    )


def histogram_table(report_id: str, histogram: Mapping[str, Any]) -> Table:
    """Return one row per bin and one per threshold, which `kind` tells apart."""
    columns = ("metric", "kind", "from", "to", "members", "tier", "part", "op")
    return Table(report_id, columns, list(_histogram_rows(histogram)))


def _histogram_rows(histogram: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    for metric in histogram["metrics"]:
        name = metric["metric"]
        for part in metric["bins"]:
            yield name, "bin", _number(part["from"]), _number(part["to"]), part["members"], None, None, None
        yield name, "undefined", None, None, metric["undefined"], None, None, None
        for line in metric["thresholds"]:
            value, upper = _number(line["value"]), _number(line["upper"])
            yield (
                name,
                "threshold",
                value,
                upper,
                line["members_meeting"],
                line["tier"],
                line["part"],
                line["op"],
            )


def _number(value: str | int | None) -> Decimal | int | None:
    """Return a decimal string as a number: the minus sign of a text would be taken for a formula."""
    return Decimal(value) if isinstance(value, str) else value
