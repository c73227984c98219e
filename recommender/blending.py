"""One score for what was taken before and what was not, in the same unit.

A log-linear score: the chance that an item is among what is taken next is a softmax over items of
Σ weight × signal. The signals are few and named, the weights are learned on earlier time origins
(`recommender.learning`). Repeat and explore are told apart as Ariannezhad et al. advise (ReCANet, SIGIR
2022). numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import log
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

from recommender.errors import InvalidConfig
from recommender.history import History
from recommender.interactions import Interactions
from recommender.models.als import Als
from recommender.models.ease import Ease
from recommender.models.item_to_item import ItemToItem, Spread
from recommender.models.personal_frequency import PersonalFrequency, pad_usual, repeat_probability
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
ITEM_SIGNALS = ("popular_7d", "popular_28d", "popular_all", "newness")
NEAR_SIGNALS = ("ease", "als", "item_to_item")
AGAIN_SIGNALS = (
    "again",
    "again_discover",
    "again_ease",
    "again_popular_all",
    "again_recent",
    "again_steady",
    "again_times",
    "again_due",
    "again_repeat",
    "again_breadth",
)
_NEW_DAYS = 28.0
_FLOOR = np.float32(0.02)
LOG_BEST = log(1 + float(_FLOOR))
"""What `log_share` gives for the best item."""
_RECENT_DAYS, _STEADY_DAYS = 45.0, 180.0
_LEAST_GATE = 1e-3
_LONG_AGO = 0
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
    popular_7d: float = 0.1
    popular_28d: float = 0.6
    popular_all: float = -0.2
    newness: float = 0.8
    ease: float = 0.45
    als: float = 0.4
    item_to_item: float = 0.2
    again: float = 3.0
    again_discover: float = 0.55
    again_ease: float = -0.3
    again_popular_all: float = 0.0
    again_recent: float = 0.4
    again_steady: float = 1.2
    again_times: float = 0.2
    again_due: float = 0.1
    again_repeat: float = 0.5
    again_breadth: float = -0.4
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
    """Hold what is known of items alone: counts per window (3, items), first day and repeat probability.

    `fortnight` (items,) counts takings in 14 days, by which one of the baselines ranks.
    """

    counts: NDArray[np.float32]
    first_day: NDArray[np.int32]
    repeat_probability: NDArray[np.float32]
    fortnight: NDArray[np.float32]

    @classmethod
    def fit(cls, interactions: Interactions, *, prior_buyers: float) -> Self:
        """Count within each window, and find each item's first day."""
        counts = np.stack([window_counts(interactions, days) for days in WINDOWS]).astype(np.float32)
        first = np.full(len(interactions.items), interactions.last_day, dtype=np.int32)
        np.minimum.at(first, interactions.item_index, interactions.day)
        probability, _ = repeat_probability(interactions, prior_buyers=prior_buyers)
        # Where nobody bought anything twice the estimate is 0, and its logarithm is needed.
        return cls(
            counts,
            first,
            np.maximum(probability, _LEAST_REPEAT).astype(np.float32),
            window_counts(interactions, 14).astype(np.float32),
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read back what `arrays` gave."""
        return cls(**{name: arrays[array] for name, array in _ARRAYS.items()})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give the arrays by name."""
        return {array: getattr(self, name) for name, array in _ARRAYS.items()}

    def extended(self, number: int) -> Self:
        """Give the facts with so many items more, which nobody has taken."""
        return type(self)(
            np.pad(self.counts, ((0, 0), (0, number))),
            np.pad(self.first_day, (0, number), constant_values=_LONG_AGO),
            pad_usual(self.repeat_probability, number),
            np.pad(self.fortnight, (0, number)),
        )

    def signals(self, *, through_day: int) -> NDArray[np.float32]:
        """Give `ITEM_SIGNALS`, (4, items): log(1 + count) per window, and 1 for an item of today, fading."""
        age = np.maximum(through_day - self.first_day, 0)
        return np.concatenate([np.log1p(self.counts), np.exp(-age / _NEW_DAYS)[None]]).astype(np.float32)


_ARRAYS = {
    "counts": "popularity_counts",
    "first_day": "item_first_day",
    "repeat_probability": "repeat_probability",
    "fortnight": "popularity_14d",
}


class Near(NamedTuple):
    """Keep the collaborative signals apart; None where there is none.

    `ease` and `als` (items,), 1 at their best; what goes with an item speaks for few others.
    """

    ease: NDArray[np.float32] | None
    als: NDArray[np.float32] | None
    item_to_item: Spread | None

    def shares(self, positions: NDArray[np.intp]) -> NDArray[np.float32]:
        """Give `NEAR_SIGNALS` at these positions, (3, p), each in [0, 1] and 0 where there is none."""
        shares = np.zeros((len(self), len(positions)), np.float32)
        if self.ease is not None:
            shares[0] = self.ease[positions]
        if self.als is not None:
            shares[1] = self.als[positions]
        if self.item_to_item is not None:
            shares[2] = self.item_to_item.share(positions)
        return shares

    def logged(self, positions: NDArray[np.intp]) -> NDArray[np.float32]:
        """Give the same as they enter the score, (3, p): `log_share`, and 0 where there is none."""
        logged = log_share(self.shares(positions))
        logged[[part is None for part in self]] = 0
        return logged


@dataclass(frozen=True, slots=True)
class Blend:
    """Put the signals of all models together.

    `ease`, `als` and `item_to_item` enter as log(score ÷ best score + 0.02); the item signals as they are.
    For what was taken before: a constant, the discover score, the EASE signal and log(1 + count) once more,
    log(1 + decayed takings) at half-lives of 45 and 180 days, log of the days it was taken on, how
    due it is, log of the item's repeat probability, and log of how many items the person takes. In the quiet
    days of `PersonalFrequencyConfig` takings count a part; its repeat gate acts on top.
    """

    config: BlendConfig
    facts: ItemFacts
    through_day: int
    ease: Ease
    als: Als
    item_to_item: ItemToItem
    personal: PersonalFrequency
    # What of `again` is the item's own, (items, 3): logs of its count, its repeat probability and its gate.
    _own: NDArray[np.float32] = field(init=False, repr=False)
    _again: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        gate = np.log(np.maximum(self.personal.gate, _LEAST_GATE))
        own = (np.log1p(self.facts.counts[2]), np.log(self.facts.repeat_probability), gate)
        object.__setattr__(self, "_own", np.stack(own, axis=1).astype(np.float32))
        object.__setattr__(self, "_again", self.config.weights(AGAIN_SIGNALS))

    def base(self) -> NDArray[np.float32]:
        """Give the part of the discover score that is the same for everybody, (items,)."""
        signals = self.facts.signals(through_day=self.through_day)
        base: NDArray[np.float32] = self.config.weights(ITEM_SIGNALS).astype(np.float32) @ signals
        learned = len(base) - self.als.unlearned
        # What nobody took yet says nothing by its counts: it stands behind all of which something is known.
        untaken = learned + np.flatnonzero(self.facts.counts[-1, learned:] == 0)
        base[untaken] = base[:learned].min(initial=0) - 1
        return base

    def person(self, history: History) -> NDArray[np.float32] | None:
        """Give the person's own hidden tastes, (f,); None where they play no part."""
        return self.als.fold_in(history) if len(history) and self.config.als else None

    def near(self, linked: Spread, person: NDArray[np.float32] | None) -> Near:
        """Score all items by the person's tastes, and by what is in the history and the cart (`linked`)."""
        ease = None
        if len(linked.items) and self.asks_ease:
            ease = _to_best(self.ease.score_items(linked.items))
        als = None if person is None else _to_best(self.als.tastes(person))
        return Near(ease, als, self.spoken(linked))

    def spoken(self, linked: Spread) -> Spread | None:
        """Give what goes with the history and the cart, or None where it plays no part."""
        return linked if linked.best > 0 and self.config.item_to_item else None

    @property
    def asks_ease(self) -> bool:
        """Tell whether EASE plays any part."""
        return self.ease.fitted and bool(self.config.ease or self.config.again_ease)

    def discover(self, near: Near, base: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the discover score of all items, (items,)."""
        total = base.copy()
        for weight, part in ((self.config.ease, near.ease), (self.config.als, near.als)):
            if part is not None and weight:
                logged = log_share(part)
                logged *= np.float32(weight)
                total += logged
        if near.item_to_item is not None:
            self.link(total, near.item_to_item)
            total += self.silence
        return total

    @property
    def silence(self) -> np.float32:
        """Give what an item gets that goes with nothing of the history, where others do."""
        return np.float32(self.config.item_to_item * np.log(_FLOOR))

    def tell(self, linked: Spread, positions: NDArray[np.intp]) -> NDArray[np.float32]:
        """Give what items at these positions get for going with the history, shaped alike."""
        told = log_share(linked.share(positions))
        told *= np.float32(self.config.item_to_item)
        return told

    def link(self, scores: NDArray[np.float32], linked: Spread) -> None:
        """Add to the scores of all items, in place, what is above `silence`: of few, and 0 of the others."""
        # Positions repeat, each time with the same sum.
        scores[linked.near] += self.tell(linked, linked.near) - self.silence

    def again(
        self, history: History, ease: NDArray[np.float32] | None, discover: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Give the score of what was taken before, (m,) in the order of `history.items`."""
        signals = self.again_signals(history, ease, discover)
        scores = signals @ self._again + self.again_offset(history)
        return scores.astype(np.float32)

    def again_signals(
        self, history: History, ease: NDArray[np.float32] | None, discover: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Give `AGAIN_SIGNALS`, (m, 10), from the EASE signal (items,) and the discover scores (m,)."""
        items = history.items
        loud = self.personal.loudness(history)
        recent = loud * history.weights(half_life_days=_RECENT_DAYS)
        steady = loud * history.weights(half_life_days=_STEADY_DAYS)
        signals = np.empty((len(items), len(AGAIN_SIGNALS)))
        signals[:, 0] = 1
        signals[:, 1] = discover
        signals[:, 2] = 0 if ease is None else log_share(ease[items])
        count, repeat, _ = self._own[items].T
        signals[:, 3] = count
        signals[:, 4] = np.log1p(recent)
        signals[:, 5] = np.log1p(steady)
        signals[:, 6] = np.log(history.times)
        signals[:, 7] = self.personal.due(history)
        signals[:, 8] = repeat
        signals[:, 9] = log(max(1, len(items)))
        return signals

    def again_offset(self, history: History) -> NDArray[np.float64]:
        """Give the log of the repeat gate, (m,), none above zero."""
        offset: NDArray[np.float64] = self._own[history.items, 2].astype(np.float64)
        return offset


def log_share(part: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give log(part + 0.02); what nothing speaks for keeps a chance."""
    logged: NDArray[np.float32] = part + _FLOOR
    np.log(logged, out=logged)
    return logged


def _to_best(part: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Scale a part in place so that its best item has 1 and none is below 0; None when none is above."""
    best = part.max(initial=0)
    if best <= 0:
        return None
    np.maximum(part, 0, out=part)
    part /= best
    return part
