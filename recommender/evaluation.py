"""How good a ranking would have been: learn up to a day, look at what was taken in the days after it.

Global time cut, fixed horizon, rolling origins, the catalogue as of the cut, and full ranking: every item
is in the running, none is sampled. Baselines are always in the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from recommender.baselines import BASELINES, Scorers, fit_baselines
from recommender.config import TrainingConfig
from recommender.errors import HistoryTooShort, InvalidConfig
from recommender.interactions import Interactions
from recommender.metrics import DISCOUNT, Surroundings, Tally, differences, top_positions
from recommender.search import Trainings
from recommender.search import search as search_config
from recommender.serving import Mode, ServedModel
from recommender.splitting import Case, list_cases, list_cuts, list_newcomers
from recommender.training import Progress, TrainedModel

__all__ = ["BASELINES", "Evaluation", "evaluate", "top_positions"]

CANDIDATE = "mixed"
DISCOVER = "discover"
_SERVED_MODES: dict[str, Mode] = {CANDIDATE: "mixed", "buy_again": "buy_again"}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Hold the table: `methods` ranks everything against everything taken, `discover` only what was new.

    `newcomers` are those without a history, `differences` are paired by user with 95 % intervals:
    the served lists minus each other method. `chosen` are the rankings in force by origin, `unserved` the
    methods that a model cannot serve.
    """

    k: int
    horizon_days: int
    origins: list[dict[str, int]]
    methods: dict[str, dict[str, Any]]
    discover: dict[str, dict[str, Any]]
    newcomers: dict[str, dict[str, Any]]
    differences: dict[str, dict[str, dict[str, float]]]
    chosen: list[dict[str, str]]
    unserved: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON form, as it goes into a manifest."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def candidate(self) -> Mapping[str, Any]:
        """Give the metrics of the mixed list as served."""
        return self.methods[CANDIDATE]

    @property
    def baselines(self) -> Mapping[str, Mapping[str, Any]]:
        """Give the metrics of the mandatory baselines."""
        return {name: self.methods[name] for name in BASELINES if name in self.methods}


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
    search: bool = False,
    search_origins: int = 4,
    search_users: int = 400,
    groups: Mapping[str, str] | None = None,
    trainings: Trainings | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Train and measure at rolling origins: the last day minus 1, 2, … horizons, the latest first.

    Users count at an origin when they have a history and take something known afterwards; with
    `max_users` a seeded sample of them. `skip_origins` leaves out the latest ones, for choosing settings.
    With `search` the blend is learned anew at every origin, from `search_origins` earlier ones only.
    `groups` (user to name, a tier say) are told apart in the table. `trainings` may be shared with a search
    over the same data, settings and seed; those of origins gone by are let go.
    HistoryTooShort when not one origin leaves anything to learn from.
    """
    if min(horizon_days, origins, k) < 1 or skip_origins < 0 or k > len(DISCOUNT):
        raise InvalidConfig("horizon_days, origins and k are at least 1, k at most 1000")
    settings = config or TrainingConfig()
    tables = _Tables(k, groups or {})
    trainings = trainings or Trainings(interactions, settings, seed=seed)
    first, last = interactions.first_day, interactions.last_day
    cuts = list_cuts(first, last, horizon_days=horizon_days, origins=origins, skip=skip_origins)
    for number, cut in enumerate(cuts):
        past, trained = trainings.at(cut)
        sample: dict[str, Any] = {
            "cut": cut,
            "horizon_days": horizon_days,
            "max_users": max_users,
            "seed": seed,
        }
        cases = list(list_cases(interactions, past, **sample))
        if cases:
            if search:
                shared: dict[str, Any] = {"trainings": trainings, "through_day": cut, "seed": seed}
                found = search_config(
                    past,
                    settings,
                    horizon_days=horizon_days,
                    origins=search_origins,
                    max_users=search_users,
                    **shared,
                )
                trained = replace(trained, config=found)
            tables.measure(trained, past, cases, list(list_newcomers(interactions, past, **sample)))
        trainings.forget(cut)
        if progress is not None:
            progress("evaluate", number + 1, len(cuts))
    if not tables.origins:
        raise HistoryTooShort(
            f"days {first} to {last} leave nothing to learn from before a horizon of {horizon_days} days"
        )
    return tables.close(horizon_days=horizon_days, seed=seed)


@dataclass(frozen=True, slots=True)
class _Tables:
    """Collect all tables while origins go by."""

    k: int
    groups: Mapping[str, str] = field(default_factory=dict)
    origins: list[dict[str, int]] = field(default_factory=list)
    chosen: list[dict[str, str]] = field(default_factory=list)
    methods: dict[str, Tally] = field(default_factory=dict)
    discover: dict[str, Tally] = field(default_factory=dict)
    newcomers: dict[str, Tally] = field(default_factory=dict)
    unserved: set[str] = field(default_factory=set)

    def measure(
        self, trained: TrainedModel, past: Interactions, cases: Sequence[Case], newcomers: Sequence[Case]
    ) -> None:
        """Rank for every case with every method, and note what was hit."""
        model = trained.serve()
        scorers = fit_baselines(past, model)
        self.unserved.update(scorers.unserved)
        pairs = past.item_index[past.pair_starts()]
        around = Surroundings.of(
            np.bincount(pairs, minlength=len(past.items)), len(past.users), model.als.item_factors
        )
        for case in cases:
            self._note_case(model, scorers, case, around)
        for case in newcomers:
            self._note_newcomer(model, scorers, case, around)
        blend = trained.config.blend
        self.chosen.append({"mixed": blend.mixed, "discover": blend.discover})
        self.origins.append(
            {
                "cut_day": cases[0].today,
                "users": len(cases),
                "newcomers": len(newcomers),
                "items": len(past.items),
            }
        )

    def close(self, *, horizon_days: int, seed: int) -> Evaluation:
        """Give the finished tables."""
        sizes = [one["items"] for one in self.origins]
        tables = {
            "methods": self.methods,
            "discover": self.discover,
            "newcomers": self.newcomers,
        }
        summed = {
            title: {name: tally.as_dict(sizes) for name, tally in tallies.items()}
            for title, tallies in tables.items()
        }
        compared = {CANDIDATE: differences(self.methods, CANDIDATE, seed=seed)}
        if DISCOVER in self.discover:
            compared[DISCOVER] = differences(self.discover, DISCOVER, seed=seed)
        return Evaluation(
            k=self.k,
            horizon_days=horizon_days,
            origins=self.origins,
            differences=compared,
            chosen=self.chosen,
            unserved=sorted(self.unserved),
            **summed,
        )

    def _note_case(self, model: ServedModel, scorers: Scorers, case: Case, around: Surroundings) -> None:
        truth, before = set(case.truth.tolist()), set(case.history.items.tolist())
        new = truth - before
        for name, score in scorers.methods.items():
            found = top_positions(score(case.history), self.k)
            self._note(self.methods, name, case, found, truth, around)
        for name, mode in _SERVED_MODES.items():
            ranked, fallback = _served(model, case, self.k, mode)
            self._note(self.methods, name, case, ranked, truth, around, fallback)
        if not new:
            return
        for name, score in scorers.discover.items():
            unseen = score(case.history).astype(np.float32)
            unseen[case.history.items] = -np.inf
            self._note(self.discover, name, case, top_positions(unseen, self.k), new, around)
        ranked, fallback = _served(model, case, self.k, "discover")
        self._note(self.discover, DISCOVER, case, ranked, new, around, fallback)

    def _note_newcomer(self, model: ServedModel, scorers: Scorers, case: Case, around: Surroundings) -> None:
        truth = set(case.truth.tolist())
        for name, score in scorers.methods.items():
            if name.startswith("popularity"):
                found = top_positions(score(case.history), self.k)
                self._note(self.newcomers, name, case, found, truth, around)
        ranked, fallback = _served(model, case, self.k, "mixed")
        self._note(self.newcomers, CANDIDATE, case, ranked, truth, around, fallback)

    def _note(
        self,
        table: dict[str, Tally],
        name: str,
        case: Case,
        ranked: list[int],
        truth: set[int],
        around: Surroundings,
        fallback: bool = False,
    ) -> None:
        table.setdefault(name, Tally()).add(
            ranked,
            truth,
            set(case.history.items.tolist()),
            user=case.user_id,
            origin=len(self.origins),
            days=case.days,
            k=self.k,
            around=around,
            fallback=fallback,
            group=self.groups.get(case.user_id),
        )


def _served(model: ServedModel, case: Case, k: int, mode: Mode) -> tuple[list[int], bool]:
    answer = model.recommend(case.purchases, today=case.today, limit=k, mode=mode)
    return [model.items.get(one.item_id) for one in answer.items], answer.fallback is not None
