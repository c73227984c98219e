"""The account of a tier: which facts count, what leaves the window when, and why the tier stands. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from service.activity.rules import TierFact
from service.tiers.conditions import MetricName, Metrics
from service.tiers.fold import MemberFold
from service.tiers.needs import Need, needs_of
from service.tiers.periods import RollingWindow
from service.tiers.rules import RuleSet, Tier
from service.tiers.spans import Change
from service.tiers.standing import Standing

Reason = Literal["base", "override", "enter", "keep", "period", "hold", "grace"]
"""Why a tier stands: nothing is asked of the base; staff set it; a condition holds; or it is not over yet."""

OUTLOOK_DAYS = 731
_MOST_STEPS = 24
_LEAVING: tuple[MetricName, ...] = ("net_spend", "active_days", "orders", "visit_interval_days")


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A refund of an order, or its cancellation: what it took from the order's day, ≤ 0."""

    kind: Literal["refund", "cancellation"]
    refund_id: str | None
    at: datetime
    goods_minor: int
    net_minor: int


@dataclass(frozen=True, slots=True)
class Counted:
    """An order of the window, with what was given back of it; or a refund that names no order.

    `leaves_on` is the first day on which it does not count any more.
    """

    kind: Literal["order", "refund"]
    fact_id: str
    at: datetime
    day: date
    goods_minor: int
    net_minor: int
    given_back: tuple[GivenBack, ...]
    leaves_on: date

    @property
    def goods_left_minor(self) -> int:
        """What is left of the goods: above zero, the day is one with a purchase."""
        return self.goods_minor + sum(back.goods_minor for back in self.given_back)

    @property
    def net_left_minor(self) -> int:
        """What it adds to net spend."""
        return self.net_minor + sum(back.net_minor for back in self.given_back)

    @property
    def counts(self) -> bool:
        """Whether anything of it is left to count."""
        return self.goods_left_minor > 0 or self.net_left_minor != 0


@dataclass(frozen=True, slots=True)
class Leaving:
    """What does not count any more from one day on, and the metrics of that day if nothing more is bought.

    `enough`: whether the tier would still stand by its conditions; None where only a period's end judges.
    `decides`: whether they hold on the day before, and not any more on this one.
    """

    on: date
    facts: tuple[Counted, ...]
    before: Metrics
    after: Metrics
    enough: bool | None
    decides: bool

    @property
    def net_minor(self) -> int:
        """What net spend loses; below zero where a refund leaves."""
        return sum(fact.net_left_minor for fact in self.facts)

    def changed(self) -> tuple[MetricName, ...]:
        """Return the metrics that the leaving changes."""
        return tuple(name for name in _LEAVING if self.before.value_of(name) != self.after.value_of(name))


@dataclass(frozen=True, slots=True)
class Step:
    """What happens by itself if nothing more is bought: a tier is at risk of a fall, or another is held."""

    on: date
    kind: Literal["at_risk", "tier"]
    tier: Tier
    falls_on: date | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """The movement that brought the tier held, with the ids of what caused it."""

    change: Change
    on: date
    from_tier: Tier | None
    order_id: str | None
    refund_id: str | None


@dataclass(frozen=True, slots=True)
class Override:
    """The pin that holds a tier, and who set it why."""

    ends_on: date
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class Account:
    """Everything a tier rests on, seen from one day."""

    standing: Standing
    rules: RuleSet
    reason: Reason
    branch: tuple[Need, ...]
    qualified: Tier
    reached: Reached
    override: Override | None
    counted: tuple[Counted, ...]
    leaving: tuple[Leaving, ...]
    outlook: tuple[Step, ...]

    def given_back(self) -> tuple[int, int, int]:
        """Return how many refunds and how many cancellations are taken into account, and their amount."""
        backs = [back for fact in self.counted for back in fact.given_back]
        unlinked = [fact for fact in self.counted if fact.kind == "refund"]
        cancelled = sum(back.kind == "cancellation" for back in backs)
        taken = -sum(back.net_minor for back in backs) - sum(fact.net_minor for fact in unlinked)
        return len(backs) - cancelled + len(unlinked), cancelled, taken


def give_account(
    member: MemberFold, facts: Sequence[TierFact], *, standing: Standing, override: Override | None
) -> Account:
    """Return what a standing rests on; `facts` are all that the member was folded from, by time."""
    counted = list_counted(facts, first=standing.window_from, leaves_on=_leaves_on(member))
    reason, branch = _find_reason(member, standing)
    return Account(
        standing=standing,
        rules=member.rules,
        reason=reason,
        branch=branch,
        qualified=member.rules.tiers[member.rules.qualified_rank(standing.metrics)],
        reached=_find_reached(member, facts),
        override=override,
        counted=counted,
        leaving=_list_leaving(member, counted, standing),
        outlook=_look_out(member, standing.day),
    )


