"""Learn the blend on rolling origins, and put it in force only where it beats the plain baselines there.

Weights are fitted on the older half of the origins and tried on the later half; where a baseline finds more
there by two standard errors or more, the baseline is chosen (the weights tried had only half of the origins
to learn from). Then the weights are fitted once more on all of them. Nothing after
the data's last day is looked at, so a search inside an evaluation sees earlier origins only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from recommender.arms import DISCOVER_AS, SERVED_AS, needs_ease, plain_scores
from recommender.blending import (
    AGAIN_SIGNALS,
    ITEM_SIGNALS,
    NEAR_SIGNALS,
    BlendConfig,
    DiscoverArm,
    MixedArm,
    Near,
)
from recommender.config import TrainingConfig
from recommender.interactions import Interactions
from recommender.metrics import top_positions
from recommender.serving import ServedModel
from recommender.splitting import Case, list_cases, list_cuts
from recommender.training import Progress, TrainedModel, train

_DISCOVER_SIGNALS = (*ITEM_SIGNALS, *NEAR_SIGNALS)
# More of these never speaks against an item.
_NOT_NEGATIVE = {
    "ease",
    "als",
    "item_to_item",
    "again_discover",
    "again_recent",
    "again_steady",
    "again_times",
    "again_due",
    "again_repeat",
}
# How many people's worth of doubt holds the weights to the defaults: a small shop moves them less.
_DISCOVER_PULL, _AGAIN_PULL = 3.6, 12.0
_ITERATIONS = 80
_SURE = 2.0
_BEST, _DRAWN = 500, 1_500
_LEAST_CASES = 30
_K = 10
_LEAST_SPREAD = 1e-3
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


@dataclass(frozen=True, slots=True)
class Examples:
    """Hold the signals of one origin's people, ready to fit.

    New items: `person` (n,), `signals` (n, 7), `log_weight` (n,) for how many items a drawn one stands for,
    `share` (n,) and `share_of_new` (n,): 1 ÷ number taken where taken, else 0. What was taken before likewise
    with `again_*`; its `again_offset` is added to the score.
    """

    people: int
    person: NDArray[np.int64]
    signals: NDArray[np.float32]
    log_weight: NDArray[np.float32]
    share: NDArray[np.float32]
    share_of_new: NDArray[np.float32]
    again_person: NDArray[np.int64]
    again_signals: NDArray[np.float64]
    again_near: NDArray[np.float32]
    again_offset: NDArray[np.float64]
    again_share: NDArray[np.float64]


def collect(model: ServedModel, cases: Sequence[Case], *, seed: int) -> Examples:
    """Gather signals: all new items of small catalogues, else the best and a weighted draw of the rest."""
    rng = np.random.default_rng(seed)
    items = model.blend.facts.signals(through_day=model.trained_through)
    base = model.blend.base()
    parts: list[tuple[NDArray[np.float32], ...]] = []
    again: list[tuple[NDArray[Any], ...]] = []
    for case in cases:
        taken = case.history
        near = model.blend.near(model.item_to_item.spread_history(taken), model.blend.person(taken))
        total = model.blend.discover(near, base)
        rows, weight = _draw(total, taken.items, case.truth, rng)
        new = np.setdiff1d(case.truth, taken.items)
        hit = np.isin(rows, new).astype(np.float32)
        share = hit / np.float32(len(case.truth))
        parts.append((_signals(items, near, rows), weight, share, hit / np.float32(max(1, len(new)))))
        known = np.isin(taken.items, case.truth) / len(case.truth)
        signals = model.blend.again_signals(taken, near.ease, total[taken.items])
        nearby = _signals(items, near, taken.items.astype(np.intp))
        again.append((signals, nearby, model.blend.again_offset(taken), known))
    return Examples(
        people=len(cases),
        person=np.repeat(np.arange(len(cases)), [len(one[1]) for one in parts]),
        signals=np.concatenate([one[0] for one in parts]),
        log_weight=np.concatenate([one[1] for one in parts]),
        share=np.concatenate([one[2] for one in parts]),
        share_of_new=np.concatenate([one[3] for one in parts]),
        again_person=np.repeat(np.arange(len(cases)), [len(one[3]) for one in again]),
        again_signals=np.concatenate([one[0] for one in again]),
        again_near=np.concatenate([one[1] for one in again]).astype(np.float32),
        again_offset=np.concatenate([one[2] for one in again]),
        again_share=np.concatenate([one[3] for one in again]),
    )


def _signals(items: NDArray[np.float32], near: Near, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Give `_DISCOVER_SIGNALS` of these items, (r, 7)."""
    return np.concatenate([items[:, rows], near.logged(rows)]).T.copy()


