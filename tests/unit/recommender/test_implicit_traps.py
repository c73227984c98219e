"""Each known trap of the `implicit` library, and that it cannot be stepped into from here."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from recommender.engines import local
from recommender.history import History
from recommender.interactions import Csr
from recommender.models.als import Als, AlsConfig
from recommender.models.item_to_item import ItemToItem, ItemToItemConfig
from recommender.serving import ServedModel
from recommender.training import train
from tests.unit.recommender import shop

TODAY = shop.FIRST_DAY + shop.DAYS
SMALL = AlsConfig(factors=4, iterations=2)

IN_A_FRESH_PROCESS = """
import os, signal, sys
from tests.unit.recommender import shop
from recommender.training import train
first = train(shop.interactions(), shop.QUICK, seed=1)
child = os.fork()
if child == 0:
    signal.alarm(60)
    again = train(shop.interactions(), shop.QUICK, seed=1)
    same = all(first.arrays[name].tobytes() == array.tobytes() for name, array in again.arrays.items())
    os._exit(0 if same else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def read_only() -> Csr:
    weighted = shop.interactions().weighted(half_life_days=None)
    for array in (weighted.indptr, weighted.indices, weighted.data):
        array.setflags(write=False)
    return weighted


def test_fitting_never_writes_into_the_callers_matrix() -> None:
    matrix = read_only()
    before = [array.tobytes() for array in (matrix.indptr, matrix.indices, matrix.data)]
    local.factorise(matrix, SMALL, seed=1)
    local.find_neighbours(matrix, ItemToItemConfig())
    assert before == [array.tobytes() for array in (matrix.indptr, matrix.indices, matrix.data)]


def test_training_in_a_child_after_training_in_the_parent_does_not_hang() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS], cwd=shop.repository_root(), timeout=120, check=False
    )
    assert done.returncode == 0


def test_no_thread_count_is_carried_in_the_artifact(tmp_path: Path) -> None:
    shop.trained().write(tmp_path / "v1", version="v1")
    assert "thread" not in (tmp_path / "v1" / "manifest.json").read_text()


def test_masked_items_do_not_come_back_at_the_tail() -> None:
    model = shop.trained().serve()
    few = model.mask(["sku-001", "sku-002", "sku-003"])
    answer = model.recommend(shop.history_of("u001"), today=TODAY, limit=50, allowed=few)
    assert sorted(one.item_id for one in answer.items) == ["sku-001", "sku-002", "sku-003"]
    assert min(one.score for one in answer.items) > -1e30


def test_asking_for_more_than_exists_does_not_pad_with_the_first_item() -> None:
    answer = shop.trained().serve().recommend([], today=TODAY, limit=500)
    assert len({one.item_id for one in answer.items}) == len(answer.items) == 80


def test_missing_neighbours_are_never_minus_one() -> None:
    matrix = read_only()
    neighbours, similarities = local.find_neighbours(matrix, ItemToItemConfig(neighbours=500))
    assert neighbours.min() >= 0
    assert neighbours.max() < matrix.shape[1]
    assert similarities.min() >= 0


def test_nobody_is_answered_with_somebody_elses_list() -> None:
    """There is no user to get wrong: only a history is asked with, and an empty one is not scored."""
    answer = shop.trained().serve().recommend([], today=TODAY, limit=5)
    assert answer.fallback == "popular"
    assert min(one.score for one in answer.items) > 0


def test_folding_in_works_on_a_read_only_memory_map(tmp_path: Path) -> None:
    shop.trained().write(tmp_path / "v1", version="v1")
    model = ServedModel.open(tmp_path / "v1")
    assert not model.als.item_factors.flags.writeable
    answer = model.recommend(shop.history_of("u001"), today=TODAY, limit=5, mode="discover")
    assert len(answer.items) == 5


def test_a_numpy_integer_seeds_as_a_plain_one_and_a_generator_is_refused() -> None:
    matrix = read_only()
    plain = local.factorise(matrix, SMALL, seed=5)
    np.testing.assert_array_equal(plain, local.factorise(matrix, SMALL, seed=np.int64(5)))  # type: ignore[arg-type]
    assert not np.array_equal(plain, local.factorise(matrix, SMALL, seed=6))
    with pytest.raises(TypeError):
        local.factorise(matrix, SMALL, seed=np.random.RandomState(5))  # type: ignore[arg-type]


def test_wide_indices_and_whole_number_data_are_converted() -> None:
    matrix = read_only()
    wide = Csr(
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int64),
        matrix.data.astype(np.int64),
        matrix.shape,
    )
    for own, other in zip(
        local.find_neighbours(wide, ItemToItemConfig()),
        local.find_neighbours(matrix, ItemToItemConfig()),
        strict=True,
    ):
        np.testing.assert_array_equal(own, other)
    np.testing.assert_array_equal(
        local.factorise(wide, SMALL, seed=1), local.factorise(matrix, SMALL, seed=1)
    )


def test_fitting_a_larger_matrix_afterwards_has_the_larger_shape() -> None:
    small = shop.interactions_of([row for row in shop.rows() if row.item_id < "sku-020"])
    assert len(train(small, shop.QUICK).serve().items) == 20
    larger = train(shop.interactions(), shop.QUICK)
    assert larger.arrays["als_item_factors"].shape[0] == 80
    assert larger.arrays["item_neighbours"].shape[0] == 80


def test_an_item_everybody_takes_gets_no_negative_similarity() -> None:
    lines = [*shop.rows(), *(shop.Row(f"u{user:03d}", "bag", shop.FIRST_DAY, 1.0) for user in range(160))]
    data = shop.interactions_of(lines)
    model = ItemToItem.fit(data, ItemToItemConfig(weighting="bm25"), find=local.find_neighbours)
    assert np.isfinite(model.similarities).all()
    assert model.similarities.min() >= 0
    assert model.similarities.max() <= 1


def test_regularisation_is_not_left_at_the_weak_default() -> None:
    """A user with n items is held back by n times the setting, here hundreds of times 0.01."""
    assert AlsConfig().regularization >= 0.1
    data = shop.interactions()
    history = History.encode(shop.history_of("u001"), items=data.items, today=data.last_day)

    def fitted_preference(regularization: float) -> float:
        config = AlsConfig(factors=8, regularization=regularization)
        model = Als.fit(data, config, factorise=local.factorise, seed=1)
        return float(model.score(history)[history.items].mean())

    assert fitted_preference(0.3) > fitted_preference(3.0) > fitted_preference(30.0)


def test_a_fit_runs_on_one_thread_of_blas_whatever_the_machine_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[int] = []
    fit = local.factorise

    def counted(confidence: Csr, config: AlsConfig, *, seed: int) -> NDArray[np.float32]:
        threads.extend(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")
        return fit(confidence, config, seed=seed)

    monkeypatch.setattr(local, "factorise", counted)
    with threadpool_limits(limits=2, user_api="blas"):
        train(shop.interactions(), shop.QUICK, seed=1)
    assert set(threads) == {1}


def test_folding_in_for_one_member_starts_no_threads_and_needs_no_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = shop.trained().serve()
    monkeypatch.setitem(sys.modules, "implicit", None)
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    before = threading.active_count()
    assert model.recommend(shop.history_of("u001"), today=TODAY, limit=5, mode="discover").items
    assert threading.active_count() == before
