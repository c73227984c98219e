"""One metric of two arms, compared in every way the report shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from service.experiments.statistics.always_valid import bound, shrunk_share
from service.experiments.statistics.cuped import adjust
from service.experiments.statistics.means import compare_means, mean_of, ratio_of, relate_means
from service.experiments.statistics.multiplicity import holm
from service.experiments.statistics.plan import Kind, Looks, Metric, Plan
from service.experiments.statistics.proportions import compare_shares, find_fault, relate_shares
from service.experiments.statistics.report import ArmFigure, Estimate, MetricReport
from service.experiments.statistics.strata import combine_means, combine_shares, pair_up
from service.experiments.statistics.sums import ArmSums, Moments, merge


@dataclass(frozen=True, slots=True)
class Sides:
    """The tried arm and the baseline, added up per stratum and metric."""

    tried: Mapping[str, Mapping[str, Moments]]
    baseline: Mapping[str, Mapping[str, Moments]]

    def whole(self, metric: Metric) -> tuple[Moments, Moments]:
        """Return the moments of a metric over all strata: tried, baseline."""
        return (
            merge(metrics[metric.name] for metrics in self.tried.values()),
            merge(metrics[metric.name] for metrics in self.baseline.values()),
        )

    def by_stratum(self, metric: Metric) -> tuple[dict[str, Moments], dict[str, Moments]]:
        """Return the moments of a metric by stratum: tried, baseline."""
        return (
            {name: metrics[metric.name] for name, metrics in self.tried.items()},
            {name: metrics[metric.name] for name, metrics in self.baseline.items()},
        )


def take_sides(arms: Iterable[ArmSums], plan: Plan, metrics: Iterable[Metric]) -> Sides:
    """Return the two arms of the plan with the given metrics, other arms left out.

    Raises:
        ValueError: an arm the plan does not know, a metric without sums, metrics that count different
            members, or a yes-or-no metric with other values.
    """
    sides: dict[str, dict[str, dict[str, Moments]]] = {plan.tried: {}, plan.baseline: {}}
    wanted = tuple(metrics)
    for arm in arms:
        if arm.arm not in plan.shares_bp:
            raise ValueError(f"the plan knows no arm {arm.arm}")
        if arm.arm not in sides:
            continue
        check_sums(arm, wanted)
        into = sides[arm.arm].setdefault(arm.stratum, {})
        for metric in wanted:
            into[metric.name] = into.get(metric.name, Moments()) + arm.metrics[metric.name]
    return Sides(sides[plan.tried], sides[plan.baseline])


def check_sums(arm: ArmSums, metrics: Iterable[Metric]) -> None:
    """Raise a ValueError unless an arm's sums hold every metric, of the same members, shares as 0 and 1."""
    for metric in metrics:
        moments = arm.metrics.get(metric.name)
        if moments is None:
            raise ValueError(f"arm {arm.arm} has no sums of {metric.name}")
        if moments.members != arm.members:
            raise ValueError(f"{metric.name} of arm {arm.arm} counts other members than the rest")
        fault = find_fault(moments) if metric.kind is Kind.SHARE else None
        if fault is not None:
            raise ValueError(f"{metric.name} of arm {arm.arm}: {fault}")


def compare_metric(sides: Sides, metric: Metric, plan: Plan) -> MetricReport:
    """Return a metric compared: headline, ratio, CUPED, by stratum and always valid.

    Both arms hold two members or more. A ratio has its difference and relative difference alone.
    """
    tried, baseline = sides.whole(metric)
    if metric.kind is Kind.RATIO:
        return _compare_ratio(tried, baseline, metric, plan)
    shares = metric.kind is Kind.SHARE
    pairs = pair_up(*sides.by_stratum(metric))
    combine, mean = (combine_shares, shrunk_share) if shares else (combine_means, mean_of)
    level = plan.level
    found = MetricReport(
        metric.name,
        metric.kind.value,
        metric.unit.value,
        _figure(plan.baseline, baseline, baseline.mean),
        _figure(plan.tried, tried, tried.mean),
        difference=find_difference(tried, baseline, metric, level=level),
        relative=(
            relate_shares(tried, baseline, level=level)
            if shares
            else relate_means(mean_of(tried), mean_of(baseline), level=level)
        ),
        stratified=combine(pairs, level=level) if len(pairs) > 1 else None,
        # Asymptotic: it holds from the looks on at which both arms have the plan's minimum.
        always_valid=(
            bound(mean(tried), mean(baseline), level=level, planned_members=plan.planned_members)
            if min(tried.members, baseline.members) >= plan.minimum_members
            else None
        ),
    )
    adjusted = adjust(tried, baseline)
    if adjusted is None:
        return found
    return replace(
        found,
        adjusted=compare_means(adjusted.tried, adjusted.baseline, level=level, method="cuped"),
        adjusted_relative=relate_means(adjusted.tried, adjusted.baseline, level=level, method="cuped"),
        variance_left=adjusted.variance_left,
    )


def find_difference(tried: Moments, baseline: Moments, metric: Metric, *, level: float) -> Estimate:
    """Return the headline difference of a share (Newcombe) or a mean (Welch)."""
    if metric.kind is Kind.SHARE:
        return compare_shares(tried, baseline, level=level)
    return compare_means(mean_of(tried), mean_of(baseline), level=level)


def _compare_ratio(tried: Moments, baseline: Moments, metric: Metric, plan: Plan) -> MetricReport:
    first, second = ratio_of(tried), ratio_of(baseline)
    if first is None or second is None:
        figures = (_figure(plan.baseline, baseline, None), _figure(plan.tried, tried, None))
        return MetricReport(metric.name, metric.kind.value, metric.unit.value, *figures, difference=None)
    return MetricReport(
        metric.name,
        metric.kind.value,
        metric.unit.value,
        _figure(plan.baseline, baseline, second.mean),
        _figure(plan.tried, tried, first.mean),
        difference=compare_means(first, second, level=plan.level, method="delta"),
        relative=relate_means(first, second, level=plan.level, method="delta"),
    )


def _figure(arm: str, moments: Moments, mean: float | None) -> ArmFigure:
    return ArmFigure(arm, moments.members, moments.total, mean)


def compare_secondaries(sides: Sides, plan: Plan) -> tuple[MetricReport, ...]:
    """Return the secondary metrics, their p-values adjusted by Holm."""
    found = [compare_metric(sides, metric, plan) for metric in plan.secondaries]
    looked = plan.looks is Looks.ANY_TIME
    decided = [one.always_valid if looked else one.difference for one in found]
    adjusted = holm([1.0 if one is None or one.p_value is None else one.p_value for one in decided])
    return tuple(replace(one, holm_p=p_value) for one, p_value in zip(found, adjusted, strict=True))
