"""Days until a rise, when not everybody has risen yet. Pure.

The product-limit estimator of E. L. Kaplan and P. Meier, Nonparametric estimation from incomplete
observations, Journal of the American Statistical Association 53 (1958), 457–481.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

_ROUNDING = 1e-9
"""A share this little above a quartile stands on it: products of fractions are not exact in floats."""


@dataclass(frozen=True, slots=True)
class Step:
    """A day on which somebody rose: of `at_risk` still waiting, `risen` did; `waiting` is the share left."""

    days: int
    at_risk: int
    risen: int
    waiting: float


@dataclass(frozen=True, slots=True)
class Curve:
    """What is known of the days until a rise."""

    stays: int
    risen: int
    steps: tuple[Step, ...]

    @property
    def censored(self) -> int:
        """Return how many ended otherwise, or were still waiting when the time was up."""
        return self.stays - self.risen

    def quantile(self, share: float) -> Step | None:
        """Return the first step by which at least this share has risen; None where it was never seen to."""
        return next((step for step in self.steps if step.waiting <= 1 - share + _ROUNDING), None)


def estimate(risen: Mapping[int, int], censored: Mapping[int, int]) -> Curve:
    """Return the curve of stays that ended in a rise, and of those that ended otherwise, by days.

    Both map whole days to how many; who was censored on a day was still at risk on it.
    """
    ended = Counter(risen) + Counter(censored)
    at_risk = stays = sum(ended.values())
    waiting, steps = 1.0, list[Step]()
    for days in sorted(ended):
        rose = risen.get(days, 0)
        if rose:
            waiting *= (at_risk - rose) / at_risk
            steps.append(Step(days, at_risk, rose, waiting))
        at_risk -= ended[days]
    return Curve(stays, sum(risen.values()), tuple(steps))
