"""One score for what was taken before and what was not, in the same unit.

A log-linear score: the chance that an item is among what is taken next is a softmax over items of
Σ weight × signal. The signals are few and named, the weights are learned on earlier time origins
(`recommender.search`) by the list-wise likelihood of Cao et al., "Learning to rank: from pairwise approach to
listwise approach" (ICML 2007), in its top-one form, each person counted once. Repeat and explore are told
apart as Ariannezhad et al. advise (ReCANet, SIGIR 2022). numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

from recommender.errors import InvalidConfig
from recommender.habits import HABIT_SIGNALS, habit_signals
from recommender.history import History
from recommender.interactions import Interactions
from recommender.models.als import Als
from recommender.models.ease import Ease
from recommender.models.item_to_item import ItemToItem
from recommender.models.personal_frequency import PersonalFrequency, repeat_probability
from recommender.models.popularity import window_counts

MixedArm = Literal[
    "learned",
    "top_frequency",
    "top_frequency_all",
    "repeat_popularity",
    "popularity",
    "popularity_7d",
    "popularity_14d",
    "popularity_28d",
    "popularity_all",
    "als",
    "ease",
    "item_to_item",
]
DiscoverArm = Literal[
    "learned",
    "popularity",
    "popularity_7d",
    "popularity_14d",
    "popularity_28d",
    "popularity_all",
    "als",
    "ease",
    "ease_popularity",
    "item_to_item",
]

WINDOWS: tuple[int | None, ...] = (7, 28, None)
ITEM_SIGNALS = (
    "popular_7d",
    "popular_28d",
    "popular_all",
    "first_28d",
    "first_all",
    "popular_share",
    "newness",
)
NEAR_SIGNALS = ("ease", "als", "item_to_item")
AGAIN_SIGNALS = ("again", "again_discover", "again_ease", *HABIT_SIGNALS)
_NEW_DAYS = 28.0
_SOON_DAYS = 28
_FLOOR = np.float32(0.02)
_LEAST_GATE = 1e-3
_LEAST_REPEAT = 1e-3


@dataclass(frozen=True, slots=True)
class BlendConfig:
    """Weigh the signals; see `BlendParts` for what each of them is.

    `mixed` and `discover` say which ranking is in force: the learned one, or the plain baseline where that
    was better on the origins it was chosen by (`recommender.arms`). `viewed`, `wanted` and `like_viewed`
    weigh what was looked at; see `recommender.browsing`.
    """

    mixed: MixedArm = "learned"
    discover: DiscoverArm = "learned"
    popular_7d: float = 0.06
    popular_28d: float = 0.19
    popular_all: float = -0.2
    first_28d: float = 0.2
    first_all: float = 0.35
    popular_share: float = -0.08
    newness: float = 1.7
    ease: float = 0.47
    als: float = 0.54
    item_to_item: float = 0.38
    again: float = 1.4
    again_discover: float = 0.55
    again_ease: float = -0.5
    again_popular_7d: float = 0.0
    again_popular_28d: float = 0.01
    again_popular_all: float = 0.13
    again_repeat: float = 0.02
    again_soon: float = 0.02
    again_times: float = 0.15
    again_14d: float = 0.06
    again_30d: float = 0.07
    again_60d: float = 0.09
    again_120d: float = 0.1
    again_240d: float = 0.06
    again_visits: float = 0.2
    again_small_visits: float = 0.26
    again_last: float = 0.33
    again_early: float = 0.35
    again_late: float = -0.02
    again_once: float = 0.47
    again_once_repeat: float = 0.24
    again_times_repeat: float = -0.16
    again_breadth: float = -0.1
    again_habit: float = 0.1
    viewed: float = 0.0
    wanted: float = 0.0
    like_viewed: float = 0.0

    def __post_init__(self) -> None:
        if self.mixed not in get_args(MixedArm) or self.discover not in get_args(DiscoverArm):
            raise InvalidConfig(f"unknown ranking {self.mixed!r} or {self.discover!r}")
        weights = [getattr(self, one.name) for one in fields(self) if one.name not in ("mixed", "discover")]
        if not all(isinstance(one, (int, float)) and np.isfinite(one) for one in weights):
            raise InvalidConfig("blend weights are finite numbers")

    def weights(self, names: tuple[str, ...]) -> NDArray[np.float64]:
        """Give the weights of these signals in their order, (len(names),)."""
        return np.array([getattr(self, name) for name in names], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """Hold what is known of items alone, each (items,), counts per window (3, items).

    `firsts` (2, items) count the people who took the item for the first time in the last 28 days and ever;
    `share` adds up what part of a person's takings it is, so that everybody counts once; `fortnight` counts
    takings in 14 days; `repeat_probability` is the chance that a buyer takes it again, `repeat_soon` that
    one does within 28 days.
    """

    counts: NDArray[np.float32]
    first_day: NDArray[np.int32]
    repeat_probability: NDArray[np.float32]
    repeat_soon: NDArray[np.float32]
    firsts: NDArray[np.float32]
    share: NDArray[np.float32]
    fortnight: NDArray[np.float32]

    @classmethod
    def fit(cls, interactions: Interactions, *, prior_buyers: float) -> Self:
        """Count within each window, and find each item's first day."""
        items = len(interactions.items)
        counts = np.stack([window_counts(interactions, days) for days in WINDOWS]).astype(np.float32)
        first = np.full(items, interactions.last_day, dtype=np.int32)
        np.minimum.at(first, interactions.item_index, interactions.day)
        probability, _ = repeat_probability(interactions, prior_buyers=prior_buyers)
        starts = interactions.pair_starts()
        lately = interactions.day[starts] > interactions.last_day - _SOON_DAYS
        item_of_pair = interactions.item_index[starts]
        firsts = np.stack(
            [np.bincount(item_of_pair[lately], minlength=items), np.bincount(item_of_pair, minlength=items)]
        )
        taken = np.bincount(interactions.user_index, minlength=len(interactions.users))
        share = np.bincount(interactions.item_index, 1 / taken[interactions.user_index], items)
        return cls(
            counts,
            first,
            # Where nobody bought anything twice the estimate is 0, and its logarithm is needed.
            np.maximum(probability, _LEAST_REPEAT).astype(np.float32),
            _repeat_soon(interactions, starts, lately, prior_buyers),
            firsts.astype(np.float32),
            share.astype(np.float32),
            window_counts(interactions, 14).astype(np.float32),
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read back what `arrays` gave."""
        return cls(**{name: arrays[array] for name, array in _ARRAYS.items()})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give the arrays by name."""
        return {array: getattr(self, name) for name, array in _ARRAYS.items()}

    def signals(self, *, through_day: int) -> NDArray[np.float32]:
        """Give `ITEM_SIGNALS`, (7, items).

        log(1 + count) per window, log(1 + first takings) of 28 days and ever, log(share + 0.02), and 1 for
        an item of today, fading.
        """
        age = np.maximum(through_day - self.first_day, 0)
        parts = (
            np.log1p(self.counts),
            np.log1p(self.firsts),
            log_share(self.share)[None],
            np.exp(-age / _NEW_DAYS)[None],
        )
        return np.concatenate(parts).astype(np.float32)


_ARRAYS = {
    "counts": "popularity_counts",
    "first_day": "item_first_day",
    "repeat_probability": "repeat_probability",
    "repeat_soon": "repeat_soon",
    "firsts": "first_counts",
    "share": "popularity_share",
    "fortnight": "popularity_14d",
}


def _repeat_soon(
    interactions: Interactions, starts: NDArray[np.int64], lately: NDArray[np.bool_], prior_buyers: float
) -> NDArray[np.float32]:
    """Estimate the chance that one who had an item 28 days ago has taken it again since, (items,).

    Shrunk to the average over all pairs, which counts as `prior_buyers` buyers.
    """
    items = len(interactions.items)
    last_row = np.append(starts[1:], len(interactions)) - 1
    again = interactions.day[last_row] > interactions.last_day - _SOON_DAYS
    before, item = ~lately, interactions.item_index[starts]
    buyers = np.bincount(item[before], minlength=items)
    repeaters = np.bincount(item[before], weights=again[before], minlength=items)
    average = repeaters.sum() / max(1, buyers.sum())
    chance = (repeaters + prior_buyers * average) / (buyers + prior_buyers)
    return np.asarray(np.maximum(chance, _LEAST_REPEAT), dtype=np.float32)


class Near(NamedTuple):
    """Keep the collaborative signals apart, each (items,) and 1 at its best; None where there is none."""

    ease: NDArray[np.float32] | None
    als: NDArray[np.float32] | None
    item_to_item: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class Blend:
    """Put the signals of all models together.

    `ease`, `als` and `item_to_item` enter as log(score ÷ best score + 0.02); the item signals as they are.
    For what was taken before: a constant, the discover score, the EASE signal and `habits.HABIT_SIGNALS`. The
    repeat gate and the quiet days of `PersonalFrequencyConfig` act on top.
    """

    config: BlendConfig
    facts: ItemFacts
    through_day: int
    ease: Ease
    als: Als
    item_to_item: ItemToItem
    personal: PersonalFrequency

    def base(self) -> NDArray[np.float32]:
        """Give the part of the discover score that is the same for everybody, (items,)."""
        signals = self.facts.signals(through_day=self.through_day)
        base: NDArray[np.float32] = self.config.weights(ITEM_SIGNALS).astype(np.float32) @ signals
        return base

    def near(self, history: History, linked: NDArray[np.int32], weights: NDArray[np.float64]) -> Near:
        """Score all items by what is in the history and the cart: `linked` positions and weights, (m,)."""
        ease = als = item_to_item = None
        if self.ease.fitted and len(linked) and (self.config.ease or self.config.again_ease):
            ease = _to_best(self.ease.score_items(linked))
        if len(history) and self.config.als:
            als = _to_best(self.als.score(history))
        if len(linked) and self.config.item_to_item:
            item_to_item = _to_best(self.item_to_item.score_items(linked, weights))
        return Near(ease, als, item_to_item)

    def discover(self, near: Near, base: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the discover score of all items, (items,)."""
        total = base.copy()
        for name, part in zip(NEAR_SIGNALS, near, strict=True):
            weight = np.float32(getattr(self.config, name))
            if part is not None and weight:
                total += weight * log_share(part)
        return total

    def again(self, history: History, near: Near, discover: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the score of what was taken before, (m,) in the order of `history.items`."""
        signals = self.again_signals(history, near, discover)
        scores = signals @ self.config.weights(AGAIN_SIGNALS) + self.again_offset(history)
        return scores.astype(np.float32)

    def again_signals(
        self, history: History, near: Near, discover: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Give `AGAIN_SIGNALS`, (m, 24)."""
        items = history.items
        ease = np.zeros(len(items)) if near.ease is None else log_share(near.ease[items])
        habits = habit_signals(
            history,
            counts=self.facts.counts[:, items],
            repeat=self.facts.repeat_probability[items],
            soon=self.facts.repeat_soon[items],
            gap_days=self.personal.gap_days[items],
            gap_prior=self.personal.config.gap_prior_intervals,
        )
        found = np.empty((len(items), len(AGAIN_SIGNALS)))
        found[:, 0], found[:, 1], found[:, 2], found[:, 3:] = 1, discover[items], ease, habits
        return found

    def again_offset(self, history: History) -> NDArray[np.float64]:
        """Give the log of the repeat gate and of the quiet days, (m,), none above zero."""
        gate = np.maximum(self.personal.gate[history.items], _LEAST_GATE).astype(np.float64)
        offset: NDArray[np.float64] = np.log(gate)
        settings = self.personal.config
        if settings.quiet_days and settings.quiet_factor < 1:
            quiet = history.last_age_days() < settings.quiet_days
            offset[quiet] += np.log(max(settings.quiet_factor, _LEAST_GATE))
        return offset


def log_share(part: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give log(part + 0.02); what nothing speaks for keeps a chance."""
    logged: NDArray[np.float32] = np.log(part + _FLOOR)
    return logged


def _to_best(part: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Scale a part in place so that its best item has 1 and none is below 0; None when none is above."""
    best = part.max(initial=0)
    if best <= 0:
        return None
    np.maximum(part, 0, out=part)
    part /= best
    return part
