"""The sentences of a verdict in English. Pure."""

from __future__ import annotations

from service.experiments.statistics.noninferiority import NOT_SHOWN
from service.experiments.statistics.plan import Looks, Plan, Unit
from service.experiments.statistics.report import Estimate, GuardrailReport, Results
from service.experiments.statistics.wording import (
    EN,
    Counts,
    list_guardrails,
    name_anchor,
    name_metric,
    name_total,
    show_change,
    show_level,
    show_percent,
    show_size,
    show_worth,
)


def tell_invalid() -> list[str]:
    """Say that nothing can be said, without a number."""
    return [
        "The arms do not have the sizes they were given, and chance does not explain it.",
        "Members or exposures of one arm are missing or counted twice, so the arms can no longer be compared "
        "and no result is shown.",
        "This says nothing about the effect, good or bad: find the cause and run the experiment again.",
    ]


def tell_immature(plan: Plan, counts: Counts) -> list[str]:
    """Say that it is too early."""
    return [
        f"Too early: the windows of {counts.tried:,} members of arm {plan.tried} and of "
        f"{counts.baseline:,} of arm {plan.baseline} have closed, and {plan.minimum_members:,} of each are "
        "needed.",
        f"{counts.tried_immature + counts.baseline_immature:,} more are still within theirs.",
        "This says nothing about the effect.",
    ]


def tell_insufficient(plan: Plan, counts: Counts, results: Results | None) -> list[str]:
    """Say that there are too few, and what so few can show."""
    return [
        f"Too few members: {counts.tried:,} in arm {plan.tried} and {counts.baseline:,} in arm "
        f"{plan.baseline}, where {plan.minimum_members:,} of each are needed.",
        *([tell_smallest(results, plan)] if results else []),
        "This does not say that there is no effect.",
    ]


def tell_breach(guardrail: GuardrailReport, plan: Plan) -> str:
    """Say which guardrail is breached, by how much."""
    unit = guardrail.unit
    return (
        f"A guardrail is breached: the {name_metric(guardrail.metric, EN)} got worse by "
        f"{show_size(guardrail.harm.value, unit, plan)}{_points(unit)}, where "
        f"{show_size(guardrail.margin, unit, plan)} is the most that is allowed and "
        f"{show_size(guardrail.harm.high, unit, plan)} cannot be ruled out. "
        "The tried arm should not be given to more members, whatever else it does."
    )


def tell_found(results: Results, decided: Estimate, plan: Plan) -> str:
    """Say what was found."""
    metric = results.primary
    tried, baseline, unit = metric.tried, metric.baseline, metric.unit
    return (
        f"Within {plan.window_days} days of {name_anchor(plan.anchor, EN)}, the "
        f"{name_metric(metric.metric, EN)} was {show_level(tried.mean, unit, plan)} for "
        f"{tried.members:,} members of arm {plan.tried} and "
        f"{show_level(baseline.mean, unit, plan)} for {baseline.members:,} of arm {plan.baseline}: "
        f"a difference of {show_change(decided.value, unit, plan)}{_points(unit)} "
        f"({show_percent(decided.confidence)} interval {show_change(decided.low, unit, plan)} to "
        f"{show_change(decided.high, unit, plan)})."
    )


def tell_sure(decided: Estimate, plan: Plan) -> str:
    """Say how sure that is."""
    looked = "however often one looks" if plan.looks is Looks.ANY_TIME else "if it is read once, at the end"
    error = f"in at most {show_percent(1 - decided.confidence)} of experiments, {looked}"
    if decided.low > 0:
        return f"The whole interval lies above zero: were there no difference, it would miss zero {error}."
    if decided.high < 0:
        return f"The whole interval lies below zero: were there no difference, it would miss zero {error}."
    return (
        "The interval holds zero: this experiment cannot tell the arms apart, which is no proof of no effect."
    )


def tell_smallest(results: Results, plan: Plan) -> str:
    """Say what so many members can show."""
    smallest = results.smallest_detectable
    if smallest is None:
        return "With this many members no difference could be shown."
    unit = plan.primary.unit.value
    return (
        "With this many members, a difference of "
        f"{show_size(smallest.difference, unit, plan)}{_points(unit)} is found with "
        f"{show_percent(smallest.power)} chance; much smaller ones mostly are not."
    )


def tell_worth(results: Results, plan: Plan) -> list[str]:
    """Say what it is worth a year, nothing where that is not money."""
    worth = results.worth_a_year
    if worth is None:
        return []
    amount, low, high = show_worth(worth, plan)
    return [
        f"Given to {worth.members:,} members and lasting all year, it would change their "
        f"{name_total(worth.metric, EN)} by about {amount} a year (between {low} and {high})."
    ]


def tell_unshown(results: Results) -> list[str]:
    """Say which guardrails are open."""
    names = [name_metric(one.metric, EN) for one in list_guardrails(results, NOT_SHOWN)]
    return [f"Not yet shown to be harmless: {', '.join(names)}."] if names else []


def tell_limits(plan: Plan) -> str:
    """Say what it does not say."""
    return (
        f"It does not say that the effect lasts beyond {plan.window_days} days, that it is the same for "
        "every member, or why it is there."
    )


def _points(unit: str) -> str:
    return " percentage points" if unit == Unit.SHARE else ""
