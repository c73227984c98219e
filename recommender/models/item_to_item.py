"""What else is taken by those who took this.

Cosine over users, shrunk towards zero where few users took both: Sarwar et al., "Item-based collaborative
filtering recommendation algorithms" (WWW 2001); Bell and Koren (ICDM 2007) for the shrinkage. BM25 weights
follow Robertson and Zaragoza, "The probabilistic relevance framework" (2009).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from recommender.errors import InvalidConfig
from recommender.history import History
from recommender.interactions import Csr, Interactions

Weighting = Literal["cosine", "bm25"]
_NONE = np.zeros(0, np.int32)
# So many of an item's users tell the order of two items well enough, to 8 percentage points or so.
_ASKED = 40
_ITEMS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class ItemToItemConfig:
    """Set how neighbours are found and how a history is weighed over them.

    `neighbours` are kept per item; `shrinkage` is the number of common users at which a similarity is
    halved; below `min_common_users` two items are strangers.
    """

    weighting: Weighting = "bm25"
    neighbours: int = 50
    shrinkage: float = 2.0
    min_common_users: int = 2
    half_life_days: float | None = 60.0
    bm25_k1: float = 1.2
    bm25_b: float = 0.75

    def __post_init__(self) -> None:
        if self.weighting not in ("cosine", "bm25"):
            raise InvalidConfig(f"unknown item-to-item weighting {self.weighting!r}")
        if self.neighbours < 1 or self.shrinkage < 0 or self.min_common_users < 1:
            raise InvalidConfig("neighbours and common users are at least 1, shrinkage is not negative")
        if self.half_life_days is not None and self.half_life_days <= 0:
            raise InvalidConfig("the half-life is above zero days")


class FindNeighbours(Protocol):
    """Promise the nearest items of each item."""

    def __call__(self, taken: Csr, config: ItemToItemConfig) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Give neighbours and similarities, both (items, neighbours), best first.

        `taken` is users × items with a one for each pair. Rows that run out are filled with the item
        itself at similarity 0; no row holds the item at another similarity, a repeat, or a value below 0.
        """
        ...