def list_counted(
    facts: Iterable[TierFact], *, first: date, leaves_on: Callable[[date], date]
) -> tuple[Counted, ...]:
    """Return the orders and the unlinked refunds of the days from `first` on, the latest first."""
    inside = [fact for fact in facts if fact.day >= first]
    given_back: dict[int | None, list[GivenBack]] = {}
    for fact in inside:
        if fact.cause == "refund" and fact.order_key is not None:
            given_back.setdefault(fact.order_key, []).append(_give_back(fact))
    found = [
        Counted(
            kind=fact.cause,
            fact_id=fact.source_id,
            at=fact.at,
            day=fact.day,
            goods_minor=fact.goods_delta,
            net_minor=fact.spend_delta - fact.unlinked_delta,
            given_back=tuple(given_back.get(fact.order_key, ())) if fact.cause == "order" else (),
            leaves_on=leaves_on(fact.day),
        )
        for fact in inside
        if fact.cause == "order" or fact.order_key is None
    ]
    return tuple(sorted(found, key=lambda counted: (counted.day, counted.at, counted.fact_id), reverse=True))


def _give_back(fact: TierFact) -> GivenBack:
    # A cancellation has no id of its own; its fact carries the order's.
    is_refund = fact.refund_key is not None
    return GivenBack(
        kind="refund" if is_refund else "cancellation",
        refund_id=fact.source_id if is_refund else None,
        at=fact.at,
        goods_minor=fact.goods_delta,
        net_minor=fact.spend_delta,
    )


def _leaves_on(member: MemberFold) -> Callable[[date], date]:
    window = member.rules.window
    if isinstance(window, RollingWindow):
        days = timedelta(days=window.days)
        return lambda day: day + days
    return lambda day: member.window_on(day)[1]


def _find_reason(member: MemberFold, standing: Standing) -> tuple[Reason, tuple[Need, ...]]:
    rules, rank, metrics = member.rules, member.rated.rank, standing.metrics
    tier = rules.tiers[rank]
    if member.pin is not None or tier.enter is None:
        return ("base" if member.pin is None else "override"), ()
    if rules.enters(rank, metrics):
        return "enter", needs_of(tier.enter, metrics)
    if tier.keep is not None and rules.stands(rank, metrics):
        return "keep", needs_of(tier.keep, metrics)
    if standing.unqualified_since is None:
        return "period", ()
    return ("grace" if standing.at_risk else "hold"), ()


def _find_reached(member: MemberFold, facts: Sequence[TierFact]) -> Reached:
    change = member.changes[-1]
    refund_id = order_id = None
    if change.order_key is not None:
        order_id = next(
            fact.source_id for fact in facts if fact.order_key == change.order_key and fact.cause == "order"
        )
    if change.refund_key is not None:
        refund_id = next(fact.source_id for fact in facts if fact.refund_key == change.refund_key)
    return Reached(
        change=change,
        on=date.fromordinal(member.day_of(change.effective_at)),
        from_tier=next((tier for tier in member.rules.tiers if tier.code == change.from_tier), None),
        order_id=order_id,
        refund_id=refund_id,
    )


def _list_leaving(member: MemberFold, counted: Sequence[Counted], standing: Standing) -> tuple[Leaving, ...]:
    rules, rank, twin = member.rules, member.rated.rank, member.ahead()
    is_rolling = isinstance(rules.window, RollingWindow)
    by_day: dict[date, list[Counted]] = {}
    for fact in reversed(counted):
        if fact.counts:
            by_day.setdefault(fact.leaves_on, []).append(fact)

    def holds_with(metrics: Metrics) -> bool:
        return rules.qualified_rank(metrics) >= rank or rules.stands(rank, metrics)

    found: list[Leaving] = []
    before = standing.metrics
    for day in sorted(by_day):
        held = holds_with(twin.measure(day - timedelta(days=1)))
        after = twin.measure(day)
        enough = holds_with(after) if is_rolling else None
        found.append(Leaving(day, tuple(by_day[day]), before, after, enough, held and enough is False))
        before = after
    return tuple(found)


def _look_out(member: MemberFold, day: date) -> tuple[Step, ...]:
    """Return what time alone will bring under the rules of today, in order of time."""
    twin = member.ahead()
    twin.catch_up(day + timedelta(days=OUTLOOK_DAYS))
    steps = [
        Step(notice.on, "at_risk", notice.tier, notice.falls_on)
        for notice in twin.notices
        if notice.kind == "first"
    ]
    steps += [
        Step(date.fromordinal(twin.day_of(change.effective_at)), "tier", change.rules.tiers[change.to_rank])
        for change in twin.changes
    ]
    return tuple(sorted(steps, key=lambda step: step.on)[:_MOST_STEPS])
