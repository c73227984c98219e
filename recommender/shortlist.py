"""Score exactly what can reach a list, and nothing that surely cannot: the same list from few items.

Hidden tastes are one number per item and person, and the dearest to compute. No taste is above the product of
the lengths of its factors (Cauchy and Schwarz), and few items are both long and good without tastes; what
stays below the last of the list even at that bound is never looked at. The best taste of all, by which they
are scaled, is found likewise, among the longest. Teflioudi, Gemulla and Mykytiuk, "LEMP: fast retrieval of
large entries in a matrix product" (SIGMOD 2015), prune by the same bound. Where the bounds do not suffice
everything is scored. numpy only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from recommender.blending import LOG_BEST, Blend, log_share
from recommender.history import History
from recommender.models.als import Als
from recommender.ranking import OUT, low_cut

# Up to 500 elements numpy keeps the interpreter to itself: no other thread of a worker is woken in between.
_FRONT, _FRONT_SHARE = 480, 64
_LONGEST, _LONGEST_SHARE = 1_024, 32
# How far the longest factors usually reach beyond the best taste. Items are picked by it; any would be safe.
_USUAL_STRETCH = 1.5
# The bounds are known for these stretches, and at last for any.
_STRETCHES = (*(1.08**step for step in range(32)), np.inf)
# Far above what single precision rounds off.
_MARGIN = 1e-3


class Tastes(NamedTuple):
    """Hold a person's tastes as far as they are known: ALS ÷ the best of all, below 0 as 0.

    `front` (c,) are those of the front's items, `behind` is how much base score and tastes give any
    other item at the most.
    """

    best: np.float32
    front: NDArray[np.float32]
    behind: float


class Front(NamedTuple):
    """Hold what is looked at first for everybody: the items that base score and length let expect most.

    `positions` (c,) ascending, `place` (items,) where each item stands among them or -1, and `base` (c,).
    `factors` (r, f) end with theirs, after the longest of all others; `length` is that of the longest of
    those that are not there, `longest` that of the longest of all. `behind` bounds the sum of base score and
    tastes of everything outside, by how far the longest factors reach beyond the best taste (`_STRETCHES`).
    """

    positions: NDArray[np.intp]
    place: NDArray[np.int32]
    base: NDArray[np.float32]
    factors: NDArray[np.float32]
    length: float
    longest: float
    behind: tuple[float, ...]

    @classmethod
    def of(cls, base: NDArray[np.float32], als: Als, *, weight: float) -> Self | None:
        """Pick them from base scores (items,) and the factors of all items, tastes weighing so much.

        None where all are soon scored, or tastes play no part.
        """
        size = max(_FRONT, len(base) // _FRONT_SHARE)
        more = max(_LONGEST, len(base) // _LONGEST_SHARE)
        length = np.zeros(len(base), np.float32)
        length[: len(als.item_factors)] = np.linalg.norm(als.item_factors, axis=1)
        longest = float(length.max(initial=0))
        if len(base) < 2 * (size + more) or weight <= 0 or not 0 < longest < np.inf:
            return None
        reach = length / longest
        promise = base + np.float32(weight) * log_share(np.minimum(reach * _USUAL_STRETCH, 1))
        positions = np.sort(np.argpartition(-promise, size)[:size])
        place = np.full(len(base), -1, np.int32)
        place[positions] = np.arange(size)
        behind = place < 0
        long = np.argpartition(-np.where(behind, length, -1), more)
        outside, far = base[behind].astype(np.float64), reach[behind]
        bounds = (
            (outside + weight * log_share(np.minimum(far * stretch, 1))).max() for stretch in _STRETCHES[:-1]
        )
        return cls(
            positions,
            place,
            base[positions],
            als.vectors(np.concatenate([long[:more], positions])),
            float(length[long[more]]),
            longest,
            (*map(float, bounds), float(outside.max()) + weight * LOG_BEST),
        )

    def taste(self, person: NDArray[np.float32]) -> Tastes | None:
        """Give a person's tastes, or None where the items looked at do not tell the best of all."""
        tastes = self.factors @ person
        best: np.float32 = tastes.max()
        size = float(np.sqrt(person @ person)) * (1 + _MARGIN)
        if not (best > 0 and best > self.length * size):
            return None
        front = np.maximum(tastes[-len(self.positions) :], 0)
        front /= best
        # No item has more than the best taste, so the longest reach at least as far.
        stretch = max(1.0, self.longest * size / float(best))
        return Tastes(best, front, self.behind[bisect_left(_STRETCHES, stretch)])

    def mark(self, allowed: NDArray[np.bool_] | None, barred: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Tell which of the front's items are `allowed` (items,) and not `barred` (b,) by position, (c,)."""
        # What is not of the front has the place -1: one more at the end takes it.
        marked = np.empty(len(self.positions) + 1, bool)
        marked[:-1] = True if allowed is None else allowed[self.positions]
        marked[self.place[barred]] = False
        return marked[:-1]

    def spread(
        self, values: NDArray[np.float32], at: NDArray[np.intp], silence: float
    ) -> NDArray[np.float32]:
        """Give the front's part, (c,), of values at positions that may repeat, (t,); `silence` elsewhere."""
        spread = np.full(len(self.positions) + 1, silence, np.float32)
        spread[self.place[at]] = values
        return spread[:-1]


class Said(NamedTuple):
    """Hold what is said of items for a person besides their tastes, to add to the base score.

    `tell` gives it of any positions; it is `silence` for all that is not `touched` (t,), which may repeat.
    """

    tell: Callable[[NDArray[np.intp]], NDArray[np.float32]]
    silence: float
    touched: NDArray[np.intp]


class Shortlist(NamedTuple):
    """Hold every item that can be on a list, and every one that was taken; all others score below `cut`.

    `positions` (p,), `scores` (p,) to discover them by, `tastes` (p,) ALS ÷ its best, `candidates` (p,) what
    may be listed; `taken` (m,) says where among them each item of the history stands.
    """

    positions: NDArray[np.intp]
    scores: NDArray[np.float32]
    tastes: NDArray[np.float32]
    candidates: NDArray[np.bool_]
    taken: NDArray[np.intp]
    cut: np.float32


def shortlist(
    front: Front,
    blend: Blend,
    base: NDArray[np.float32],
    *,
    person: NDArray[np.float32],
    tastes: Tastes,
    said: Said,
    taken: History,
    allowed: NDArray[np.bool_] | None,
    barred: NDArray[np.int32],
    number: int,
) -> Shortlist | None:
    """Find what can be among the best `number` of those `allowed` (items,) and not `barred` (b,).

    By base (items,), `said` and tastes. None where the bounds do not tell.
    """
    if not 0 < number <= len(front.positions) // 2:
        return None
    weight, touched = np.float32(blend.config.als), said.touched
    told = said.tell(touched)
    scores = front.base + front.spread(told, touched, said.silence)
    scores += weight * log_share(tastes.front)
    candidates = front.mark(allowed, barred)
    sure = np.where(candidates, scores, OUT)
    place = front.place[taken.items]
    # What was taken is scored otherwise, and may fall.
    sure[place[place >= 0]] = OUT
    cut = low_cut(sure, number)
    if tastes.behind + said.silence + _MARGIN >= cut:
        return None
    # What is said of an item outside may lift it; its tastes give it no more than the best there are.
    reach = touched[base[touched] + told >= cut - np.float32(weight * LOG_BEST + _MARGIN)]
    more = np.concatenate([reach, taken.items])
    more = np.array(sorted(set(more[front.place[more] < 0].tolist())), np.intp)
    their = np.maximum(blend.als.vectors(more) @ person, 0)
    their /= tastes.best
    return Shortlist(
        np.concatenate([front.positions, more]),
        np.concatenate([scores, base[more] + said.tell(more) + weight * log_share(their)]),
        np.concatenate([tastes.front, their]),
        np.concatenate([candidates, _mark(more, allowed, set(barred.tolist()))]),
        np.where(place >= 0, place, len(scores) + np.searchsorted(more, taken.items)),
        cut,
    )


def _mark(
    positions: NDArray[np.intp], allowed: NDArray[np.bool_] | None, barred: set[int]
) -> NDArray[np.bool_]:
    marked = np.array([one not in barred for one in positions.tolist()], bool)
    return marked if allowed is None else marked & allowed[positions]
