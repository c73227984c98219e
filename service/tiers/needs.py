"""What a member lacks for a condition: the branch that is nearest, and whether one order reaches it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
)
from service.tiers.rules import RuleSet, Tier

MOST_BRANCHES = 512
"""With more ways to meet a condition, parts are chosen one by one rather than all ways compared."""


_End = tuple[Fraction, int]
_Leaf = tuple[Compare, Predicate]


class Need(NamedTuple):
    """One comparison of a condition beside what the member has; `have` None is undefined."""

    leaf: Compare
    have: int | Fraction | None
    met: bool


class Rise(NamedTuple):
    """The next tier up, what is missing on the cheapest branch, and whether one order today could do it.

    `undone` is what holds now and would not after an order today: a visit after a long pause, say.
    """

    tier: Tier
    missing: tuple[Need, ...]
    one_order_is_enough: bool
    undone: tuple[Need, ...] = ()


def needs_to_stay(tier: Tier, metrics: Metrics) -> tuple[Need, ...]:
    """Return the needs of the cheapest way to stay, by `keep` or by `enter`; none for the base tier."""
    enter, keep = tier.enter, tier.keep
    if enter is None:
        return ()
    return _needs_of_either((enter,) if keep is None else (keep, enter), metrics)


def rise_above(tier: Tier, rules: RuleSet, metrics: Metrics) -> Rise | None:
    """Return the way to the next tier up, None at the top."""
    if tier.rank + 1 >= len(rules.tiers):
        return None
    goal = rules.tiers[tier.rank + 1]
    if goal.enter is None:
        return None
    conditions = (goal.enter,)
    after, missing, undone = _after_an_order(metrics), [], []
    for leaf, met in _easiest_of(conditions, metrics):
        if not met(metrics):
            missing.append(Need(leaf, metrics.value_of(leaf.metric), False))
        elif not met(after):
            undone.append(Need(leaf, after.value_of(leaf.metric), False))
    return Rise(goal, tuple(missing), _reaches(conditions, metrics, after), tuple(undone))


def needs_of(condition: Condition, metrics: Metrics) -> tuple[Need, ...]:
    """Return the comparisons of the branch that lacks least, beside what the member has."""
    return _needs_of_either((condition,), metrics)


def _needs_of_either(conditions: tuple[Condition, ...], metrics: Metrics) -> tuple[Need, ...]:
    return tuple(
        [
            Need(leaf, metrics.value_of(leaf.metric), met(metrics))
            for leaf, met in _easiest_of(conditions, metrics)
        ]
    )


def easiest_branch(condition: Condition, metrics: Metrics) -> tuple[Compare, ...]:
    """Return the comparisons of the branch that lacks least, each once, in the written order.

    A branch that shopping can complete comes before one that has to wait for days to leave the window,
    and this before one that nobody can meet any more; then the fewest unmet, then the smallest gaps.
    """
    return tuple(leaf for leaf, _ in _easiest_of((condition,), metrics))


def _easiest_of(conditions: tuple[Condition, ...], metrics: Metrics) -> Sequence[_Leaf]:
    """Return the same of several conditions, any of which will do, each with its predicate."""
    known = _recall(conditions)
    branches = known.branches
    if branches is None:
        whole = conditions[0] if len(conditions) == 1 else AnyOf(conditions)
        return [(leaf, compile_condition(leaf)) for leaf in _choose_by_parts(whole, metrics)]
    first = branches[0]
    # Nothing lacks less than the first, if it lacks nothing.
    if len(branches) == 1 or (first.agree and first.holds(metrics)):
        return first.ways
    return _nearest_of(known, branches, metrics).ways


def _nearest_of(known: _Known, branches: Sequence[_Branch], metrics: Metrics) -> _Branch:
    """Return the branch that lacks least."""
    # A comparison stands in many branches: each is looked at once.
    lacks = [
        None if met(metrics) else _hopelessness(leaf, metrics.value_of(leaf.metric))
        for leaf, met in known.leaves
    ]
    ranked = [_rank([lacks[place] for place in branch.places], branch.agree) for branch in branches]
    least = min(ranked)
    nearest = [branch for branch, rank in zip(branches, ranked, strict=True) if rank == least]
    if len(nearest) > 1 and least[1]:
        return min(nearest, key=lambda branch: _gaps(metrics, [leaf for leaf, _ in branch.ways]))
    return nearest[0]


class _Branch(NamedTuple):
    """Comparisons that together meet a condition, with their predicates and their places among all there are.

    `agree` says whether meeting them all is possible.
    """

    ways: tuple[_Leaf, ...]
    places: tuple[int, ...]
    agree: bool

    def holds(self, metrics: Metrics) -> bool:
        """Say whether all its comparisons hold."""
        for _, met in self.ways:  # noqa: SIM110 - a generator costs twice as much
            if not met(metrics):
                return False
        return True


class _Known(NamedTuple):
    """What there is to know of conditions before anybody is held against them; too many branches are None."""

    conditions: tuple[Condition, ...]
    branches: tuple[_Branch, ...] | None
    leaves: tuple[_Leaf, ...]
    met: tuple[Predicate, ...]
    spends: tuple[int, ...]


_known: dict[tuple[int, int], _Known] = {}
"""By identity of the conditions, which the value keeps alive: published ones are parsed once a process."""
_MOST_KNOWN = 512


def _recall(conditions: tuple[Condition, ...]) -> _Known:
    key = id(conditions[0]), id(conditions[-1])
    found = _known.get(key)
    if found is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        found = _known[key] = _study(conditions)
    return found


def _study(conditions: tuple[Condition, ...]) -> _Known:
    leaves = tuple(dict.fromkeys(chain.from_iterable(map(leaves_of, conditions))))
    ways = tuple((leaf, compile_condition(leaf)) for leaf in leaves)
    place_of = {leaf: place for place, leaf in enumerate(leaves)}
    branches = None
    if sum(map(_count_branches, conditions)) <= MOST_BRANCHES:
        branches = tuple(
            _Branch(tuple(map(ways.__getitem__, places)), places, _agree(branch))
            for one in conditions
            for branch in _list_branches(one)
            for places in (tuple(map(place_of.__getitem__, branch)),)
        )
    return _Known(
        conditions,
        branches,
        ways,
        tuple(map(compile_condition, conditions)),
        tuple({leaf.low for leaf in leaves if leaf.metric == "net_spend"}),
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


def _gaps(metrics: Metrics, leaves: Iterable[Compare]) -> Fraction:
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
    if have <= leaf.high:
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
        low, high = leaf.low, leaf.high
        least = low if leaf.metric == "net_spend" else max(low, 0)
        return (Fraction(least), 0), (Fraction(high), 0)
    if leaf.upper is not None:
        return (leaf.value, 0), (leaf.upper, 0)
    if leaf.op in (">=", ">"):
        return (leaf.value, int(leaf.op == ">")), (Fraction(10**18), 0)
    return (Fraction(0), 0), (leaf.value, -int(leaf.op == "<"))


def one_order_reaches(condition: Condition, metrics: Metrics) -> bool:
    """Say whether one order today, of whatever amount, could make a condition hold."""
    return _reaches((condition,), metrics, _after_an_order(metrics))


def _reaches(conditions: tuple[Condition], metrics: Metrics, after: Metrics) -> bool:
    known = _recall(conditions)
    (met,), spent = known.met, metrics.net_spend_minor
    if met(after):
        return True
    active_days, span_days, days_since, _, orders, member_days = after
    # More spend turns a condition true only where some comparison begins to hold.
    for amount in known.spends:
        if amount > spent and met(Metrics(active_days, span_days, days_since, amount, orders, member_days)):
            return True
    return False


def _after_an_order(metrics: Metrics) -> Metrics:
    """Return the metrics after one more order today that points paid for."""
    active_days, span_days, days_since, net_spend_minor, orders, member_days = metrics
    return Metrics(
        active_days + (days_since != 0),
        span_days + (days_since or 0),
        0,
        net_spend_minor,
        orders + 1,
        member_days,
    )
