"""The second reader of conditions: a rule set as SQL over the columns of `metrics_sql` (law T3).

Exact like the first: thresholds are whole numbers, the visit interval is cross-multiplied, and an undefined
metric (null) satisfies nothing. The language has no "not", so inside a condition null does as false would.
"""

from __future__ import annotations

from typing import Any, Protocol

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Numeric,
    SmallInteger,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    or_,
    true,
)

from service.tiers.conditions import MAX_DAYS, AllOf, AnyOf, Compare, Condition
from service.tiers.rules import RuleSet

_FITS = 2**63 // (MAX_DAYS + 1)
_FAR = 10**18


class Columns(Protocol):
    """The columns of a selectable, by name."""

    def __getitem__(self, key: str, /) -> ColumnElement[Any]: ...


def condition_sql(condition: Condition, metrics: Columns) -> ColumnElement[bool]:
    """Return a condition over the columns of `metrics_sql`: true or false, never null."""
    return func.coalesce(_truth(condition, metrics), false())


def qualified_rank_sql(rules: RuleSet, metrics: Columns) -> ColumnElement[int]:
    """Return the rank of the highest tier whose `enter` holds; the base tier's always does."""
    enters = [
        (_truth(tier.enter, metrics), literal(tier.rank, SmallInteger))
        for tier in reversed(rules.tiers)
        if tier.enter is not None
    ]
    base = literal(0, SmallInteger)
    return case(*enters, else_=base) if enters else base


def keeps_sql(rules: RuleSet, rank: ColumnElement[int], metrics: Columns) -> ColumnElement[bool]:
    """Return whether the `keep` of the tier at `rank` holds; as `RuleSet.stands`, false where it has none."""
    keeps = [(tier.rank, condition_sql(tier.keep, metrics)) for tier in rules.tiers if tier.keep is not None]
    return case(dict(keeps), value=rank, else_=false()) if keeps else false()


def _truth(condition: Condition, metrics: Columns) -> ColumnElement[bool]:
    if isinstance(condition, Compare):
        return _compare(condition, metrics)
    parts = [_truth(part, metrics) for part in condition.of]
    if isinstance(condition, AllOf):
        return and_(true(), *parts)
    if isinstance(condition, AnyOf):
        return or_(false(), *parts)
    count = sum((case((part, 1), else_=0) for part in parts), start=literal(0))
    return count >= condition.k


def _compare(leaf: Compare, metrics: Columns) -> ColumnElement[bool]:
    if leaf.metric == "visit_interval_days":
        return _compare_interval(leaf, metrics)
    column = metrics["net_spend_minor" if leaf.metric == "net_spend" else leaf.metric]
    low, high = leaf.low, leaf.high
    bounds = []
    if low > -_FAR:
        bounds.append(column >= literal(low, BigInteger))
    if high < _FAR:
        bounds.append(column <= literal(high, BigInteger))
    return and_(column.is_not(None), *bounds)


def _compare_interval(leaf: Compare, metrics: Columns) -> ColumnElement[bool]:
    """span ÷ gaps against p ÷ q, cross-multiplied; in numeric where eight bytes might not hold it."""
    gaps, span = metrics["active_days"] - 1, metrics["span_days"]
    ends = [leaf.value] if leaf.upper is None else [leaf.value, leaf.upper]
    operators = [leaf.op] if leaf.upper is None else [">=", "<="]
    sides = []
    for end, operator in zip(ends, operators, strict=True):
        p, q = end.as_integer_ratio()
        kind: Any = BigInteger() if max(p, q) < _FITS else Numeric()
        have, need = cast(span, kind) * literal(q, kind), literal(p, kind) * cast(gaps, kind)
        sides.append(have.bool_op(operator)(need))
    return and_(gaps > 0, *sides)
