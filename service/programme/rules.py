"""The settings that staff may change, with their defaults. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# Points per amount spent, by currency: about one point per US dollar's worth.
DEFAULT_EARNING = {"TWD": (1, 3000), "JPY": (1, 100), "GBP": (1, 100), "USD": (1, 100), "EUR": (1, 100)}
# What a point is worth when it is spent, in minor units.
DEFAULT_POINT_VALUE_MINOR = {"TWD": 30, "JPY": 1, "GBP": 1, "USD": 1, "EUR": 1}


@dataclass(frozen=True, slots=True)
class PointsExpiry:
    """When points expire: `none`, or `rolling_months` after the earn day."""

    model: Literal["none", "rolling_months"]
    months: int | None = None


@dataclass(frozen=True, slots=True)
class ProgrammeSettings:
    """One version of the settings; amounts in programme minor units, points whole."""

    version: int
    return_period_days: int
    points_expiry: PointsExpiry
    earn_points: int
    earn_per_minor: int
    shortfall_policy: Literal["clamp", "allow_negative"]
    point_value_minor: int


@dataclass(frozen=True, slots=True)
class Programme:
    """What every room needs to know of the programme."""

    currency: str
    timezone: str
    settings: ProgrammeSettings


def default_values(currency: str) -> dict[str, Any]:
    """Return the first version's values for a currency."""
    points, per_minor = DEFAULT_EARNING.get(currency, (1, 100))
    return {
        "return_period_days": 7,
        "points_expiry": {"model": "none"},
        "earn_points": points,
        "earn_per_minor": per_minor,
        "shortfall_policy": "clamp",
        "point_value_minor": DEFAULT_POINT_VALUE_MINOR.get(currency, 1),
    }


def read_settings(version: int, values: Mapping[str, Any]) -> ProgrammeSettings:
    """Return the settings that a stored version holds.

    Raises:
        ValueError: a value is missing, unknown or out of range.
    """
    expected = set(default_values("TWD"))
    if set(values) != expected:
        raise ValueError(f"settings must be exactly {', '.join(sorted(expected))}")
    expiry = values["points_expiry"]
    model, months = expiry.get("model"), expiry.get("months")
    if model not in {"none", "rolling_months"} or set(expiry) - {"model", "months"}:
        raise ValueError("points_expiry.model is none or rolling_months")
    if (model == "rolling_months") != (isinstance(months, int) and 1 <= months <= 120):
        raise ValueError("points_expiry.months (1 to 120) goes with rolling_months")
    if values["shortfall_policy"] not in {"clamp", "allow_negative"}:
        raise ValueError("shortfall_policy is clamp or allow_negative")
    for name, least, most in (
        ("return_period_days", 0, 365),
        ("earn_points", 0, 10_000),
        ("earn_per_minor", 1, 10**9),
        ("point_value_minor", 0, 10**9),
    ):
        if not isinstance(values[name], int) or not least <= values[name] <= most:
            raise ValueError(f"{name} is a whole number from {least} to {most}")
    return ProgrammeSettings(
        version=version,
        return_period_days=values["return_period_days"],
        points_expiry=PointsExpiry(model=model, months=months),
        earn_points=values["earn_points"],
        earn_per_minor=values["earn_per_minor"],
        shortfall_policy=values["shortfall_policy"],
        point_value_minor=values["point_value_minor"],
    )
