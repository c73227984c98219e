"""Fit on this machine through `implicit`, one thread, the same numbers every time.

Known behaviour of `implicit` 0.7 that this file keeps out:

- It counts on BLAS being single-threaded and is far slower otherwise: every call runs under one thread.
- Its thread pool survives a fork badly: `num_threads=1`, always.
- Refitting one object on another matrix keeps factors of the old shape: a new object per fit.
- It crashes on `numpy.random.RandomState` here: seeds are integers.
- Item-to-item needs int32 indices and float64 data.
- An item bought by everyone gets a negative BM25 weight; similarities below zero are cut.
- Its one `regularization` holds for all rows alike, and its default of 0.01 is far too weak. Rows are
  therefore solved in groups of about equal length, each group with its own regularisation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import ItemItemRecommender, bm25_weight, normalize
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from recommender.errors import UnfinishedFit
from recommender.interactions import Csr
from recommender.models.als import AlsConfig
from recommender.models.item_to_item import ItemToItemConfig

_GROUP_RATIO = 1.5
_SPARE_NEIGHBOURS = 2


class _FrequencyScaledAls(AlternatingLeastSquares):  # type: ignore[misc]
    """Give each row a regularisation in proportion to its number of entries."""

    @property
    def solver(self) -> Callable[..., None]:
        solve = super().solver
        groups: dict[int, list[tuple[float, NDArray[np.intp], Any]]] = {}

        def solve_by_group(
            matrix: Any, rows: Any, columns: Any, regularization: float, num_threads: int
        ) -> None:
            if id(matrix) not in groups:
                groups[id(matrix)] = rows_by_length(matrix)
            rows[np.diff(matrix.indptr) == 0] = 0
            for length, members, part in groups[id(matrix)]:
                solved = rows[members]
                solve(part, solved, columns, regularization * length, num_threads=num_threads)
                rows[members] = solved

        return solve_by_group


def rows_by_length(matrix: Any) -> list[tuple[float, NDArray[np.intp], Any]]:
    """Group rows whose numbers of entries lie within a factor of 1.5.

    Gives (mean number of entries, row positions, those rows as a matrix) per group; empty rows are in none.
    """
    length = np.diff(matrix.indptr)
    group = np.full(len(length), -1)
    filled = length > 0
    group[filled] = np.floor(np.log(length[filled]) / np.log(_GROUP_RATIO))
    return [
        (float(length[members].mean()), members, matrix[members])
        for one in np.unique(group[filled])
        for members in [np.flatnonzero(group == one)]
    ]


def factorise(confidence: Csr, config: AlsConfig, *, seed: int) -> NDArray[np.float32]:
    """Give item factors, (items, factors), by alternating least squares with conjugate gradients."""
    with threadpool_limits(limits=1, user_api="blas"):
        model = _FrequencyScaledAls(
            factors=config.factors,
            regularization=config.regularization,
            alpha=1.0,
            iterations=config.iterations,
            num_threads=1,
            random_state=int(seed),
        )
        model.fit(to_scipy(confidence, np.float32), show_progress=False)
    factors: NDArray[np.float32] = model.item_factors
    return factors


def find_neighbours(taken: Csr, config: ItemToItemConfig) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Give each item's neighbours and similarities, both (items, neighbours), best first.

    Twice as many are asked for as are kept, because shrinkage may reorder them.
    """
    items_by_user = to_scipy(taken, np.float64).T
    if config.weighting == "cosine":
        weighted = normalize(items_by_user).T.tocsr()
    else:
        weighted = bm25_weight(items_by_user, config.bm25_k1, config.bm25_b).T.tocsr()
    wanted = min(config.neighbours * _SPARE_NEIGHBOURS + 1, taken.shape[1])
    model = ItemItemRecommender(K=wanted, num_threads=1)
    with threadpool_limits(limits=1, user_api="blas"):
        model.fit(weighted, show_progress=False)
    found = model.similarity.tocoo()
    return _shrink_and_cut(taken, found.row, found.col, found.data, config)


def solve_ease(taken: Csr, regularization: float) -> NDArray[np.float32]:
    """Give the weights of EASE, (items, items), by a Cholesky inverse of the Gram matrix, one thread."""
    matrix = to_scipy(taken, np.float64)
    gram = (matrix.T @ matrix).toarray()
    gram.flat[:: len(gram) + 1] += regularization
    with threadpool_limits(limits=1, user_api="blas"):
        factor, info = dpotrf(gram, lower=1, overwrite_a=1)
        inverse, failed = dpotri(factor, lower=1, overwrite_c=1)
    if info or failed:
        raise UnfinishedFit("the Gram matrix of EASE could not be inverted")
    lower = np.tril(inverse, -1)
    weights: NDArray[np.float64] = lower + lower.T
    weights /= -np.diag(inverse)
    return weights.astype(np.float32)


def to_scipy(matrix: Csr, dtype: type[np.float32] | type[np.float64]) -> Any:
    """Give a scipy matrix of its own: int32 indices, data copied, so that nobody's arrays can be written."""
    return sp.csr_matrix(
        (matrix.data.astype(dtype), matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)),
        shape=matrix.shape,
    )


def _shrink_and_cut(
    taken: Csr, item: NDArray[Any], other: NDArray[Any], similarity: NDArray[Any], config: ItemToItemConfig
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Shrink by common users, drop strangers, and keep the best, ties to the lower position."""
    count, keep = taken.shape[1], min(config.neighbours, taken.shape[1])
    real = (item != other) & (similarity > 0) & np.isfinite(similarity)
    item, other, similarity = item[real], other[real], similarity[real]
    if config.weighting == "cosine":
        buyers = np.bincount(taken.indices, minlength=count)
        common = np.rint(similarity * np.sqrt(buyers[item].astype(np.float64) * buyers[other]))
    else:
        common = _common_users(taken, item, other)
        similarity = similarity / similarity.max(initial=1e-12)
    shrunk = np.minimum(1.0, similarity * common / (common + config.shrinkage))
    shrunk[common < config.min_common_users] = 0
    order = np.lexsort((other, -shrunk, item))
    order = order[shrunk[order] > 0]
    item, other, shrunk = item[order], other[order], shrunk[order]
    place = np.arange(len(item)) - np.searchsorted(item, item)
    kept = place < keep
    neighbours = np.repeat(np.arange(count, dtype=np.int32)[:, None], keep, axis=1)
    similarities = np.zeros((count, keep), dtype=np.float32)
    neighbours[item[kept], place[kept]] = other[kept]
    similarities[item[kept], place[kept]] = shrunk[kept]
    return neighbours, similarities


def _common_users(taken: Csr, item: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """Count the users who took both items of each pair, (pairs,), a few hundred items at a time."""
    users_by_item = to_scipy(taken, np.float64)
    items_by_user = users_by_item.T.tocsr()
    common = np.zeros(len(item))
    order = np.argsort(item, kind="stable")
    for first in range(0, taken.shape[1], 256):
        start, stop = np.searchsorted(item[order], [first, first + 256])
        if start < stop:
            pairs = order[start:stop]
            both = (items_by_user[first : first + 256] @ users_by_item).tocsr()
            common[pairs] = np.asarray(both[item[pairs] - first, other[pairs]]).ravel()
    return common
