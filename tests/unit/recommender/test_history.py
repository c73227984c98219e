from __future__ import annotations

import numpy as np

from recommender.history import History, Purchase
from recommender.idmap import IdMap
from tests.unit.recommender import shop

ITEMS = IdMap.from_ids(["cup", "pot", "tea"])


def test_purchases_are_sorted_merged_per_day_and_unknown_ones_left_out() -> None:
    history = History.encode(
        [
            Purchase("tea", 100),
            Purchase("cup", 90, 2.0),
            Purchase("tea", 80, 1.0),
            Purchase("tea", 100, 3.0),
            Purchase("ghost", 100),
            Purchase("pot", 100, 0.0),
            Purchase("pot", 100, -1.0),
            Purchase("pot", 100, float("nan")),
        ],
        items=ITEMS,
        today=101,
    )
    assert history.items.tolist() == [0, 2]
    assert history.times.tolist() == [1, 2]
    assert history.age_days.tolist() == [11, 21, 1]
    assert history.quantity.tolist() == [2, 1, 4]
    assert history.last_age_days().tolist() == [11, 1]
    assert history.median_gap_days(1) == 20


def test_a_day_after_today_counts_as_today() -> None:
    assert History.encode([("tea", 105, 1.0)], items=ITEMS, today=100).age_days.tolist() == [0]


def test_nothing_known_gives_an_empty_history() -> None:
    history = History.encode([("ghost", 1, 1.0)], items=ITEMS, today=2)
    assert len(history) == 0
    assert history.weights(half_life_days=5).tolist() == []
    assert history.last_age_days().tolist() == []


def test_serving_weighs_a_history_exactly_as_training_does() -> None:
    built = shop.interactions()
    matrix = built.weighted(half_life_days=30, reference_day=built.last_day)
    user = built.users.get("u017")
    history = History.encode(shop.history_of("u017"), items=built.items, today=built.last_day)
    row = slice(matrix.indptr[user], matrix.indptr[user + 1])
    assert history.items.tolist() == matrix.indices[row].tolist()
    np.testing.assert_allclose(history.weights(half_life_days=30), matrix.data[row], rtol=1e-6)
