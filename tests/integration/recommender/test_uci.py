"""The library on a real shop's orders: UCI Online Retail, known customers, net of cancellations."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from recommender.datasets import read_uci
from recommender.evaluation import evaluate
from recommender.interactions import Interactions
from recommender.training import train
from tests.unit.recommender.shop import repository_root

FILE = repository_root().parent / "shared" / "data" / "uci_online_retail.parquet"

pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"the data folder is not here: {FILE}")


@cache
def net_purchases() -> Interactions:
    """Read the goods that known customers kept."""
    return read_uci(FILE)


def test_the_served_lists_stand_above_the_strongest_baselines() -> None:
    """Last origin, 28 days, k = 10, the blend at its defaults; what the search adds stands in
    docs/recommender-evaluation.md. Reference points: GP-TopFreq .1773, P-TopFreq .1860, blend .1871;
    discover only: EASE and popularity .0716."""
    table = evaluate(net_purchases(), seed=20, origins=1)
    recall = {name: one["recall"] for name, one in table.methods.items()}
    assert table.origins[0]["users"] == pytest.approx(1326, abs=40)
    assert recall["gp_topfreq_all"] == pytest.approx(0.1773, abs=0.01)
    assert recall["personal_frequency"] == pytest.approx(0.1860, abs=0.01)
    assert recall["repeat_popularity"] == pytest.approx(0.1871, abs=0.01)
    assert recall["popularity_all"] == pytest.approx(0.0319, abs=0.005)
    assert recall["popularity_14d"] == pytest.approx(0.0577, abs=0.005)
    assert table.discover["ease_popularity"]["recall"] == pytest.approx(0.0716, abs=0.01)
    for name in ("gp_topfreq", "personal_frequency", "repeat_popularity"):
        assert table.differences["mixed"][name]["low"] > 0, name
    for name, gap in table.differences["discover"].items():
        assert gap["low"] > 0, name


def test_two_trainings_on_the_real_shop_have_the_same_hash(tmp_path: Path) -> None:
    one = train(net_purchases(), seed=20).write(tmp_path / "one", version="one")
    other = train(net_purchases(), seed=20).write(tmp_path / "other", version="other")
    assert one == other


def test_every_customer_of_the_real_shop_gets_a_clean_list() -> None:
    data = net_purchases()
    model = train(data, seed=20).serve()
    today = data.last_day + 1
    starts = np.searchsorted(data.user_index, np.arange(len(data.users) + 1))
    for user in range(0, len(data.users), 20):
        rows = slice(int(starts[user]), int(starts[user + 1]))
        history = [
            (data.items.ids[item], day, quantity)
            for item, day, quantity in zip(
                data.item_index[rows].tolist(),
                data.day[rows].tolist(),
                data.quantity[rows].tolist(),
                strict=True,
            )
        ]
        answer = model.recommend(history, today=today, limit=20)
        assert len({one.item_id for one in answer.items}) == 20
        assert answer.fallback is None
