"""Score exactly what can reach a list, and nothing that surely cannot: the same list from few items.

Hidden tastes are one number per item and person, and the dearest to compute. They add no more than a bound to
what is known of an item without them, so what stays below the last of the list even with the bound is never
looked at. Their best over all items, by which they are scaled, is found likewise: no score is above the
product of the lengths (Cauchy and Schwarz), and few items are long. Teflioudi, Gemulla and Mykytiuk, "LEMP:
fast retrieval of large entries in a matrix product" (SIGMOD 2015), prune by the same bound. Where the bounds
do not suffice everything is scored. numpy only.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from recommender.blending import LOG_BEST, Blend, log_share
from recommender.history import History
from recommender.ranking import OUT, low_cut

# Two such fronts stay in the cache of a core, beside what else a request touches.
_LEAST, _SHARE = 1_024, 32
# Far above what single precision rounds off.
_MARGIN = 1e-3


class Front(NamedTuple):
    """Hold what is looked at first for everybody: the items of the best base score, and the longest factors.

    `positions` (c,), `place` (items,) where each item stands among them or -1, `factors` (c, f), `base` (c,),
    and `behind`, the best base score of all others. `longest` (c, f) are the longest factors of all items,
    `length` that of the longest of all others.
    """

    positions: NDArray[np.intp]
    place: NDArray[np.int32]
    factors: NDArray[np.float32]
    base: NDArray[np.float32]
    behind: float
    longest: NDArray[np.float32]
    length: float

    @classmethod
    def of(cls, base: NDArray[np.float32], factors: NDArray[np.float32]) -> Self | None:
        """Pick them from base scores (items,) and factors (items, f); None where all are soon scored."""
        size = max(_LEAST, len(base) // _SHARE)
        if len(base) < 4 * size:
            return None
        first = np.argpartition(-base, size)
        positions, behind = np.sort(first[:size]), float(base[first[size]])
        place = np.full(len(base), -1, np.int32)
        place[positions] = np.arange(size)
        length = np.linalg.norm(factors, axis=1)
        long = np.argpartition(-length, size)
        return cls(
            positions,
            place,
            factors[positions],
            base[positions],
            behind,
            factors[long[:size]],
            float(length[long[size]]),
        )

    def highest(self, person: NDArray[np.float32]) -> np.float32 | None:
        """Give the best score of all items, or None where the longest alone do not tell it."""
        best: np.float32 = (self.longest @ person).max()
        bound = self.length * float(np.sqrt(person @ person)) * (1 + _MARGIN)
        return best if best > bound else None


class Said(NamedTuple):
    """Hold what is said of items for a person besides their tastes: `scores` (items,), to add to the base.

    It is `silence` for all that is not `touched` (t,), which may repeat.
    """

    scores: NDArray[np.float32]
    silence: np.float32
    touched: NDArray[np.intp]


class Shortlist(NamedTuple):
    """Hold every item that can be on a list, and every one that was taken; all others score below `cut`.

    `positions` (p,), `scores` (p,) to discover them by, `tastes` (p,) ALS ÷ its best; `taken` (m,) says
    where among them each item of the history stands.
    """

    positions: NDArray[np.intp]
    scores: NDArray[np.float32]
    tastes: NDArray[np.float32]
    taken: NDArray[np.intp]
    cut: np.float32


def shortlist(
    front: Front,
    blend: Blend,
    base: NDArray[np.float32],
    *,
    person: NDArray[np.float32],
    best: np.float32,
    said: Said,
    taken: History,
    candidates: NDArray[np.bool_],
    number: int,
) -> Shortlist | None:
    """Find what can be among the best `number` of the `candidates` (items,), by `base`, `said` and tastes.

    `best` is the best taste of all. None where the bounds do not tell.
    """
    weight = np.float32(blend.config.als)
    if weight <= 0 or best <= 0 or not 0 < number <= len(front.positions) // 2:
        return None
    tastes = _share(front.factors, person, best)
    scores = front.base + said.scores[front.positions] + weight * log_share(tastes)
    sure = np.where(candidates[front.positions], scores, OUT)
    place = front.place[taken.items]
    # What was taken is scored otherwise, and may fall.
    sure[place[place >= 0]] = OUT
    cut = low_cut(sure, number)
    room = float(weight) * LOG_BEST + _MARGIN
    if front.behind + said.silence + room >= cut:
        return None
    touched = said.touched
    reach = touched[base[touched] + said.scores[touched] >= cut - room]
    more = np.concatenate([reach, taken.items])
    more = np.array(sorted(set(more[front.place[more] < 0].tolist())), np.intp)
    their = _share(blend.als.item_factors[more], person, best)
    return Shortlist(
        np.concatenate([front.positions, more]),
        np.concatenate([scores, base[more] + said.scores[more] + weight * log_share(their)]),
        np.concatenate([tastes, their]),
        np.where(place >= 0, place, len(scores) + np.searchsorted(more, taken.items)),
        cut,
    )


def _share(
    factors: NDArray[np.float32], person: NDArray[np.float32], best: np.float32
) -> NDArray[np.float32]:
    shared: NDArray[np.float32] = np.maximum(factors @ person, 0)
    shared /= best
    return shared
