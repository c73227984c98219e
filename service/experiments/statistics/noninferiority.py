"""Guardrails: harm that must be shown to be small. Pure.

The two one-sided readings of G. Piaggio, D. R. Elbourne, S. J. Pocock, S. J. W. Evans and D. G. Altman
(2012), Reporting of noninferiority and equivalence randomized trials, JAMA 308, 2594–2604: harm is shown to
be small where its upper bound lies within the margin, and shown to be there where its lower bound lies above
zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from service.experiments.statistics.always_valid import bound, shrunk_share
from service.experiments.statistics.means import compare_means, mean_of
from service.experiments.statistics.multiplicity import holm
from service.experiments.statistics.plan import Guardrail, Kind
from service.experiments.statistics.proportions import compare_shares
from service.experiments.statistics.report import Estimate, GuardrailReport
from service.experiments.statistics.sums import Moments

HELD = "held"
NOT_SHOWN = "not_shown"
BREACHED = "breached"


Watched = tuple[Guardrail, Moments, Moments]
"""A guardrail with the tried arm's moments and the baseline's."""


def judge(
    watched: Sequence[Watched], *, level: float, planned_members: int | None = None
) -> list[GuardrailReport]:
    """Return each guardrail's state; with `planned_members` one that holds however often one looks.

    `held`: the harm is less than the margin, with confidence 1 - level. `breached`: there is harm (Holm over
    all guardrails at `level`) and it is not shown to be within the margin. Otherwise `not_shown`.
    """
    harms = [_harm(*one, level=level, planned_members=planned_members) for one in watched]
    # One-sided: only a turn for the worse is a breach.
    one_sided = [(harm.p_value or 0.0) / 2 if harm.value > 0 else 1.0 for harm in harms]
    return [
        GuardrailReport(
            guardrail.metric.name,
            guardrail.metric.unit.value,
            guardrail.margin,
            harm,
            adjusted,
            _status(harm, guardrail.margin, adjusted, level),
        )
        for (guardrail, _, _), harm, adjusted in zip(watched, harms, holm(one_sided), strict=True)
    ]


def _harm(
    guardrail: Guardrail, tried: Moments, baseline: Moments, *, level: float, planned_members: int | None
) -> Estimate:
    # A two-sided interval at twice the level has one-sided bounds at the level.
    share = guardrail.metric.kind is Kind.SHARE
    if planned_members is not None:
        mean = shrunk_share if share else mean_of
        found = bound(mean(tried), mean(baseline), level=2 * level, planned_members=planned_members)
    elif share:
        found = compare_shares(tried, baseline, level=2 * level)
    else:
        found = compare_means(mean_of(tried), mean_of(baseline), level=2 * level)
    if guardrail.worse > 0:
        return replace(found, confidence=1 - level)
    return replace(found, value=-found.value, low=-found.high, high=-found.low, confidence=1 - level)


def _status(harm: Estimate, margin: float, p_value: float, level: float) -> str:
    if harm.high < margin:
        return HELD
    return BREACHED if p_value < level else NOT_SHOWN
