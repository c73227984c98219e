"""How good ranked lists were, one row per user and origin, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

DISCOUNT = tuple((1 / np.log2(np.arange(2, 1002))).tolist())
SEGMENTS: tuple[tuple[str, int, float], ...] = (("0", 0, 0), ("1", 1, 1), ("2-4", 2, 4), ("5+", 5, np.inf))
_COLUMNS = (
    "recall",
    "recall_capped",
    "ndcg",
    "hit_rate",
    "repeat_recall",
    "explore_recall",
    "novelty",
    "diversity",
    "calibration_error",
)
_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Hold what lists are judged against at one origin.

    `surprise` (items,) is -log2 of the share of users who took the item; `unit` (items, f) are item vectors
    of length 1, or 0.
    """

    surprise: NDArray[np.float64]
    unit: NDArray[np.float32]

    @classmethod
    def of(cls, users_per_item: NDArray[np.int64], users: int, vectors: NDArray[np.float32]) -> Surroundings:
        """Prepare from the counts of users per item (items,) and item vectors (items, f)."""
        norm = np.linalg.norm(vectors, axis=1, keepdims=True)
        share = (users_per_item + 1) / (users + 1)
        return cls(-np.log2(share), (vectors / np.where(norm > 0, norm, 1)).astype(np.float32))


@dataclass(slots=True)
class Tally:
    """Collect one method's results, one entry per user and origin."""

    columns: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _COLUMNS})
    users: list[str] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    days: list[int] = field(default_factory=list)
    fallbacks: list[bool] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    shown: dict[int, set[int]] = field(default_factory=dict)

    def add(
        self,
        ranked: Sequence[int],
        truth: set[int],
        before: set[int],
        *,
        user: str,
        origin: int,
        days: int,
        k: int,
        around: Surroundings,
        fallback: bool = False,
        group: str | None = None,
    ) -> None:
        """Judge one list of positions by what was taken afterwards, and what had been before."""
        top = list(ranked[:k])
        gains = [one in truth for one in top]
        hits = {one for one, gain in zip(top, gains, strict=True) if gain}
        repeats, explores = truth & before, truth - before
        row = {
            "recall": len(hits) / len(truth),
            "recall_capped": len(hits) / min(k, len(truth)),
            "ndcg": sum(d for d, gain in zip(DISCOUNT, gains, strict=False) if gain)
            / sum(DISCOUNT[: min(k, len(truth))]),
            "hit_rate": float(bool(hits)),
            "repeat_recall": len(hits & repeats) / len(repeats) if repeats else np.nan,
            "explore_recall": len(hits & explores) / len(explores) if explores else np.nan,
            "novelty": float(around.surprise[top].mean()) if top else np.nan,
            "diversity": _unlikeness(around.unit[top]),
            "calibration_error": abs(len(before.intersection(top)) / len(top) - len(repeats) / len(truth))
            if top
            else np.nan,
        }
        for name, value in row.items():
            self.columns[name].append(value)
        self.users.append(user)
        self.origins.append(origin)
        self.days.append(days)
        self.fallbacks.append(fallback)
        self.groups.append(group)
        self.shown.setdefault(origin, set()).update(top)

    def as_dict(self, catalogue_sizes: Sequence[int]) -> dict[str, Any]:
        """Give means over all rows, recall by origin, by length of history and by group."""
        origin, days = np.array(self.origins), np.array(self.days)
        recall = np.array(self.columns["recall"])
        covered = [len(self.shown.get(at, ())) / size for at, size in enumerate(catalogue_sizes)]
        return {
            **{name: _mean(np.array(values)) for name, values in self.columns.items()},
            "coverage": _mean(np.array(covered)),
            "fallback_share": _mean(np.array(self.fallbacks, dtype=np.float64)),
            "recall_by_origin": [_mean(recall[origin == at]) for at in range(len(catalogue_sizes))],
            "recall_by_history": {
                name: {"users": int(inside.sum()), "recall": _mean(recall[inside])}
                for name, low, high in SEGMENTS
                for inside in [(days >= low) & (days <= high)]
                if inside.any()
            },
            **self._by_group(recall),
        }

    def _by_group(self, recall: NDArray[np.float64]) -> dict[str, Any]:
        """Give recall by the caller's groups, nothing when nobody is in one."""
        names = sorted({name for name in self.groups if name is not None})
        groups = np.array([name or "" for name in self.groups])
        found = {
            name: {"users": int(inside.sum()), "recall": _mean(recall[inside])}
            for name in names
            for inside in [groups == name]
        }
        return {"recall_by_group": found} if found else {}


def top_positions(scores: NDArray[np.float32], k: int) -> list[int]:
    """Give the positions of the k best finite scores, best first, ties to the lower position."""
    number = min(k, len(scores))
    cut = np.partition(scores, len(scores) - number)[len(scores) - number]
    near = np.flatnonzero((scores >= cut) & np.isfinite(scores))
    found: list[int] = near[np.argsort(-scores[near], kind="stable")][:number].tolist()
    return found


def paired_difference(one: Tally, other: Tally, *, seed: int, metric: str = "recall") -> dict[str, float]:
    """Give the mean difference of two methods over the same rows, with a 95 % interval.

    Bootstrap over users: all origins of one user are drawn together (Efron and Tibshirani, 1993, chapter 8).
    """
    return differences({"one": one, "other": other}, "one", seed=seed, metric=metric)["other"]


def differences(
    tallies: Mapping[str, Tally], of: str, *, seed: int, metric: str = "recall"
) -> dict[str, dict[str, float]]:
    """Compare one method with every other, by name: the same draws of users for all."""
    one = tallies[of]
    others = {name: other for name, other in sorted(tallies.items()) if name != of and other.users}
    if any(one.users != other.users or one.origins != other.origins for other in others.values()):
        raise ValueError("the two methods were not measured on the same rows")
    gaps = [np.array(one.columns[metric]) - np.array(other.columns[metric]) for other in others.values()]
    _, member = np.unique(np.array(one.users), return_inverse=True)
    rows = np.bincount(member).astype(np.float64)
    totals = np.stack([np.bincount(member, gap) for gap in gaps], axis=1)
    rng, means = np.random.default_rng(seed), []
    for _ in range(_RESAMPLES):
        drawn = np.bincount(rng.integers(0, len(rows), len(rows)), minlength=len(rows))
        means.append((drawn @ totals) / (drawn @ rows))
    low, high = np.quantile(np.array(means), [0.025, 0.975], axis=0)
    return {
        name: {
            "difference": round(float(gap.mean()), 6),
            "low": round(float(low[at]), 6),
            "high": round(float(high[at]), 6),
        }
        for at, (name, gap) in enumerate(zip(others, gaps, strict=True))
    }


def _unlikeness(unit: NDArray[np.float32]) -> float:
    """Give 1 - the mean cosine between the items of a list; not a number for fewer than two."""
    count = len(unit)
    if count < 2:
        return float("nan")
    whole = unit.sum(axis=0)
    pairs = float(whole @ whole) - float((unit * unit).sum())
    return 1 - pairs / (count * (count - 1))


def _mean(values: NDArray[np.float64]) -> float:
    real = values[np.isfinite(values)]
    return round(float(real.mean()), 6) if len(real) else 0.0