def _draw(
    total: NDArray[np.float32],
    taken: NDArray[np.int32],
    truth: NDArray[np.int32],
    rng: np.random.Generator,
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Give positions of new items and the log of how many each stands for, both (n,)."""
    open_ = np.ones(len(total), dtype=bool)
    open_[taken] = False
    rest = np.flatnonzero(open_)
    if len(rest) <= _BEST + _DRAWN:
        return rest, np.zeros(len(rest), np.float32)
    sure = np.zeros(len(total), dtype=bool)
    sure[rest[np.argpartition(-total[rest], _BEST)[:_BEST]]] = True
    sure[truth] = True
    sure &= open_
    others = rest[~sure[rest]]
    drawn = np.sort(rng.choice(others, size=min(_DRAWN, len(others)), replace=False))
    rows = np.concatenate([np.flatnonzero(sure), drawn])
    weight = np.zeros(len(rows), np.float32)
    weight[-len(drawn) :] = np.log(len(others) / len(drawn))
    return rows, weight


def learn(examples: Sequence[Examples], start: BlendConfig) -> BlendConfig:
    """Fit the weights by list-wise likelihood, each person counted once, held towards `start`."""
    with threadpool_limits(limits=1, user_api="blas"):
        discover = _fit_discover(examples, start.weights(_DISCOVER_SIGNALS))
        again = _fit_again(examples, discover, start.weights(AGAIN_SIGNALS))
    found = dict(zip(_DISCOVER_SIGNALS, discover.tolist(), strict=True))
    found |= dict(zip(AGAIN_SIGNALS, again.tolist(), strict=True))
    # Six digits are more than the data hold, and the same on every machine.
    known = {one.name for one in fields(start)}
    return replace(start, **{name: round(value, 6) for name, value in found.items() if name in known})


def _fit_discover(examples: Sequence[Examples], start: NDArray[np.float64]) -> NDArray[np.float64]:
    if not any(one.share_of_new.any() for one in examples):
        return start
    spread = _spread(np.mean([one.signals.std(axis=0) for one in examples], axis=0))
    held = _DISCOVER_PULL / sum(one.people for one in examples)

    def loss(scaled: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, value, people = scaled / spread, 0.0, 0
        slope = np.zeros(len(scaled))
        for one in examples:
            score = one.signals @ weights.astype(np.float32) + one.log_weight
            reached = np.bincount(one.person, one.share_of_new, one.people).astype(np.float64)
            lost, chance = _softmax(score, one.person, one.people, reached)
            value += lost - float((one.share_of_new * score).sum())
            slope += (chance - one.share_of_new).astype(np.float32) @ one.signals
            people += int((reached > 0).sum())
        pull = scaled - start * spread
        return (
            value / people + held * float(pull @ pull),
            slope / spread / people + 2 * held * pull,
        )

    found: NDArray[np.float64] = _minimise(loss, start * spread, _DISCOVER_SIGNALS) / spread
    return found


def _fit_again(
    examples: Sequence[Examples], discover: NDArray[np.float64], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    spread = _spread(np.concatenate([one.again_signals for one in examples]).std(axis=0))
    held = _AGAIN_PULL / sum(one.people for one in examples)
    at = AGAIN_SIGNALS.index("again_discover")
    prepared = []
    for one in examples:
        score = one.signals @ discover.astype(np.float32) + one.log_weight
        signals = one.again_signals.copy()
        signals[:, at] = one.again_near @ discover
        prepared.append((signals, _log_sum(score, one.person, one.people), one))
    spread[at] = _spread(np.concatenate([signals[:, at] for signals, _, _ in prepared]).std())

    def loss(scaled: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, value, people = scaled / spread, 0.0, 0
        slope = np.zeros(len(scaled))
        for signals, rest, one in prepared:
            score = signals @ weights + one.again_offset
            highest = np.maximum(rest, _highest(score, one.again_person, one.people))
            grown = np.exp(score - highest[one.again_person])
            whole = np.exp(rest - highest) + np.bincount(one.again_person, grown, one.people)
            value += float((np.log(whole) + highest).sum() - (one.again_share * score).sum())
            slope += (grown / whole[one.again_person] - one.again_share) @ signals
            people += one.people
        pull = scaled - start * spread
        return (
            value / people + held * float(pull @ pull),
            slope / spread / people + 2 * held * pull,
        )

    found: NDArray[np.float64] = _minimise(loss, start * spread, AGAIN_SIGNALS) / spread
    return found


def _spread(spread: NDArray[Any]) -> NDArray[np.float64]:
    """Give the scale of each signal; one that hardly differs has 1, so that its weight stays held."""
    wide = np.asarray(spread, dtype=np.float64)
    return np.where(wide < _LEAST_SPREAD, 1.0, wide)


def _minimise(
    loss: Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]],
    start: NDArray[np.float64],
    names: Sequence[str],
) -> NDArray[np.float64]:
    bounds = [(0.0, None) if name in _NOT_NEGATIVE else (None, None) for name in names]
    done = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _ITERATIONS})
    found: NDArray[np.float64] = np.asarray(done.x, dtype=np.float64)
    return found


def _softmax(
    score: NDArray[np.float32], person: NDArray[np.int64], people: int, reached: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Give Σ reached × log Σ exp(score), and each row's chance times `reached`, (n,)."""
    highest = _highest(score, person, people)
    grown = np.exp(score - highest[person])
    whole = np.bincount(person, grown, people)
    whole[whole == 0] = 1
    lost = float((reached * (np.log(whole) + np.where(reached > 0, highest, 0))).sum())
    return lost, grown * (reached / whole)[person]


def _log_sum(score: NDArray[np.float32], person: NDArray[np.int64], people: int) -> NDArray[np.float64]:
    highest = _highest(score, person, people)
    whole = np.bincount(person, np.exp(score - highest[person]), people)
    logged: NDArray[np.float64] = np.log(np.maximum(whole, 1e-300)) + highest
    return logged


def _highest(score: NDArray[np.generic], person: NDArray[np.int64], people: int) -> NDArray[np.float64]:
    """Give each person's highest score, (people,); very low for people without rows."""
    highest = np.full(people, -1e9)
    if len(person):
        starts = np.flatnonzero(np.diff(person, prepend=-1))
        highest[person[starts]] = np.maximum.reduceat(score, starts)
    return highest
