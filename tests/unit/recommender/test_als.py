from __future__ import annotations

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from recommender.engines import local
from recommender.errors import UnfinishedFit
from recommender.history import History
from recommender.interactions import Csr, Interactions
from recommender.models.als import Als, AlsConfig
from tests.unit.recommender import shop

CONFIG = AlsConfig(factors=8, iterations=6)


def fit(data: Interactions | None = None, config: AlsConfig = CONFIG) -> Als:
    return Als.fit(data or shop.interactions(), config, factorise=local.factorise, seed=1)


def confidence() -> Csr:
    weighted = shop.interactions().weighted(half_life_days=60)
    return Csr(weighted.indptr, weighted.indices, 1 + 10 * weighted.data, weighted.shape)


def test_folding_in_solves_the_equation_of_the_paper() -> None:
    model = fit()
    data = shop.interactions()
    history = History.encode(shop.history_of("u005"), items=data.items, today=data.last_day)
    factors = model.item_factors.astype(np.float64)
    wanted = np.zeros(len(factors))
    trust = np.ones(len(factors))
    wanted[history.items] = 1
    trust[history.items] += CONFIG.confidence_scale * history.weights(half_life_days=CONFIG.half_life_days)
    system = factors.T @ np.diag(trust) @ factors
    system += CONFIG.regularization * len(history) * np.eye(8)
    expected = np.linalg.solve(system, factors.T @ (trust * wanted))
    np.testing.assert_allclose(model.fold_in(history), expected, rtol=1e-3, atol=1e-5)


def test_folding_in_agrees_with_the_engine_that_trained() -> None:
    model, matrix = fit(), confidence()
    data = shop.interactions()
    user = data.users.get("u005")
    history = History.encode(shop.history_of("u005"), items=data.items, today=data.last_day)
    with threadpool_limits(limits=1, user_api="blas"):
        engine = AlternatingLeastSquares(
            factors=8, regularization=CONFIG.regularization * len(history), num_threads=1
        )
        engine.item_factors = model.item_factors
        expected = engine.recalculate_user(0, local.to_scipy(matrix, np.float32)[user])
    np.testing.assert_allclose(model.fold_in(history), expected, rtol=1e-3, atol=1e-5)


def test_regularisation_of_a_row_grows_with_its_entries() -> None:
    """Where all rows are equally long, scaling by frequency is plain regularisation times that length."""
    size = 12
    indices = np.concatenate([np.sort((np.arange(3) + row) % size) for row in range(size)])
    matrix = Csr(
        np.arange(0, 3 * size + 1, 3, dtype=np.int32),
        indices.astype(np.int32),
        np.full(3 * size, 5, np.float32),
        (size, size),
    )
    config = AlsConfig(factors=4, iterations=5, regularization=0.5)
    with threadpool_limits(limits=1, user_api="blas"):
        plain = AlternatingLeastSquares(
            factors=4, iterations=5, regularization=1.5, num_threads=1, random_state=2
        )
        plain.cg_steps = local._CG_STEPS
        plain.fit(local.to_scipy(matrix, np.float32), show_progress=False)
    np.testing.assert_allclose(local.factorise(matrix, config, seed=2), plain.item_factors, rtol=1e-5)


def test_rows_are_cut_into_runs_of_lengths_within_a_factor_of_one_and_a_half() -> None:
    lengths = np.array([41, 40, 7, 7, 4, 3, 2, 1, 0, 0])
    runs = local.runs_by_length(lengths)
    assert [row for start, stop, _ in runs for row in range(start, stop)] == list(range(8))
    for start, stop, mean in runs:
        own = lengths[start:stop]
        assert own.max() <= 1.5 * own.min()
        assert mean == pytest.approx(own.mean())
    assert local.runs_by_length(np.zeros(3, np.int64)) == []


def test_factors_stand_where_their_items_stand() -> None:
    """Rows are solved longest first; the order the items came in is given back."""
    matrix = confidence()
    count = matrix.shape[1]
    order = np.random.default_rng(4).permutation(count)
    place = np.argsort(order).astype(np.int32)
    turned = Csr(matrix.indptr, place[matrix.indices], matrix.data, matrix.shape)
    plain = local.factorise(matrix, CONFIG, seed=3)
    other = local.factorise(turned, CONFIG, seed=3)
    back = other[place]
    assert np.corrcoef((plain @ plain.T).ravel(), (back @ back.T).ravel())[0, 1] > 0.9


def test_tastes_are_found() -> None:
    model = fit()
    data = shop.interactions()
    history = History.encode(shop.history_of("u005"), items=data.items, today=data.last_day)
    scores = model.score(history)
    own = np.array([int(one[4:]) // 20 == 1 for one in data.items.ids])
    assert scores[own].mean() > 4 * abs(scores[~own].mean())


def test_a_fit_that_went_wrong_is_not_passed_on() -> None:
    def broken(confidence: Csr, config: AlsConfig, *, seed: int) -> NDArray[np.float32]:
        return np.full((confidence.shape[1], config.factors), np.nan, dtype=np.float32)

    def short(confidence: Csr, config: AlsConfig, *, seed: int) -> NDArray[np.float32]:
        return np.zeros((confidence.shape[1] - 1, config.factors), dtype=np.float32)

    for factorise in (broken, short):
        with pytest.raises(UnfinishedFit):
            Als.fit(shop.interactions(), CONFIG, factorise=factorise, seed=1)
