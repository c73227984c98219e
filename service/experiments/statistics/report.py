"""What an analysis says: frozen values, and the same as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from enum import Enum, StrEnum
from typing import Any


class Verdict(StrEnum):
    """The closed list of answers."""

    INVALID_SRM = "invalid_srm"
    IMMATURE = "immature"
    INSUFFICIENT = "insufficient"
    INCONCLUSIVE = "inconclusive"
    POSITIVE = "positive"
    NEGATIVE = "negative"
    GUARDRAIL_BREACH = "guardrail_breach"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value between two bounds, by a named method.

    Differences are in the metric's unit, relative ones are fractions (0.27 is +27 %). `p_value` is two-sided;
    None where the method has none.
    """

    value: float
    low: float
    high: float
    confidence: float
    method: str
    p_value: float | None = None


@dataclass(frozen=True, slots=True)
class ArmFigure:
    """One arm as it was counted: `mean` is Σv ÷ n, of a ratio Σv ÷ Σx, None where Σx is 0."""

    arm: str
    members: int
    total: int
    mean: float | None


@dataclass(frozen=True, slots=True)
class MetricReport:
    """One metric compared: the tried arm less the baseline.

    `adjusted` are by CUPED, which leaves `variance_left` of the variance; `stratified` is by tier at
    assignment; `always_valid` holds however often one looks. None where it cannot be formed. `holm_p` is for
    secondaries.
    """

    metric: str
    kind: str
    unit: str
    baseline: ArmFigure
    tried: ArmFigure
    difference: Estimate | None
    relative: Estimate | None = None
    adjusted: Estimate | None = None
    adjusted_relative: Estimate | None = None
    variance_left: float | None = None
    stratified: Estimate | None = None
    always_valid: Estimate | None = None
    holm_p: float | None = None


@dataclass(frozen=True, slots=True)
class GuardrailReport:
    """A guardrail by non-inferiority: `held`, `not_shown` or `breached`.

    `harm` is the difference turned so that more is worse, with one-sided bounds.
    """

    metric: str
    unit: str
    margin: float
    harm: Estimate
    holm_p: float
    status: str


@dataclass(frozen=True, slots=True)
class RatioTest:
    """A sample-ratio test of one stratum, None for everybody: counted against expected, by arm.

    `method` is `chi_square`, `exact_binomial` where few are expected, or `impossible` where somebody is in an
    arm that draws nobody (there is no χ² then).
    """

    stratum: str | None
    counted: Mapping[str, int]
    expected: Mapping[str, float]
    chi_square: float | None
    p_value: float
    method: str


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Whether the arms have the sizes they were given: `ok`, `warning` or `invalid`.

    `sequential_p` is valid however often one looks.
    """

    status: str
    overall: RatioTest
    strata: tuple[RatioTest, ...]
    sequential_p: float


@dataclass(frozen=True, slots=True)
class Smallest:
    """The smallest difference (in the metric's unit) that these members would show with the plan's power."""

    metric: str
    difference: float
    relative: float | None
    power: float
    alpha: float


@dataclass(frozen=True, slots=True)
class Worth:
    """What the effect would be worth a year, in minor units, were it given to `members` and lasted."""

    metric: str
    currency: str
    amount_minor: int
    low_minor: int
    high_minor: int
    members: int
    yearly_rate: float


@dataclass(frozen=True, slots=True)
class WindowReport:
    """One window of the pull-forward table; `value` is the value metric's difference."""

    window_days: int
    baseline_members: int
    tried_members: int
    primary: Estimate
    value: Estimate
    value_kept: float | None
    """The value difference as a share of the shortest window's: below 1, some was only pulled forward."""


@dataclass(frozen=True, slots=True)
class AttributedFigure:
    """A figure by credit."""

    name: str
    value: int
    unit: str
    rule: str


@dataclass(frozen=True, slots=True)
class AttributedSection:
    """Figures by credit, labelled for what they are; `label` says so per locale."""

    label: Mapping[str, str]
    figures: tuple[AttributedFigure, ...]


@dataclass(frozen=True, slots=True)
class Omitted:
    """Members who were not analysed, and why; without an arm, who was never drawn."""

    arm: str | None
    reason: str
    members: int


@dataclass(frozen=True, slots=True)
class Results:
    """Every number about the effect; absent where the verdict is `invalid_srm` or `immature`.

    `decided_on` is the method of the interval that decided, and `worth_a_year` is there, where there is a
    decision: both are None where the verdict is `insufficient`.
    """

    primary: MetricReport
    secondaries: tuple[MetricReport, ...]
    ratios: tuple[MetricReport, ...]
    guardrails: tuple[GuardrailReport, ...]
    smallest_detectable: Smallest | None
    worth_a_year: Worth | None
    pull_forward: tuple[WindowReport, ...]
    decided_on: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """One verdict and what it rests on."""

    experiment: str
    version: int
    baseline: str
    tried: str
    anchor: str
    window_days: int
    verdict: Verdict
    sentence: Mapping[str, str]
    sample_ratio: SampleRatio
    left_out: tuple[Omitted, ...]
    results: Results | None
    attributed: AttributedSection | None

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values; what is absent is null."""
        told: dict[str, Any] = _plain(self)
        return told


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    return value
