from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from recommender.config import TrainingConfig
from recommender.errors import InvalidConfig
from recommender.models.als import AlsConfig
from recommender.training import train
from tests.unit.recommender import shop

WRITE = """
import sys
from tests.unit.recommender import shop
sys.stdout.write(shop.trained().write(sys.argv[1], version="v1"))
"""


def hash_in_a_process_of_its_own(place: Path, blas_threads: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(place)],
        cwd=shop.repository_root(),
        env={**os.environ, "OPENBLAS_NUM_THREADS": str(blas_threads)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def test_two_identical_trainings_have_the_same_hash_in_any_process(tmp_path: Path) -> None:
    here = train(shop.interactions(), shop.QUICK, seed=3).write(tmp_path / "a", version="one")
    lines = list(shop.rows())
    random.Random(5).shuffle(lines)
    shuffled = train(shop.interactions_of(lines), shop.QUICK, seed=3).write(tmp_path / "b", version="two")
    there = hash_in_a_process_of_its_own(tmp_path / "c", blas_threads=1)
    threaded = hash_in_a_process_of_its_own(tmp_path / "d", blas_threads=2)
    assert here == shuffled == there == threaded


def test_another_seed_setting_or_row_gives_another_hash(tmp_path: Path) -> None:
    same = train(shop.interactions(), shop.QUICK, seed=3).write(tmp_path / "a", version="v")
    seed = train(shop.interactions(), shop.QUICK, seed=4).write(tmp_path / "b", version="v")
    other = replace(shop.QUICK, als=replace(shop.QUICK.als, regularization=0.2))
    setting = train(shop.interactions(), other, seed=3).write(tmp_path / "c", version="v")
    less = train(shop.interactions_of(shop.rows()[1:]), shop.QUICK, seed=3).write(tmp_path / "d", version="v")
    assert len({same, seed, setting, less}) == 4


def test_progress_is_told_stage_by_stage() -> None:
    told: list[tuple[str, int, int]] = []
    train(shop.interactions(), shop.QUICK, progress=lambda *stage: told.append(stage))
    assert [stage for stage, _, _ in told] == [
        "popularity",
        "personal_frequency",
        "item_to_item",
        "als",
        "ease",
    ]
    assert [done for _, done, _ in told] == [1, 2, 3, 4, 5]
    assert {total for _, _, total in told} == {5}


def test_one_purchase_is_enough_to_train() -> None:
    one = shop.interactions_of([shop.Row("a", "x", 10, 1.0)])
    model = train(one).serve()
    answer = model.recommend([("x", 10, 1.0)], today=11, limit=5)
    assert [item.item_id for item in answer.items] == ["x"]


def test_settings_survive_the_manifest() -> None:
    config = TrainingConfig(als=AlsConfig(factors=3, half_life_days=None))
    assert TrainingConfig.from_dict(config.as_dict()) == config
    assert TrainingConfig.from_dict({}) == TrainingConfig()


@pytest.mark.parametrize(
    "sections",
    [
        {"bpr": {}},
        {"blend": {"mixed": "magic"}},
        {"als": {"rank": 3}},
        {"als": 3},
        {"als": {"factors": 0}},
        {"als": {"factors": "many"}},
    ],
)
def test_unknown_or_malformed_settings_are_refused(sections: dict[str, dict[str, object]]) -> None:
    with pytest.raises(InvalidConfig):
        TrainingConfig.from_dict(sections)
