"""Rank for one person, now: a fitted model, opened read-only, and numpy.

Everything personal comes with the question, so the next purchase changes the next answer. Masks act on the
whole score vector before the best are cut out of it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

from recommender.artifact import Manifest, open_artifact
from recommender.config import TrainingConfig
from recommender.errors import ArtifactCorrupt, InvalidConfig, InvalidRequest
from recommender.history import History, Purchase
from recommender.idmap import IdMap
from recommender.models.als import Als
from recommender.models.item_to_item import ItemToItem
from recommender.models.personal_frequency import PersonalFrequency
from recommender.models.popularity import Popularity

__all__ = ["Answer", "Fallback", "Mode", "Policy", "Purchase", "Recommendation", "ServedModel", "Source"]

Mode = Literal["mixed", "buy_again", "discover"]
Policy = Literal["model", "baseline"]
Source = Literal["buy_again", "discover", "popular"]
Fallback = Literal["popular", "empty"]

_OUT = np.float32(-np.inf)
_POPULAR_SHARE = 0.1
_POPULAR_AT_LEAST = 20


class Recommendation(NamedTuple):
    """Name one item, its score, the arm it comes from, and a reason that holds.

    Reason codes and their parameters: usual_interval {days} · bought_before {times} ·
    often_bought_with {item_id} · like_your_purchases {} · popular_now {} · also_available {}.
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


