"""What is taken together, solved for all items at once.

Steck, "Embarrassingly shallow autoencoders for sparse data" (WWW 2019), equation 8:
B = I - P · diag(1 ÷ diag P) with P = (XᵀX + λI)⁻¹. Dense in the number of items, so for some thousands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from recommender.errors import InvalidConfig, UnfinishedFit
from recommender.history import History
from recommender.interactions import Csr, Interactions


@dataclass(frozen=True, slots=True)
class EaseConfig:
    """Set the regularisation and the size: `neighbours` of largest weight are kept per item.

    Items with fewer than `min_users` are left out. When more than `max_items` are left the model is
    not fitted at all and scores zero: the inverse costs n³, 3 s of CPU at 4,000 items and 40 s at 10,000,
    which is as much as all the rest of a training on 5 million purchases.
    """

    regularization: float = 500.0
    neighbours: int = 200
    min_users: int = 2
    max_items: int = 5_000

    def __post_init__(self) -> None:
        if self.regularization <= 0:
            raise InvalidConfig("the regularisation of EASE is above zero")
        if self.neighbours < 1 or self.min_users < 1 or self.max_items < 0:
            raise InvalidConfig("neighbours and min_users of EASE are at least 1, max_items not negative")


class SolveEase(Protocol):
    """Promise the dense item weights of a small matrix."""

    def __call__(self, taken: Csr, regularization: float) -> NDArray[np.float32]:
        """Give B (items, items) with a zero diagonal; `taken` is users × items of ones."""
        ...


@dataclass(frozen=True, slots=True)
class Ease:
    """Score items by the weights that the items of a history give them.

    `neighbours` (learned, k) int32 and `weights` (learned, k) float32: what each item speaks for, the largest
    weights first; k is 0 when the catalogue was too large. `unlearned` items follow, which speak for nothing.
    """

    config: EaseConfig
    neighbours: NDArray[np.int32]
    weights: NDArray[np.float32]
    unlearned: int = 0

    @classmethod
    def fit(cls, interactions: Interactions, config: EaseConfig, *, solve: SolveEase) -> Self:
        """Solve for the active items and keep each row's largest positive weights."""
        weighted = interactions.weighted(half_life_days=None)
        count = weighted.shape[1]
        users = np.bincount(weighted.indices, minlength=count)
        active = np.flatnonzero(users >= config.min_users).astype(np.int32)
        if not 0 < len(active) <= config.max_items:
            return cls(config, np.zeros((count, 0), np.int32), np.zeros((count, 0), np.float32))
        dense = solve(_only(weighted, active), config.regularization)
        if not np.isfinite(dense).all():
            raise UnfinishedFit("the weights of EASE are not finite")
        return cls(config, *_largest(dense, active, count, config.neighbours))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], config: EaseConfig) -> Self:
        """Read back what `arrays` gave."""
        return cls(config, arrays["ease_neighbours"], arrays["ease_weights"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give the fitted arrays by name."""
        return {"ease_neighbours": self.neighbours, "ease_weights": self.weights}

    @property
    def fitted(self) -> bool:
        """Tell whether the catalogue was small enough."""
        return bool(self.neighbours.shape[1])

    def score(self, history: History) -> NDArray[np.float32]:
        """Score all items, (items,): the sum of the weights from what was taken."""
        return self.score_items(history.items)

    def score_items(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Score all items, (items,), from positions, (m,)."""
        if self.unlearned:
            items = items[items < len(self.neighbours)]
        count = len(self.neighbours) + self.unlearned
        spread = np.bincount(self.neighbours[items].ravel(), self.weights[items].ravel(), minlength=count)
        return spread.astype(np.float32)


def _only(taken: Csr, items: NDArray[np.int32]) -> Csr:
    """Keep these columns, as ones."""
    renumber = np.full(taken.shape[1], -1, dtype=np.int32)
    renumber[items] = np.arange(len(items), dtype=np.int32)
    columns = renumber[taken.indices]
    keep = columns >= 0
    ends = np.concatenate([[0], np.cumsum(keep)])[taken.indptr].astype(np.int32)
    return Csr(ends, columns[keep], np.ones(int(keep.sum()), np.float32), (taken.shape[0], len(items)))


def _largest(
    dense: NDArray[np.float32], active: NDArray[np.int32], count: int, wanted: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Keep the largest positive weights per row, ties to the lower position; rest is the item itself at 0."""
    keep = min(wanted, len(active))
    neighbours = np.repeat(np.arange(count, dtype=np.int32)[:, None], keep, axis=1)
    weights = np.zeros((count, keep), dtype=np.float32)
    for row, item in enumerate(active.tolist()):
        order = np.argsort(-dense[row], kind="stable")[:keep]
        order = order[dense[row, order] > 0]
        neighbours[item, : len(order)] = active[order]
        weights[item, : len(order)] = dense[row, order]
    return neighbours, weights
