"""Quantiles and tails. Pure.

The normal distribution comes from the standard library. Student's t, χ² and the binomial come from scipy's
special functions, imported where they are used: a web worker that serves no uplift report never loads them.
"""

from __future__ import annotations

from math import erfc, sqrt
from statistics import NormalDist

_NORMAL = NormalDist()


def z_quantile(probability: float) -> float:
    """Return the z below which a standard normal value lies with `probability`."""
    return _NORMAL.inv_cdf(probability)


def z_two_sided(level: float) -> float:
    """Return the z that |Z| exceeds with probability `level`: 1.96 for 0.05."""
    return -_NORMAL.inv_cdf(level / 2)


def normal_below(z: float) -> float:
    """Return the chance that a standard normal value lies below z, exact in the tail."""
    return erfc(-z / sqrt(2)) / 2


def normal_p(z: float) -> float:
    """Return the two-sided p-value of z, exact far out in the tail."""
    return erfc(abs(z) / sqrt(2))


def t_two_sided(level: float, freedom: float) -> float:
    """Return the t that |T| exceeds with probability `level`, for any degrees of freedom > 0."""
    from scipy.special import stdtrit

    return -float(stdtrit(freedom, level / 2))


def t_p(t: float, freedom: float) -> float:
    """Return the two-sided p-value of t."""
    from scipy.special import stdtr

    return 2 * float(stdtr(freedom, -abs(t)))


def chi_square_p(value: float, freedom: int) -> float:
    """Return the chance of a χ² at least this large."""
    from scipy.special import chdtrc

    return float(chdtrc(freedom, value))


def binomial_p(successes: int, trials: int, share: float) -> float:
    """Return the exact two-sided p-value of a count: twice the smaller tail, at most 1."""
    from scipy.special import bdtr, bdtrc

    at_most = float(bdtr(successes, trials, share))
    at_least = float(bdtrc(successes - 1, trials, share)) if successes else 1.0
    return min(1.0, 2 * min(at_most, at_least))
