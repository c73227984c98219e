"""How good a ranking would have been: learn up to a day, look at what was taken in the days after it.

Global time cut, fixed horizon, rolling origins, the catalogue as of the cut, and full ranking: every item
is in the running, none is sampled. Baselines are always in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.config import TrainingConfig
from recommender.errors import HistoryTooShort, InvalidConfig
from recommender.history import History
from recommender.interactions import Interactions
from recommender.models.popularity import window_counts
from recommender.serving import Mode, ServedModel
from recommender.training import Progress, train

BASELINES = ("popularity_7d", "popularity_28d", "popularity_all", "personal_frequency", "gp_topfreq")
CANDIDATE = "mixed"
_SERVED_MODES: dict[str, Mode] = {CANDIDATE: "mixed", "buy_again": "buy_again"}
_DISCOVERERS = ("popularity_7d", "popularity_28d", "popularity_all", "item_to_item", "als")

Scores = Callable[[History], NDArray[np.float32]]


class Case(NamedTuple):
    """One user at one origin: the day of asking, what came before it, and positions of what came after."""

    today: int
    history: History
    purchases: list[tuple[str, int, float]]
    truth: NDArray[np.int32]


@dataclass(slots=True)
class _Tally:
    """Collect one method's results, one entry per user and origin."""

    recall: list[float] = field(default_factory=list)
    ndcg: list[float] = field(default_factory=list)
    hit: list[float] = field(default_factory=list)
    shown: list[set[int]] = field(default_factory=list)
    recall_by_origin: list[float] = field(default_factory=list)

    def add(self, ranked: list[int], truth: set[int], k: int) -> None:
        gains = [one in truth for one in ranked[:k]]
        self.recall.append(sum(gains) / len(truth))
        ideal = sum(_DISCOUNT[: min(k, len(truth))])
        self.ndcg.append(sum(d for d, gain in zip(_DISCOUNT, gains, strict=False) if gain) / ideal)
        self.hit.append(float(any(gains)))
        self.shown[-1].update(ranked[:k])

    def close_origin(self, users: int) -> None:
        self.recall_by_origin.append(float(np.mean(self.recall[-users:])) if users else 0.0)

    def as_dict(self, catalogue_sizes: list[int]) -> dict[str, Any]:
        covered = [len(seen) / size for seen, size in zip(self.shown, catalogue_sizes, strict=True)]
        return {
            "recall": _mean(self.recall),
            "ndcg": _mean(self.ndcg),
            "hit_rate": _mean(self.hit),
            "coverage": _mean(covered),
            "recall_by_origin": [round(one, 6) for one in self.recall_by_origin],
        }


_DISCOUNT = tuple((1 / np.log2(np.arange(2, 1002))).tolist())


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Hold the table: `methods` ranks everything against everything taken, `discover` only what was new."""

    k: int
    horizon_days: int
    origins: list[dict[str, int]]
    methods: dict[str, dict[str, Any]]
    discover: dict[str, dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON form, as it goes into a manifest."""
        return {
            "k": self.k,
            "horizon_days": self.horizon_days,
            "origins": self.origins,
            "methods": self.methods,
            "discover": self.discover,
        }

    @property
    def candidate(self) -> Mapping[str, Any]:
        """Give the metrics of the mixed list as served."""
        return self.methods[CANDIDATE]

    @property
    def baselines(self) -> Mapping[str, Mapping[str, Any]]:
        """Give the metrics of the mandatory baselines."""
        return {name: self.methods[name] for name in BASELINES}


class Decision(NamedTuple):
    """Say whether to promote, why, and which rival was the strongest."""

    promote: bool
    reason: str
    best_other: str | None