@dataclass(frozen=True, slots=True)
class ItemToItem:
    """Score items by their similarity to what is in the history.

    `neighbours` (learned, k) int32 and `similarities` (learned, k) float32 in [0, 1], best first. `onward`
    (learned, k) float32 in (0, 1] is the share of those who took both that took the neighbour with it or
    after it; None where that was not learned. `unlearned` items follow, which go with nothing.
    """

    config: ItemToItemConfig
    neighbours: NDArray[np.int32]
    similarities: NDArray[np.float32]
    onward: NDArray[np.float32] | None = None
    unlearned: int = 0

    @classmethod
    def fit(cls, interactions: Interactions, config: ItemToItemConfig, *, find: FindNeighbours) -> Self:
        """Find each item's neighbours among the users who took both."""
        taken = interactions.weighted(half_life_days=None)
        ones = Csr(taken.indptr, taken.indices, np.ones_like(taken.data), taken.shape)
        neighbours, similarities = find(ones, config)
        return cls(config, neighbours, similarities, share_onward(interactions, neighbours, similarities))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], config: ItemToItemConfig) -> Self:
        """Read back what `arrays` gave."""
        return cls(config, arrays["item_neighbours"], arrays["item_similarities"], arrays.get("item_onward"))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give the fitted arrays by name."""
        found = {"item_neighbours": self.neighbours, "item_similarities": self.similarities}
        return found if self.onward is None else {**found, "item_onward": self.onward}

    @property
    def count(self) -> int:
        """Give how many items there are."""
        return len(self.neighbours) + self.unlearned

    def score(self, history: History) -> NDArray[np.float32]:
        """Score all items, (items,): sum over the history of weight × similarity."""
        return self.spread_history(history).summed.astype(np.float32)

    def weights(self, history: History) -> NDArray[np.float64]:
        """Give the weight of each item of the history, (m,), in (0, 1]: how lately it was taken."""
        if self.config.half_life_days is None or not len(history):
            return np.ones(len(history))
        weight: NDArray[np.float64] = np.exp2(history.last_age_days() / -self.config.half_life_days)
        return weight

    def spread_history(self, history: History, more: NDArray[np.int32] = _NONE) -> Spread:
        """Spread a history over what goes with it, and `more` (m,) with the full weight, a cart say."""
        if not len(more):
            return self.spread(history.items, self.weights(history))
        weights = np.concatenate([self.weights(history), np.ones(len(more))])
        return self.spread(np.concatenate([history.items, more]), weights)

    def lead(self, items: NDArray[np.int32]) -> Spread:
        """Spread positions, (m,), over what is taken with each or after it: what comes before says less."""
        spread = self.spread(items, np.ones(len(items)))
        if self.onward is None:
            return spread
        return self._sum(spread.items, spread.near, spread.strength * self.onward[spread.items])

    def spread(self, items: NDArray[np.int32], weights: NDArray[np.float64]) -> Spread:
        """Spread weights from positions, both (m,), over the neighbours of each."""
        if self.unlearned:
            learned = items < len(self.neighbours)
            items, weights = items[learned], weights[learned]
        near = self.neighbours[items].astype(np.intp)
        return self._sum(items, near, self.similarities[items] * weights[:, None])

    def _sum(self, items: NDArray[np.int32], near: NDArray[np.intp], strength: NDArray[np.float64]) -> Spread:
        summed: NDArray[Any] = np.bincount(near.ravel(), strength.ravel(), self.count)
        return Spread(items, near, strength, summed, np.float32(summed[near].max(initial=0)))


def share_onward(
    interactions: Interactions, neighbours: NDArray[np.int32], similarities: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Give, per item and neighbour, the share of who took both that did not take the neighbour before only.

    (with or after + 1) ÷ (both + 1), (items, k), from 40 users of each item at the most, drawn at even steps.
    """
    starts = interactions.pair_starts()
    user, item = interactions.user_index[starts], interactions.item_index[starts]
    first, last = interactions.day[starts], interactions.day[np.append(starts[1:], len(interactions)) - 1]
    row = np.searchsorted(user, np.arange(len(interactions.users) + 1))
    by_item = np.argsort(item, kind="stable")
    column = np.searchsorted(item[by_item], np.arange(len(neighbours) + 1)).tolist()
    onward = np.ones(neighbours.shape, np.float32)
    count, kept = neighbours.shape
    near = np.flatnonzero(similarities[:, 0] > 0)
    for some in (near[begin : begin + _ITEMS_AT_ONCE] for begin in range(0, len(near), _ITEMS_AT_ONCE)):
        place = np.full((len(some), count), -1, np.int32)
        line, rank = np.nonzero(similarities[some])
        place[line, neighbours[some[line], rank]] = rank + kept * line
        takings = [by_item[column[one] : column[one + 1]] for one in some.tolist()]
        asked = [own[:: -(-len(own) // _ASKED)] for own in takings]
        own = np.concatenate(asked)
        # Everything that those users took, beside the item that they were asked about.
        begin = row[user[own]]
        length = row[user[own] + 1] - begin
        at = np.arange(length.sum()) + np.repeat(begin - np.cumsum(length) + length, length)
        line = np.repeat(np.repeat(np.arange(len(some)), [len(one) for one in asked]), length)
        found = place.ravel()[line * count + item[at]]
        known = np.flatnonzero(found >= 0)
        found, after = found[known], last[at[known]] >= np.repeat(first[own], length)[known]
        both = np.bincount(found, minlength=len(some) * kept)
        onward[some] = ((np.bincount(found[after], minlength=len(both)) + 1) / (both + 1)).reshape(-1, kept)
    return onward


class Spread(NamedTuple):
    """Hold what a few items say of their neighbours: of all others nothing.

    `items` (m,) int32 positions; `near` (m, k) the neighbours of each, so with repeats, and `strength` (m, k)
    how much speaks for them from there; `summed` (items,) float64 all of it, and `best` the largest sum.
    """

    items: NDArray[np.int32]
    near: NDArray[np.intp]
    strength: NDArray[np.float64]
    summed: NDArray[np.float64]
    best: np.float32

    def share(self, positions: NDArray[np.intp]) -> NDArray[np.float32]:
        """Give sum ÷ best sum at these positions, (p,) in [0, 1]; the best has to be above 0."""
        shared: NDArray[np.float32] = self.summed[positions].astype(np.float32) / self.best
        return shared

    def strongest(self, targets: NDArray[np.intp]) -> dict[int, int]:
        """Tell, for each target that has one, which of `items` speaks for it most: {target: item}."""
        wanted = np.zeros(len(self.summed), dtype=bool)
        wanted[targets] = True
        hits = wanted[self.near].nonzero()
        told = zip(self.near[hits].tolist(), self.strength[hits].tolist(), hits[0].tolist(), strict=True)
        most: dict[int, tuple[float, int]] = {}
        for target, strength, row in told:
            # Of equals the later item.
            if strength > 0 and (strength, row) >= most.get(target, (0.0, 0)):
                most[target] = strength, row
        return {target: int(self.items[row]) for target, (_, row) in most.items()}
