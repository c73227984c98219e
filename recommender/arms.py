"""The plain baselines that a model can serve in place of its blend: the same scores, the same list.

Each stands in the tables of an evaluation under the name in `SERVED_AS` and `DISCOVER_AS`. TIFU-KNN needs
every member's vector to answer and is not among them; P-TopFreq is the beginning of GP-TopFreq. numpy only.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recommender.blending import WINDOWS, Blend, BlendConfig, DiscoverArm, MixedArm
from recommender.history import History
from recommender.models.top_frequency import REPEAT_POPULARITY, TopFrequencyConfig, break_ties

SERVED_AS: dict[MixedArm, str] = {
    "top_frequency": "gp_topfreq",
    "top_frequency_all": "gp_topfreq_all",
    "repeat_popularity": "repeat_popularity",
    "popularity": "popularity",
    "popularity_7d": "popularity_7d",
    "popularity_14d": "popularity_14d",
    "popularity_28d": "popularity_28d",
    "popularity_all": "popularity_all",
    "als": "als",
    "ease": "ease",
    "item_to_item": "item_knn_bm25",
}
DISCOVER_AS: dict[DiscoverArm, str] = {
    "popularity": "popularity",
    "popularity_7d": "popularity_7d",
    "popularity_14d": "popularity_14d",
    "popularity_28d": "popularity_28d",
    "popularity_all": "popularity_all",
    "als": "als",
    "ease": "ease",
    "ease_popularity": "ease_popularity",
    "item_to_item": "item_knn_bm25",
}
EASE_POPULARITY = 0.2
"""What the most popular item of 14 days adds to the weights of EASE."""
_FREQUENCIES: dict[str, TopFrequencyConfig] = {
    "top_frequency": TopFrequencyConfig(),
    "top_frequency_all": TopFrequencyConfig(tie_window_days=None),
    "repeat_popularity": REPEAT_POPULARITY,
}


def needs_ease(arm: MixedArm | DiscoverArm) -> bool:
    """Tell whether an arm can only be served where EASE is fitted."""
    return arm.startswith("ease")


def served_by(config: BlendConfig, *, ease: bool) -> BlendConfig:
    """Put the learned ranking in the place of EASE where a catalogue that has grown left it unfitted."""
    if ease:
        return config
    mixed: MixedArm = "learned" if needs_ease(config.mixed) else config.mixed
    discover: DiscoverArm = "learned" if needs_ease(config.discover) else config.discover
    return replace(config, mixed=mixed, discover=discover)


def plain_scores(
    arm: MixedArm | DiscoverArm, blend: Blend, popularity: NDArray[np.float32], taken: History
) -> NDArray[np.float32]:
    """Score all items, (items,), as the baseline of that name; `popularity` is the mix of the windows."""
    if arm == "popularity":
        return popularity.copy()
    if arm in _FREQUENCIES:
        return _frequency(_FREQUENCIES[arm], blend, taken)
    if arm.startswith("popularity_"):
        return _window(arm, blend).copy()
    if arm == "als":
        return blend.als.score(taken)
    if arm == "item_to_item":
        return blend.item_to_item.score(taken)
    scores = blend.ease.score(taken)
    if arm == "ease_popularity":
        lately = blend.facts.fortnight
        scores += EASE_POPULARITY * lately / max(1.0, float(lately.max(initial=0)))
    return scores


def same_order(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale by a power of two so that the largest lies in [-1, 1]: not one pair changes places."""
    _, exponent = np.frexp(np.abs(scores).max(initial=0))
    scaled: NDArray[np.float32] = np.ldexp(scores, -exponent)
    return scaled


def _frequency(like: TopFrequencyConfig, blend: Blend, taken: History) -> NDArray[np.float32]:
    counts = blend.facts.counts[WINDOWS.index(like.tie_window_days)]
    scores = break_ties(counts, like)
    fading = taken.weights(half_life_days=like.half_life_days).astype(np.float32)
    scores[taken.items] = fading + scores[taken.items]
    return scores


def _window(arm: str, blend: Blend) -> NDArray[np.float32]:
    if arm == "popularity_14d":
        return blend.facts.fortnight
    named: dict[str, int | None] = {"popularity_7d": 7, "popularity_28d": 28, "popularity_all": None}
    counts: NDArray[np.float32] = blend.facts.counts[WINDOWS.index(named[arm])]
    return counts
