"""The condition language of tiers: JSON in, frozen trees out, and predicates over metrics. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, NamedTuple, cast, get_args

from service.kit.money import to_minor

MetricName = Literal[
    "visit_interval_days", "days_since_last_visit", "active_days", "net_spend", "orders", "member_days"
]
Op = Literal["<=", ">=", "<", ">", "between"]

METRICS: tuple[MetricName, ...] = get_args(MetricName)
OPS: tuple[Op, ...] = get_args(Op)
MAX_DEPTH = 3
"""How deep `all`, `any` and `at_least` may nest: rules must stay easy to understand."""
MAX_DAYS = 36_525
"""Largest threshold in days or counts, a hundred years: far beyond sense, short of overflow."""
_FAR_MINOR = 10**18
# Python reads more as a number than a person would: 1_000, 1e3, other scripts' digits, blanks around it.
_PLAIN = re.compile(r"-?\d{1,16}(\.\d{1,40})?\Z", re.ASCII)


class Metrics(NamedTuple):
    """What a member is rated on, on one day.

    The visit interval is `span_days` ÷ (`active_days` − 1), exact, undefined below two active days.
    `days_since_last_visit` is None without an active day in the window, `member_days` is None where
    the rule set never asks for it. `net_spend_minor` may be negative.
    """

    active_days: int
    span_days: int
    days_since_last_visit: int | None
    net_spend_minor: int
    orders: int
    member_days: int | None

    def visit_interval(self) -> Fraction | None:
        """Return (last − first active day) ÷ (active days − 1), in days."""
        return Fraction(self.span_days, self.active_days - 1) if self.active_days > 1 else None

    def value_of(self, metric: MetricName) -> int | Fraction | None:
        """Return one metric by its public name, None where it is undefined; money in minor units."""
        place = _PLACES.get(metric)
        return self.visit_interval() if place is None else self[place]


# By place: a look-up by name costs twice as much. The visit interval has none.
_PLACES: dict[MetricName, int] = {
    name: Metrics._fields.index("net_spend_minor" if name == "net_spend" else name)
    for name in METRICS
    if name != "visit_interval_days"
}


@dataclass(frozen=True, slots=True)
class Compare:
    """One metric against its threshold, inclusive as written; `between` includes both ends.

    `low` and `high` are the smallest and the largest whole number that satisfy it, of a whole-number metric.
    `notes` holds what its readers worked out once: a published one is read for everybody.
    """

    metric: MetricName
    op: Op
    value: Fraction
    upper: Fraction | None = None
    low: int = field(init=False, repr=False, compare=False)
    high: int = field(init=False, repr=False, compare=False)
    notes: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out the bounds."""
        low, high = _whole_bounds(self.op, int(self.value), self.upper)
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of these."""

    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of these."""

    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AtLeast:
    """At least `k` of these."""

    k: int
    of: tuple[Condition, ...]


Condition = Compare | AllOf | AnyOf | AtLeast
Predicate = Callable[[Metrics], bool]


def parse_condition(data: object, *, currency: str, pointer: str = "", depth: int = 0) -> Condition:
    """Read a condition from JSON-able data.

    Raises:
        ValueError: not of the language; the message begins with the JSON pointer of the fault.
    """
    if not isinstance(data, Mapping):
        raise _fault(pointer, "a condition is an object")
    combiners = [key for key in ("all", "any", "at_least") if key in data]
    if not combiners:
        return _parse_compare(data, currency=currency, pointer=pointer)
    key = combiners[0]
    if len(data) != 1:
        raise _fault(pointer, f"nothing may stand beside {key!r}")
    if depth == MAX_DEPTH:
        raise _fault(pointer, f"conditions may nest {MAX_DEPTH} deep")
    if key == "at_least":
        return _parse_at_least(data[key], currency=currency, pointer=f"{pointer}/at_least", depth=depth)
    of = _parse_several(data[key], currency=currency, pointer=f"{pointer}/{key}", depth=depth)
    return AllOf(of) if key == "all" else AnyOf(of)


def _parse_several(data: object, *, currency: str, pointer: str, depth: int) -> tuple[Condition, ...]:
    if not isinstance(data, Sequence) or isinstance(data, str) or not data:
        raise _fault(pointer, "a list of at least one condition is needed")
    return tuple(
        parse_condition(part, currency=currency, pointer=f"{pointer}/{index}", depth=depth + 1)
        for index, part in enumerate(data)
    )


def _parse_at_least(data: object, *, currency: str, pointer: str, depth: int) -> AtLeast:
    if not isinstance(data, Mapping) or set(data) != {"k", "of"}:
        raise _fault(pointer, "at_least takes exactly k and of")
    of = _parse_several(data["of"], currency=currency, pointer=f"{pointer}/of", depth=depth)
    k = data["k"]
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= len(of):
        raise _fault(f"{pointer}/k", f"k is a whole number from 1 to {len(of)}")
    return AtLeast(k=k, of=of)


def _parse_compare(data: Mapping[str, object], *, currency: str, pointer: str) -> Compare:
    if set(data) != {"metric", "op", "value"}:
        raise _fault(pointer, "a condition takes metric, op and value, or one of all, any, at_least")
    metric, op, value = data["metric"], data["op"], data["value"]
    if metric not in METRICS:
        raise _fault(f"{pointer}/metric", f"unknown metric; one of {', '.join(METRICS)}")
    if op not in OPS:
        raise _fault(f"{pointer}/op", f"unknown operator; one of {', '.join(OPS)}")
    name, sign = metric, op
    if sign != "between":
        return Compare(name, sign, _threshold(name, value, currency=currency, pointer=f"{pointer}/value"))
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise _fault(f"{pointer}/value", "between takes two values, both included")
    low, high = (
        _threshold(name, end, currency=currency, pointer=f"{pointer}/value/{index}")
        for index, end in enumerate(value)
    )
    if low > high:
        raise _fault(f"{pointer}/value", "the first value is larger than the second")
    return Compare(name, sign, low, high)


