"""One difference over several strata: members are compared with others of their own tier at assignment. Pure.

The weights n₁n₀ ÷ N of N. Mantel and W. Haenszel (1959), Journal of the National Cancer Institute 22,
719–748, for differences as in S. Greenland and J. M. Robins (1985), Estimation of a common effect parameter
from sparse follow-up data, Biometrics 41, 55–68. Shares take the variance of T. Sato (1989), On the variance
estimator for the Mantel-Haenszel risk difference, Biometrics 45, 1323–1324, which holds for few large strata
and many small ones alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

from service.experiments.statistics.distributions import normal_p, z_two_sided
from service.experiments.statistics.report import Estimate
from service.experiments.statistics.sums import Moments

Pair = tuple[Moments, Moments]
"""The tried arm and the baseline of one stratum."""


def pair_up(tried: Mapping[str, Moments], baseline: Mapping[str, Moments]) -> list[Pair]:
    """Return the strata that have members in both arms, by name; the others compare nobody."""
    return [
        (tried[name], baseline[name])
        for name in sorted(tried.keys() & baseline.keys())
        if tried[name].members and baseline[name].members
    ]


def combine_shares(pairs: Sequence[Pair], *, level: float) -> Estimate | None:
    """Return the Mantel-Haenszel difference of shares with Sato's variance, None without a common stratum."""
    if not pairs:
        return None
    weight = _sum_weights(pairs)
    value = _weigh(pairs) / weight
    first = second = 0.0
    for tried, baseline in pairs:
        n1, n0, x1, x0 = tried.members, baseline.members, tried.total, baseline.total
        n = n1 + n0
        first += (n1 * n1 * x0 - n0 * n0 * x1 + n1 * n0 * (n0 - n1) / 2) / (n * n)
        second += (x1 * (n0 - x0) + x0 * (n1 - x1)) / (2 * n)
    return _estimate(value, (value * first + second) / weight**2, level)


def combine_means(pairs: Sequence[Pair], *, level: float) -> Estimate | None:
    """Return the Mantel-Haenszel difference of means, None where no stratum has two members in both arms.

    A stratum with a single member in an arm shows no spread and is left out.
    """
    usable = [pair for pair in pairs if min(one.members for one in pair) > 1]
    if not usable:
        return None
    weight = _sum_weights(usable)
    variance = sum(_weight(pair) ** 2 * sum(one.variance / one.members for one in pair) for pair in usable)
    return _estimate(_weigh(usable) / weight, variance / weight**2, level)


def _weight(pair: Pair) -> float:
    tried, baseline = pair
    return tried.members * baseline.members / (tried.members + baseline.members)


def _sum_weights(pairs: Sequence[Pair]) -> float:
    return sum(_weight(pair) for pair in pairs)


def _weigh(pairs: Sequence[Pair]) -> float:
    return sum(_weight(pair) * (pair[0].mean - pair[1].mean) for pair in pairs)


def _estimate(value: float, variance: float, level: float) -> Estimate:
    error = sqrt(max(0.0, variance))
    reach = z_two_sided(level) * error
    p_value = normal_p(value / error) if error > 0 else (0.0 if value else 1.0)
    return Estimate(value, value - reach, value + reach, 1 - level, "mantel_haenszel", p_value)
