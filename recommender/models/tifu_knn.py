"""Personal frequencies that fade by groups of baskets, mixed with those of the nearest neighbours.

TIFU-KNN: Hu et al., "Modeling personalized item frequency information for next-basket recommendation"
(SIGIR 2020), equations 2 to 6. It needs every user's vector to answer, so it is a baseline, not served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recommender.errors import InvalidConfig
from recommender.history import History
from recommender.interactions import Csr, Interactions


@dataclass(frozen=True, slots=True)
class TifuKnnConfig:
    """Set the decay within and between groups of baskets, the neighbours, and the own share."""

    neighbours: int = 300
    group_baskets: int = 7
    within_decay: float = 0.9
    group_decay: float = 0.7
    own_share: float = 0.7

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.group_baskets < 1:
            raise InvalidConfig("neighbours and group_baskets are at least 1")
        if not (0 < self.within_decay <= 1 and 0 < self.group_decay <= 1 and 0 <= self.own_share <= 1):
            raise InvalidConfig("decays lie in (0, 1], the own share in [0, 1]")


@dataclass(frozen=True, slots=True)
class TifuKnn:
    """Score items by the own vector and the mean of the nearest users' vectors (users × items)."""

    config: TifuKnnConfig
    vectors: Csr
    squares: NDArray[np.float64]

    @classmethod
    def fit(cls, interactions: Interactions, config: TifuKnnConfig) -> Self:
        """Weigh every user's baskets."""
        users = len(interactions.users)
        basket, per_user = _baskets(interactions)
        weight = basket_weights(basket, per_user[interactions.user_index], config)
        starts = interactions.pair_starts()
        data = np.add.reduceat(weight, starts).astype(np.float32)
        indptr = np.zeros(users + 1, np.int32)
        np.cumsum(np.bincount(interactions.user_index[starts], minlength=users), out=indptr[1:])
        vectors = Csr(indptr, interactions.item_index[starts], data, (users, len(interactions.items)))
        squares = np.add.reduceat(data.astype(np.float64) ** 2, indptr[:-1])
        return cls(config, vectors, squares)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Give the fitted arrays by name."""
        return {
            "tifu_indptr": self.vectors.indptr,
            "tifu_indices": self.vectors.indices,
            "tifu_data": self.vectors.data,
        }

    def vector(self, history: History) -> NDArray[np.float32]:
        """Weigh one history the same way, (items,)."""
        own = np.zeros(self.vectors.shape[1], np.float32)
        if len(history):
            days, basket = np.unique(-history.age_days, return_inverse=True)
            weight = basket_weights(basket, np.full(len(basket), len(days)), self.config)
            own[history.items] = np.add.reduceat(weight, history.starts)
        return own

    def score(self, history: History) -> NDArray[np.float32]:
        """Score all items, (items,); nearest by Euclidean distance, the person's own row left out."""
        own = self.vector(history)
        if not len(history):
            return own
        rows = self.vectors
        products = np.add.reduceat(own[rows.indices] * rows.data, rows.indptr[:-1])
        distance = self.squares - 2 * products
        # A row at distance nothing is the person's own.
        distance[distance + float(own @ own) < 1e-6] = np.inf
        near = np.argsort(distance, kind="stable")[: self.config.neighbours]
        near = near[np.isfinite(distance[near])]
        begin, length = rows.indptr[near], np.diff(rows.indptr)[near]
        at = np.repeat(begin - np.cumsum(length) + length, length) + np.arange(length.sum())
        mean = np.bincount(rows.indices[at], rows.data[at], len(own)).astype(np.float32)
        share = np.float32(self.config.own_share)
        return share * own + (1 - share) * mean / np.float32(max(1, len(near)))


def basket_weights(
    basket: NDArray[np.intp], baskets: NDArray[np.intp], config: TifuKnnConfig
) -> NDArray[np.float64]:
    """Give each taking's weight, (n,), from its basket's number (oldest 0) and how many there are.

    Groups are filled from the latest basket backwards; the mean is over groups of their means.
    """
    back = baskets - 1 - basket
    group, place = np.divmod(back, config.group_baskets)
    groups = -(-baskets // config.group_baskets)
    size = np.minimum(config.group_baskets, baskets - group * config.group_baskets)
    weight: NDArray[np.float64] = config.within_decay**place / size * config.group_decay**group / groups
    return weight


def _baskets(interactions: Interactions) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Number each user's days, oldest 0: the number per row, (n,), and the days per user, (users,)."""
    span = np.int64(interactions.last_day - interactions.first_day + 1)
    key = interactions.user_index.astype(np.int64) * span + (interactions.day - interactions.first_day)
    keys, index = np.unique(key, return_inverse=True)
    per_user = np.bincount((keys // span).astype(np.intp), minlength=len(interactions.users))
    first = np.cumsum(per_user) - per_user
    return index - first[interactions.user_index], per_user