def _threshold(metric: MetricName, value: object, *, currency: str, pointer: str) -> Fraction:
    if isinstance(value, bool | float) or not isinstance(value, int | str | Decimal):
        raise _fault(pointer, "a whole number or a decimal string is needed")
    text = f"{value:f}" if isinstance(value, Decimal) else value
    if isinstance(text, str) and _PLAIN.match(text) is None:
        raise _fault(pointer, "a plain number is needed, such as 1200 or 12.5")
    if metric == "net_spend":
        try:
            minor = to_minor(value, currency=currency)
        except ValueError as error:
            raise _fault(pointer, str(error)) from error
        if minor < 0:
            raise _fault(pointer, "a threshold is never negative")
        return Fraction(minor)
    number = Decimal(value)
    if not 0 <= number <= MAX_DAYS:
        raise _fault(pointer, f"out of range: 0 to {MAX_DAYS}")
    if metric != "visit_interval_days" and number != number.to_integral_value():
        raise _fault(pointer, "a whole number is needed")
    return Fraction(number)


def _fault(pointer: str, detail: str) -> ValueError:
    return ValueError(f"{pointer or '/'}: {detail}")


def leaves_of(condition: Condition) -> Iterator[Compare]:
    """Yield every comparison of a condition, left to right."""
    if isinstance(condition, Compare):
        yield condition
    else:
        for part in condition.of:
            yield from leaves_of(part)


def holds(condition: Condition, metrics: Metrics) -> bool:
    """Say whether a condition holds; the plain reading that `compile_condition` must agree with."""
    if isinstance(condition, AllOf):
        return all(holds(part, metrics) for part in condition.of)
    if isinstance(condition, AnyOf):
        return any(holds(part, metrics) for part in condition.of)
    if isinstance(condition, AtLeast):
        return sum(holds(part, metrics) for part in condition.of) >= condition.k
    value = metrics.value_of(condition.metric)
    if value is None:
        return False
    if condition.op == "between":
        return condition.value <= value <= cast("Fraction", condition.upper)
    return _COMPARE[condition.op](value, condition.value)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


def compile_condition(condition: Condition) -> Predicate:
    """Return a predicate equal to `holds(condition, …)`, in whole numbers and several times as fast."""
    if isinstance(condition, Compare):
        return _compile_compare(condition)
    parts = tuple(compile_condition(part) for part in condition.of)
    if len(parts) == 1:
        return parts[0]
    if isinstance(condition, AtLeast):
        k = condition.k
        return lambda metrics: sum(part(metrics) for part in parts) >= k
    if isinstance(condition, AllOf):

        def every(metrics: Metrics) -> bool:
            for part in parts:  # noqa: SIM110 - a generator costs twice as much, on the hottest path there is
                if not part(metrics):
                    return False
            return True

        return every

    def some(metrics: Metrics) -> bool:
        for part in parts:  # noqa: SIM110
            if part(metrics):
                return True
        return False

    return some


def _compile_compare(leaf: Compare) -> Predicate:
    if leaf.metric == "visit_interval_days":
        return _compile_interval(leaf)
    low, high = leaf.low, leaf.high
    if leaf.metric == "net_spend":
        return lambda metrics: low <= metrics.net_spend_minor <= high
    if leaf.metric == "active_days":
        return lambda metrics: low <= metrics.active_days <= high
    if leaf.metric == "orders":
        return lambda metrics: low <= metrics.orders <= high
    if leaf.metric == "days_since_last_visit":
        return lambda metrics: (
            metrics.days_since_last_visit is not None and low <= metrics.days_since_last_visit <= high
        )
    return lambda metrics: metrics.member_days is not None and low <= metrics.member_days <= high


def _compile_interval(leaf: Compare) -> Predicate:
    # span ÷ gaps against p ÷ q, cross-multiplied: exact, without making a Fraction.
    compare, (p, q) = _COMPARE.get(leaf.op), leaf.value.as_integer_ratio()
    if compare is not None:
        return lambda metrics: (
            metrics.active_days > 1 and compare(metrics.span_days * q, p * (metrics.active_days - 1))
        )
    r, s = cast("Fraction", leaf.upper).as_integer_ratio()

    def between(metrics: Metrics) -> bool:
        gaps = metrics.active_days - 1
        return gaps > 0 and p * gaps <= metrics.span_days * q and metrics.span_days * s <= r * gaps

    return between


def _whole_bounds(op: Op, value: int, upper: Fraction | None) -> tuple[int, int]:
    if upper is not None:
        return value, int(upper)
    if op == "<=":
        return -_FAR_MINOR, value
    if op == "<":
        return -_FAR_MINOR, value - 1
    return (value, _FAR_MINOR) if op == ">=" else (value + 1, _FAR_MINOR)


def turning_points(leaf: Compare) -> Iterator[int]:
    """Yield the ages in days at which a metric that grows by one a day starts or stops to satisfy `leaf`."""
    low, high = leaf.low, leaf.high
    if 0 < low < _FAR_MINOR:
        yield low
    if 0 <= high < _FAR_MINOR:
        yield high + 1
