"""What everybody takes, over several windows at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recommender.errors import InvalidConfig
from recommender.history import History
from recommender.interactions import Interactions


@dataclass(frozen=True, slots=True)
class PopularityConfig:
    """Weigh the windows; a window of None days is all time."""

    window_days: tuple[int | None, ...] = (7, 28, None)
    window_weights: tuple[float, ...] = (0.3, 0.6, 0.1)

    def __post_init__(self) -> None:
        if not self.window_days or len(self.window_days) != len(self.window_weights):
            raise InvalidConfig("popularity needs one weight per window")
        if any(days is not None and days < 1 for days in self.window_days):
            raise InvalidConfig("a popularity window is at least one day")
        if min(self.window_weights) < 0 or sum(self.window_weights) <= 0:
            raise InvalidConfig("popularity weights are not negative and not all zero")


@dataclass(frozen=True, slots=True)
class Popularity:
    """Score items by how many (user, day) pairs took them lately; the same for everybody.

    `scores` (items,) float32 in [0, 1]: weighted mean over windows of count ÷ largest count.
    """

    scores: NDArray[np.float32]

    @classmethod
    def fit(cls, interactions: Interactions, config: PopularityConfig) -> Self:
        """Count within each window back from the last day."""
        return cls.from_counts(
            {days: window_counts(interactions, days) for days in config.window_days}, config
        )

    @classmethod
    def from_counts(cls, counts: Mapping[int | None, NDArray[Any]], config: PopularityConfig) -> Self:
        """Mix counts (items,) that are already there, by window; InvalidConfig when a window is missing."""
        missing = [days for days in config.window_days if days not in counts]
        if missing:
            raise InvalidConfig(f"there are no counts for a window of {missing[0]} days")
        total = np.zeros(len(counts[config.window_days[0]]))
        for days, weight in zip(config.window_days, config.window_weights, strict=True):
            total += weight * counts[days] / max(1, counts[days].max())
        return cls((total / sum(config.window_weights)).astype(np.float32))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read back what `arrays` gave."""
        return cls(arrays["popularity_scores"])

    def extended(self, number: int) -> Self:
        """Give the same with so many items more, which nobody has taken."""
        return type(self)(np.pad(self.scores, (0, number)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give the fitted arrays by name."""
        return {"popularity_scores": self.scores}

    def score(self, history: History) -> NDArray[np.float32]:
        """Score all items, (items,); the history plays no part."""
        return self.scores


def window_counts(interactions: Interactions, window_days: int | None) -> NDArray[np.int64]:
    """Count (user, day) pairs per item in the last `window_days` days (None: all), (items,)."""
    index = interactions.item_index
    if window_days is not None:
        index = index[interactions.day > interactions.last_day - window_days]
    return np.bincount(index, minlength=len(interactions.items))
