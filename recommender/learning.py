"""Learn the weights of the blend from what people took next.

What is new to a person is one draw among very many: list-wise likelihood (Cao et al., "Learning to rank:
from pairwise approach to listwise approach", ICML 2007, in its top-one form). What was taken before is few
items, of which several come back, each at most once however dear it is to the person; drawn, they would
have to share one chance, and whoever takes bread every day would need more than a whole one for it. So each
of them comes back or not, and how many do is the person's own affair: logistic regression with a level for
each person (Chamberlain, "Analysis of covariance with qualitative data", Review of Economic Studies 1980),
which tells only what comes back rather than what else. Level and slope of that score among the new items
are then fitted list-wise. Each person counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from recommender.blending import AGAIN_SIGNALS, ITEM_SIGNALS, NEAR_SIGNALS, BlendConfig, Near
from recommender.serving import ServedModel
from recommender.splitting import Case

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
_BEST, _DRAWN = 500, 1_500
_LEAST_SPREAD = 1e-3
# A person's level is found by Newton's method, in strides that cannot overshoot far.
_LEVEL_STEPS, _LEVEL_STRIDE, _LEVEL_CLOSE = 50, 2.0, 1e-7
_LEAST_SLOPE = 1e-9
# Level, slope and breadth among the new items: as it is, and how firmly each is held there.
_AS_IT_IS = np.array([0.0, 1.0, 0.0])
_HELD = np.array([0.1, 1.0, 1.0])
_LEAST_SLOPE_AMONG = 0.05


@dataclass(frozen=True, slots=True)
class Examples:
    """Hold the signals of one origin's people, ready to fit.

    New items: `person` (n,), `signals` (n, 7), `log_weight` (n,) for how many items a drawn one stands for,
    `share_of_new` (n,): 1 ÷ number of new ones taken where taken, else 0. What was taken before likewise with
    `again_*`, its share of all that was taken; `again_offset` is added to the score.
    """

    people: int
    person: NDArray[np.int64]
    signals: NDArray[np.float32]
    log_weight: NDArray[np.float32]
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
        parts.append((_signals(items, near, rows), weight, hit / np.float32(max(1, len(new)))))
        known = np.isin(taken.items, case.truth) / len(case.truth)
        signals = model.blend.again_signals(taken, near.ease, total[taken.items])
        nearby = _signals(items, near, taken.items.astype(np.intp))
        again.append((signals, nearby, model.blend.again_offset(taken), known))
    return Examples(
        people=len(cases),
        person=np.repeat(np.arange(len(cases)), [len(one[1]) for one in parts]),
        signals=np.concatenate([one[0] for one in parts]),
        log_weight=np.concatenate([one[1] for one in parts]),
        share_of_new=np.concatenate([one[2] for one in parts]),
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
    """Fit the weights by likelihood, each person counted once, held towards `start`."""
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


class _Again(NamedTuple):
    """Hold what one origin's people had taken before, as it is fitted.

    `signals` (m, 10) with the discover score as fitted, `new` (people,) the log of what all new items weigh;
    `hit` (m,) 1 where it came back, `hits` (people,) how many did, `weight` (people,) 1 ÷ number taken, 0
    where nothing came back or all did: those do not say which.
    """

    signals: NDArray[np.float64]
    new: NDArray[np.float64]
    hit: NDArray[np.float64]
    hits: NDArray[np.float64]
    weight: NDArray[np.float64]
    examples: Examples

    @classmethod
    def of(cls, one: Examples, discover: NDArray[np.float64]) -> Self:
        """Take over one origin's examples, with the weights of what is new fitted."""
        score = one.signals @ discover.astype(np.float32) + one.log_weight
        signals = one.again_signals.copy()
        signals[:, AGAIN_SIGNALS.index("again_discover")] = one.again_near @ discover
        hit = (one.again_share > 0).astype(np.float64)
        hits = np.bincount(one.again_person, hit, one.people).astype(np.float64)
        telling = (hits > 0) & (hits < np.bincount(one.again_person, minlength=one.people))
        weight = np.zeros(one.people)
        np.maximum.at(weight, one.again_person, one.again_share)
        weight[~telling] = 0
        return cls(signals, _log_sum(score, one.person, one.people), hit, hits, weight, one)

    def level(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give each person's level, (people,), with which as many items are expected back as came."""
        person, people, telling = self.examples.again_person, self.examples.people, self.weight > 0
        items = np.maximum(1, np.bincount(person, minlength=people))
        rate = np.where(telling, self.hits / items, 0.5)
        level: NDArray[np.float64] = logit(rate) - np.bincount(person, score, people) / items
        for _ in range(_LEVEL_STEPS):
            chance = expit(score + level[person])
            missing = np.where(telling, self.hits - np.bincount(person, chance, people), 0)
            slope = np.bincount(person, chance * (1 - chance), people)
            step = np.clip(missing / np.maximum(slope, _LEAST_SLOPE), -_LEVEL_STRIDE, _LEVEL_STRIDE)
            level += step
            if np.abs(step).max(initial=0) < _LEVEL_CLOSE:
                break
        return level


def _fit_again(
    examples: Sequence[Examples], discover: NDArray[np.float64], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fit which items come back, then level and slope of that score among the new ones."""
    known = [_Again.of(one, discover) for one in examples]
    held = _AGAIN_PULL / sum(one.people for one in examples)
    which = _fit_which(known, start, held)
    return _fit_among(known, which, held)


def _fit_which(known: Sequence[_Again], start: NDArray[np.float64], held: float) -> NDArray[np.float64]:
    """Fit what tells items of one person apart; what is the same for all of them stays at its start."""
    telling = sum(float(one.weight @ one.hits) for one in known)
    if not telling:
        return start
    spread = _spread(np.concatenate([one.signals for one in known]).std(axis=0))

    def loss(scaled: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, value = scaled / spread, 0.0
        slope = np.zeros(len(scaled))
        for one in known:
            person = one.examples.again_person
            score = one.signals @ weights + one.examples.again_offset
            score += one.level(score)[person]
            weight = one.weight[person]
            value += float((weight * (np.logaddexp(0, score) - one.hit * score)).sum())
            slope += (weight * (expit(score) - one.hit)) @ one.signals
        pull = scaled - start * spread
        return (
            value / telling + held * float(pull @ pull),
            slope / spread / telling + 2 * held * pull,
        )

    return _minimise(loss, start * spread, AGAIN_SIGNALS) / spread


def _fit_among(known: Sequence[_Again], which: NDArray[np.float64], held: float) -> NDArray[np.float64]:
    """Fit level, slope and what breadth adds, list-wise among all items, and give the weights with them."""
    constant, breadth = AGAIN_SIGNALS.index("again"), AGAIN_SIGNALS.index("again_breadth")
    people = sum(one.examples.people for one in known)
    # (3, m): what level, slope and breadth are multiplied with.
    sides = [
        np.stack([one.signals[:, constant], one.signals @ which, one.signals[:, breadth]]) for one in known
    ]

    def loss(place: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, slope = 0.0, np.zeros(len(place))
        for one, told in zip(known, sides, strict=True):
            person, share = one.examples.again_person, one.examples.again_share
            score = place @ told + one.examples.again_offset
            highest = np.maximum(one.new, _highest(score, person, one.examples.people))
            grown = np.exp(score - highest[person])
            whole = np.exp(one.new - highest) + np.bincount(person, grown, one.examples.people)
            value += float((np.log(whole) + highest).sum() - (share * score).sum())
            slope += told @ (grown / whole[person] - share)
        pull = place - _AS_IT_IS
        return value / people + held * float(pull @ (_HELD * pull)), slope / people + 2 * held * _HELD * pull

    bounds = [(None, None), (_LEAST_SLOPE_AMONG, None), (None, None)]
    done = minimize(loss, _AS_IT_IS, jac=True, method="L-BFGS-B", bounds=bounds)
    found: NDArray[np.float64] = done.x[1] * which
    found[constant] += done.x[0]
    found[breadth] += done.x[2]
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
