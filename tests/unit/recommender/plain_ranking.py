"""The ranking of one question as its definition reads: slow, dense, in float64, and no shortcut anywhere.

What serving does instead (`recommender.serving`) has to give the same lists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from recommender.config import TrainingConfig

_FLOOR = 0.02
_BROWSED_DAYS = 30
_CODES = {"carted": "put_in_cart", "wished": "wished_for", "viewed": "looked_at"}
Arrays = Mapping[str, Any]


class Plain:
    """One question put to one model's arrays; `scores` (items,) are on the logarithmic scale, unmasked."""

    def __init__(
        self,
        arrays: Arrays,
        config: TrainingConfig,
        *,
        ids: Sequence[str],
        through_day: int,
        history: Sequence[tuple[str, int, float]],
        today: int,
        mode: str,
        context: Sequence[str],
        looks: Sequence[tuple[str, float, str]],
        now: float,
    ) -> None:
        self.config, self.blend, self.ids = config, config.blend, ids
        self.arrays = {name: np.asarray(one) for name, one in arrays.items()}
        self.today, self.now, self.position = today, now, {one: at for at, one in enumerate(ids)}
        self.days: dict[int, dict[int, float]] = defaultdict(dict)
        for item, day, quantity in history:
            if item in self.position and quantity > 0:
                own, age = self.days[self.position[item]], max(0, today - day)
                own[age] = own.get(age, 0) + quantity
        self.taken = sorted(self.days)
        self.context = [self.position[one] for one in dict.fromkeys(context) if one in self.position]
        self.looked = self._read_looks(looks) if self._leans() else {}
        self.near = self._near()
        self.alike = self._alike()
        self.scores = self._score(mode, through_day)

    def _leans(self) -> bool:
        return bool(self.blend.viewed or self.blend.wanted or self.blend.like_viewed)

    def _read_looks(self, looks: Sequence[tuple[str, float, str]]) -> dict[int, list[tuple[float, str]]]:
        found: dict[int, list[tuple[float, str]]] = {}
        for item, at, kind in sorted(looks, key=lambda look: (-look[1], look[0])):
            position, age = self.position.get(item), max(0.0, self.now - at)
            if position is None or age >= _BROWSED_DAYS:
                continue
            if position in self.days and min(self.days[position]) <= self.today - int(at):
                continue
            found.setdefault(position, []).append((age, kind))
        return found

    def _decayed(self, half_life: float | None) -> dict[int, float]:
        return {
            item: sum(1.0 if half_life is None else 0.5 ** (age / half_life) for age in ages)
            for item, ages in self.days.items()
        }

    def _spread(self, sources: Sequence[tuple[int, float]]) -> np.ndarray[Any, Any]:
        total = np.zeros(len(self.ids))
        for item, weight in sources:
            for other, similarity in zip(
                self.arrays["item_neighbours"][item], self.arrays["item_similarities"][item], strict=True
            ):
                total[other] += weight * float(similarity)
        return total

    def spread_history(self) -> np.ndarray[Any, Any]:
        """How much what was taken speaks for each item, without the cart."""
        return self._spread([one for one in self.sources() if one[0] in self.days][: len(self.taken)])

    def times(self) -> np.ndarray[Any, Any]:
        """On how many days each item was taken."""
        return np.array([len(self.days[item]) if item in self.days else 0 for item in range(len(self.ids))])

    def sources(self) -> list[tuple[int, float]]:
        """What is in the history and the cart, and how much it speaks."""
        half_life = self.config.item_to_item.half_life_days
        own = [
            (item, 1.0 if half_life is None else 0.5 ** (min(self.days[item]) / half_life))
            for item in self.taken
        ]
        return own + [(item, 1.0) for item in self.context]

    def _near(self) -> dict[str, np.ndarray[Any, Any]]:
        """The collaborative signals, 1 at their best; those that say nothing are not there."""
        found = {}
        weights = self.arrays["ease_weights"]
        if weights.shape[1] and (self.blend.ease or self.blend.again_ease):
            total = np.zeros(len(self.ids))
            for item, _ in self.sources():
                np.add.at(total, self.arrays["ease_neighbours"][item], weights[item].astype(float))
            found["ease"] = total
        if self.taken and self.blend.als:
            found["als"] = self.tastes()
        if self.blend.item_to_item:
            found["item_to_item"] = self._spread(self.sources())
        return {name: np.maximum(one, 0) / one.max() for name, one in found.items() if one.max() > 0}

    def tastes(self) -> np.ndarray[Any, Any]:
        """Equation 4 of Hu, Koren and Volinsky, with every item in it."""
        factors, settings = self.arrays["als_item_factors"].astype(float), self.config.als
        trust = np.ones(len(factors))
        for item, weight in self._decayed(settings.half_life_days).items():
            trust[item] += settings.confidence_scale * weight
        wanted = np.zeros(len(factors))
        wanted[self.taken] = 1
        # What is not of the history adds up to the gram matrix as it was written.
        held = settings.regularization * len(self.taken) * np.eye(factors.shape[1])
        system = self.arrays["als_gram"] + (factors.T * (trust - 1)) @ factors + held
        return factors @ np.linalg.solve(system, factors.T @ (trust * wanted))

    def _alike(self) -> np.ndarray[Any, Any] | None:
        if not self.looked or not self.blend.like_viewed:
            return None
        total = self._spread([(item, sum(self.faded(item))) for item in self.looked])
        if total.max() <= 0:
            return np.zeros(len(total))
        logged = np.log(total / total.max() + _FLOOR) - np.log(_FLOOR)
        return np.asarray(logged / (np.log(1 + _FLOOR) - np.log(_FLOOR)))

    def faded(self, item: int) -> tuple[float, float]:
        """How much somebody looked at an item, and wanted it."""
        looks = self.looked[item]
        viewed = sum(0.5 ** (age / 3) for age, kind in looks if kind == "viewed")
        return viewed, sum(0.5 ** (age / 10) for age, kind in looks if kind != "viewed")

    def _score(self, mode: str, through_day: int) -> np.ndarray[Any, Any]:
        blend, arrays = self.blend, self.arrays
        counts = arrays["popularity_counts"].astype(float)
        age = np.maximum(through_day - arrays["item_first_day"], 0)
        total = sum(
            getattr(blend, name) * np.log1p(count)
            for name, count in zip(("popular_7d", "popular_28d", "popular_all"), counts, strict=True)
        ) + blend.newness * np.exp(-age / 28)
        for name, part in self.near.items():
            total = total + getattr(blend, name) * np.log(part + _FLOOR)
        for item in self.looked:
            viewed, wanted = self.faded(item)
            total[item] += blend.viewed * viewed / (1 + viewed) + blend.wanted * wanted / (1 + wanted)
        if self.alike is not None:
            total = total + blend.like_viewed * self.alike
        again = {item: self._again(item, total[item]) for item in self.taken}
        if mode == "buy_again":
            total[:] = -np.inf
        for item, score in again.items():
            total[item] = -np.inf if mode == "discover" else score
        return np.asarray(total)

    def _again(self, item: int, discover: float) -> float:
        blend, arrays, ages = self.blend, self.arrays, self.days[item]
        ease = np.log(self.near["ease"][item] + _FLOOR) if "ease" in self.near else 0.0
        settings = self.config.personal_frequency
        loud = settings.quiet_factor if min(ages) < settings.quiet_days else 1.0
        recent, steady = loud * self._decayed(45)[item], loud * self._decayed(180)[item]
        score = (
            blend.again
            + blend.again_discover * discover
            + blend.again_ease * ease
            + blend.again_popular_all * np.log1p(float(arrays["popularity_counts"][2, item]))
            + blend.again_recent * np.log1p(recent)
            + blend.again_steady * np.log1p(steady)
            + blend.again_times * np.log(len(ages))
            + blend.again_due * self._due(item)
            + blend.again_repeat * np.log(float(arrays["repeat_probability"][item]))
            + blend.again_breadth * np.log(len(self.taken))
            + np.log(max(float(arrays["repeat_gate"][item]), 1e-3))
        )
        return float(score)

    def gap_days(self, item: int) -> float:
        """The median days between two takings."""
        ages = sorted(self.days[item])
        return median(older - newer for newer, older in pairwise(ages))

    def _due(self, item: int) -> float:
        intervals, prior = len(self.days[item]) - 1, self.config.personal_frequency.gap_prior_intervals
        if intervals < 2:
            return 1.0
        usual = float(self.arrays["repeat_gap_days"][item])
        gap = (intervals * self.gap_days(item) + prior * usual) / (intervals + prior)
        return min(1.0, min(self.days[item]) / gap) if gap > 0 else 1.0

    def reason(self, item: int) -> tuple[str, dict[str, Any]]:
        """Why an item that was not taken is shown; what was taken says how often."""
        if item in self.days:
            times = len(self.days[item])
            if times >= 3:
                return "usual_interval", {"days": max(1, round(self.gap_days(item)))}
            return "bought_before", {"times": times}
        if item in self.looked and self._weight_of(kind := self._kind(item)):
            return _CODES[kind], {}
        if self.alike is not None and self.alike[item] >= 0.6:
            return "like_viewed", {"item_id": self._because(item, self._looked_sources())}
        parts = {name: part[item] for name, part in self.near.items()}
        taste, linked = max(parts.get("als", 0), parts.get("ease", 0)), parts.get("item_to_item", 0)
        popular = float(self.arrays["popularity_scores"][item])
        because = self._because(item, self.sources())
        if because is not None and linked >= max(taste, popular):
            return "often_bought_with", {"item_id": because}
        if taste > popular:
            return "like_your_purchases", {}
        return ("popular_now" if self._is_popular(item) else "also_available"), {}

    def _kind(self, item: int) -> str:
        kinds = {kind for _, kind in self.looked[item]}
        return next(kind for kind in _CODES if kind in kinds)

    def _weight_of(self, kind: str) -> float:
        return self.blend.viewed if kind == "viewed" else self.blend.wanted

    def _looked_sources(self) -> list[tuple[int, float]]:
        return [(item, sum(self.faded(item))) for item in self.looked]

    def _because(self, item: int, sources: Sequence[tuple[int, float]]) -> str | None:
        strongest, because = 0.0, None
        for source, weight in sources:
            near = self.arrays["item_neighbours"][source].tolist()
            if item in near:
                strength = weight * float(self.arrays["item_similarities"][source][near.index(item)])
                # Of equals the later one.
                if strength > 0 and strength >= strongest:
                    strongest, because = strength, self.ids[source]
        return because

    def _is_popular(self, item: int) -> bool:
        scores, lately = self.arrays["popularity_scores"], self.arrays["popularity_counts"][1]
        best = np.argsort(-scores, kind="stable")[: max(20, len(scores) // 10)]
        return bool(item in best and lately[item] > 0)
