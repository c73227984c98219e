"""A model of any size, drawn instead of learned: what ranking costs depends on its shape alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recommender.config import TrainingConfig
from recommender.idmap import IdMap
from recommender.training import TrainedModel


def draw_model(item_ids: Sequence[str], *, through_day: int, seed: int = 3) -> TrainedModel:
    """Return a model of these items with every array of the default settings; `through_day` since 1970."""
    chance, config, count = np.random.default_rng(seed), TrainingConfig(), len(item_ids)
    text, offsets = IdMap.from_ids(item_ids).to_arrays()
    near, factors = config.item_to_item.neighbours, config.als.factors
    bought = np.sort(chance.pareto(1.2, count))[::-1]
    item_factors = (chance.standard_normal((count, factors)) * 0.1).astype(np.float32)
    counts = np.stack([bought * share for share in (1, 4, 40)]).astype(np.float32)
    arrays = {
        "items_text": text,
        "items_offsets": offsets,
        "popularity_scores": (bought / bought.max()).astype(np.float32),
        "popularity_counts": counts,
        "item_first_day": chance.integers(through_day - 700, through_day, count, dtype=np.int32),
        "repeat_probability": chance.uniform(0.01, 0.5, count).astype(np.float32),
        "popularity_14d": (bought * 2).astype(np.float32),
        "repeat_gate": chance.uniform(0.3, 1, count).astype(np.float32),
        "repeat_gap_days": chance.uniform(7, 120, count).astype(np.float32),
        "item_neighbours": chance.integers(0, count, (count, near), dtype=np.int32),
        "item_similarities": np.sort(chance.uniform(0, 1, (count, near)).astype(np.float32))[:, ::-1].copy(),
        "als_item_factors": item_factors,
        "als_gram": item_factors.T @ item_factors,
        # As of every catalogue above `ease.max_items`.
        "ease_neighbours": np.zeros((count, 0), np.int32),
        "ease_weights": np.zeros((count, 0), np.float32),
    }
    sizes = {"users": 0, "items": count, "interactions": 0}
    return TrainedModel(config, seed, through_day - 700, through_day, sizes, arrays)
