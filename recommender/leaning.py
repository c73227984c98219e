"""Learn how much browsing weighs, on rolling origins, and leave it out where that did not help.

Everything else stays as it was learned from purchases: what is fitted are three weights, `viewed`, `wanted`
and `like_viewed` of `BlendConfig`, none below zero, by list-wise likelihood (`recommender.learning`). The
older origins fit, the later ones judge: only if those who had looked at something were served clearly
better there do the weights, fitted once more on all origins, go into force. Otherwise they are 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from recommender.blending import BlendConfig
from recommender.browsing import BROWSED_DAYS, KINDS, Browsed, Kind, Look
from recommender.config import TrainingConfig
from recommender.search import Trainings
from recommender.serving import ServedModel
from recommender.splitting import Case, list_cuts
from recommender.training import TrainedModel

WEIGHTS = ("viewed", "wanted", "like_viewed")
LEAST_PEOPLE = 60
"""So many people with something looked at must there be, over all origins, or nothing is learned."""
MOST_PEOPLE = 1_000
"""More of them at one origin cost more than they tell."""
_MOST = 6.0
_PULL = 0.01
_POOL = 400
_K = 10
_SIGMAS = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class LookLog:
    """Hold looks of many people: `user` → rows of (item id, moment, kind), the earliest first."""

    by_user: Mapping[str, Sequence[Look]]

    @classmethod
    def of(
        cls, *, users: Sequence[str], items: Sequence[str], moments: Sequence[float], kinds: Sequence[int]
    ) -> Self:
        """Gather columns of equal length; kinds are positions in `KINDS`."""
        found: dict[str, list[Look]] = {}
        for user, item, moment, kind in sorted(zip(users, items, moments, kinds, strict=True)):
            found.setdefault(user, []).append(Look(item, moment, KINDS[kind]))
        for looks in found.values():
            looks.sort(key=lambda look: look.at)
        return cls(found)

    def before(self, user_id: str, *, cut: int) -> list[tuple[str, float, Kind]]:
        """Give what somebody looked at within the time that counts, up to the end of a day."""
        end = cut + 1.0
        return [look for look in self.by_user.get(user_id, ()) if end - BROWSED_DAYS < look.at < end]


class Leaning(NamedTuple):
    """Say what came of it: the blend, and the figures for the card."""

    blend: BlendConfig
    figures: dict[str, Any]


class _Example(NamedTuple):
    """Hold one person's pool: fixed scores (p,), signals (p, 3), shares of what was taken (p,), the rest."""

    fixed: NDArray[np.float64]
    signals: NDArray[np.float64]
    share: NDArray[np.float64]
    rest: float


