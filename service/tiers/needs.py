"""What a member lacks for a condition: the branch that is nearest, and whether one order reaches it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, combinations, product
from math import prod
from typing import NamedTuple

from service.tiers.conditions import (
    AllOf,
    AnyOf,
    AtLeast,
    Compare,
    Condition,
    MetricName,
    Metrics,
    Predicate,
    compile_condition,
    holds,
    leaves_of,
    whole_bounds,
)
from service.tiers.rules import RuleSet, Tier

MOST_BRANCHES = 512
"""With more ways to meet a condition, parts are chosen one by one rather than all ways compared."""


_End = tuple[Fraction, int]
_Leaf = tuple[Compare, Predicate]


@dataclass(frozen=True, slots=True)
class Need:
    """One comparison of a condition beside what the member has; `have` None is undefined."""

    leaf: Compare
    have: int | Fraction | None
    met: bool


@dataclass(frozen=True, slots=True)
class Rise:
    """The next tier up, what is missing on the cheapest branch, and whether one order today could do it.

    `undone` is what holds now and would not after an order today: a visit after a long pause, say.
    """

    tier: Tier
    missing: tuple[Need, ...]
    one_order_is_enough: bool
    undone: tuple[Need, ...] = ()


def needs_to_stay(tier: Tier, metrics: Metrics) -> tuple[Need, ...]:
    """Return the needs of the cheapest way to stay, by `keep` or by `enter`; none for the base tier."""
    conditions = tuple(part for part in (tier.keep, tier.enter) if part is not None)
    return _needs_of_either(conditions, metrics) if conditions else ()


def rise_above(tier: Tier, rules: RuleSet, metrics: Metrics) -> Rise | None:
    """Return the way to the next tier up, None at the top."""
    if tier.rank + 1 >= len(rules.tiers):
        return None
    goal = rules.tiers[tier.rank + 1]
    if goal.enter is None:
        return None
    leaves, after = _easiest_of((goal.enter,), metrics), _after_an_order(metrics)
    return Rise(
        goal,
        missing=tuple(_beside(leaf, metrics, met=False) for leaf, met in leaves if not met(metrics)),
        one_order_is_enough=one_order_reaches(goal.enter, metrics),
        undone=tuple(
            _beside(leaf, after, met=False) for leaf, met in leaves if met(metrics) and not met(after)
        ),
    )


def needs_of(condition: Condition, metrics: Metrics) -> tuple[Need, ...]:
    """Return the comparisons of the branch that lacks least, beside what the member has."""
    return _needs_of_either((condition,), metrics)


def _needs_of_either(conditions: tuple[Condition, ...], metrics: Metrics) -> tuple[Need, ...]:
    return tuple(_beside(leaf, metrics, met=met(metrics)) for leaf, met in _easiest_of(conditions, metrics))


def _beside(leaf: Compare, metrics: Metrics, *, met: bool) -> Need:
    return Need(leaf, metrics.value_of(leaf.metric), met)


def easiest_branch(condition: Condition, metrics: Metrics) -> tuple[Compare, ...]:
    """Return the comparisons of the branch that lacks least, each once, in the written order.

    A branch that shopping can complete comes before one that has to wait for days to leave the window,
    and this before one that nobody can meet any more; then the fewest unmet, then the smallest gaps.
    """
    return tuple(leaf for leaf, _ in _easiest_of((condition,), metrics))


def _easiest_of(conditions: tuple[Condition, ...], metrics: Metrics) -> Sequence[_Leaf]:
    """Return the same of several conditions, any of which will do, each with its predicate."""
    known = _recall(conditions)
    if known.branches is None:
        whole = conditions[0] if len(conditions) == 1 else AnyOf(conditions)
        return [(leaf, compile_condition(leaf)) for leaf in _choose_by_parts(whole, metrics)]
    # A comparison stands in many branches: each is looked at once.
    lacks = [
        None if met(metrics) else _hopelessness(leaf, metrics.value_of(leaf.metric))
        for leaf, met in known.leaves
    ]
    ranked = [_rank([lacks[place] for place in branch.places], branch.agree) for branch in known.branches]
    least = min(ranked)
    nearest = [branch for branch, rank in zip(known.branches, ranked, strict=True) if rank == least]
    chosen = nearest[0]
    if len(nearest) > 1 and least[1]:
        chosen = min(nearest, key=lambda branch: _gaps(metrics, branch.leaves))
    return [known.leaves[place] for place in chosen.places]


class _Branch(NamedTuple):
    """Comparisons that together meet a condition, and their places among all there are.

    `agree` says whether meeting them all is possible.
    """

    leaves: tuple[Compare, ...]
    places: tuple[int, ...]
    agree: bool


class _Known(NamedTuple):
    """What there is to know of conditions before anybody is held against them; too many branches are None."""

    conditions: tuple[Condition, ...]
    branches: tuple[_Branch, ...] | None
    leaves: tuple[_Leaf, ...]
    met: tuple[Predicate, ...]
    spends: tuple[int, ...]


_known: dict[tuple[int, ...], _Known] = {}
"""By identity of the conditions, which the value keeps alive: published ones are parsed once a process."""
_MOST_KNOWN = 512


def _recall(conditions: tuple[Condition, ...]) -> _Known:
    key = tuple(map(id, conditions))
    found = _known.get(key)
    if found is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        found = _known[key] = _study(conditions)
    return found


def _study(conditions: tuple[Condition, ...]) -> _Known:
    leaves = tuple(dict.fromkeys(chain.from_iterable(map(leaves_of, conditions))))
    places = {leaf: place for place, leaf in enumerate(leaves)}
    branches = None
    if sum(map(_count_branches, conditions)) <= MOST_BRANCHES:
        branches = tuple(
            _Branch(branch, tuple(map(places.__getitem__, branch)), _agree(branch))
            for one in conditions
            for branch in _list_branches(one)
        )
    return _Known(
        conditions,
        branches,
        tuple((leaf, compile_condition(leaf)) for leaf in leaves),
        tuple(map(compile_condition, conditions)),
        tuple({whole_bounds(leaf)[0] for leaf in leaves if leaf.metric == "net_spend"}),
    )


def _rank(lacks: Sequence[int | None], agree: bool) -> tuple[int, int]:
    """Return how hopeless a branch is, and how many of its comparisons do not hold (None: it holds)."""
    unmet = [hopeless for hopeless in lacks if hopeless is not None]
    return max(unmet, default=0) if agree else 2, len(unmet)


def _count_branches(condition: Condition) -> int:
    if isinstance(condition, Compare):
        return 1
    counts = [_count_branches(part) for part in condition.of]
    if isinstance(condition, AllOf):
        return prod(counts)
    # ways[k]: how many ways there are to choose k of the parts, each with one of its branches.
    ways = [1] + [0] * _wanted(condition)
    for count in counts:
        for k in range(len(ways) - 1, 0, -1):
            ways[k] += ways[k - 1] * count
    return ways[-1]


def _list_branches(condition: Condition) -> Iterator[tuple[Compare, ...]]:
    if isinstance(condition, Compare):
        yield (condition,)
        return
    for parts in combinations(condition.of, _wanted(condition)):
        for chosen in product(*(tuple(_list_branches(part)) for part in parts)):
            yield _once(chain.from_iterable(chosen))


def _choose_by_parts(condition: Condition, metrics: Metrics) -> tuple[Compare, ...]:
    if isinstance(condition, Compare):
        return (condition,)
    branches = [_choose_by_parts(part, metrics) for part in condition.of]
    cheapest = sorted(range(len(branches)), key=lambda index: _cost(branches[index], metrics))
    chosen = sorted(cheapest[: _wanted(condition)])
    return _once(leaf for index in chosen for leaf in branches[index])


def _wanted(condition: AllOf | AnyOf | AtLeast) -> int:
    if isinstance(condition, AtLeast):
        return condition.k
    return len(condition.of) if isinstance(condition, AllOf) else 1


def _once(leaves: Iterable[Compare]) -> tuple[Compare, ...]:
    return tuple(dict.fromkeys(leaves))


def _cost(leaves: tuple[Compare, ...], metrics: Metrics) -> tuple[int, int, Fraction]:
    """Return how hopeless a branch is, how many comparisons do not hold, and their relative gaps summed."""
    lacks = [
        None if holds(leaf, metrics) else _hopelessness(leaf, metrics.value_of(leaf.metric))
        for leaf in leaves
    ]
    return *_rank(lacks, _agree(leaves)), _gaps(metrics, leaves)


def _gaps(metrics: Metrics, leaves: tuple[Compare, ...]) -> Fraction:
    """Return the relative gaps of the comparisons that do not hold, summed."""
    gaps = Fraction(0)
    for leaf in leaves:
        have = metrics.value_of(leaf.metric)
        if have is None:
            gaps += 1
        elif not holds(leaf, metrics):
            need = leaf.upper if leaf.upper is not None and have > leaf.upper else leaf.value
            gaps += abs(need - have) / max(abs(need), abs(Fraction(have)), Fraction(1))
    return gaps


def _hopelessness(leaf: Compare, have: int | Fraction | None) -> int:
    """Return 0 where an order or waiting can help, 1 where only days leaving the window can, 2 for never."""
    if have is None or leaf.metric in ("visit_interval_days", "days_since_last_visit"):
        return 0
    if have <= whole_bounds(leaf)[1]:
        return 0
    return 2 if leaf.metric == "member_days" else 1


def _agree(leaves: tuple[Compare, ...]) -> bool:
    """Say whether some value of each metric satisfies every comparison of it."""
    low: dict[MetricName, _End] = {}
    high: dict[MetricName, _End] = {}
    for leaf in leaves:
        least, most = _ends(leaf)
        low[leaf.metric] = max(least, low.get(leaf.metric, least))
        high[leaf.metric] = min(most, high.get(leaf.metric, most))
    return all(low[metric] <= high[metric] for metric in low)


def _ends(leaf: Compare) -> tuple[_End, _End]:
    """Return where what satisfies a comparison begins and ends: a value, 1 for just above, -1 just below."""
    if leaf.metric != "visit_interval_days":
        low, high = whole_bounds(leaf)
        least = low if leaf.metric == "net_spend" else max(low, 0)
        return (Fraction(least), 0), (Fraction(high), 0)
    if leaf.upper is not None:
        return (leaf.value, 0), (leaf.upper, 0)
    if leaf.op in (">=", ">"):
        return (leaf.value, int(leaf.op == ">")), (Fraction(10**18), 0)
    return (Fraction(0), 0), (leaf.value, -int(leaf.op == "<"))


def one_order_reaches(condition: Condition, metrics: Metrics) -> bool:
    """Say whether one order today, of whatever amount, could make a condition hold."""
    after, known = _after_an_order(metrics), _recall((condition,))
    (met,), spent = known.met, metrics.net_spend_minor
    # More spend turns a condition true only where some comparison begins to hold.
    return met(after) or any(
        met(after._replace(net_spend_minor=amount)) for amount in known.spends if amount > spent
    )


def _after_an_order(metrics: Metrics) -> Metrics:
    """Return the metrics after one more order today that points paid for."""
    today_counts = metrics.days_since_last_visit == 0
    return metrics._replace(
        active_days=metrics.active_days + (not today_counts),
        span_days=metrics.span_days + (metrics.days_since_last_visit or 0),
        days_since_last_visit=0,
        orders=metrics.orders + 1,
    )
