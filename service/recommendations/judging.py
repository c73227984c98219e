"""How a candidate is measured and judged: its blend, the baselines, the model in force.

Imported by training only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from recommender.blending import BlendConfig
from recommender.config import TrainingConfig
from recommender.errors import HistoryTooShort, InvalidConfig
from recommender.evaluation import Evaluation, evaluate
from recommender.gate import decide, figures_of, settle
from recommender.interactions import Interactions
from recommender.leaning import LookLog, weigh_browsing
from recommender.search import Trainings, search
from service.recommendations.register import Registered
from service.recommendations.trainings import Report

_HORIZON_DAYS = 28


@dataclass(frozen=True, slots=True)
class Measuring:
    """How much a training spends on learning its blend and on being measured, apart from its one fit.

    Members are drawn per origin: evaluation is paired by member, and more of them cost more than they tell.
    """

    search: bool = True
    search_members: int = 400
    search_origins: int = 4
    members: int = 1_000
    origins: int = 3


@dataclass(frozen=True, slots=True)
class Judge:
    """Measure one training on its own data; `tiers` are told apart in the table (member to code)."""

    interactions: Interactions
    config: TrainingConfig
    seed: int
    measuring: Measuring
    tiers: Mapping[str, str]
    tell: Report
    _trainings: Trainings = field(init=False)

    def __post_init__(self) -> None:
        # Frozen, and still this one thing to make: the search and the evaluation train on the same origins.
        object.__setattr__(self, "_trainings", Trainings(self.interactions, self.config, seed=self.seed))

    def search(self) -> TrainingConfig:
        """Return the settings with the blend learned on the latest origins; as they were without a search."""
        if not self.measuring.search:
            return self.config
        return search(
            self.interactions,
            self.config,
            seed=self.seed,
            horizon_days=_HORIZON_DAYS,
            origins=self.measuring.search_origins,
            max_users=self.measuring.search_members,
            trainings=self._trainings,
            progress=self.tell,
        )

    def lean(
        self, config: TrainingConfig, log: LookLog | None
    ) -> tuple[TrainingConfig, dict[str, Any] | None]:
        """Return the settings with browsing weighed on the search's origins, and what that was worth."""
        if log is None:
            return config, None
        found = weigh_browsing(
            self._trainings,
            log,
            config,
            horizon_days=_HORIZON_DAYS,
            origins=self.measuring.search_origins,
        )
        return replace(config, blend=found.blend), found.figures

    def evaluate(self) -> Evaluation | None:
        """Measure against the baselines on rolling origins; None when the history is too short for that."""
        return self._evaluate(self.config, searched=self.measuring.search, trainings=self._trainings)

    def decide(
        self, table: Evaluation | None, blend: BlendConfig, in_force: Registered | None
    ) -> tuple[bool, str]:
        """Return whether the candidate goes live, and why; a first model does, since something must."""
        if table is None:
            return in_force is None, "the history is too short to hold some of it back for evaluation"
        held = None if in_force is None else self._measure_in_force(table, in_force)
        decision = decide(table, blend, held)
        if in_force is None and not decision.promote:
            return True, f"the first model, although {decision.reason}"
        return decision.promote, decision.reason

    def _measure_in_force(self, table: Evaluation, in_force: Registered) -> Mapping[str, Any] | None:
        """Return the figures of the model in force on the same days.

        Where its blend was searched it is learned anew from earlier origins, as the candidate's is: its own
        weights have seen the days they would be judged by.
        """
        try:
            settings = TrainingConfig.from_dict(in_force.manifest["parameters"])
        except (KeyError, InvalidConfig):
            return table.candidate
        if settings.blend.mixed != "learned":
            return figures_of(table, settings.blend)
        searched = bool(in_force.manifest.get("metrics", {}).get("search"))
        if searched:
            settings = replace(settings, blend=self.config.blend)
        if settings == self.config and searched == self.measuring.search:
            return table.candidate
        measured = self._evaluate(settings, searched=searched, trainings=None)
        return None if measured is None else measured.candidate

    def _evaluate(
        self, config: TrainingConfig, *, searched: bool, trainings: Trainings | None
    ) -> Evaluation | None:
        try:
            return evaluate(
                self.interactions,
                config,
                seed=self.seed,
                horizon_days=_HORIZON_DAYS,
                origins=self.measuring.origins,
                max_users=self.measuring.members,
                search=searched,
                search_origins=self.measuring.search_origins,
                search_users=self.measuring.search_members,
                groups=self.tiers,
                trainings=trainings,
                progress=self.tell,
            )
        except HistoryTooShort:
            return None


def settle_blend(
    table: Evaluation | None,
    config: TrainingConfig,
    *,
    searched: bool,
    browsing: dict[str, Any] | None = None,
) -> tuple[TrainingConfig, dict[str, Any]]:
    """Return the settings to serve by, and the figures for the register with what is served."""
    if table is None:
        return config, {}
    blend = settle(table, config.blend)
    served = {"mixed": blend.mixed, "discover": blend.discover}
    metrics = {**table.as_dict(), "search": searched, "served": served}
    return replace(config, blend=blend), metrics if browsing is None else {**metrics, "browsing": browsing}
