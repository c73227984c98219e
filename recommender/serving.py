"""Rank for one person, now: a fitted model, opened read-only, and numpy.

Everything personal comes with the question, so the next purchase changes the next answer. Masks act on the
whole score vector before the best are cut out of it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

from recommender.arms import served_by
from recommender.artifact import Manifest, open_artifact
from recommender.blending import WINDOWS, Blend, ItemFacts
from recommender.browsing import Browsed, Kind, explain, leans
from recommender.config import TrainingConfig
from recommender.errors import ArtifactCorrupt, InvalidConfig, InvalidRequest
from recommender.history import History, Purchase
from recommender.idmap import IdMap
from recommender.models.als import Als
from recommender.models.ease import Ease
from recommender.models.item_to_item import ItemToItem
from recommender.models.personal_frequency import PersonalFrequency
from recommender.models.popularity import Popularity
from recommender.ranker import Asked, Listed, Mode, Ranker
from recommender.ranking import Arrangement, best, choose

__all__ = ["Answer", "Fallback", "Mode", "Policy", "Purchase", "Recommendation", "ServedModel", "Source"]

Policy = Literal["model", "baseline"]
Source = Literal["buy_again", "discover", "popular", "trending", "recently_viewed"]
Fallback = Literal["popular", "empty"]

_MODES, _POLICIES = get_args(Mode), get_args(Policy)
_POPULAR_SHARE = 0.1
_POPULAR_AT_LEAST = 20


class Recommendation(NamedTuple):
    """Name one item, its score, the arm it comes from, and a reason that holds.

    Reason codes and their parameters: usual_interval {days} · bought_before {times} ·
    often_bought_with {item_id} · like_your_purchases {} · popular_now {} · also_available {} · and of what
    was looked at, looked_at {} · put_in_cart {} · wished_for {} · like_viewed {item_id}. A list of its own
    (`list_by`) brings its own codes.
    """

    item_id: str
    score: float
    source: Source
    reason_code: str
    reason_params: dict[str, int | str]


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold the ranked items, the fallback that had to be used if any, and how many were in the running."""

    items: tuple[Recommendation, ...]
    fallback: Fallback | None
    candidate_count: int


class Repeats(NamedTuple):
    """Hold how items are taken again, each (items,): see `ItemFacts` and `PersonalFrequency`."""

    probability: NDArray[np.float32]
    gate: NDArray[np.float32]
    gap_days: NDArray[np.float32]


