"""What a number of members can show, before and after they were counted. Pure.

J. L. Fleiss, B. Levin and M. C. Paik (2003), Statistical Methods for Rates and Proportions, 3rd edition,
chapter 4, for arms of unequal size and without continuity correction: a two-sided test at α finds a
difference δ of two shares with the probability Φ((δ - z √(p̄q̄(1/n₁ + 1/n₀))) ÷ √(p₁q₁/n₁ + p₀q₀/n₀)).
"""

from __future__ import annotations

from math import sqrt

from service.experiments.statistics.distributions import normal_below, z_quantile, z_two_sided
from service.experiments.statistics.means import Mean


def power_of_shares(difference: float, *, share: float, tried: int, baseline: int, level: float) -> float:
    """Return the chance to find `difference` > 0 above a baseline `share`, with so many members in each arm.

    The far side of the test is left out: nobody counts a significant result with the wrong sign as found.
    """
    raised = share + difference
    pooled = (raised * tried + share * baseline) / (tried + baseline)
    under_equality = sqrt(pooled * (1 - pooled) * (1 / tried + 1 / baseline))
    actual = sqrt(raised * (1 - raised) / tried + share * (1 - share) / baseline)
    if actual == 0:
        return 1.0
    return normal_below((difference - z_two_sided(level) * under_equality) / actual)


def smallest_share_difference(
    *, share: float, tried: int, baseline: int, level: float = 0.05, power: float = 0.8
) -> float | None:
    """Return the smallest rise above a baseline `share` (0 to 1) found with `power`, None where none is.

    Solved by halving; what the start-up report prints for a shop's size, baseline and hold-out.
    """
    if tried < 1 or baseline < 1 or not 0 <= share < 1:
        return None
    low, high = 0.0, 1 - share
    sizes = {"share": share, "tried": tried, "baseline": baseline, "level": level}
    if power_of_shares(high, **sizes) < power:  # type: ignore[arg-type]
        return None
    while high - low > 1e-10:
        middle = (low + high) / 2
        if power_of_shares(middle, **sizes) < power:  # type: ignore[arg-type]
            low = middle
        else:
            high = middle
    return high


def smallest_mean_difference(
    tried: Mean, baseline: Mean, *, level: float = 0.05, power: float = 0.8
) -> float:
    """Return the smallest difference of means found with `power`, at the variances that were seen."""
    error = sqrt(tried.error_variance + baseline.error_variance)
    return (z_two_sided(level) + z_quantile(power)) * error


def members_needed(
    *, share: float, difference: float, baseline_share_bp: int, level: float = 0.05, power: float = 0.8
) -> int | None:
    """Return how many members in both arms would show `difference`, None beyond a thousand million."""
    low, high = 2, 1_000_000_000
    if not _shows(high, share, difference, baseline_share_bp, level, power):
        return None
    while low < high:
        middle = (low + high) // 2
        if _shows(middle, share, difference, baseline_share_bp, level, power):
            high = middle
        else:
            low = middle + 1
    return high


def _shows(members: int, share: float, difference: float, share_bp: int, level: float, power: float) -> bool:
    baseline = members * share_bp // 10_000
    tried = members - baseline
    if baseline < 1 or tried < 1:
        return False
    return power_of_shares(difference, share=share, tried=tried, baseline=baseline, level=level) >= power
