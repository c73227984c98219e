"""The account of a tier in English: for its member, and for staff. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from service.tiers.conditions import MetricName, Metrics
from service.tiers.grounds.rules import Account, Counted, Leaving, Step
from service.tiers.needs import Need
from service.tiers.rules import Tier
from service.tiers.telling import english
from service.tiers.telling.english_rules import count_text, day_text, join, tell_needs
from service.tiers.telling.numbers import money_text

_DAY = timedelta(days=1)
_SHOWN = 3
_CAUSES = {
    "roll_off": "because days left the window or too much time passed",
    "merge": "by a merge of two members",
    "manual": "by hand",
    "late_fact": "by a fact that came late",
    "import": "by an import",
}


def explain_to_member(account: Account) -> str:
    """Tell a member where they stand, and which purchases stop counting next."""
    told = english.explain(account.standing)
    leaving = next((leaving for leaving in account.leaving if leaving.net_minor > 0), None)
    if leaving is None:
        return told
    amount = money_text(leaving.net_minor, currency=account.standing.currency)
    first, last = day_text(leaving.facts[0].day), day_text(leaving.facts[-1].day)
    what = f"what you bought on {first}" if first == last else f"what you bought from {first} to {last}"
    return f"{told} On {day_text(leaving.on)} {what} ({amount}) stops counting."


def explain_to_staff(account: Account) -> str:
    """Tell staff which tier is held and why, what counts, what leaves, and what comes next."""
    sentences = [_tell_tier(account), _tell_reached(account), *_tell_reason(account), *_tell_counted(account)]
    sentences += [_tell_leaving(account, leaving) for leaving in account.leaving[:_SHOWN]]
    more = len(account.leaving) - _SHOWN
    if more > 0:
        sentences.append(f"More leaves on {count_text(more, 'later day')}.")
    return " ".join([*sentences, *_tell_missing(account), *_tell_outlook(account.outlook)])


def _tell_tier(account: Account) -> str:
    standing = account.standing
    return (
        f"The member has been {_name(standing.tier)} since {day_text(standing.since_day)}, "
        f"under rule set {account.rules.version}."
    )


def _tell_reached(account: Account) -> str:
    reached = account.reached
    change, day = reached.change, day_text(reached.on)
    if change.cause == "enrol":
        return f"The membership began on {day}."
    cause = _CAUSES.get(change.cause, "")
    if change.cause == "order":
        cause = f"by the order {reached.order_id}"
    elif change.cause == "refund":
        of_order = f"the cancellation of the order {reached.order_id}"
        cause = f"by {of_order}" if reached.refund_id is None else f"by the refund {reached.refund_id}"
    elif change.cause == "rule_change":
        cause = f"by rule set {change.rules.version}"
    left = reached.from_tier
    return f"It was reached on {day}{'' if left is None else f' from {_name(left)}'}, {cause}."


def _tell_reason(account: Account) -> list[str]:
    standing, name = account.standing, _name(account.standing.tier)
    override = account.override
    if override is not None:
        rated = _name(standing.rated or standing.tier)
        return [
            f"It is set by hand until {day_text(override.ends_on - _DAY)}, by {override.actor} "
            f'("{override.reason}"); the rating underneath is {rated}.'
        ]
    if account.reason == "base":
        return ["It is the base tier, which asks for nothing."]
    if account.reason in ("enter", "keep"):
        needs = _tell_met(account.branch, standing.currency)
        told = [f"It stands because its condition to {account.reason} holds: {needs}."]
        until = standing.stands_until
        if until is not None and until > standing.day:
            told.append(f"By its period it stands until {day_text(until - _DAY)} in any case.")
        return told
    if account.reason == "period" and standing.stands_until is not None:
        return [f"{name} stands until {day_text(standing.stands_until - _DAY)}, when its period is judged."]
    lapse = standing.unqualified_since
    since = "" if lapse is None else f" since {day_text(lapse)}"
    if account.reason == "grace" and standing.falls_on is not None:
        ends = day_text(standing.falls_on - _DAY)
        return [f"Its conditions have not held{since}; the grace period runs until {ends}."]
    held = standing.protected_until
    hold = "" if held is None else f"; the minimum hold runs until {day_text(held - _DAY)}"
    return [f"Its conditions have not held{since}{hold}."]


def _tell_met(branch: Sequence[Need], currency: str, *, when: str = "now") -> str:
    return tell_needs(branch, currency=currency, spend="net spend", when=when)


def _tell_counted(account: Account) -> list[str]:
    standing, metrics = account.standing, account.standing.metrics
    period = f"from {day_text(standing.window_from)} on"
    if not account.counted:
        return [f"No order counts {period}."]
    orders = sum(fact.kind == "order" and fact.counts for fact in account.counted)
    what = (
        f"{count_text(orders, 'order')} {'counts' if orders == 1 else 'count'}"
        if orders
        else "No order counts"
    )
    told = [
        f"{what} {period}: net spend of {money_text(metrics.net_spend_minor, currency=standing.currency)} "
        f"and {count_text(metrics.active_days, 'day')} with a purchase."
    ]
    refunds, cancellations, taken = account.given_back()
    if refunds or cancellations:
        counts = [(refunds, "refund"), (cancellations, "cancellation")]
        who = join([count_text(count, noun) for count, noun in counts if count])
        told.append(f"{who} took {money_text(taken, currency=standing.currency)} off.")
    return told


def _tell_leaving(account: Account, leaving: Leaving) -> str:
    standing = account.standing
    what = _tell_facts(leaving.facts)
    verb = "leaves" if len(leaving.facts) == 1 else "leave"
    changes = [
        f"{_METRICS[name]} becomes {_value(name, leaving.after, standing.currency)}"
        for name in leaving.changed()
    ]
    told = f"On {day_text(leaving.on)} {what} {verb}"
    told += f": {join(changes)}" if changes else ""
    if leaving.decides:
        told += f"; from then on it is not enough for {_name(standing.rated or standing.tier)}"
    return f"{told}."


_METRICS: dict[MetricName, str] = {
    "net_spend": "net spend",
    "active_days": "the number of days with a purchase",
    "orders": "the number of orders",
    "visit_interval_days": "the time between visits",
}


def _value(name: MetricName, metrics: Metrics, currency: str) -> str:
    value = metrics.value_of(name)
    if value is None:
        return "unknown"
    if name == "net_spend":
        return money_text(int(value), currency=currency)
    return count_text(value, "day") if name == "visit_interval_days" else f"{int(value):,}"


def _tell_facts(facts: Sequence[Counted]) -> str:
    if len(facts) > _SHOWN:
        return f"{len(facts)} orders and refunds"
    return join([f"the {fact.kind} {fact.fact_id} of {day_text(fact.day)}" for fact in facts])


def _tell_missing(account: Account) -> list[str]:
    standing, told = account.standing, []
    unmet = [need for need in standing.to_stay if not need.met]
    rated = _name(standing.rated or standing.tier)
    if unmet:
        told.append(f"Missing to stay {rated}: {_tell_met(unmet, standing.currency)}.")
    rise = standing.to_rise
    if rise is not None and rise.missing:
        enough = "one order today can be enough" if rise.one_order_is_enough else "no single order is enough"
        undone = _tell_met(rise.undone, standing.currency, when="then")
        told.append(
            f"Missing for {_name(rise.tier)}: {_tell_met(rise.missing, standing.currency)}; {enough}"
            + (f", since one today would undo {undone}." if undone else ".")
        )
    return told


def _tell_outlook(steps: Sequence[Step]) -> list[str]:
    if not steps:
        return ["If nothing more is bought, the tier stays."]
    told = [
        f"at risk of losing {_name(step.tier)} from {day_text(step.on)}"
        if step.kind == "at_risk"
        else f"{_name(step.tier)} from {day_text(step.on)}"
        for step in steps
    ]
    return [f"If nothing more is bought: {', '.join(told)}."]


def _name(tier: Tier) -> str:
    return tier.names["en"]
