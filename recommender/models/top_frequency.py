"""The two plain personal baselines: what somebody took most often, with and without a popular rest.

P-TopFreq and GP-TopFreq of Hu et al., "Modeling personalized item frequency information for next-basket
recommendation" (SIGIR 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recommender.errors import InvalidConfig
from recommender.history import History
from recommender.interactions import Interactions
from recommender.models.popularity import window_counts


@dataclass(frozen=True, slots=True)
class TopFrequencyConfig:
    """Set the window whose popularity breaks ties, and how lately a taking still counts (None: always).

    `tie_weight` is what the most popular item adds, in takings; `fill` lets popularity rank what was never
    taken.
    """

    tie_window_days: int | None = 28
    tie_weight: float = 0.5
    half_life_days: float | None = None
    fill: bool = True

    def __post_init__(self) -> None:
        if self.tie_window_days is not None and self.tie_window_days < 1:
            raise InvalidConfig("the window that breaks ties is at least one day")
        if self.tie_weight < 0 or (self.half_life_days is not None and self.half_life_days <= 0):
            raise InvalidConfig("the tie weight is not negative, the half-life above zero days")


REPEAT_POPULARITY = TopFrequencyConfig(tie_weight=0.25, half_life_days=120.0)
"""Takings that fade, with a quarter of the most popular item's weight: the strongest plain line measured."""


@dataclass(frozen=True, slots=True)
class TopFrequency:
    """Score by how many days an item was taken on; `ties` (items,) float32 in [0, tie_weight]."""

    config: TopFrequencyConfig
    ties: NDArray[np.float32]

    @classmethod
    def fit(cls, interactions: Interactions, config: TopFrequencyConfig) -> Self:
        """Count the popularity that breaks ties."""
        return cls(config, break_ties(window_counts(interactions, config.tie_window_days), config))

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Give the fitted array by name."""
        return {"top_frequency_ties": self.ties}

    def score(self, history: History) -> NDArray[np.float32]:
        """Score all items, (items,)."""
        scores = self.ties.copy() if self.config.fill else np.zeros_like(self.ties)
        taken = history.weights(half_life_days=self.config.half_life_days).astype(np.float32)
        scores[history.items] = taken + self.ties[history.items]
        return scores


def break_ties(counts: NDArray[Any], config: TopFrequencyConfig) -> NDArray[np.float32]:
    """Give what popularity adds in takings, (items,), from counts (items,): at most `tie_weight`."""
    exact = counts.astype(np.float64)
    return np.asarray(config.tie_weight * exact / max(1.0, exact.max(initial=0)), dtype=np.float32)
