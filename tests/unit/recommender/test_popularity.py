from __future__ import annotations

import pytest

from recommender.interactions import Interactions
from recommender.models.popularity import Popularity, PopularityConfig, window_counts


def history() -> Interactions:
    """Ten days of old favourites, one newcomer in the last week."""
    return Interactions.from_columns(
        user_id=["a", "b", "c", "a", "b"],
        item_id=["old", "old", "old", "new", "new"],
        day=[10, 11, 12, 100, 99],
    )


def test_each_window_counts_back_from_the_last_day() -> None:
    assert window_counts(history(), None).tolist() == [2, 3]
    assert window_counts(history(), 7).tolist() == [2, 0]
    assert window_counts(history(), 1).tolist() == [1, 0]


def test_windows_are_mixed_by_their_weights() -> None:
    recent = Popularity.fit(history(), PopularityConfig((7, None), (1.0, 0.0))).scores
    always = Popularity.fit(history(), PopularityConfig((7, None), (0.0, 1.0))).scores
    mixed = Popularity.fit(history(), PopularityConfig((7, None), (3.0, 1.0))).scores
    assert recent.tolist() == [1, 0]
    assert always.tolist() == pytest.approx([2 / 3, 1])
    assert mixed.tolist() == pytest.approx([11 / 12, 1 / 4])
