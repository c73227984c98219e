"""From sums to one verdict, in an order of work that leaves no room for wishes. Pure.

Sample ratio first: arms of the wrong sizes give no number at all. Then who was left out, and whether enough
are mature. Then the primary metric, the guardrails, and what it is worth. Everything was fixed in the plan.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.experiments.statistics.comparison import (
    Sides,
    compare_metric,
    compare_secondaries,
    take_sides,
)
from service.experiments.statistics.means import mean_of
from service.experiments.statistics.noninferiority import BREACHED, judge
from service.experiments.statistics.plan import Kind, Looks, Plan, Unit
from service.experiments.statistics.power import smallest_mean_difference, smallest_share_difference
from service.experiments.statistics.pull_forward import list_windows
from service.experiments.statistics.report import (
    AttributedFigure,
    AttributedSection,
    Estimate,
    GuardrailReport,
    MetricReport,
    Omitted,
    Report,
    Results,
    SampleRatio,
    Smallest,
    Verdict,
    Worth,
)
from service.experiments.statistics.sample_ratio import INVALID, judge_ratio
from service.experiments.statistics.sentences import tell
from service.experiments.statistics.sums import Attributed, Draw, Evidence
from service.experiments.statistics.wording import ATTRIBUTED_LABEL, Counts

IMMATURE_REASON = "immature"
DAYS_OF_A_YEAR = 365
LEAST_FOR_A_SPREAD = 2


def analyse(evidence: Evidence, plan: Plan) -> Report:
    """Return the report of one tried arm against the baseline: everything the experiment can say.

    Raises:
        ValueError: sums that do not fit the plan (an unknown arm, a missing metric, other members).
    """
    sides = take_sides(evidence.arms, plan, plan.list_metrics())
    ratio = judge_ratio(evidence.draws or _draws_of(evidence, plan))
    counts = _count(evidence, sides, plan)
    if ratio.status == INVALID:
        return _report(Verdict.INVALID_SRM, evidence, plan, ratio, counts, None)
    if counts.fewest < plan.minimum_members:
        ripening = counts.fewest_with_immature >= plan.minimum_members
        verdict = Verdict.IMMATURE if ripening else Verdict.INSUFFICIENT
        readable = not ripening and counts.fewest >= LEAST_FOR_A_SPREAD
        results = _find_results(sides, evidence, plan, enough=False) if readable else None
        return _report(verdict, evidence, plan, ratio, counts, results)
    results = _find_results(sides, evidence, plan, enough=True)
    return _report(_decide(results, plan), evidence, plan, ratio, counts, results)


def _draws_of(evidence: Evidence, plan: Plan) -> tuple[Draw, ...]:
    """Return what the arms' own sums say of the draw: the mature by stratum, the immature beside them."""
    strata: dict[str, dict[str, int]] = {}
    for arm in evidence.arms:
        members = strata.setdefault(arm.stratum, dict.fromkeys(plan.shares_bp, 0))
        members[arm.arm] += arm.members
    if not strata:
        strata[""] = dict.fromkeys(plan.shares_bp, 0)
    draws = [Draw(members, plan.shares_bp, stratum) for stratum, members in strata.items()]
    waiting = [one for one in evidence.left_out if one.reason == IMMATURE_REASON]
    if waiting:
        members = dict.fromkeys(plan.shares_bp, 0)
        for one in waiting:
            if one.arm is not None:
                members[one.arm] = members.get(one.arm, 0) + one.members
        draws.append(Draw(members, plan.shares_bp, IMMATURE_REASON))
    return tuple(draws)


def _count(evidence: Evidence, sides: Sides, plan: Plan) -> Counts:
    tried, baseline = sides.whole(plan.primary)

    def waiting(arm: str) -> int:
        return sum(
            one.members for one in evidence.left_out if one.arm == arm and one.reason == IMMATURE_REASON
        )

    return Counts(tried.members, baseline.members, waiting(plan.tried), waiting(plan.baseline))


