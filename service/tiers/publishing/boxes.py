"""When does one condition hold whenever another does? Decided over boxes of metrics. Pure.

A condition is a union of boxes (its disjunctive normal form): one range for each metric. Boxes know what
truly links the metrics of a window of `days` days, and nothing else:

- no visit interval below two active days, no days since the last visit without an active day;
- the active days lie in the window, the first to the last of them, and the days since the last one too;
- the interval between different days is at least one day; an active day has at least one order.

So a box called empty is empty, and a condition called covered is covered. The reverse is not promised:
where there are too many boxes, nothing is decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import product
from math import ceil, floor

from service.tiers.conditions import AllOf, AnyOf, Compare, Condition, MetricName

FAR = 10**18
Edge = tuple[Fraction | int, int]
"""A value and a nudge: −1 just below it, +1 just above it, so that open ends are ends too."""
Range = tuple[Edge, Edge]
Box = tuple[Range, ...]
"""A range for each of DIMENSIONS. The whole range means not asked, so that an undefined metric fits too."""

WHOLE: Range = ((-FAR, 0), (FAR, 0))
# Active days first: within those that a box asks for, its other metrics are defined.
DIMENSIONS: tuple[MetricName, ...] = (
    "active_days",
    "visit_interval_days",
    "days_since_last_visit",
    "orders",
    "net_spend",
    "member_days",
)
_ACTIVE, _INTERVAL, _SINCE, _ORDERS, _SPEND, _MEMBER = range(6)
EVERYTHING: Box = (WHOLE,) * 6
"""Every member there can be."""
_AHEAD = 3
"""A store east of the programme's zone is a day or two ahead, and those days are counted too."""
_MOST_BOXES = 64
_MOST_PAIRS = 5_000
_MOST_PIECES = 200


class Undecided(Exception):
    """There are too many boxes to look through."""


def boxes_of(condition: Condition, *, days: int) -> list[Box]:
    """Return the boxes whose union is a condition, without those that are empty in a window of `days`.

    Raises:
        Undecided: there are too many.
    """
    if isinstance(condition, Compare):
        return _tidy([_box_of(condition)], days=days)
    parts = [boxes_of(part, days=days) for part in condition.of]
    if isinstance(condition, AnyOf):
        return _tidy([box for boxes in parts for box in boxes], days=days)
    if isinstance(condition, AllOf):
        found = [EVERYTHING]
        for boxes in parts:
            found = _tidy(_intersect_all(found, boxes), days=days)
        return found
    return _boxes_of_some(condition.k, parts, days=days)


def _boxes_of_some(k: int, parts: Sequence[Sequence[Box]], *, days: int) -> list[Box]:
    # held[n]: the boxes in which n or more of the parts looked at so far hold.
    held: list[list[Box]] = [[EVERYTHING]] + [[] for _ in range(k)]
    for boxes in parts:
        for n in range(k, 0, -1):
            held[n] = _tidy([*held[n], *_intersect_all(held[n - 1], boxes)], days=days)
    return held[k]


def is_covered(boxes: Iterable[Box], by: Sequence[Box], *, days: int) -> bool:
    """Say whether it is proven that every member in `boxes` is in one of `by`."""
    boxes = list(boxes)
    if len(boxes) * len(by) > _MOST_PAIRS:
        return False
    return all(_is_box_covered(box, by, days=days) for box in boxes)


def _is_box_covered(box: Box, by: Sequence[Box], *, days: int) -> bool:
    pieces = [box]
    for other in by:
        pieces = [left for piece in pieces for left in _subtract(piece, other, days=days)]
        if not pieces:
            return True
        if len(pieces) > _MOST_PIECES:
            return False
    return False


def bounds_of(boxes: Iterable[Box], metric: MetricName) -> Range:
    """Return what a union of boxes asks of one metric at least; the whole range where one does not ask."""
    ranges = [box[DIMENSIONS.index(metric)] for box in boxes]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _box_of(leaf: Compare) -> Box:
    ranges = list(EVERYTHING)
    dimension = DIMENSIONS.index(leaf.metric)
    ranges[dimension] = range_of(leaf)
    if dimension == _INTERVAL:
        ranges[_ACTIVE] = ((2, 0), WHOLE[1])
    elif dimension == _SINCE:
        ranges[_ACTIVE] = ((1, 0), WHOLE[1])
    return tuple(ranges)


