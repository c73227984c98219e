"""Learn the blend on rolling origins, and put it in force only where it beats the plain baselines there.

Weights are fitted on the older half of the origins and tried on the later half; where a baseline finds more
there by two standard errors or more, the baseline is chosen (the weights tried had only half of the origins
to learn from). Then the weights are fitted once more on all of them. Nothing after
the data's last day is looked at, so a search inside an evaluation sees earlier origins only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray

from recommender.arms import DISCOVER_AS, SERVED_AS, needs_ease, plain_scores
from recommender.blending import BlendConfig, DiscoverArm, MixedArm
from recommender.config import TrainingConfig
from recommender.interactions import Interactions
from recommender.learning import Examples, collect, learn
from recommender.metrics import top_positions
from recommender.serving import ServedModel
from recommender.splitting import Case, list_cases, list_cuts
from recommender.training import Progress, TrainedModel, train

_SURE = 2.0
_LEAST_CASES = 30
_K = 10
_Arm = TypeVar("_Arm", bound=str)


class Trainings:
    """Remember trainings by the day their data ends: several searches share their origins."""

    def __init__(self, whole: Interactions, config: TrainingConfig, *, seed: int) -> None:
        """Start with none."""
        self.whole, self.config, self.seed = whole, config, seed
        self._done: dict[int, tuple[Interactions, TrainedModel]] = {}
        self._examples: dict[tuple[int, int, int], Examples | None] = {}

    def at(self, cut: int) -> tuple[Interactions, TrainedModel]:
        """Give what was known through a day, and the model trained on it."""
        if cut not in self._done:
            past = self.whole.between(through_day=cut)
            self._done[cut] = (past, train(past, self.config, seed=self.seed))
        return self._done[cut]

    def forget(self, cut: int) -> None:
        """Let go of a training that nothing will ask for again; its examples stay."""
        self._done.pop(cut, None)

    def examples(self, cut: int, *, horizon_days: int, max_users: int) -> Examples | None:
        """Give the examples of one origin; None when too few people are left to learn from."""
        key = (cut, horizon_days, max_users)
        if key not in self._examples:
            cases = self.cases(cut, horizon_days=horizon_days, max_users=max_users)
            _, trained = self.at(cut)
            enough = len(cases) >= _LEAST_CASES
            self._examples[key] = collect(trained.serve(), cases, seed=self.seed) if enough else None
        return self._examples[key]

    def cases(self, cut: int, *, horizon_days: int, max_users: int) -> list[Case]:
        """Give the users to learn from at one origin."""
        past, _ = self.at(cut)
        return list(
            list_cases(
                self.whole, past, cut=cut, horizon_days=horizon_days, max_users=max_users, seed=self.seed
            )
        )


def search(
    interactions: Interactions,
    config: TrainingConfig | None = None,
    *,
    seed: int = 0,
    horizon_days: int = 28,
    origins: int = 4,
    max_users: int = 400,
    through_day: int | None = None,
    trainings: Trainings | None = None,
    progress: Progress | None = None,
) -> TrainingConfig:
    """Give the configuration with the blend learned on the latest origins through a day (None: the last).

    With fewer than two origins that hold enough people the configuration comes back as it was: the
    defaults are robust, and nothing can be tried.
    """
    settings = config or TrainingConfig()
    shared = trainings or Trainings(interactions, settings, seed=seed)
    tell = progress or (lambda stage, done, total: None)
    learned: list[tuple[int, Examples]] = []
    last = interactions.last_day if through_day is None else through_day
    for number, cut in enumerate(
        list_cuts(interactions.first_day, last, horizon_days=horizon_days, origins=origins)
    ):
        found = shared.examples(cut, horizon_days=horizon_days, max_users=max_users)
        if found is not None:
            learned.append((cut, found))
        tell("search", number + 1, origins)
    if len(learned) < 2:
        return settings
    held_back = len(learned) // 2
    older = replace(settings, blend=learn([one for _, one in learned[held_back:]], settings.blend))
    tried = [
        (shared.at(cut)[1], shared.cases(cut, horizon_days=horizon_days, max_users=max_users))
        for cut, _ in learned[:held_back]
    ]
    arms = _choose_arms(older, tried)
    final = learn([one for _, one in learned], settings.blend)
    return replace(settings, blend=replace(final, mixed=arms.mixed, discover=arms.discover))


def _choose_arms(config: TrainingConfig, tried: Sequence[tuple[TrainedModel, list[Case]]]) -> BlendConfig:
    """Give the blend with each ranking set to what found more of what was taken, over all origins tried."""
    own = replace(config.blend, mixed="learned", discover="learned")
    found = _Found({}, {})
    for trained, cases in tried:
        model = replace(trained, config=replace(config, blend=own)).serve()
        for case in cases:
            found.note(model, case)
    return replace(own, mixed=_better(found.mixed), discover=_better(found.discover))


class _Found(NamedTuple):
    """Hold, per ranking, the recall of every case, in the order of the cases."""

    mixed: dict[MixedArm, list[float]]
    discover: dict[DiscoverArm, list[float]]

    def note(self, model: ServedModel, case: Case) -> None:
        """Rank for one case by the blend and by every baseline that the model can serve."""
        blend, taken = model.blend, case.history
        arms: set[MixedArm | DiscoverArm] = {*SERVED_AS, *DISCOVER_AS}
        scores: dict[str, NDArray[np.float32]] = {
            arm: plain_scores(arm, blend, model.popularity.scores, taken)
            for arm in arms
            if blend.ease.fitted or not needs_ease(arm)
        }
        near = blend.near(blend.item_to_item.spread_history(taken), blend.person(taken))
        total = blend.discover(near, blend.base())
        scores["learned"] = total.copy()
        scores["learned"][taken.items] = blend.again(taken, near.ease, total[taken.items])
        for arm in get_args(MixedArm):
            if arm in scores:
                self.mixed.setdefault(arm, []).append(_recall(scores[arm], case.truth))
        new = np.setdiff1d(case.truth, taken.items)
        scores["learned"] = total
        for arm in get_args(DiscoverArm):
            if arm in scores and len(new):
                unseen = scores[arm]
                unseen[taken.items] = -np.inf
                self.discover.setdefault(arm, []).append(_recall(unseen, new))


def _recall(scores: NDArray[np.float32], truth: NDArray[np.int32]) -> float:
    return len(np.intersect1d(top_positions(scores, _K), truth)) / len(truth)


def _better(found: Mapping[_Arm, list[float]]) -> _Arm:
    """Give the baseline that found most where it is surely above the blend, else the blend."""
    learned: Any = "learned"
    if not found:
        return cast(_Arm, learned)
    own = np.array(found[learned])
    best = max(found, key=lambda arm: np.mean(found[arm]))
    gap = np.array(found[best]) - own
    error = gap.std() / np.sqrt(len(gap))
    return best if gap.mean() > _SURE * error else cast(_Arm, learned)
