"""Bins that a person can read: few, with round edges, and with every threshold inside. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MOST_BINS = 40
"""More bars than this say nothing more to the eye."""
_ROUND = (1, 2, 5)
_STEPS = (10, 15, 20, 30, 50, 70)
_DECADES = 4


def day_edges(top: int) -> list[int]:
    """Return edges 0, w, 2w, … that pass `top`, for days and counts; w is 1, 2 or 5 times a power of ten."""
    width = _round_width(top // (MOST_BINS - 2) + 1)
    return list(range(0, max(top, 0) + width + 1, width))


def money_edges(top_minor: int) -> list[int]:
    """Return edges from 0 that pass `top_minor`, each about one and a half times the one before.

    Spend reaches from next to nothing to thousands of times as much: equal widths would put almost everybody
    into one bar. Steps are 10, 15, 20, 30, 50, 70 times a power of ten, over four powers.
    """
    edges = [0]
    power = 1
    while _STEPS[0] * power * 10**_DECADES < top_minor:
        power *= 10
    while edges[-1] <= top_minor:
        edges += [step * power for step in _STEPS]
        power *= 10
    first_above = next(index for index, edge in enumerate(edges) if edge > top_minor)
    return edges[: first_above + 1]


def place_counts(edges: Sequence[int], counted: Mapping[int, int]) -> list[tuple[int, int]]:
    """Return (bucket, members) of every bucket, without one below the first edge or above the last if empty.

    Buckets are PostgreSQL's `width_bucket`: 0 lies below the first edge, n from the last edge on.
    """
    buckets = [(bucket, counted.get(bucket, 0)) for bucket in range(len(edges) + 1)]
    return [(bucket, members) for bucket, members in buckets if members or bucket not in (0, len(edges))]


def _round_width(least: int) -> int:
    power = 1
    while True:
        for step in _ROUND:
            if step * power >= least:
                return step * power
        power *= 10
