"""Means with what members did before the anchor taken out of their noise. Pure.

A. Deng, Y. Xu, R. Kohavi and T. Walker (2013), Improving the sensitivity of online controlled experiments by
utilizing pre-experiment data, WSDM: the adjusted mean v̄ - θ(x̄ - E x) with θ = cov(v, x) ÷ var(x) (their
eq. 4), which leaves 1 - ρ² of the variance. θ is pooled over both arms and x is centred on the grand mean of
both, so that the adjusted means keep their level and the relative effect means what it says.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.experiments.statistics.means import Mean
from service.experiments.statistics.sums import Moments


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Both arms after the adjustment; `variance_left` is the share of the pooled variance that remains."""

    tried: Mean
    baseline: Mean
    theta: float
    variance_left: float


def adjust(tried: Moments, baseline: Moments) -> Adjusted | None:
    """Return the adjusted means of both arms, None where the covariate is the same for everybody."""
    whole = tried + baseline
    if whole.covariate_variance <= 0:
        return None
    theta = whole.covariance / whole.covariate_variance
    centre = whole.covariate_mean

    def take_out(arm: Moments) -> Mean:
        variance = arm.variance - 2 * theta * arm.covariance + theta * theta * arm.covariate_variance
        return Mean(arm.members, arm.mean - theta * (arm.covariate_mean - centre), max(0.0, variance))

    left = 1.0
    if whole.variance > 0:
        left -= whole.covariance**2 / (whole.variance * whole.covariate_variance)
    return Adjusted(take_out(tried), take_out(baseline), theta, max(0.0, left))
