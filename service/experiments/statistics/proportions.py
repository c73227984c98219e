"""Two shares: their intervals, their difference and their ratio. Pure.

- E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference, Journal of the
  American Statistical Association 22, 209–212: the score interval of one share.
- R. G. Newcombe (1998), Interval estimation for the difference between independent proportions: comparison of
  eleven methods, Statistics in Medicine 17, 873–890: method 10, the square-and-add of two score intervals.
- D. Katz, J. Baptista, S. P. Azen and M. C. Pike (1978), Obtaining confidence intervals for the risk ratio in
  cohort studies, Biometrics 34, 469–474: the interval of the logarithm of the ratio.
"""

from __future__ import annotations

from math import exp, hypot, log, sqrt

from service.experiments.statistics.distributions import normal_p, z_two_sided
from service.experiments.statistics.report import Estimate
from service.experiments.statistics.sums import Moments


def find_fault(moments: Moments) -> str | None:
    """Return what keeps moments from being those of a yes-or-no value, None where nothing does."""
    if not 0 <= moments.total <= moments.members:
        return "more members who did than members"
    return None if moments.squares == moments.total else "values other than 0 and 1"


def wilson_interval(successes: int, trials: int, *, level: float) -> tuple[float, float]:
    """Return the score interval of a share of `trials` ≥ 1 (Wilson 1927; Newcombe's eq. for method 10)."""
    z = z_two_sided(level)
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    reach = z / (1 + z * z / trials) * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    # At the ends the formula meets 0 and 1 exactly but for rounding.
    low = 0.0 if successes == 0 else max(0.0, middle - reach)
    high = 1.0 if successes == trials else min(1.0, middle + reach)
    return low, high


def compare_shares(tried: Moments, baseline: Moments, *, level: float) -> Estimate:
    """Return the difference tried - baseline with Newcombe's interval (method 10) and the pooled z-test."""
    first, second = tried.mean, baseline.mean
    low_1, high_1 = wilson_interval(tried.total, tried.members, level=level)
    low_2, high_2 = wilson_interval(baseline.total, baseline.members, level=level)
    difference = first - second
    return Estimate(
        value=difference,
        low=difference - hypot(first - low_1, high_2 - second),
        high=difference + hypot(high_1 - first, second - low_2),
        confidence=1 - level,
        method="newcombe",
        p_value=normal_p(pooled_z(tried, baseline)),
    )


def pooled_z(tried: Moments, baseline: Moments) -> float:
    """Return z of the difference under equality, the variance from both together; 0 where nobody differs."""
    members = tried.members + baseline.members
    share = (tried.total + baseline.total) / members
    spread = share * (1 - share) * (1 / tried.members + 1 / baseline.members)
    return (tried.mean - baseline.mean) / sqrt(spread) if spread > 0 else 0.0


def unpooled_z(tried: Moments, baseline: Moments) -> float:
    """Return z of the difference with each arm's own variance, what Wald's interval is made of."""
    spread = sum(one.mean * (1 - one.mean) / one.members for one in (tried, baseline))
    return (tried.mean - baseline.mean) / sqrt(spread) if spread > 0 else 0.0


def relate_shares(tried: Moments, baseline: Moments, *, level: float) -> Estimate | None:
    """Return the ratio less 1 with Katz's log interval, None where nobody did in an arm."""
    if tried.total == 0 or baseline.total == 0:
        return None
    ratio = tried.mean / baseline.mean
    spread = 1 / tried.total - 1 / tried.members + 1 / baseline.total - 1 / baseline.members
    reach = z_two_sided(level) * sqrt(max(0.0, spread))
    middle = log(ratio)
    return Estimate(ratio - 1, exp(middle - reach) - 1, exp(middle + reach) - 1, 1 - level, "katz_log")