def range_of(leaf: Compare) -> Range:
    """Return the values that satisfy a comparison."""
    if leaf.metric != "visit_interval_days":
        low, high = leaf.low, leaf.high
        return (low, 0), (high, 0)
    at: Edge = (leaf.value, {"<": -1, ">": 1}.get(leaf.op, 0))
    if leaf.upper is not None:
        return at, (leaf.upper, 0)
    return (WHOLE[0], at) if leaf.op in ("<=", "<") else (at, WHOLE[1])


def _intersect_all(these: Sequence[Box], those: Sequence[Box]) -> list[Box]:
    if len(these) * len(those) > _MOST_BOXES * 10:
        raise Undecided
    return [intersect(one, other) for one, other in product(these, those)]


def intersect(one: Box, other: Box) -> Box:
    """Return the box of what lies in both, perhaps an empty one."""
    return tuple((max(a[0], b[0]), min(a[1], b[1])) if a != b else a for a, b in zip(one, other, strict=True))


def _tidy(boxes: Iterable[Box], *, days: int) -> list[Box]:
    """Return boxes without those that are empty or lie inside another."""
    kept: list[Box] = []
    for box in dict.fromkeys(boxes):
        if is_empty(box, days=days) or any(_lies_in(box, other) for other in kept):
            continue
        kept = [other for other in kept if not _lies_in(other, box)]
        kept.append(box)
        if len(kept) > _MOST_BOXES:
            raise Undecided
    return kept


def _lies_in(one: Box, other: Box) -> bool:
    return all(b[0] <= a[0] and a[1] <= b[1] for a, b in zip(one, other, strict=True))


def _subtract(box: Box, other: Box, *, days: int) -> list[Box]:
    """Return boxes that hold what is in `box` and not in `other`."""
    if is_empty(intersect(box, other), days=days):
        return [box]
    left: list[Box] = []
    for dimension, (low, high) in enumerate(other):
        if (low, high) == WHOLE:
            continue
        of = box[dimension]
        below, above = (of[0], _before(low, dimension)), (_after(high, dimension), of[1])
        for part in (below, above):
            piece = (*box[:dimension], part, *box[dimension + 1 :])
            if part[0] <= part[1] and not is_empty(piece, days=days):
                left.append(piece)
        box = (*box[:dimension], (max(of[0], low), min(of[1], high)), *box[dimension + 1 :])
    return left


def _before(edge: Edge, dimension: int) -> Edge:
    value, nudge = edge
    return (value, nudge - 1) if dimension == _INTERVAL else (value - 1, 0)


def _after(edge: Edge, dimension: int) -> Edge:
    value, nudge = edge
    return (value, nudge + 1) if dimension == _INTERVAL else (value + 1, 0)


def is_empty(box: Box, *, days: int) -> bool:
    """Say whether it is proven that no member's metrics lie in a box."""
    if any(low > high for low, high in box):
        return True
    if box[_ORDERS][1][0] < 0 or box[_MEMBER][1][0] < 0 or box[_SINCE][1][0] < 0:
        return True
    least = max(int(box[_ACTIVE][0][0]), 0)
    most = min(int(box[_ACTIVE][1][0]), int(box[_ORDERS][1][0]), days + _AHEAD)
    if least > most:
        return True
    since = max(int(box[_SINCE][0][0]), 0)
    # After a day without a visit, no day ahead can have had one.
    room = days - 1 - since if since else days - 1 + _AHEAD
    if box[_SINCE] != WHOLE and room < 0:
        return True
    if box[_INTERVAL] == WHOLE:
        return least - 1 > room
    return not any(_fits(box[_INTERVAL], gaps, room) for gaps in range(max(least, 2) - 1, most))


def _fits(interval: Range, gaps: int, room: int) -> bool:
    """Say whether `gaps` gaps between active days, within `room` days, can have an interval in the range."""
    (low, low_nudge), (high, high_nudge) = interval
    shortest = floor(low * gaps) + 1 if low_nudge > 0 else ceil(low * gaps)
    longest = ceil(high * gaps) - 1 if high_nudge < 0 else floor(high * gaps)
    return max(shortest, gaps) <= min(longest, room)
