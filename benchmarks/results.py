"""What was measured: one line of the table each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside its baseline.

    `ratio` is held against `budget`: at most, or at least where `at_least`. Without a budget it is context.
    """

    what: str
    figure: str
    baseline: str
    ratio: float | None = None
    budget: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """Return `ok`, `missed`, or nothing where no budget is set."""
        if self.ratio is None or self.budget is None:
            return ""
        kept = self.ratio >= self.budget if self.at_least else self.ratio <= self.budget
        return "ok" if kept else "MISSED"

    @property
    def used(self) -> float | None:
        """Return the share of the budget that is used: above 1 is too much."""
        if self.ratio is None or self.budget is None:
            return None
        return self.budget / self.ratio if self.at_least else self.ratio / self.budget


def ratio_of(figures: Sequence[float], baselines: Sequence[float]) -> float:
    """Return the median of the ratios, round by round."""
    return median(figure / baseline for figure, baseline in zip(figures, baselines, strict=True))


def milliseconds(seconds: Sequence[float]) -> str:
    """Return the median in milliseconds."""
    return f"{median(seconds) * 1000:.2f} ms"
