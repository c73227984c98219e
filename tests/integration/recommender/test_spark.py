"""Training on Spark, for real, on two threads of this machine."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from recommender.cli import main
from recommender.engines import Engine, local, using_engine
from recommender.engines.spark import open_spark
from recommender.errors import EngineMissing, InvalidConfig
from recommender.history import History
from recommender.interactions import Interactions
from recommender.models.als import Als, AlsConfig
from recommender.models.item_to_item import ItemToItemConfig
from recommender.serving import ServedModel
from recommender.training import train
from tests.integration.recommender.test_uci import FILE, net_purchases
from tests.unit.recommender import shop

HAS_JAVA = bool(shutil.which("java") or os.environ.get("JAVA_HOME"))
needs_java = pytest.mark.skipif(not HAS_JAVA, reason="Spark needs Java 17, and there is no Java here")
RANK_16 = AlsConfig(factors=16, iterations=10)


@pytest.fixture(scope="module")
def spark() -> Iterator[Engine]:
    pytest.importorskip("pyspark")
    with warnings.catch_warnings():
        # The session's sockets are the gateway's to close.
        warnings.simplefilter("ignore")
        with open_spark() as engine:
            yield engine


def recall_at_10(data: Interactions, engine: Engine | None, *, max_users: int = 600) -> float:
    """Fit on all but the last 28 days and rank everything for those who bought in them."""
    cut = data.last_day - 28
    past = data.between(through_day=cut)
    factorise = local.factorise if engine is None else engine.factorise
    model = Als.fit(past, RANK_16, factorise=factorise, seed=3)
    later = data.day > cut
    users = past.users.positions(data.users.ids)[data.user_index[later]]
    items = past.items.positions(data.items.ids)[data.item_index[later]]
    known = (users >= 0) & (items >= 0)
    users, items = users[known], items[known]
    found = []
    for user in np.unique(users)[:max_users]:
        rows = slice(*np.searchsorted(past.user_index, [user, user + 1]))
        history = History.from_sorted(past.item_index[rows], cut - past.day[rows], past.quantity[rows])
        best = np.argsort(-model.score(history), kind="stable")[:10]
        truth = np.unique(items[users == user])
        found.append(len(np.intersect1d(best, truth)) / len(truth))
    return float(np.mean(found))


@needs_java
def test_neighbours_are_the_same_from_both_engines(spark: Engine) -> None:
    taken = shop.interactions().weighted(half_life_days=None)
    ones = type(taken)(taken.indptr, taken.indices, np.ones_like(taken.data), taken.shape)
    for weighting in ("bm25", "cosine"):
        config = ItemToItemConfig(weighting=weighting, neighbours=20)
        own_items, own = local.find_neighbours(ones, config)
        other_items, other = spark.find_neighbours(ones, config)
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-6)
        differing = own_items != other_items
        # Only ties may stand in another order, where the last bits of a sum differ.
        assert differing.mean() < 0.05


@needs_java
@pytest.mark.skipif(not FILE.exists(), reason=f"the data folder is not here: {FILE}")
def test_neither_engine_is_worse_by_more_than_a_twentieth_at_rank_16(spark: Engine) -> None:
    here, there = recall_at_10(net_purchases(), None), recall_at_10(net_purchases(), spark)
    assert here > 0.05
    assert there >= 0.95 * here
    assert here >= 0.95 * there


@needs_java
def test_the_command_writes_the_same_kind_of_artefact(spark: Engine, tmp_path: Path) -> None:
    lines = ["user_id,item_id,day,quantity"]
    lines += [f"{row.user_id},{row.item_id},{row.day},{row.quantity}" for row in shop.rows()]
    source = tmp_path / "rows.csv"
    source.write_text("\n".join(lines) + "\n")
    settings = tmp_path / "settings.json"
    settings.write_text('{"als": {"factors": 8, "iterations": 5}}')
    command = ["train", str(source), "--engine", "spark", "--config", str(settings), "--no-evaluation"]
    assert main([*command, "--out", str(tmp_path / "model"), "--version", "v1"]) == 0
    model = ServedModel.open(tmp_path / "model")
    local_model = train(shop.interactions()).serve()
    assert "pyspark" in model.manifest.libraries
    assert "implicit" not in model.manifest.libraries
    assert model.items.ids == local_model.items.ids
    answer = model.recommend(shop.history_of("u001"), today=shop.FIRST_DAY + shop.DAYS, limit=10)
    assert len({one.item_id for one in answer.items}) == 10


def test_without_java_the_engine_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("pyspark")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(EngineMissing, match="Java 17"), using_engine("spark"):
        pass
    command = ["train", "rows.csv", "--engine", "spark", "--out", str(tmp_path / "model")]
    assert main(command) == 2
    assert "Java 17" in capsys.readouterr().err


def test_an_engine_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="local, spark"), using_engine("abacus"):
        pass
