"""What every engine agrees on about pairs of items: how much an item and a user count, and what is kept.

The similarity of two items is g(i) g(j) Σ h(u)² over the users who took both, for BM25 as for cosine: a
matrix of ones separates into what depends on the item and what depends on the user. An engine therefore
only has to add up, per pair, the users and their h².
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recommender.models.item_to_item import ItemToItemConfig


def item_weights(buyers: NDArray[np.int64], config: ItemToItemConfig) -> NDArray[np.float64]:
    """Give g, (items,), from how many users took each item.

    Cosine: 1 ÷ √buyers. BM25: (k1 + 1) ÷ (1 + k1 (1 - b + b × buyers ÷ mean buyers)).
    """
    if config.weighting == "cosine":
        return np.asarray(1 / np.sqrt(np.maximum(buyers, 1)))
    length = 1 - config.bm25_b + config.bm25_b * buyers / buyers.mean()
    return np.asarray((config.bm25_k1 + 1) / (1 + config.bm25_k1 * length))


def user_weights(taken: NDArray[np.int64], items: int, config: ItemToItemConfig) -> NDArray[np.float64]:
    """Give h², (users,), from how many of `items` each user took: 1, or (log items - log(1 + taken))²."""
    if config.weighting == "cosine":
        return np.ones(len(taken))
    return np.asarray((np.log(items) - np.log1p(taken)) ** 2)


def shrink(
    similarity: NDArray[np.float32], common: NDArray[np.float32], config: ItemToItemConfig
) -> NDArray[np.float32]:
    """Give similarity × common ÷ (common + shrinkage), (pairs,)."""
    return np.asarray(similarity * (common / (common + np.float32(config.shrinkage))))


def best_of(
    others: NDArray[np.int32], similarity: NDArray[np.float32], keep: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Give the best `keep` of an item's neighbours that are above zero, ties to the lower position."""
    if len(similarity) > keep:
        last = np.partition(similarity, len(similarity) - keep)[len(similarity) - keep]
        near = np.flatnonzero(similarity >= last)
        others, similarity = others[near], similarity[near]
    order = np.lexsort((others, -similarity))
    order = order[similarity[order] > 0][:keep]
    return others[order], similarity[order]


def to_unit(similarities: NDArray[np.float32], largest: float, config: ItemToItemConfig) -> None:
    """Bring similarities into [0, 1] in place: BM25 by the largest there is before shrinking."""
    if config.weighting == "bm25" and largest > 0:
        similarities /= np.float32(largest)
    np.minimum(similarities, 1, out=similarities)