def weigh_browsing(
    trainings: Trainings,
    log: LookLog,
    config: TrainingConfig,
    *,
    horizon_days: int = 28,
    origins: int = 4,
    max_users: int = 20_000,
) -> Leaning:
    """Give the blend of `config` with browsing weighed, and what it was worth where it was tried."""
    still = _weigh(config.blend, np.zeros(len(WEIGHTS)))
    told: dict[str, Any] = {"people": 0, "weights": dict.fromkeys(WEIGHTS, 0.0), "used": False}
    if len(log.by_user) < LEAST_PEOPLE or still.mixed != "learned":
        return Leaning(still, told)
    whole = trainings.whole
    known: list[tuple[TrainedModel, list[Case]]] = []
    for cut in list_cuts(whole.first_day, whole.last_day, horizon_days=horizon_days, origins=origins):
        cases = trainings.cases(cut, horizon_days=horizon_days, max_users=max_users)
        lookers = [case for case in cases if log.before(case.user_id, cut=cut)]
        if lookers:
            rng = np.random.default_rng(trainings.seed)
            drawn = rng.permutation(len(lookers))[:MOST_PEOPLE]
            known.append((trainings.at(cut)[1], [lookers[place] for place in sorted(drawn.tolist())]))
    told["people"] = sum(len(cases) for _, cases in known)
    if len(known) < 2 or told["people"] < LEAST_PEOPLE:
        return Leaning(still, told)
    held_back = max(1, len(known) // 2)
    plain = replace(config, blend=still)
    examples = [_collect(replace(trained, config=plain).serve(), cases, log) for trained, cases in known]
    older = _weigh(still, _fit([one for group in examples[held_back:] for one in group]))
    gains = _try(known[:held_back], log, plain, replace(config, blend=older))
    mean, error = (
        float(gains.mean()),
        float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else 0.0,
    )
    told |= {"tried": len(gains), "gain": round(mean, 6), "standard_error": round(error, 6)}
    if not mean > _SIGMAS * error:
        return Leaning(still, told)
    found = _weigh(still, _fit([one for group in examples for one in group]))
    weights = {name: getattr(found, name) for name in WEIGHTS}
    return Leaning(found, {**told, "weights": weights, "used": True})


def _weigh(blend: BlendConfig, weights: NDArray[np.float64]) -> BlendConfig:
    viewed, wanted, like_viewed = (round(float(one), 6) for one in weights)
    return replace(blend, viewed=viewed, wanted=wanted, like_viewed=like_viewed)


def _collect(model: ServedModel, cases: Sequence[Case], log: LookLog) -> list[_Example]:
    """Gather each person's best items, those that browsing speaks for, and those taken."""
    again = float(model.blend.config.again_discover)
    found = []
    for case in cases:
        looks = log.before(case.user_id, cut=case.today)
        browsed = Browsed.encode(
            looks, items=model.items, now=case.today + 1.0, taken=case.history, today=case.today
        )
        total = model.score(case.history).astype(np.float64)
        alike = browsed.alike(model.item_to_item)
        best = np.argpartition(-total, min(_POOL, len(total) - 1))[:_POOL]
        pool = np.unique(np.concatenate([best, browsed.items, np.flatnonzero(alike > 0.5), case.truth]))
        signals = np.zeros((len(pool), len(WEIGHTS)))
        signals[np.searchsorted(pool, browsed.items), :2] = browsed.own()
        signals[:, 2] = alike[pool]
        # What was taken before has the discover score as one signal of its own.
        signals[np.isin(pool, case.history.items)] *= again
        share = np.isin(pool, case.truth) / len(case.truth)
        others = np.delete(total, pool)
        rest = float(np.logaddexp.reduce(others)) if len(others) else -np.inf
        found.append(_Example(total[pool], signals, share, rest))
    return found


def _fit(examples: Sequence[_Example]) -> NDArray[np.float64]:
    """Fit the weights by likelihood, held towards 0, (3,)."""

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, slope = 0.0, np.zeros(len(WEIGHTS))
        for one in examples:
            score = one.fixed + one.signals @ weights
            whole = np.logaddexp(np.logaddexp.reduce(score), one.rest)
            value += whole - float(one.share @ score)
            slope += (np.exp(score - whole) - one.share) @ one.signals
        return (
            value / len(examples) + _PULL * float(weights @ weights),
            slope / len(examples) + 2 * _PULL * weights,
        )

    bounds = [(0.0, _MOST)] * len(WEIGHTS)
    done = minimize(loss, np.zeros(len(WEIGHTS)), jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(done.x, np.float64)


def _try(
    known: Sequence[tuple[TrainedModel, list[Case]]],
    log: LookLog,
    plain: TrainingConfig,
    leaning: TrainingConfig,
) -> NDArray[np.float64]:
    """Give what browsing gained each person in recall, (people,)."""
    gains = []
    for trained, cases in known:
        without, with_looks = (replace(trained, config=one).serve() for one in (plain, leaning))
        for case in cases:
            looks = log.before(case.user_id, cut=case.today)
            gains.append(_recall(with_looks, case, looks) - _recall(without, case, ()))
    return np.array(gains)


def _recall(model: ServedModel, case: Case, looks: Sequence[tuple[str, float, Kind]]) -> float:
    answer = model.recommend(case.purchases, today=case.today, limit=_K, looks=looks)
    wanted = set(case.truth.tolist())
    return sum(model.items.get(one.item_id) in wanted for one in answer.items) / len(case.truth)
