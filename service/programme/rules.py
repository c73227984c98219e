"""The settings that staff may change, with their defaults. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

# Points per amount spent, by currency: about one point per US dollar's worth.
DEFAULT_EARNING = {"TWD": (1, 3000), "JPY": (1, 100), "GBP": (1, 100), "USD": (1, 100), "EUR": (1, 100)}
# What a point is worth when it is spent, in minor units.
DEFAULT_POINT_VALUE_MINOR = {"TWD": 30, "JPY": 1, "GBP": 1, "USD": 1, "EUR": 1}

MAX_RETURN_PERIOD_DAYS = 365
MAX_EXPIRY_MONTHS = 120
MAX_EARN_POINTS = 10_000
MAX_MINOR = 10**9


MAX_EXPIRY_PERIODS = 10
MAX_NOTICE_DAYS = 365
DEFAULT_NOTICE_DAYS = 30

ExpiryModel = Literal["none", "rolling_months", "end_of_period", "after_inactivity"]
ExpiryPeriod = Literal["month", "quarter", "half_year", "year"]
# What goes with each model, and nothing else does.
_EXPIRY_FIELDS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "rolling_months": ("months",),
    "end_of_period": ("period", "periods"),
    "after_inactivity": ("months",),
}
EXPIRY_MODELS = tuple(_EXPIRY_FIELDS)
EXPIRY_PERIODS: tuple[ExpiryPeriod, ...] = ("month", "quarter", "half_year", "year")


@dataclass(frozen=True, slots=True)
class PointsExpiry:
    """When points expire, and how many days before that is told (0: not at all).

    `none`; `rolling_months`: so many `months` after the earn day; `end_of_period`: as the calendar period
    ends that comes `periods` after the one of the earn day; `after_inactivity`: so many `months` after the
    member last bought or spent.
    """

    model: ExpiryModel
    months: int | None = None
    period: ExpiryPeriod | None = None
    periods: int | None = None
    notice_days: int = DEFAULT_NOTICE_DAYS


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
    tax_counts: bool = True


@dataclass(frozen=True, slots=True)
class Programme:
    """What every room needs to know of the programme.

    `settings` are those in force; `versions` are all of them with the time each comes into force, in that
    order.
    """

    currency: str
    timezone: str
    settings: ProgrammeSettings
    versions: tuple[tuple[datetime, ProgrammeSettings], ...] = ()

    def settings_at(self, moment: datetime) -> ProgrammeSettings:
        """Return the settings in force at a moment: what happened is judged by the settings of then."""
        if not self.versions:
            return self.settings
        after = bisect_right(self.versions, moment, key=lambda version: version[0])
        return self.versions[max(0, after - 1)][1]


@dataclass(frozen=True, slots=True)
class SettingsRow:
    """One version as it is kept.

    `values` are whole; `fields` names those that were set at this moment on purpose, while the others were
    only carried along.
    """

    version: int
    values: Mapping[str, Any]
    effective_from: datetime
    created_at: datetime
    created_by: str
    reason: str
    fields: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class PlannedVersion:
    """A version to add."""

    effective_from: datetime
    values: Mapping[str, Any]
    fields: tuple[str, ...]


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
        "tax_counts": True,
    }


NAMES = tuple(default_values("TWD"))
"""Every setting, in the order in which they are shown."""


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored values with what versions from before a setting existed did."""
    return {"tax_counts": True} | dict(values)


def list_standing(rows: Sequence[SettingsRow]) -> list[SettingsRow]:
    """Return the versions that come into force at some time, in that order.

    Of versions from the same moment only the last stands: it replaced the others.
    """
    last = {row.effective_from: row for row in sorted(rows, key=lambda row: row.version)}
    return [last[moment] for moment in sorted(last)]


def find_row_in_force(rows: Sequence[SettingsRow], *, at: datetime) -> SettingsRow | None:
    """Return the version in force at a moment."""
    return next((row for row in reversed(list_standing(rows)) if row.effective_from <= at), None)


