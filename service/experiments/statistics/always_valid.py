"""Intervals that hold however often somebody looks. Pure.

I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and A. Ramdas (2021), Time-uniform central limit theory
and asymptotic confidence sequences, arXiv 2103.06476: Theorem 2.2 (the boundary of Robbins' normal mixture)
and the ρ they derive for it to be narrowest at a planned size. As a test it is the mixture sequential
probability ratio test of R. Johari, P. Koomen, L. Pekelis and D. Walsh (2017), Peeking at A/B tests, KDD.
"""

from __future__ import annotations

from math import exp, log, sqrt

from service.experiments.statistics.means import Mean
from service.experiments.statistics.report import Estimate
from service.experiments.statistics.sums import Moments


def rho_squared(planned_members: int, *, level: float) -> float:
    """Return the ρ² that makes the sequence narrowest about t = `planned_members`.

    ρ² ≈ (-2 ln α + ln(-2 ln α) + 1) ÷ t, the approximation in closed form of Waudby-Smith et al. (2021).
    """
    doubt = -2 * log(level)
    return (doubt + log(doubt) + 1) / planned_members


def bound(tried: Mean, baseline: Mean, *, level: float, planned_members: int) -> Estimate:
    """Return the difference with the bounds that hold at all looks together, and the p-value that does.

    With n members in both arms and V the variance of the difference, the reach is
    √(V · 2(nρ² + 1) ÷ (nρ²) · ln(√(nρ² + 1) ÷ level)): Theorem 2.2 with σ̂² = nV.
    """
    members = tried.members + baseline.members
    spread = tried.error_variance + baseline.error_variance
    time = members * rho_squared(planned_members, level=level)
    difference = tried.mean - baseline.mean
    reach = sqrt(spread * 2 * (time + 1) / time * log(sqrt(time + 1) / level))
    if spread > 0:
        p_value = min(1.0, sqrt(time + 1) * exp(-difference * difference / (2 * spread) * time / (time + 1)))
    else:
        p_value = 0.0 if difference else 1.0
    return Estimate(
        difference,
        difference - reach,
        difference + reach,
        1 - level,
        "asymptotic_confidence_sequence",
        p_value,
    )


def shrunk_share(moments: Moments) -> Mean:
    """Return a share whose variance never vanishes: early looks may have seen nobody do it.

    A. Agresti and B. A. Coull (1998), The American Statistician 52, 119–126: two more who did, two who did
    not.
    """
    share = (moments.total + 2) / (moments.members + 4)
    return Mean(moments.members, moments.mean, share * (1 - share))
