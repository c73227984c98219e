"""The plainest shape of a condition, before it is put into words. Pure."""

from __future__ import annotations

from fractions import Fraction

from service.tiers.conditions import AllOf, AnyOf, AtLeast, Compare, Condition

FAR = 10**18


def simplify(condition: Condition) -> Condition:
    """Return a condition that holds for the same members, without needless nesting.

    One part alone stands for itself, all in all and any in any become one list, `at_least` 1 is any, and
    `at_least` n of n is all. What stands twice in a list of all or any stands once.
    """
    if isinstance(condition, Compare):
        return condition
    parts = tuple(simplify(part) for part in condition.of)
    if isinstance(condition, AtLeast) and 1 < condition.k < len(parts):
        return AtLeast(condition.k, parts)
    every = isinstance(condition, AllOf) or (isinstance(condition, AtLeast) and condition.k == len(parts))
    kind = AllOf if every else AnyOf
    flat = tuple(
        dict.fromkeys(inner for part in parts for inner in (part.of if isinstance(part, kind) else (part,)))
    )
    return flat[0] if len(flat) == 1 else kind(flat)


def ends_of(leaf: Compare) -> tuple[int | None, int | None]:
    """Return the least and the most of a whole-number metric that satisfy a comparison, None for no end."""
    return (None if leaf.low <= -FAR else leaf.low), (None if leaf.high >= FAR else leaf.high)


def lacks(leaf: Compare, have: int | Fraction | None) -> int | None:
    """Return how much more of a growing whole-number metric a comparison asks for, None if it is not that."""
    if leaf.metric in ("visit_interval_days", "days_since_last_visit") or have is None:
        return None
    return leaf.low - int(have) if leaf.low > -FAR and have < leaf.low else None
