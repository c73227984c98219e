"""What this person takes again and again, and whether it is time for it.

The frequency part follows the personal top-frequency baseline of Hu et al., "Modeling personalized item
frequency information for next-basket recommendation" (SIGIR 2020), with a half-life instead of groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recommender.errors import InvalidConfig
from recommender.history import History
from recommender.interactions import Interactions


@dataclass(frozen=True, slots=True)
class PersonalFrequencyConfig:
    """Set how a person's own purchases are weighed.

    `popularity_weight` is what full popularity adds, in purchases of today. `repeat_prior_buyers` is how
    many buyers' worth of the average item each item starts with; items that are bought again less than
    `repeat_gate_share` of the average rate fade out in proportion (0 switches the gate off).
    `due_floor` is the factor right after a purchase, rising to 1 when the usual interval has passed
    (1 switches it off); own intervals are shrunk to the item's with `gap_prior_intervals`. Within
    `quiet_days` of a purchase what was taken of the item counts `quiet_factor`.
    """

    half_life_days: float | None = 240.0
    popularity_weight: float = 1.0
    repeat_prior_buyers: float = 20.0
    repeat_gate_share: float = 0.5
    gap_prior_intervals: float = 4.0
    due_floor: float = 0.9
    quiet_days: int = 1
    quiet_factor: float = 0.5

    def __post_init__(self) -> None:
        if self.half_life_days is not None and self.half_life_days <= 0:
            raise InvalidConfig("the half-life is above zero days")
        if min(self.popularity_weight, self.repeat_gate_share, self.quiet_days) < 0:
            raise InvalidConfig("weights and days of personal frequency are not negative")
        if min(self.repeat_prior_buyers, self.gap_prior_intervals) <= 0:
            raise InvalidConfig("priors are above zero")
        if not (0 <= self.due_floor <= 1 and 0 <= self.quiet_factor <= 1):
            raise InvalidConfig("due_floor and quiet_factor lie in [0, 1]")


@dataclass(frozen=True, slots=True)
class PersonalFrequency:
    """Score what was taken before: decayed count and popularity, gated and timed.

    `gate` (items,) float32 in [0, 1]; `gap_days` (items,) float32, the usual days between two takings of
    the item by one user, shrunk to that of all items; `popularity` (items,) float32 in [0, 1].
    """

    config: PersonalFrequencyConfig
    gate: NDArray[np.float32]
    gap_days: NDArray[np.float32]
    popularity: NDArray[np.float32]

    @classmethod
    def fit(
        cls, interactions: Interactions, config: PersonalFrequencyConfig, *, popularity: NDArray[np.float32]
    ) -> Self:
        """Learn per item how often and how soon it is taken again."""
        probability, average = repeat_probability(interactions, prior_buyers=config.repeat_prior_buyers)
        gap = usual_gap_days(interactions, prior_intervals=config.gap_prior_intervals)
        return cls(config, gate_of(probability, average, config), gap.astype(np.float32), popularity)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], config: PersonalFrequencyConfig) -> Self:
        """Read back what `arrays` gave."""
        return cls(config, arrays["repeat_gate"], arrays["repeat_gap_days"], arrays["popularity_scores"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give the fitted arrays by name; popularity is the popularity model's to give."""
        return {"repeat_gate": self.gate, "repeat_gap_days": self.gap_days}

    def extended(self, number: int) -> Self:
        """Give the same with so many items more, which are taken again as items usually are."""
        return replace(
            self,
            gate=np.pad(self.gate, (0, number), constant_values=1),
            gap_days=pad_usual(self.gap_days, number),
            popularity=np.pad(self.popularity, (0, number)),
        )

    def score_bought(self, history: History) -> NDArray[np.float64]:
        """Score the items of the history only, (m,) in the order of `history.items`, each above zero."""
        config, items = self.config, history.items
        weight = history.weights(half_life_days=config.half_life_days)
        weight += config.popularity_weight * self.popularity[items]
        weight *= self.gate[items]
        if config.due_floor < 1:
            weight *= config.due_floor + (1 - config.due_floor) * self.due(history)
        weight *= self.loudness(history)
        return weight

    def score(self, history: History) -> NDArray[np.float32]:
        """Score all items, (items,); zero for what was never taken."""
        scores = np.zeros(len(self.gate), dtype=np.float32)
        if len(history):
            scores[history.items] = self.score_bought(history)
        return scores

    def loudness(self, history: History) -> NDArray[np.float64]:
        """Give what takings count, (m,): all, or `quiet_factor` within the quiet days of the last one."""
        quiet = history.last_age_days() < self.config.quiet_days
        return np.where(quiet, self.config.quiet_factor, 1.0)

    def due(self, history: History) -> NDArray[np.float64]:
        """Give how due each item is, (m,) in [0, 1]: 0 right after a purchase, 1 from its usual interval on.

        1 below two intervals of its own, which say nothing yet.
        """
        due: NDArray[np.float64] = np.ones(len(history))
        age, times, prior = history.last_age_days(), history.times, self.config.gap_prior_intervals
        for index in np.flatnonzero(times >= 3).tolist():
            intervals = int(times[index]) - 1
            own, usual = history.median_gap_days(index), float(self.gap_days[history.items[index]])
            gap = (intervals * own + prior * usual) / (intervals + prior)
            due[index] = min(1.0, age[index] / gap) if gap > 0 else 1.0
        return due