def differences(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ: name → (before, after)."""
    old = {} if before is None else before
    return {name: (old.get(name), after[name]) for name in NAMES if old.get(name) != after[name]}


def plan_change(
    rows: Sequence[SettingsRow], *, changes: Mapping[str, Any], at: datetime
) -> list[PlannedVersion]:
    """Return the versions to add so that `changes` hold from `at` on, the change itself first.

    Versions hold every value, so those scheduled for later are stated again on top of the change: each
    keeps what it set itself, and what it only carried along follows. Empty when nothing differs.
    """
    base = find_row_in_force(rows, at=at)
    old = {} if base is None else complete(base.values)
    new = old | dict(changes)
    if new == old:
        return []
    replaced = base.fields or () if base is not None and base.effective_from == at else ()
    planned = [PlannedVersion(at, new, tuple(dict.fromkeys([*replaced, *changes])))]
    for row in list_standing(rows):
        if row.effective_from <= at:
            continue
        values = complete(row.values)
        fields = tuple(row.fields or ())
        new = new | {name: values[name] for name in fields}
        if new != values:
            planned.append(PlannedVersion(row.effective_from, new, fields))
    return planned


def list_misplaced(expiry: Mapping[str, Any]) -> list[str]:
    """Return the fields that an expiry's model lacks, or has and should not; none of an unknown model."""
    needed = _EXPIRY_FIELDS.get(expiry.get("model", ""))
    if needed is None:
        return []
    names = ("months", "period", "periods")
    return [name for name in names if (expiry.get(name) is not None) != (name in needed)]


def read_expiry(expiry: Mapping[str, Any]) -> PointsExpiry:
    """Return the expiry that a stored version holds.

    Raises:
        ValueError: a field is missing, unknown or out of range.
    """
    names = {"model", "months", "period", "periods", "notice_days"}
    if expiry.get("model") not in _EXPIRY_FIELDS or set(expiry) - names:
        raise ValueError(f"points_expiry.model is one of {', '.join(_EXPIRY_FIELDS)}")
    misplaced = list_misplaced(expiry)
    if misplaced:
        raise ValueError(f"points_expiry.{misplaced[0]} does not go with {expiry['model']}, or is missing")
    found = PointsExpiry(**expiry)
    for name, value, most in (
        ("months", found.months, MAX_EXPIRY_MONTHS),
        ("periods", found.periods, MAX_EXPIRY_PERIODS),
    ):
        if value is not None and (not isinstance(value, int) or not 1 <= value <= most):
            raise ValueError(f"points_expiry.{name} is a whole number from 1 to {most}")
    if found.period is not None and found.period not in EXPIRY_PERIODS:
        raise ValueError(f"points_expiry.period is one of {', '.join(EXPIRY_PERIODS)}")
    if not isinstance(found.notice_days, int) or not 0 <= found.notice_days <= MAX_NOTICE_DAYS:
        raise ValueError(f"points_expiry.notice_days is a whole number from 0 to {MAX_NOTICE_DAYS}")
    return found


def read_settings(version: int, values: Mapping[str, Any]) -> ProgrammeSettings:
    """Return the settings that a stored version holds.

    Raises:
        ValueError: a value is missing, unknown or out of range.
    """
    values = complete(values)
    if set(values) != set(NAMES):
        raise ValueError(f"settings must be exactly {', '.join(sorted(NAMES))}")
    expiry = read_expiry(values["points_expiry"])
    if values["shortfall_policy"] not in {"clamp", "allow_negative"}:
        raise ValueError("shortfall_policy is clamp or allow_negative")
    if not isinstance(values["tax_counts"], bool):
        raise ValueError("tax_counts is true or false")
    for name, least, most in (
        ("return_period_days", 0, MAX_RETURN_PERIOD_DAYS),
        ("earn_points", 0, MAX_EARN_POINTS),
        ("earn_per_minor", 1, MAX_MINOR),
        ("point_value_minor", 0, MAX_MINOR),
    ):
        if not isinstance(values[name], int) or not least <= values[name] <= most:
            raise ValueError(f"{name} is a whole number from {least} to {most}")
    return ProgrammeSettings(
        version=version,
        return_period_days=values["return_period_days"],
        points_expiry=expiry,
        earn_points=values["earn_points"],
        earn_per_minor=values["earn_per_minor"],
        shortfall_policy=values["shortfall_policy"],
        point_value_minor=values["point_value_minor"],
        tax_counts=values["tax_counts"],
    )