def beats(
    candidate: Mapping[str, Any],
    baselines: Mapping[str, Mapping[str, Any]],
    in_force: Mapping[str, Any] | None,
    *,
    metric: str = "recall",
) -> Decision:
    """Decide whether a candidate may replace the model in force, all measured on the same origins.

    It must be above every baseline, and not below the model in force: at equal quality the newer one
    knows more. Pure.
    """
    own = float(candidate[metric])
    if not np.isfinite(own):
        return Decision(False, f"{metric} of the candidate is not a number", None)
    for name, rival in sorted(baselines.items(), key=lambda one: (-float(one[1][metric]), one[0])):
        if not own > float(rival[metric]):
            return Decision(False, f"{metric} {own:.4f} is not above {name} {float(rival[metric]):.4f}", name)
        break
    if in_force is not None and own < float(in_force[metric]):
        return Decision(
            False,
            f"{metric} {own:.4f} is below {float(in_force[metric]):.4f} of the model in force",
            "in_force",
        )
    best = max(baselines, key=lambda name: float(baselines[name][metric]), default=None)
    return Decision(True, f"{metric} {own:.4f} is above every baseline", best)


def evaluate(
    interactions: Interactions,
    config: TrainingConfig | None = None,
    *,
    seed: int = 0,
    horizon_days: int = 28,
    origins: int = 3,
    skip_origins: int = 0,
    k: int = 10,
    max_users: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Train and measure at rolling origins: the last day minus 1, 2, … horizons, the latest first.

    Users count at an origin when they have a history and take something known afterwards; with
    `max_users` a seeded sample of them. `skip_origins` leaves out the latest ones, for choosing settings.
    HistoryTooShort when not one origin leaves anything to learn from.
    """
    if min(horizon_days, origins, k) < 1 or skip_origins < 0 or k > len(_DISCOUNT):
        raise InvalidConfig("horizon_days, origins and k are at least 1, k at most 1000")
    tell = progress or (lambda stage, done, total: None)
    tables = _Tables(k)
    seen: list[dict[str, int]] = []
    for number in range(skip_origins, skip_origins + origins):
        cut = interactions.last_day - horizon_days * (number + 1)
        if cut < interactions.first_day:
            break
        past = interactions.between(through_day=cut)
        cases = list(
            _cases(interactions, past, cut=cut, horizon_days=horizon_days, max_users=max_users, seed=seed)
        )
        if not cases:
            continue
        model = train(past, config, seed=seed).serve()
        tables.measure(model, past, cases)
        seen.append({"cut_day": cut, "users": len(cases), "items": len(past.items)})
        tell("evaluate", number - skip_origins + 1, origins)
    if not seen:
        raise HistoryTooShort(
            f"days {interactions.first_day} to {interactions.last_day} leave nothing to learn from "
            f"before a horizon of {horizon_days} days"
        )
    sizes = [one["items"] for one in seen]
    return Evaluation(
        k=k,
        horizon_days=horizon_days,
        origins=seen,
        methods={name: tally.as_dict(sizes) for name, tally in tables.methods.items()},
        discover={name: tally.as_dict(sizes) for name, tally in tables.discover.items()},
    )


def _cases(
    whole: Interactions,
    past: Interactions,
    *,
    cut: int,
    horizon_days: int,
    max_users: int | None,
    seed: int,
) -> Iterator[Case]:
    """Give the users, or a seeded sample, with a history at the cut who take something known after it."""
    within = (whole.day > cut) & (whole.day <= cut + horizon_days)
    to_user = past.users.positions(whole.users.ids)
    to_item = past.items.positions(whole.items.ids)
    users, items = to_user[whole.user_index[within]], to_item[whole.item_index[within]]
    known = (users >= 0) & (items >= 0)
    users, items = users[known], items[known]
    chosen = np.unique(users)
    if max_users is not None and len(chosen) > max_users:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, size=max_users, replace=False))
    truth_from, truth_to = np.searchsorted(users, chosen, "left"), np.searchsorted(users, chosen, "right")
    rows_from = np.searchsorted(past.user_index, chosen, "left")
    rows_to = np.searchsorted(past.user_index, chosen, "right")
    ids = past.items.ids
    for number in range(len(chosen)):
        rows = slice(int(rows_from[number]), int(rows_to[number]))
        item_at, day, quantity = past.item_index[rows], past.day[rows], past.quantity[rows]
        yield Case(
            today=cut,
            history=History.from_sorted(item_at, cut - day, quantity),
            purchases=[
                (ids[item], when, amount)
                for item, when, amount in zip(item_at.tolist(), day.tolist(), quantity.tolist(), strict=True)
            ],
            truth=np.unique(items[truth_from[number] : truth_to[number]]),
        )


@dataclass(frozen=True, slots=True)
class _Tables:
    """Collect both tables while origins go by."""

    k: int
    methods: dict[str, _Tally] = field(default_factory=dict)
    discover: dict[str, _Tally] = field(default_factory=dict)

    def measure(self, model: ServedModel, past: Interactions, cases: list[Case]) -> None:
        """Rank for every case with every method, and note what was hit."""
        scorers = baseline_scores(past) | {
            "item_to_item": model.item_to_item.score,
            "als": model.als.score,
        }
        for name in (*scorers, *_SERVED_MODES):
            self.methods.setdefault(name, _Tally()).shown.append(set())
        for name in (*_DISCOVERERS, "discover"):
            self.discover.setdefault(name, _Tally()).shown.append(set())
        explorers = 0
        for case in cases:
            truth = set(case.truth.tolist())
            new = truth.difference(case.history.items.tolist())
            explorers += bool(new)
            for name, score in scorers.items():
                self._note_scores(name, score(case.history), case, truth, new)
            for name, mode in _SERVED_MODES.items():
                self.methods[name].add(_served(model, case, self.k, mode), truth, self.k)
            if new:
                ranked = _served(model, case, self.k, "discover")
                self.discover["discover"].add(ranked, new, self.k)
        for tally in self.methods.values():
            tally.close_origin(len(cases))
        for tally in self.discover.values():
            tally.close_origin(explorers)

    def _note_scores(
        self, name: str, scores: NDArray[np.float32], case: Case, truth: set[int], new: set[int]
    ) -> None:
        self.methods[name].add(top_positions(scores, self.k), truth, self.k)
        if new and name in _DISCOVERERS:
            unseen = scores.astype(np.float32)
            unseen[case.history.items] = -np.inf
            self.discover[name].add(top_positions(unseen, self.k), new, self.k)


def baseline_scores(past: Interactions) -> dict[str, Scores]:
    """Give the mandatory baselines as scoring functions over a history, each (items,).

    popularity_*: days with a purchase per window. personal_frequency (P-TopFreq): days on which this user
    took it, own items only, ties by 28-day popularity. gp_topfreq: the same, ties and the rest of the list
    by popularity of all time.
    """
    windows: dict[str, int | None] = {
        "popularity_7d": 7,
        "popularity_28d": 28,
        "popularity_all": None,
    }
    counts = {name: window_counts(past, days).astype(np.float32) for name, days in windows.items()}
    ties = {name: 0.5 * one / max(1.0, float(one.max())) for name, one in counts.items()}

    def personal(history: History) -> NDArray[np.float32]:
        scores = np.full(len(past.items), -np.inf, dtype=np.float32)
        scores[history.items] = history.times + ties["popularity_28d"][history.items]
        return scores

    def filled(history: History) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = ties["popularity_all"].astype(np.float32)
        scores[history.items] += history.times.astype(np.float32)
        return scores

    def constant(scores: NDArray[np.float32]) -> Scores:
        return lambda history: scores

    fixed: dict[str, Scores] = {name: constant(one) for name, one in counts.items()}
    return {**fixed, "personal_frequency": personal, "gp_topfreq": filled}


def top_positions(scores: NDArray[np.float32], k: int) -> list[int]:
    """Give the positions of the k best finite scores, best first, ties to the lower position."""
    number = min(k, len(scores))
    cut = np.partition(scores, len(scores) - number)[len(scores) - number]
    near = np.flatnonzero((scores >= cut) & np.isfinite(scores))
    best: list[int] = near[np.argsort(-scores[near], kind="stable")][:number].tolist()
    return best


def _served(model: ServedModel, case: Case, k: int, mode: Mode) -> list[int]:
    answer = model.recommend(case.purchases, today=case.today, limit=k, mode=mode)
    return [model.items.get(one.item_id) for one in answer.items]


def _mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 6) if values else 0.0