class _Discovery(NamedTuple):
    """Keep a discovery's parts apart, each (items,) and 1 at its best, to tell which one spoke loudest."""

    total: NDArray[np.float32]
    als: NDArray[np.float32] | None
    item_to_item: NDArray[np.float32] | None
    linked_items: NDArray[np.int32]
    linked_weights: NDArray[np.float64]


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
        except (KeyError, ValueError, InvalidConfig) as wrong:
            raise ArtifactCorrupt(f"{manifest.version}: {wrong}") from wrong
        self.blend = config.blend
        self._check_shapes()
        self._base = (np.float32(self.blend.popularity) * self.popularity.scores).astype(np.float32)
        self._popular = self._rank_popular()

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
    ) -> Answer:
        """Rank items for a history (item, day, quantity) as it stands on `today`.

        `allowed` is a mask over `items` (None: all); `exclude` and `context_items` (a cart, a page) are
        never given back. Unknown ids anywhere are ignored. With nothing personal to go by the answer is
        popularity, and says so. The baseline policy ranks by popularity alone whatever the history.
        Never more than `limit` items, never one twice. InvalidRequest for arguments that make no sense.
        """
        self._check_request(limit, mode, policy, allowed)
        context = self.items.known(context_items)
        out = np.concatenate([self.items.known(exclude), context])
        if policy == "baseline":
            return self._popular_answer(limit, allowed, out, fallback=None)
        taken = History.encode(history, items=self.items, today=today)
        if mode == "buy_again":
            return self._buy_again(taken, limit, allowed, out)
        if not len(taken) and not len(context):
            return self._popular_answer(limit, allowed, out, fallback="popular")
        discovery = self._discover(taken, context)
        scores = discovery.total.copy()
        if mode == "mixed":
            scores *= np.float32(self.blend.discover)
            scores[taken.items] = self._again_scores(taken)
        else:
            scores[taken.items] = _OUT
        chosen, candidate_count = _best(scores, limit, allowed, out)
        if not candidate_count:
            return Answer((), "empty", 0)
        return Answer(self._explain(chosen, scores, taken, discovery), None, candidate_count)

    def related(
        self,
        item_ids: Sequence[str],
        *,
        limit: int,
        exclude: Collection[str] = (),
        allowed: NDArray[np.bool_] | None = None,
    ) -> Answer:
        """Rank what goes with an item or a basket, none of it given back; popularity fills the end.

        When no item is known or none has neighbours the answer is popularity, and says so.
        """
        self._check_request(limit, "mixed", "model", allowed)
        basket = self.items.known(item_ids)
        out = np.concatenate([self.items.known(exclude), basket])
        weights = np.ones(len(basket))
        near = self.item_to_item.score_items(basket, weights)
        if not near.any():
            return self._popular_answer(limit, allowed, out, fallback="popular")
        near /= near.max()
        # Popularity orders what is not related at all, below everything that is.
        scores = np.where(near > 0, 1 + near, self.popularity.scores).astype(np.float32)
        chosen, candidate_count = _best(scores, limit, allowed, out)
        if not candidate_count:
            return Answer((), "empty", 0)
        links = self.item_to_item.strongest_links(chosen, basket, weights)
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
                else self._by_popularity(item, float(scores[item]))
                for item in chosen.tolist()
            ),
            None,
            candidate_count,
        )

    def _buy_again(
        self, taken: History, limit: int, allowed: NDArray[np.bool_] | None, out: NDArray[np.int32]
    ) -> Answer:
        """Rank what was taken before, without looking at anything else."""
        keep = ~np.isin(taken.items, out)
        if allowed is not None:
            keep &= allowed[taken.items]
        if not keep.any():
            return self._popular_answer(limit, allowed, out, fallback="popular")
        again = self._again_scores(taken)
        order = np.lexsort((taken.items, -again))
        order = order[keep[order]][:limit]
        return Answer(
            tuple(self._again(taken, index, float(again[index])) for index in order.tolist()),
            None,
            int(keep.sum()),
        )

    def _again_scores(self, taken: History) -> NDArray[np.float32]:
        """Scale what was taken before to [0, 1): s ÷ (1 + s) keeps the order and compares between people."""
        raw = self.personal_frequency.score_bought(taken)
        return (raw / (1 + raw)).astype(np.float32)

    def _discover(self, taken: History, context: NDArray[np.int32]) -> _Discovery:
        """Score all items as discoveries in [0, 1], (items,): the parts, each scaled to its best new item."""
        blend = self.blend
        whole = blend.als + blend.item_to_item + blend.popularity
        known = np.union1d(taken.items, context) if len(context) else taken.items
        linked_items = np.concatenate([taken.items, context])
        linked_weights = np.concatenate([self.item_to_item.weights(taken), np.ones(len(context))])
        total = self._base / np.float32(whole)
        als = item_to_item = None
        if blend.als and len(taken):
            als = _to_best(self.als.score(taken), known)
            total += np.float32(blend.als / whole) * als
        if blend.item_to_item:
            item_to_item = _to_best(self.item_to_item.score_items(linked_items, linked_weights), known)
            total += np.float32(blend.item_to_item / whole) * item_to_item
        return _Discovery(total, als, item_to_item, linked_items, linked_weights)

    def _explain(
        self, chosen: NDArray[np.intp], scores: NDArray[np.float32], taken: History, discovery: _Discovery
    ) -> tuple[Recommendation, ...]:
        """Give each chosen item its source, and the reason it stands out by most."""
        before = {item: index for index, item in enumerate(taken.items.tolist())}
        links = self.item_to_item.strongest_links(chosen, discovery.linked_items, discovery.linked_weights)
        zero = np.zeros(len(chosen))
        als = (zero if discovery.als is None else discovery.als[chosen]).tolist()
        near = (zero if discovery.item_to_item is None else discovery.item_to_item[chosen]).tolist()
        popular = self.popularity.scores[chosen].tolist()
        values = scores[chosen].tolist()
        explained = []
        for rank, item in enumerate(chosen.tolist()):
            if item in before:
                one = self._again(taken, before[item], values[rank])
            elif item in links and near[rank] >= max(als[rank], popular[rank]):
                one = self._discovered(item, values[rank], "often_bought_with", self.items.ids[links[item]])
            elif als[rank] > popular[rank]:
                one = self._discovered(item, values[rank], "like_your_purchases")
            else:
                one = self._by_popularity(item, values[rank], source="discover")
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

    def _by_popularity(self, item: int, score: float, source: Source = "popular") -> Recommendation:
        code = "popular_now" if self._popular[item] else "also_available"
        return Recommendation(self.items.ids[item], score, source, code, {})

    def _popular_answer(
        self,
        limit: int,
        allowed: NDArray[np.bool_] | None,
        out: NDArray[np.int32],
        *,
        fallback: Fallback | None,
    ) -> Answer:
        scores = self.popularity.scores.copy()
        chosen, candidate_count = _best(scores, limit, allowed, out)
        if not candidate_count:
            return Answer((), "empty", 0)
        items = tuple(self._by_popularity(item, float(scores[item])) for item in chosen.tolist())
        return Answer(items, fallback, candidate_count)

    def _rank_popular(self) -> NDArray[np.bool_]:
        """Mark what may be called popular: the best tenth, twenty at least, of what was taken at all."""
        popular = np.zeros(len(self.items), dtype=bool)
        number = max(_POPULAR_AT_LEAST, int(len(self.items) * _POPULAR_SHARE))
        popular[np.argsort(-self.popularity.scores, kind="stable")[:number]] = True
        return popular & (self.popularity.scores > 0)

    def _check_shapes(self) -> None:
        count, factors = len(self.items), self.als.gram.shape[0]
        found = {
            "popularity_scores": (self.popularity.scores.shape, (count,)),
            "repeat_gate": (self.personal_frequency.gate.shape, (count,)),
            "repeat_gap_days": (self.personal_frequency.gap_days.shape, (count,)),
            "item_neighbours": (self.item_to_item.neighbours.shape[:1], (count,)),
            "item_similarities": (self.item_to_item.similarities.shape, self.item_to_item.neighbours.shape),
            "als_item_factors": (self.als.item_factors.shape, (count, factors)),
            "als_gram": (self.als.gram.shape, (factors, factors)),
        }
        for name, (actual, expected) in found.items():
            if actual != expected:
                raise ArtifactCorrupt(f"{self.version}: {name} is {actual}, not {expected}")

    def _check_request(self, limit: int, mode: str, policy: str, allowed: NDArray[np.bool_] | None) -> None:
        if limit < 0:
            raise InvalidRequest(f"limit {limit} is below zero")
        if mode not in get_args(Mode):
            raise InvalidRequest(f"unknown mode {mode!r}")
        if policy not in get_args(Policy):
            raise InvalidRequest(f"unknown policy {policy!r}")
        if allowed is not None and (allowed.dtype != np.bool_ or allowed.shape != (len(self.items),)):
            raise InvalidRequest(
                f"allowed is {allowed.dtype} {allowed.shape}, not a boolean mask over {len(self.items)} items"
            )


def _to_best(part: NDArray[np.float32], known: NDArray[np.int32]) -> NDArray[np.float32]:
    """Scale a part in place so that its best new item scores 1; zeros when it has none above zero."""
    part[known] = 0
    best = part.max(initial=0)
    if best <= 0:
        part[:] = 0
    else:
        part /= best
    return part


def _best(
    scores: NDArray[np.float32], limit: int, allowed: NDArray[np.bool_] | None, out: NDArray[np.int32]
) -> tuple[NDArray[np.intp], int]:
    """Mask `scores` in place and give the positions of the best, and how many were in the running.

    Equal scores go to the lower position, so that the cut is the same every time.
    """
    if allowed is not None:
        np.copyto(scores, _OUT, where=~allowed)
    scores[out] = _OUT
    candidate_count = int(np.count_nonzero(scores > _OUT))
    number = min(limit, candidate_count)
    if not number:
        return np.zeros(0, dtype=np.intp), candidate_count
    cut = np.partition(scores, len(scores) - number)[len(scores) - number]
    near = np.flatnonzero(scores >= cut)
    return near[np.argsort(-scores[near], kind="stable")][:number], candidate_count
