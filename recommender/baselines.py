"""What every candidate is measured against, fitted on the same past."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.arms import DISCOVER_AS, EASE_POPULARITY, SERVED_AS
from recommender.engines import local
from recommender.history import History
from recommender.interactions import Interactions
from recommender.models.ease import Ease
from recommender.models.item_to_item import ItemToItem, ItemToItemConfig
from recommender.models.popularity import window_counts
from recommender.models.tifu_knn import TifuKnn, TifuKnnConfig
from recommender.models.top_frequency import REPEAT_POPULARITY, TopFrequency, TopFrequencyConfig
from recommender.serving import ServedModel

Scores = Callable[[History], NDArray[np.float32]]

WINDOWS: dict[str, int | None] = {
    "popularity_7d": 7,
    "popularity_14d": 14,
    "popularity_28d": 28,
    "popularity_all": None,
}
_FREQUENCIES = {
    "personal_frequency": TopFrequencyConfig(fill=False),
    "gp_topfreq": TopFrequencyConfig(),
    "gp_topfreq_all": TopFrequencyConfig(tie_window_days=None),
    "repeat_popularity": REPEAT_POPULARITY,
}
BASELINES = (
    "popularity",
    *WINDOWS,
    *_FREQUENCIES,
    "tifu_knn",
    "item_knn_cosine",
    "item_knn_bm25",
    "als",
    "ease",
)
DISCOVERERS = (
    "popularity",
    *WINDOWS,
    "tifu_knn",
    "item_knn_cosine",
    "item_knn_bm25",
    "als",
    "ease",
    "ease_popularity",
)
_EASE_ITEMS = 10_000


class Scorers(NamedTuple):
    """Hold the score functions by name: over everything, and those that only make sense for new items.

    `unserved` are the names of those that the model itself cannot serve.
    """

    methods: dict[str, Scores]
    discover: dict[str, Scores]
    unserved: frozenset[str]


def fit_baselines(past: Interactions, model: ServedModel) -> Scorers:
    """Fit every baseline on the past; plain ALS, EASE and BM25 are those inside the trained model.

    Personal frequency ranks only what was taken, ties by 28-day popularity; `gp_topfreq` fills it with that
    popularity, `gp_topfreq_all` with that of all time. `popularity` mixes the windows, as the hold-out is
    served. EASE is there when the catalogue allows it.
    """
    counts = {name: window_counts(past, days).astype(np.float32) for name, days in WINDOWS.items()}
    cosine = ItemToItem.fit(past, ItemToItemConfig(weighting="cosine"), find=local.find_neighbours)
    methods: dict[str, Scores] = {name: _constant(one) for name, one in counts.items()}
    methods["popularity"] = model.popularity.score
    for name, config in _FREQUENCIES.items():
        scores = TopFrequency.fit(past, config).score
        methods[name] = scores if config.fill else _only_taken(scores)
    methods |= {
        "tifu_knn": TifuKnn.fit(past, TifuKnnConfig()).score,
        "item_knn_cosine": cosine.score,
        "item_knn_bm25": model.item_to_item.score,
        "als": model.als.score,
    }
    discover = {name: methods[name] for name in DISCOVERERS if name in methods}
    ease = _fit_ease(past, model)
    if ease.fitted:
        lately = counts["popularity_14d"]
        added = EASE_POPULARITY * lately / max(1.0, float(lately.max()))
        methods["ease"] = discover["ease"] = ease.score
        discover["ease_popularity"] = lambda history: (ease.score(history) + added).astype(np.float32)
    served = {*SERVED_AS.values(), *DISCOVER_AS.values(), "personal_frequency"}
    if not model.ease.fitted:
        served -= {"ease", "ease_popularity"}
    return Scorers(methods, discover, frozenset({*methods, *discover} - served))


def _fit_ease(past: Interactions, model: ServedModel) -> Ease:
    """Give the model's own EASE; where the catalogue is too large to train it nightly, one for the table."""
    settings = model.ease.config
    if model.ease.fitted or not 0 < settings.max_items < _EASE_ITEMS:
        return model.ease
    return Ease.fit(past, replace(settings, max_items=_EASE_ITEMS), solve=local.solve_ease)


def _constant(scores: NDArray[np.float32]) -> Scores:
    return lambda history: scores


def _only_taken(scores: Scores) -> Scores:
    def ranked(history: History) -> NDArray[np.float32]:
        found = scores(history)
        only = np.full_like(found, -np.inf)
        only[history.items] = found[history.items]
        return only

    return ranked
