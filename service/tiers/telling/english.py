"""A standing told to its member, in English. Pure."""

from __future__ import annotations

from datetime import date, timedelta

from service.tiers.conditions import Metrics
from service.tiers.needs import Need, Rise
from service.tiers.periods import CalendarYear, MembershipYear, RollingWindow
from service.tiers.standing import Standing
from service.tiers.telling.english_rules import (
    count_text,
    day_text,
    describe_condition,
    month_name,
    tell_needs,
    with_noun,
)
from service.tiers.telling.numbers import money_text, ratio_text

_DAY = timedelta(days=1)


def explain(standing: Standing) -> str:
    """Tell where a member stands and why, what keeps the tier, and what is missing for the next."""
    sentences = [f"Your tier is {_name(standing)}, since {day_text(standing.since_day)}."]
    if standing.pinned_until:
        sentences += _tell_pin(standing)
    sentences.append(_tell_activity(standing))
    if standing.to_stay and not standing.pinned_until:
        sentences += _tell_stay(standing)
    if standing.to_rise and standing.to_rise.missing:
        sentences += _tell_rise(standing, standing.to_rise)
    return " ".join(sentences)


def _name(standing: Standing) -> str:
    return standing.tier.names["en"]


def _tell_pin(standing: Standing) -> list[str]:
    until = (standing.pinned_until or standing.day) - _DAY
    sentences = [f"It is set until {day_text(until)}, whatever you buy; after that your purchases decide."]
    if standing.rated is not None and standing.rated.rank != standing.tier.rank:
        sentences.append(f"By your purchases alone you would be {standing.rated.names['en']} now.")
    return sentences


def _tell_activity(standing: Standing) -> str:
    metrics, currency = standing.metrics, standing.currency
    period, spent = _period(standing), money_text(metrics.net_spend_minor, currency=currency)
    if metrics.days_since_last_visit is None:
        return f"{period} no purchase counts" + (
            f"; your net spend is {spent}." if metrics.net_spend_minor else "."
        )
    last = standing.day - timedelta(days=metrics.days_since_last_visit)
    spend = f"your net spend is {spent}" if metrics.net_spend_minor < 0 else f"spent {spent} in all"
    return (
        f"{period} you shopped on {count_text(metrics.active_days, 'day')}{_rhythm(metrics)} "
        f"and {spend}; your last purchase was on {day_text(last)}."
    )


def _rhythm(metrics: Metrics) -> str:
    gaps = metrics.active_days - 1
    return "" if gaps < 1 else f", {with_noun(ratio_text(metrics.span_days, gaps), 'day')} apart on average,"


def _period(standing: Standing) -> str:
    first, last = standing.window_from, standing.day
    if isinstance(standing.window, MembershipYear):
        return f"In your membership year, which began on {day_text(first)},"
    if isinstance(standing.window, CalendarYear):
        return f"In {first.year}, up to {last.day} {month_name(last)},"
    return f"On {day_text(last)}" if first == last else f"From {day_text(first)} to {day_text(last)}"


def _tell_stay(standing: Standing) -> list[str]:
    unmet = [need for need in standing.to_stay if not need.met]
    if standing.falls_on is not None:
        return _tell_risk(standing, standing.falls_on, unmet)
    if standing.stands_until is not None:
        return _tell_judgement(standing, standing.stands_until)
    sentences = [f"That is enough to stay {_name(standing)}."]
    if standing.next_review_on is not None:
        sentences.append(f"Your tier is next reviewed by {day_text(standing.next_review_on)}.")
    return sentences


def _tell_risk(standing: Standing, falls_on: date, unmet: list[Need]) -> list[str]:
    name, held, ends = _name(standing), standing.protected_until, day_text(falls_on - _DAY)
    if held is None:
        state = f"{_tell_lapse(standing)}, and the grace period runs until {ends}."
    else:
        state = f"{_tell_lapse(standing)}, which is yours until {day_text(held - _DAY)} all the same"
        state += "." if falls_on <= held else f", followed by a grace period until {ends}."
    needed = tell_needs(unmet, currency=standing.currency)
    return [
        state,
        *([f"To stay {name} you need {needed}."] if unmet else []),
        f"Otherwise your tier falls on {day_text(falls_on)}.",
    ]


def _tell_lapse(standing: Standing) -> str:
    if standing.unqualified_since is None or isinstance(standing.window, RollingWindow | None):
        return f"That is no longer enough for {_name(standing)}"
    last = day_text(standing.unqualified_since - _DAY)
    return f"What you bought in the period that ended on {last} was not enough for {_name(standing)}"


def _tell_judgement(standing: Standing, judged_on: date) -> list[str]:
    name, last = _name(standing), day_text(judged_on - _DAY)
    sentences = [f"{name} is yours until {last}."]
    if standing.judged_from is not None and standing.judged_from > standing.day:
        condition = standing.tier.keep or standing.tier.enter
        if condition is not None:
            rule = describe_condition(condition, currency=standing.currency)
            sentences.append(
                f"To keep it after that you need, from {day_text(standing.judged_from)} on: {rule}."
            )
    elif unmet := [need for need in standing.to_keep or () if not need.met]:
        needed = tell_needs(unmet, currency=standing.currency, when="then")
        sentences.append(f"To keep it after that you still need, by then, {needed}.")
    else:
        sentences.append("What you have bought so far would be enough to keep it after that.")
    return sentences


def _tell_rise(standing: Standing, rise: Rise) -> list[str]:
    name, missing = rise.tier.names["en"], tell_needs(rise.missing, currency=standing.currency)
    if standing.pinned_until:
        # Nothing that is bought moves a tier that is set.
        return [f"To be {name} by your purchases you still need {missing}."]
    sentences = [f"For {name} you still need {missing}."]
    if rise.one_order_is_enough:
        sentences.append("One order today can be enough.")
    elif any(need.leaf.metric != "member_days" for need in rise.missing):
        sentences.append(f"One order alone cannot reach it{tell_undone(rise, standing.currency)}.")
    return sentences


def tell_undone(rise: Rise, currency: str) -> str:
    """Return what an order today would undo, as the end of a sentence."""
    if not rise.undone:
        return ""
    return f": after one today you would also need {tell_needs(rise.undone, currency=currency, when='then')}"
