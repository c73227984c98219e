"""What another ranker would have earned, from what was shown and logged. Pure.

- D. G. Horvitz and D. J. Thompson (1952), A generalization of sampling without replacement, Journal of the
  American Statistical Association 47, 663–685: inverse propensity scoring (IPS).
- A. Swaminathan and T. Joachims (2015), The self-normalized estimator for counterfactual learning, NeurIPS:
  SNIPS.
- M. Dudík, J. Langford and L. Li (2011), Doubly robust policy evaluation and learning, ICML: DR.
- L. Kish (1965), Survey Sampling, §11.7: the effective sample size (Σw)² ÷ Σw².
- K.-Y. Liang and S. L. Zeger (1986), Longitudinal data analysis using generalized linear models, Biometrika
  73, 13–22, equation 10: a variance that holds where rows of one member go together.

Nothing is estimated where a few rows would decide: that refusal is the point of the exercise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.experiments.statistics.distributions import z_two_sided
from service.experiments.statistics.report import Estimate

LEAST_EFFECTIVE = 200
LEAST_SHARE = 0.01
LARGEST_WEIGHT = 0.10

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Logged:
    """One logged choice: what came of it, how likely it was, how likely the other ranker makes it.

    `propensity` is None where the logging ranker was deterministic. `predicted` is a model's reward for what
    was shown, `predicted_target` its mean reward over what the other ranker would show: both 0 without a
    model. Rows of one `group` (a member) go together; None where each stands for itself.
    """

    reward: float
    propensity: float | None
    target: float
    predicted: float = 0.0
    predicted_target: float = 0.0
    group: int | None = None


@dataclass(frozen=True, slots=True)
class OffPolicy:
    """What the other ranker would have earned per choice, or why that is not said (`refused`).

    `effective_rows` and the share of the largest weight are of groups where rows go together.
    """

    rows: int
    groups: int
    effective_rows: float
    largest_weight_share: float
    refused: str | None
    logged_mean: float | None = None
    ips: Estimate | None = None
    snips: Estimate | None = None
    doubly_robust: Estimate | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        told: dict[str, Any] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            told[one.name] = (
                {inner.name: getattr(value, inner.name) for inner in fields(value)}
                if isinstance(value, Estimate)
                else value
            )
        return told


def evaluate(rows: Sequence[Logged], *, level: float = 0.05) -> OffPolicy:
    """Return the three estimates with their intervals, or the refusal.

    Refused: `deterministic` (a propensity is missing), `no_overlap` (the other ranker shows nothing that was
    logged), `too_few_effective_rows` (under 200, or under 1 % of the rows), `one_row_decides` (over 10 % of
    all weight on one row). Rows of one group count as one in this: they are one member's evidence.

    Raises:
        ValueError: a propensity outside (0, 1] or a target outside [0, 1].
    """
    group = _number_groups(rows)
    groups = int(group.max(initial=-1)) + 1
    if any(row.propensity is None for row in rows):
        return OffPolicy(len(rows), groups, 0.0, 0.0, "deterministic")
    propensity = np.array([row.propensity for row in rows], dtype=np.float64)
    target = np.array([row.target for row in rows], dtype=np.float64)
    if not (np.all(propensity > 0) and np.all(propensity <= 1)):
        raise ValueError("a propensity is above 0 and at most 1")
    if not (np.all(target >= 0) and np.all(target <= 1)):
        raise ValueError("a target probability lies between 0 and 1")
    weight = target / propensity
    total = float(weight.sum())
    if total == 0:
        return OffPolicy(len(rows), groups, 0.0, 0.0, "no_overlap")
    together = np.bincount(group, weight)
    effective = total**2 / float((together**2).sum())
    largest = float(together.max()) / total
    refusal = _refusal(groups, effective, largest)
    if refusal is not None:
        return OffPolicy(len(rows), groups, effective, largest, refusal)
    reward = np.array([row.reward for row in rows])
    predicted = np.array([row.predicted for row in rows])
    predicted_target = np.array([row.predicted_target for row in rows])
    normed = weight * len(rows) / total
    snips = float((normed * reward).mean())
    return OffPolicy(
        len(rows),
        groups,
        effective,
        largest,
        None,
        logged_mean=float(reward.mean()),
        ips=_mean(weight * reward, group, "ips", level),
        # Linearised: the spread of w(r - V) ÷ w̄ about V.
        snips=_mean(normed * (reward - snips) + snips, group, "snips", level),
        doubly_robust=_mean(predicted_target + weight * (reward - predicted), group, "doubly_robust", level),
    )


def _number_groups(rows: Sequence[Logged]) -> NDArray[np.intp]:
    """Number the groups of the rows from 0; a row without one is a group of its own."""
    numbers: dict[int | tuple[int], int] = {}
    named = ((index,) if row.group is None else row.group for index, row in enumerate(rows))
    return np.array([numbers.setdefault(name, len(numbers)) for name in named], dtype=np.intp)


def _refusal(groups: int, effective: float, largest: float) -> str | None:
    if largest > LARGEST_WEIGHT:
        return "one_row_decides"
    return "too_few_effective_rows" if effective < max(LEAST_EFFECTIVE, LEAST_SHARE * groups) else None


def _mean(values: Array, group: NDArray[np.intp], method: str, level: float) -> Estimate:
    """Return a mean with its interval; with a row a group this is the usual one."""
    middle = float(values.mean())
    off = np.bincount(group, values - middle)
    spread = float((off**2).sum()) * len(off) / max(1, len(off) - 1)
    reach = z_two_sided(level) * spread**0.5 / len(values)
    return Estimate(middle, middle - reach, middle + reach, 1 - level, method)
