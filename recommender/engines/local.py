"""Fit on this machine through `implicit`, one thread, the same numbers every time.

Known behaviour of `implicit` 0.7 that this file keeps out:

- It counts on BLAS being single-threaded and is far slower otherwise: every call runs under one thread.
- Its thread pool survives a fork badly: `num_threads=1`, always.
- Refitting one object on another matrix keeps factors of the old shape: a new object per fit.
- It crashes on `numpy.random.RandomState` here: seeds are integers.
- Its one `regularization` holds for all rows alike, and its default of 0.01 is far too weak. Rows are
  therefore solved in groups of about equal length, each group with its own regularisation.

Item-to-item is counted here instead: the library cuts its lists before they can be shrunk, and tells sums
of weights but not how many users they are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.sparse._sparsetools import csr_matmat
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from recommender.engines import pairs
from recommender.errors import UnfinishedFit
from recommender.interactions import Csr
from recommender.models.als import AlsConfig
from recommender.models.item_to_item import ItemToItemConfig

_GROUP_RATIO = 1.5
# Each row goes on from where it stood an iteration ago. A third step of conjugate gradients, the library's
# default, finds nothing more on either public shop and takes a seventh of the fit.
_CG_STEPS = 2
# How many sums of pairs are held at once: some 12 bytes each.
_PAIRS_AT_ONCE = 4_000_000


class _Rows(NamedTuple):
    """Some rows of a matrix as the solver takes them, views of its arrays."""

    indptr: NDArray[np.int32]
    indices: NDArray[np.int32]
    data: NDArray[np.float32]

    @classmethod
    def of(cls, matrix: Any, start: int, stop: int) -> Self:
        """Give the rows from `start` up to `stop`."""
        bounds = matrix.indptr[start : stop + 1]
        part = slice(bounds[0], bounds[-1])
        return cls(bounds - bounds[0], matrix.indices[part], matrix.data[part])


class _FrequencyScaledAls(AlternatingLeastSquares):  # type: ignore[misc]
    """Give each row a regularisation in proportion to its number of entries; rows come longest first."""

    @property
    def solver(self) -> Callable[..., None]:
        solve = super().solver
        groups: dict[int, list[tuple[slice, float, _Rows]]] = {}

        def solve_by_group(
            matrix: Any, rows: Any, columns: Any, regularization: float, num_threads: int
        ) -> None:
            if id(matrix) not in groups:
                groups[id(matrix)] = [
                    (slice(start, stop), length, _Rows.of(matrix, start, stop))
                    for start, stop, length in runs_by_length(np.diff(matrix.indptr))
                ]
            for run, length, part in groups[id(matrix)]:
                solve(part, rows[run], columns, regularization * length, num_threads=num_threads)

        return solve_by_group


def runs_by_length(lengths: NDArray[Any]) -> list[tuple[int, int, float]]:
    """Cut rows that come longest first into runs whose lengths lie within a factor of 1.5.

    Gives (start, stop, mean length) per run; empty rows are in none.
    """
    filled = int(np.count_nonzero(lengths))
    group = np.floor(np.log(lengths[:filled]) / np.log(_GROUP_RATIO))
    edges = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), filled] if filled else []
    return [(start, stop, float(lengths[start:stop].mean())) for start, stop in pairwise(edges)]


def factorise(confidence: Csr, config: AlsConfig, *, seed: int) -> NDArray[np.float32]:
    """Give item factors, (items, factors), by alternating least squares with conjugate gradients."""
    matrix, item_order = _longest_first(to_scipy(confidence, np.float32))
    with threadpool_limits(limits=1, user_api="blas"):
        model = _FrequencyScaledAls(
            factors=config.factors,
            regularization=config.regularization,
            alpha=1.0,
            iterations=config.iterations,
            num_threads=1,
            random_state=int(seed),
        )
        model.cg_steps = _CG_STEPS
        model.fit(matrix, show_progress=False)
    factors: NDArray[np.float32] = np.empty_like(model.item_factors)
    factors[item_order] = model.item_factors
    # Nobody took them: they keep what they were drawn with.
    factors[np.bincount(confidence.indices, minlength=len(factors)) == 0] = 0
    return factors


def _longest_first(matrix: Any) -> tuple[Any, NDArray[np.intp]]:
    """Order users and items by how many entries they have, and give the order of the items."""
    users, items = matrix.shape
    user_order = np.argsort(-np.diff(matrix.indptr), kind="stable")
    item_order = np.argsort(-np.bincount(matrix.indices, minlength=items), kind="stable")
    position = np.empty(items, np.int32)
    position[item_order] = np.arange(items)
    rows = matrix[user_order]
    ordered = sp.csr_matrix((rows.data, position[rows.indices], rows.indptr), shape=(users, items))
    ordered.sort_indices()
    return ordered, item_order


def find_neighbours(taken: Csr, config: ItemToItemConfig) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Give each item's neighbours and similarities, both (items, neighbours), best first.

    Exact: every pair with enough common users is shrunk before the lists are cut. One sparse product adds
    up, per pair, the weights of the common users (real part) and their number (imaginary part), a few
    hundred items at a time.
    """
    count = taken.shape[1]
    keep = min(config.neighbours, count)
    neighbours = np.repeat(np.arange(count, dtype=np.int32)[:, None], keep, axis=1)
    similarities = np.zeros((count, keep), dtype=np.float32)
    matrix = to_scipy(taken, np.float32)
    g = pairs.item_weights(np.bincount(matrix.indices, minlength=count), config).astype(np.float32)
    weight = pairs.user_weights(np.diff(matrix.indptr), count, config).astype(np.float32)
    right = matrix.astype(np.complex64)
    left = matrix.T.tocsr().astype(np.complex64)
    left.data = (weight[left.indices] + np.complex64(1j)).astype(np.complex64)
    largest = 0.0
    step = max(1, _PAIRS_AT_ONCE // max(1, count))
    for first, block in _products(left, right, step):
        for item, others, sums, common in _rows_of(block, first, config.min_common_users):
            similarity = sums * g[others] * g[item]
            largest = max(largest, float(similarity.max(initial=0)))
            best, shrunk = pairs.best_of(others, pairs.shrink(similarity, common, config), keep)
            neighbours[item, : len(best)] = best
            similarities[item, : len(best)] = shrunk
    pairs.to_unit(similarities, largest, config)
    return neighbours, similarities


def _products(left: Any, right: Any, step: int) -> Iterator[tuple[int, Any]]:
    """Yield the product's rows, `step` at a time: the number of the first, and a matrix good until the next.

    The operator would go through all pairs once more beforehand, to learn how many there are: a third of its
    time. There is room for all here, kept from step to step, and what it calls after that is called as it is.
    """
    count = right.shape[1]
    step = min(step, left.shape[0])
    indptr = np.zeros(step + 1, np.int32)
    indices, data = np.empty(step * count, np.int32), np.empty(step * count, right.dtype)
    for first in range(0, left.shape[0], step):
        rows = left[first : first + step]
        number = rows.shape[0]
        csr_matmat(
            number, count,
            rows.indptr, rows.indices, rows.data,
            right.indptr, right.indices, right.data,
            indptr, indices, data,
        )  # fmt: skip
        filled = indptr[number]
        yield (
            first,
            sp.csr_matrix(
                (data[:filled], indices[:filled], indptr[: number + 1]), shape=(number, count), copy=False
            ),
        )


def _rows_of(
    block: Any, first: int, min_common_users: int
) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]]:
    """Yield per item of a block: its position, and its neighbours with sums and numbers of common users."""
    own = np.repeat(np.arange(first, first + block.shape[0], dtype=np.int32), np.diff(block.indptr))
    kept = np.flatnonzero((block.data.imag >= min_common_users) & (block.indices != own))
    others, data = block.indices[kept], block.data[kept]
    edges = np.searchsorted(kept, block.indptr).tolist()
    for row, (start, stop) in enumerate(pairwise(edges)):
        part = slice(start, stop)
        yield first + row, others[part], data[part].real, data[part].imag


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
