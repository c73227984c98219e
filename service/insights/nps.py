"""Willingness to recommend as one number, with how far off it may be. Pure.

F. F. Reichheld (2003), The one number you need to grow, Harvard Business Review 81(12), 46–54. The score is
the mean of +1 (promoters, 9 and 10), 0 (passives, 7 and 8) and -1 (detractors, 0 to 6), so its error is that
of a mean: B. Rocks (2016), Interval estimation for the "Net Promoter Score", The American Statistician 70,
365–372.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

LEAST_ANSWERS = 30
"""Under so many nothing is published: the score would say who happened to answer."""


@dataclass(frozen=True, slots=True)
class Answers:
    """How many answered how."""

    promoters: int = 0
    passives: int = 0
    detractors: int = 0

    def __add__(self, other: Answers) -> Answers:
        return Answers(
            self.promoters + other.promoters,
            self.passives + other.passives,
            self.detractors + other.detractors,
        )

    @property
    def total(self) -> int:
        """Return how many answered."""
        return self.promoters + self.passives + self.detractors


@dataclass(frozen=True, slots=True)
class Score:
    """The score with its standard error and interval, in points from -100 to 100."""

    answers: Answers
    value: float
    standard_error: float
    low: float
    high: float
    promoter_share: float


def sort_answers(ratings: Iterable[int]) -> Answers:
    """Return ratings from 0 to 10 sorted into the three groups.

    Raises:
        ValueError: a rating outside 0 to 10.
    """
    groups = [0, 0, 0]
    for rating in ratings:
        if not 0 <= rating <= 10:
            raise ValueError("a rating lies between 0 and 10")
        groups[0 if rating >= 9 else 1 if rating >= 7 else 2] += 1
    return Answers(*groups)


def score(answers: Answers, *, confidence: float = 0.95) -> Score | None:
    """Return the score, None under 30 answers.

    Var = (share of promoters + share of detractors - score²) ÷ n, the interval is the normal one cut at ±100.
    """
    total = answers.total
    if total < LEAST_ANSWERS:
        return None
    value = (answers.promoters - answers.detractors) / total
    error = sqrt(max(0.0, (answers.promoters + answers.detractors) / total - value * value) / total)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * error
    return Score(
        answers,
        100 * value,
        100 * error,
        100 * max(-1.0, value - reach),
        100 * min(1.0, value + reach),
        answers.promoters / total,
    )
