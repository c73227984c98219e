"""Two means, or two ratios of sums: their difference and their ratio. Pure.

- B. L. Welch (1947), The generalization of Student's problem when several different population variances are
  involved, Biometrika 34, 28–35, with the degrees of freedom of F. E. Satterthwaite (1946), Biometrics
  Bulletin 2, 110–114.
- The delta method for ratios of two sums and for the logarithm of a ratio of means: A. Deng, U. Knoblich and
  J. Lu (2018), Applying the delta method in metric analytics, KDD, section on ratio metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt

from service.experiments.statistics.distributions import t_p, t_two_sided
from service.experiments.statistics.report import Estimate
from service.experiments.statistics.sums import Moments


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean of `members` ≥ 2 values whose sample variance is `variance`."""

    members: int
    mean: float
    variance: float

    @property
    def error_variance(self) -> float:
        """Return the variance of the mean itself."""
        return self.variance / self.members


def mean_of(moments: Moments) -> Mean:
    """Return the mean of v per member."""
    return Mean(moments.members, moments.mean, moments.variance)


def ratio_of(moments: Moments) -> Mean | None:
    """Return Σv ÷ Σx with the variance of the delta method, None where Σx is not positive.

    Var(R) ≈ (s²_v - 2 R s_vx + R² s²_x) ÷ (n x̄²), Deng et al. (2018).
    """
    if moments.covariate_total <= 0:
        return None
    ratio = moments.total / moments.covariate_total
    variance = (
        moments.variance - 2 * ratio * moments.covariance + ratio * ratio * moments.covariate_variance
    ) / moments.covariate_mean**2
    return Mean(moments.members, ratio, max(0.0, variance))


def freedom_of(first: float, first_members: int, second: float, second_members: int) -> float:
    """Return Satterthwaite's degrees of freedom of two error variances; the smaller arm's if both are 0."""
    if first + second <= 0:
        return float(min(first_members, second_members) - 1)
    return float(
        (first + second) ** 2 / (first * first / (first_members - 1) + second * second / (second_members - 1))
    )


def compare_means(tried: Mean, baseline: Mean, *, level: float, method: str = "welch") -> Estimate:
    """Return the difference tried - baseline with Welch's interval and p-value."""
    spread = tried.error_variance + baseline.error_variance
    freedom = freedom_of(tried.error_variance, tried.members, baseline.error_variance, baseline.members)
    difference, error = tried.mean - baseline.mean, sqrt(spread)
    reach = t_two_sided(level, freedom) * error
    p_value = t_p(difference / error, freedom) if error > 0 else (0.0 if difference else 1.0)
    return Estimate(difference, difference - reach, difference + reach, 1 - level, method, p_value)


def relate_means(tried: Mean, baseline: Mean, *, level: float, method: str = "log_delta") -> Estimate | None:
    """Return the ratio less 1 by the delta method on its logarithm, None unless both means are positive."""
    if tried.mean <= 0 or baseline.mean <= 0:
        return None
    parts = [one.error_variance / (one.mean * one.mean) for one in (tried, baseline)]
    freedom = freedom_of(parts[0], tried.members, parts[1], baseline.members)
    reach = exp(t_two_sided(level, freedom) * sqrt(sum(parts)))
    ratio = tried.mean / baseline.mean
    return Estimate(ratio - 1, ratio / reach - 1, ratio * reach - 1, 1 - level, method)