def _find_results(sides: Sides, evidence: Evidence, plan: Plan, *, enough: bool) -> Results:
    """Return every number of the effect; what nothing is decided on is worth nothing yet."""
    primary = compare_metric(sides, plan.primary, plan)
    value = compare_metric(sides, plan.value_metric, plan)
    return Results(
        primary=primary,
        secondaries=compare_secondaries(sides, plan),
        ratios=tuple(compare_metric(sides, metric, plan) for metric in plan.ratios),
        guardrails=_judge_guardrails(sides, plan),
        smallest_detectable=_find_smallest(sides, plan),
        worth_a_year=_find_worth(value, plan) if enough else None,
        pull_forward=list_windows(sides, evidence.windows, plan),
        decided_on=_pick(primary, plan).method if enough else None,
    )


def _judge_guardrails(sides: Sides, plan: Plan) -> tuple[GuardrailReport, ...]:
    watched = [(one, *sides.whole(one.metric)) for one in plan.guardrails]
    planned = plan.planned_members if plan.looks is Looks.ANY_TIME else None
    return tuple(judge(watched, level=plan.level, planned_members=planned))


def _pick(metric: MetricReport, plan: Plan) -> Estimate:
    """Return the interval that decides: the one that allows for looking where somebody looks."""
    picked = metric.always_valid if plan.looks is Looks.ANY_TIME else metric.difference
    if picked is None:
        raise ValueError(f"{metric.metric} is not one to decide on")
    return picked


def _decide(results: Results, plan: Plan) -> Verdict:
    if any(one.status == BREACHED for one in results.guardrails):
        return Verdict.GUARDRAIL_BREACH
    decided = _pick(results.primary, plan)
    if decided.low > 0:
        return Verdict.POSITIVE
    return Verdict.NEGATIVE if decided.high < 0 else Verdict.INCONCLUSIVE


def _find_smallest(sides: Sides, plan: Plan) -> Smallest | None:
    tried, baseline = sides.whole(plan.primary)
    difference: float | None
    if plan.primary.kind is Kind.SHARE:
        difference = smallest_share_difference(
            share=baseline.mean,
            tried=tried.members,
            baseline=baseline.members,
            level=plan.level,
            power=plan.power,
        )
    else:
        difference = smallest_mean_difference(
            mean_of(tried), mean_of(baseline), level=plan.level, power=plan.power
        )
    if difference is None:
        return None
    relative = difference / baseline.mean if baseline.mean > 0 else None
    return Smallest(plan.primary.name, difference, relative, plan.power, plan.level)


def _find_worth(value: MetricReport, plan: Plan) -> Worth | None:
    """Return what the effect is worth a year, None where the value metric is not money."""
    if plan.value_metric.unit is not Unit.MINOR:
        return None
    picked = _pick(value, plan)
    rate = DAYS_OF_A_YEAR / plan.window_days
    amount, low, high = (
        round(bound * rate * plan.members_a_year) for bound in (picked.value, picked.low, picked.high)
    )
    return Worth(value.metric, plan.currency, amount, low, high, plan.members_a_year, rate)


def _attributed(figures: Sequence[Attributed]) -> AttributedSection | None:
    if not figures:
        return None
    told = tuple(AttributedFigure(one.name, one.value, one.unit, one.rule) for one in figures)
    return AttributedSection(ATTRIBUTED_LABEL, told)


def _report(
    verdict: Verdict,
    evidence: Evidence,
    plan: Plan,
    ratio: SampleRatio,
    counts: Counts,
    results: Results | None,
) -> Report:
    decided = _pick(results.primary, plan) if results is not None and results.decided_on else None
    return Report(
        experiment=plan.experiment,
        version=plan.version,
        baseline=plan.baseline,
        tried=plan.tried,
        anchor=plan.anchor,
        window_days=plan.window_days,
        verdict=verdict,
        sentence=tell(verdict, plan, counts, results, decided),
        sample_ratio=ratio,
        left_out=tuple(Omitted(one.arm, one.reason, one.members) for one in evidence.left_out),
        results=results,
        # Credit without the increment beside it is how shops are misled.
        attributed=_attributed(evidence.attributed) if results is not None else None,
    )