def repeat_probability(
    interactions: Interactions, *, prior_buyers: float
) -> tuple[NDArray[np.float64], float]:
    """Estimate per item how likely a buyer is to take it on a second day, (items,), and the average.

    Buyers with two days or more ÷ buyers, with a Beta prior at the average over all pairs worth
    `prior_buyers` buyers.
    """
    starts = interactions.pair_starts()
    days = np.diff(starts, append=len(interactions))
    item_of_pair, count = interactions.item_index[starts], len(interactions.items)
    buyers = np.bincount(item_of_pair, minlength=count)
    repeaters = np.bincount(item_of_pair, weights=days >= 2, minlength=count)
    average = float(repeaters.sum() / buyers.sum())
    return shrink_repeats(buyers, repeaters, average, prior_buyers=prior_buyers), average


def shrink_repeats(
    buyers: NDArray[Any], repeaters: NDArray[Any], average: float, *, prior_buyers: float
) -> NDArray[np.float64]:
    """Give (repeaters + prior × average) ÷ (buyers + prior), (items,)."""
    shrunk: NDArray[np.float64] = (repeaters + prior_buyers * average) / (buyers + prior_buyers)
    return shrunk


def pad_usual(values: NDArray[np.float32], number: int) -> NDArray[np.float32]:
    """Give so many values more, each the median of those there are."""
    return np.pad(values, (0, number), constant_values=np.median(values))


def gate_of(
    probability: NDArray[np.float64], average: float, config: PersonalFrequencyConfig
) -> NDArray[np.float32]:
    """Give the repeat gate, (items,) in [0, 1]: 1 from `repeat_gate_share` of the average on."""
    threshold = config.repeat_gate_share * average
    gate = np.ones(len(probability)) if threshold <= 0 else np.minimum(1.0, probability / threshold)
    return gate.astype(np.float32)


def shrink_gaps(
    number: NDArray[Any], median: NDArray[Any], overall: float, *, prior_intervals: float
) -> NDArray[np.float64]:
    """Give (number × median + prior × overall) ÷ (number + prior), (items,)."""
    shrunk: NDArray[np.float64] = (number * median + prior_intervals * overall) / (number + prior_intervals)
    return shrunk


def usual_gap_days(interactions: Interactions, *, prior_intervals: float) -> NDArray[np.float64]:
    """Estimate per item the median days between takings by one user, (items,), shrunk to that of all.

    With no repeated purchase anywhere the gap is the whole span of the data, at least one day.
    """
    same_pair = np.ones(len(interactions) - 1, dtype=bool)
    same_pair &= np.diff(interactions.user_index) == 0
    same_pair &= np.diff(interactions.item_index) == 0
    gaps = np.diff(interactions.day)[same_pair].astype(np.float64)
    count = len(interactions.items)
    if not len(gaps):
        return np.full(count, max(1.0, float(interactions.last_day - interactions.first_day)))
    item_of_gap = interactions.item_index[1:][same_pair]
    overall = float(np.median(gaps))
    order = np.lexsort((gaps, item_of_gap))
    gaps = gaps[order]
    number = np.bincount(item_of_gap, minlength=count)
    begin = np.cumsum(number) - number
    has = number > 0
    low = gaps[begin[has] + (number[has] - 1) // 2]
    high = gaps[begin[has] + number[has] // 2]
    median = np.full(count, overall)
    median[has] = (low + high) / 2
    return shrink_gaps(number, median, overall, prior_intervals=prior_intervals)
