"""From scores to a list: masks, the cut, caps per group, and variety. numpy only."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

OUT = np.float32(-np.inf)
_COLUMNS = 512
_POOL = 5
_POOL_AT_LEAST = 50
Vectors = Callable[[NDArray[np.intp]], NDArray[np.float32]]
"""Gives the vectors, (p, f), of items by position, (p,)."""


class Arrangement(NamedTuple):
    """Say how a list is put together once scores stand; see `arrange`."""

    limit: int
    diversity: float = 0.0
    groups: NDArray[np.int32] | None = None
    cap: int | None = None


def choose(
    scores: NDArray[np.float32],
    how: Arrangement,
    allowed: NDArray[np.bool_] | None,
    out: NDArray[np.int32],
    *,
    vectors: Vectors,
) -> tuple[NDArray[np.intp], int]:
    """Mask `scores` in place, and give the list's positions and how many were in the running."""
    chosen, candidate_count = best(scores, how.limit, allowed, out)
    if how.diversity or how.cap is not None:
        chosen = arrange(
            scores,
            how.limit,
            vectors=vectors,
            diversity=how.diversity,
            groups=how.groups,
            cap=how.cap,
        )
    return chosen, candidate_count


def best(
    scores: NDArray[np.float32], limit: int, allowed: NDArray[np.bool_] | None, out: NDArray[np.int32]
) -> tuple[NDArray[np.intp], int]:
    """Mask `scores` in place and give the positions of the best, and how many were in the running.

    Equal scores go to the lower position, so that the cut is the same every time.
    """
    if allowed is not None:
        np.copyto(scores, OUT, where=~allowed)
    scores[out] = OUT
    candidate_count = int(np.count_nonzero(scores > OUT))
    return _top(scores, min(limit, candidate_count)), candidate_count


def arrange(
    scores: NDArray[np.float32],
    limit: int,
    *,
    vectors: Vectors | None = None,
    diversity: float = 0.0,
    groups: NDArray[np.int32] | None = None,
    cap: int | None = None,
) -> NDArray[np.intp]:
    """Give the best of scores that are already masked, at most `cap` per group and with variety.

    `groups` (items,) numbers the group of each item, -1 for none, which no cap binds. `diversity` 0 is the
    exact order of scores. `vectors` say how alike items are.
    """
    number = min(limit, int(np.count_nonzero(scores > OUT)))
    if cap is None or groups is None:
        pool = _top(scores, min(_pool_size(number, diversity), int(np.count_nonzero(scores > OUT))))
    else:
        pool = _capped(scores, _pool_size(number, diversity), groups, cap)
    if not diversity or vectors is None:
        return pool[:number]
    chosen = maximal_marginal_relevance(scores[pool], vectors(pool), len(pool), diversity)
    return pool[chosen][:number]


def maximal_marginal_relevance(
    scores: NDArray[np.float32], vectors: NDArray[np.float32], number: int, diversity: float
) -> NDArray[np.intp]:
    """Pick one by one: (1 - diversity) × relevance - diversity × likeness to the closest already picked.

    Carbonell and Goldstein, "The use of MMR" (SIGIR 1998). Relevance is the score scaled to [0, 1] within
    the pool, likeness the cosine; ties go to the earlier position.
    """
    span = float(scores.max() - scores.min()) if len(scores) else 0.0
    relevance = (scores - scores.min()) / span if span > 0 else np.ones(len(scores), np.float32)
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(norm > 0, norm, 1)
    closest = np.zeros(len(scores), dtype=np.float32)
    left = np.ones(len(scores), dtype=bool)
    chosen = []
    for _ in range(min(number, len(scores))):
        value = np.where(left, (1 - diversity) * relevance - diversity * closest, -np.inf)
        pick = int(np.argmax(value))
        chosen.append(pick)
        left[pick] = False
        np.maximum(closest, unit @ unit[pick], out=closest)
    return np.array(chosen, dtype=np.intp)


def _pool_size(number: int, diversity: float) -> int:
    return max(_POOL_AT_LEAST, _POOL * number) if diversity and number else number


def _top(scores: NDArray[np.float32], number: int) -> NDArray[np.intp]:
    if number <= 0:
        return np.zeros(0, dtype=np.intp)
    cut = low_cut(scores, number)
    near = (scores >= cut if cut > OUT else scores > OUT).nonzero()[0]
    return near[np.argsort(-scores[near], kind="stable")][:number]


def low_cut(scores: NDArray[np.float32], number: int) -> np.float32:
    """Give a score that `number` items reach, and hardly more: the best of as many columns reach it.

    The largest of each of 512 columns cost 5 µs of 20,000 scores, where partitioning them costs 100.
    """
    rows = len(scores) // _COLUMNS
    if rows < 4 or number > _COLUMNS // 2:
        highest = scores
    else:
        highest = scores[: rows * _COLUMNS].reshape(rows, _COLUMNS).max(axis=0)
    cut: np.float32 = np.partition(highest, len(highest) - number)[len(highest) - number]
    return cut


def _capped(
    scores: NDArray[np.float32], number: int, groups: NDArray[np.int32], cap: int
) -> NDArray[np.intp]:
    """Give the best `number` with at most `cap` of each group, over the whole vector."""
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > OUT]
    group = groups[order]
    by_group = np.argsort(group, kind="stable")
    sorted_group = group[by_group]
    place = np.arange(len(order)) - np.searchsorted(sorted_group, sorted_group)
    keep = np.zeros(len(order), dtype=bool)
    keep[by_group] = (place < cap) | (sorted_group < 0)
    return order[keep][:number]