class ServedModel:
    """Rank items for histories. Holds only read-only arrays, so threads may share it."""

    def __init__(self, manifest: Manifest, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take apart what training made; ArtifactCorrupt when the pieces do not fit together."""
        self.manifest = manifest
        try:
            config = TrainingConfig.from_dict(manifest.parameters)
            self.items = IdMap.from_arrays(arrays["items_text"], arrays["items_offsets"])
            self.popularity = Popularity.from_arrays(arrays)
            self.personal_frequency = PersonalFrequency.from_arrays(arrays, config.personal_frequency)
            self.item_to_item = ItemToItem.from_arrays(arrays, config.item_to_item)
            self.als = Als.from_arrays(arrays, config.als)
            self.ease = Ease.from_arrays(arrays, config.ease)
            facts = ItemFacts.from_arrays(arrays)
        except (KeyError, ValueError, InvalidConfig) as wrong:
            raise ArtifactCorrupt(f"{manifest.version}: {wrong}") from wrong
        self._check_shapes(facts)
        self.blend = Blend(
            config=served_by(config.blend, ease=self.ease.fitted),
            facts=facts,
            through_day=manifest.trained_through,
            ease=self.ease,
            als=self.als,
            item_to_item=self.item_to_item,
            personal=self.personal_frequency,
        )
        self._config = config
        self._prepare()

    def _prepare(self) -> None:
        """Compute once what is the same for everybody."""
        self._ranker = Ranker.of(self.blend, self.popularity.scores)
        self._popular = self._rank_popular()

    def with_items(self, ids: Iterable[str]) -> ServedModel:
        """Give a model that ranks these items too, everything learned shared; itself where it knows them all.

        They follow its own. Nothing was learned of them: nobody took them, nothing goes with them. So they
        stand behind all others until `refreshed` says that they are taken, or somebody looks at them.
        """
        items = self.items.extended(ids)
        number = len(items) - len(self.items)
        if not number:
            return self
        grown = copy(self)
        grown.items = items
        grown.popularity = self.popularity.extended(number)
        grown.personal_frequency = self.personal_frequency.extended(number)
        grown.item_to_item = replace(self.item_to_item, unlearned=self.item_to_item.unlearned + number)
        grown.als = replace(self.als, unlearned=self.als.unlearned + number)
        grown.ease = replace(self.ease, unlearned=self.ease.unlearned + number)
        grown.blend = replace(
            self.blend,
            facts=self.blend.facts.extended(number),
            ease=grown.ease,
            als=grown.als,
            item_to_item=grown.item_to_item,
            personal=grown.personal_frequency,
        )
        grown._prepare()
        return grown

    def refreshed(
        self,
        counts: NDArray[Any],
        *,
        through_day: int,
        fortnight: NDArray[Any] | None = None,
        repeats: Repeats | None = None,
    ) -> ServedModel:
        """Give a model with newer popularity, everything else shared: `counts` (3, items) by `WINDOWS`.

        With `fortnight` (items,) also the takings of 14 days, with `repeats` how items are taken again. For
        orders that came after training; the artefact on disk stays as it is. What it has not learned and was
        taken since is new.
        """
        if counts.shape != self.blend.facts.counts.shape or not np.isfinite(counts).all() or counts.min() < 0:
            raise InvalidRequest(f"popularity counts {counts.shape} do not fit {len(self.items)} items")
        fresh = copy(self)
        facts = replace(self.blend.facts, counts=counts.astype(np.float32), first_day=self._first_day(counts))
        if fortnight is not None:
            facts = replace(facts, fortnight=fortnight.astype(np.float32))
        fresh.popularity = Popularity.from_counts(
            dict(zip(WINDOWS, counts, strict=True)), self._config.popularity
        )
        personal = replace(self.personal_frequency, popularity=fresh.popularity.scores)
        if repeats is not None:
            facts = replace(facts, repeat_probability=repeats.probability)
            personal = replace(personal, gate=repeats.gate, gap_days=repeats.gap_days)
        fresh.personal_frequency = personal
        fresh.blend = replace(self.blend, facts=facts, through_day=through_day, personal=personal)
        fresh._prepare()
        return fresh

    def _first_day(self, counts: NDArray[Any]) -> NDArray[np.int32]:
        """Give each item's first day: of what was first taken after training, the day after it."""
        found = self.blend.facts.first_day
        if self.als.unlearned:
            found = found.copy()
            found[len(self.als.item_factors) :][counts[-1, len(self.als.item_factors) :] > 0] = (
                self.trained_through + 1
            )
        return found

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: bool = True) -> Self:
        """Open an artefact; raises an ArtifactError when it is missing, broken, half-written or foreign."""
        return cls(*open_artifact(path, verify=verify))

    @property
    def version(self) -> str:
        """Give the name under which the artefact was written."""
        return self.manifest.version

    @property
    def content_hash(self) -> str:
        """Give the hash that two identical trainings share."""
        return self.manifest.content_hash

    @property
    def trained_from(self) -> int:
        """Give the first day of the training data, in days since 1970-01-01."""
        return self.manifest.trained_from

    @property
    def trained_through(self) -> int:
        """Give the last day of the training data, in days since 1970-01-01."""
        return self.manifest.trained_through

    def mask(self, item_ids: Iterable[str]) -> NDArray[np.bool_]:
        """Give the mask (items,) that is true for these ids; ids the model does not know are left out."""
        mask = np.zeros(len(self.items), dtype=bool)
        mask[self.items.known(item_ids)] = True
        return mask

    def known_share(self, item_ids: Collection[str]) -> float:
        """Give the share of these ids that the model knows, 0 to 1; of none, 0."""
        return sum(one in self.items for one in item_ids) / len(item_ids) if item_ids else 0.0

    def recommend(
        self,
        history: Sequence[tuple[str, int, float]],
        *,
        today: int,
        limit: int,
        mode: Mode = "mixed",
        exclude: Collection[str] = (),
        allowed: NDArray[np.bool_] | None = None,
        context_items: Sequence[str] = (),
        policy: Policy = "model",
        diversity: float = 0.0,
        groups: NDArray[np.int32] | None = None,
        cap: int | None = None,
        looks: Sequence[tuple[str, float, Kind]] = (),
        now: float | None = None,
    ) -> Answer:
        """Rank items for a history (item, day, quantity) as it stands on `today`.

        `looks` (`browsing.Look`) shift the answer as far as that was found to help; `now` is when they are
        looked back at (None: the end of `today`). `allowed` is a mask over `items` (None: all); `exclude`
        and `context_items` (a cart, a page) are never given back. Unknown ids anywhere are ignored. With
        nothing personal to go by the answer is popularity, and says so. The baseline policy ranks by
        popularity alone whatever the history.
        `diversity` in [0, 1] trades score for variety (0: exact score order); `groups` (items,) numbers
        each item's group (-1: none), of which no more than `cap` are given.
        Never more than `limit` items, never one twice. InvalidRequest for arguments that make no sense.
        """
        self._check_request(limit, mode, policy, allowed)
        self._check_arrangement(diversity, groups, cap)
        how = Arrangement(limit, diversity, groups, cap)
        context = self.items.known(context_items)
        out = np.concatenate([self.items.known(exclude), context]) if exclude else context
        if policy == "baseline":
            return self._popular_answer(how, allowed, out, fallback=None)
        taken = History.encode(history, items=self.items, today=today)
        browsed = None
        if looks and leans(self.blend.config):
            asked_at = today + 1.0 if now is None else now
            browsed = Browsed.encode(looks, items=self.items, now=asked_at, taken=taken, today=today)
        if not len(taken) and (mode == "buy_again" or not (len(context) or browsed)):
            return self._popular_answer(how, allowed, out, fallback="popular")
        linked = self.item_to_item.spread_history(taken, context)
        asked = Asked(taken, linked, browsed, mode, how, allowed, out)
        listed = self._ranker.rank(asked)
        if not listed.candidate_count:
            if mode == "buy_again":
                return self._popular_answer(how, allowed, out, fallback="popular")
            return Answer((), "empty", 0)
        return Answer(self._explain(asked, listed), None, listed.candidate_count)

    def related(
        self,
        item_ids: Sequence[str],
        *,
        limit: int,
        exclude: Collection[str] = (),
        allowed: NDArray[np.bool_] | None = None,
    ) -> Answer:
        """Rank what is taken with an item or a basket, or after it; popularity fills the end.

        None of it is given back, and what people take before it and not again counts for little.
        When no item is known or none has neighbours the answer is popularity, and says so.
        """
        self._check_request(limit, "mixed", "model", allowed)
        basket = self.items.known(item_ids)
        out = np.concatenate([self.items.known(exclude), basket])
        spread = self.item_to_item.lead(basket)
        if not spread.best:
            return self._popular_answer(Arrangement(limit), allowed, out, fallback="popular")
        near = spread.summed.astype(np.float32) / spread.best
        # Popularity orders what is not related at all, below everything that is.
        scores = np.where(near > 0, 1 + near, self.popularity.scores).astype(np.float32)
        chosen, candidate_count = best(scores, limit, allowed, out)
        if not candidate_count:
            return Answer((), "empty", 0)
        links = spread.strongest(chosen)
        return Answer(
            tuple(
                Recommendation(
                    self.items.ids[item],
                    float(scores[item]),
                    "discover",
                    "often_bought_with",
                    {"item_id": self.items.ids[links[item]]},
                )
                if item in links
                else self.by_popularity(item, float(scores[item]))
                for item in chosen.tolist()
            ),
            None,
            candidate_count,
        )

    def score(self, taken: History) -> NDArray[np.float32]:
        """Give the mixed score of all items, (items,), on the blend's logarithmic scale; no masks."""
        linked = self.item_to_item.spread_history(taken)
        asked = Asked(taken, linked, None, "mixed", Arrangement(0), None, np.zeros(0, np.int32))
        return self._ranker.score(asked, self.blend.near(linked, self.blend.person(taken)))[0]

    def _explain(self, asked: Asked, listed: Listed) -> tuple[Recommendation, ...]:
        """Give each chosen item its source, and the reason it stands out by most."""
        taken, chosen = asked.taken, listed.chosen
        before = {item: index for index, item in enumerate(taken.items.tolist())}
        ease, als, linked = listed.shares.tolist()
        popular = self.popularity.scores[chosen].tolist()
        looked = explain(asked.browsed, listed.alike, chosen, self.blend.config)
        values = np.exp(listed.totals.astype(np.float64) - listed.highest).tolist()
        ranked = list(enumerate(chosen.tolist()))
        # What goes with something by most, of whatever has no better reason yet.
        by_link = {
            item
            for rank, item in ranked
            if linked[rank] >= max(ease[rank], als[rank], popular[rank])
            and item not in before
            and item not in looked
        }
        links = asked.linked.strongest(np.array(sorted(by_link), np.intp)) if by_link else {}
        explained = []
        for rank, item in ranked:
            if item in before:
                one = self._again(taken, before[item], values[rank])
            elif item in looked:
                code, because = looked[item]
                by = None if because is None else self.items.ids[because]
                one = self._discovered(item, values[rank], code, by)
            elif item in links:
                one = self._discovered(item, values[rank], "often_bought_with", self.items.ids[links[item]])
            elif max(ease[rank], als[rank]) > popular[rank]:
                one = self._discovered(item, values[rank], "like_your_purchases")
            else:
                one = self.by_popularity(item, values[rank], source="discover")
            explained.append(one)
        return tuple(explained)

    def _again(self, taken: History, index: int, score: float) -> Recommendation:
        times = int(taken.times[index])
        item = self.items.ids[int(taken.items[index])]
        if times >= 3:
            days = max(1, round(taken.median_gap_days(index)))
            return Recommendation(item, score, "buy_again", "usual_interval", {"days": days})
        return Recommendation(item, score, "buy_again", "bought_before", {"times": times})

    def _discovered(self, item: int, score: float, code: str, because: str | None = None) -> Recommendation:
        params: dict[str, int | str] = {} if because is None else {"item_id": because}
        return Recommendation(self.items.ids[item], score, "discover", code, params)

    def by_popularity(self, item: int, score: float, source: Source = "popular") -> Recommendation:
        """Give an item by position that nothing but its popularity speaks for."""
        code = "popular_now" if self._popular[item] else "also_available"
        return Recommendation(self.items.ids[item], score, source, code, {})

    def _popular_answer(
        self,
        how: Arrangement,
        allowed: NDArray[np.bool_] | None,
        out: NDArray[np.int32],
        *,
        fallback: Fallback | None,
    ) -> Answer:
        scores = self.popularity.scores.copy()
        chosen, candidate_count = choose(scores, how, allowed, out, vectors=self.als.vectors)
        if not candidate_count:
            return Answer((), "empty", 0)
        items = tuple(self.by_popularity(item, float(scores[item])) for item in chosen.tolist())
        return Answer(items, fallback, candidate_count)

    def _rank_popular(self) -> NDArray[np.bool_]:
        """Mark what may be called popular now: the best tenth, twenty at least, of what was taken lately."""
        popular = np.zeros(len(self.items), dtype=bool)
        number = max(_POPULAR_AT_LEAST, int(len(self.items) * _POPULAR_SHARE))
        popular[np.argsort(-self.popularity.scores, kind="stable")[:number]] = True
        popular &= self.blend.facts.counts[WINDOWS.index(28)] > 0
        return popular

    def _check_shapes(self, facts: ItemFacts) -> None:
        count, factors = len(self.items), self.als.gram.shape[0]
        found = {
            "popularity_scores": (self.popularity.scores.shape, (count,)),
            "repeat_gate": (self.personal_frequency.gate.shape, (count,)),
            "repeat_gap_days": (self.personal_frequency.gap_days.shape, (count,)),
            "item_neighbours": (self.item_to_item.neighbours.shape[:1], (count,)),
            "item_similarities": (self.item_to_item.similarities.shape, self.item_to_item.neighbours.shape),
            "item_onward": (
                self.item_to_item.similarities.shape
                if self.item_to_item.onward is None
                else self.item_to_item.onward.shape,
                self.item_to_item.similarities.shape,
            ),
            "als_item_factors": (self.als.item_factors.shape, (count, factors)),
            "als_gram": (self.als.gram.shape, (factors, factors)),
            "ease_neighbours": (self.ease.neighbours.shape[:1], (count,)),
            "ease_weights": (self.ease.weights.shape, self.ease.neighbours.shape),
            "popularity_counts": (facts.counts.shape, (len(WINDOWS), count)),
            "item_first_day": (facts.first_day.shape, (count,)),
            "repeat_probability": (facts.repeat_probability.shape, (count,)),
            "popularity_14d": (facts.fortnight.shape, (count,)),
        }
        for name, (actual, expected) in found.items():
            if actual != expected:
                raise ArtifactCorrupt(f"{self.version}: {name} is {actual}, not {expected}")

    def _check_arrangement(self, diversity: float, groups: NDArray[np.int32] | None, cap: int | None) -> None:
        if not 0 <= diversity <= 1:
            raise InvalidRequest(f"diversity {diversity} is not in [0, 1]")
        if cap is not None and (cap < 1 or groups is None):
            raise InvalidRequest("a cap is at least 1 and needs groups")
        if groups is not None and groups.shape != (len(self.items),):
            raise InvalidRequest(f"groups are {groups.shape}, not one of {len(self.items)} items each")

    def _check_request(self, limit: int, mode: str, policy: str, allowed: NDArray[np.bool_] | None) -> None:
        if limit < 0:
            raise InvalidRequest(f"limit {limit} is below zero")
        if mode not in _MODES:
            raise InvalidRequest(f"unknown mode {mode!r}")
        if policy not in _POLICIES:
            raise InvalidRequest(f"unknown policy {policy!r}")
        if allowed is not None and (allowed.dtype != np.bool_ or allowed.shape != (len(self.items),)):
            raise InvalidRequest(
                f"allowed is {allowed.dtype} {allowed.shape}, not a boolean mask over {len(self.items)} items"
            )
