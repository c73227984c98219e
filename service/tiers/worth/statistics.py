"""Intervals of proportions, of means and of their differences, from sums alone. Pure.

Each is the plain textbook interval named in its docstring; where it would promise more than the numbers hold,
there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan, cos, pi, sin, sqrt
from statistics import NormalDist

CONFIDENCE = 0.95
LEAST_FOR_A_MEAN = 10
"""Below this many members no interval of a mean: spend is skewed, and few say nothing of its tail."""
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_SERIES_UP_TO = 200


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between two bounds, with 95 % confidence."""

    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """Return the interval of `factor` ≥ 0 times the estimate."""
        return Interval(self.low * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Sums:
    """Some members in sums: how many, how many bought, Σ net spend and Σ net spend² in minor units."""

    members: int = 0
    buyers: int = 0
    net_minor: int = 0
    net_squares: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.members + other.members,
            self.buyers + other.buyers,
            self.net_minor + other.net_minor,
            self.net_squares + other.net_squares,
        )

    def mean(self) -> float | None:
        """Return mean net spend in minor units; None of nobody."""
        return self.net_minor / self.members if self.members else None

    def variance(self) -> float:
        """Return the sample variance of net spend, of at least two members; the sums are exact."""
        n = self.members
        return (n * self.net_squares - self.net_minor**2) / (n * (n - 1))


def wilson(successes: int, trials: int) -> Interval | None:
    """Return the score interval of a proportion; None of no trials.

    E. B. Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA 22,
    209–212; method 3 of R. G. Newcombe (1998), Statistics in Medicine 17, 857–872.
    """
    if trials == 0:
        return None
    share, z2 = successes / trials, _Z * _Z
    middle = share + z2 / (2 * trials)
    reach = _Z * sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    whole = 1 + z2 / trials
    # At 0 and at all of them the bound is exact; the root would leave a residue.
    low = 0.0 if successes == 0 else (middle - reach) / whole
    high = 1.0 if successes == trials else (middle + reach) / whole
    return Interval(low, high)


def newcombe(successes: tuple[int, int], trials: tuple[int, int]) -> Interval | None:
    """Return the interval of the first proportion minus the second, of two different sets of people.

    The square-and-add interval on Wilson's bounds: method 10 of R. G. Newcombe (1998), "Interval estimation
    for the difference between independent proportions", Statistics in Medicine 17, 873–890.
    """
    first, second = (wilson(x, n) for x, n in zip(successes, trials, strict=True))
    if first is None or second is None:
        return None
    p, q = (x / n for x, n in zip(successes, trials, strict=True))
    return Interval(
        p - q - sqrt((p - first.low) ** 2 + (second.high - q) ** 2),
        p - q + sqrt((first.high - p) ** 2 + (q - second.low) ** 2),
    )


def mean_interval(sums: Sums) -> Interval | None:
    """Return Student's interval of mean net spend (Student 1908, Biometrika 6, 1–25).

    None below `LEAST_FOR_A_MEAN` members, and where all spent the same: the formula would claim certainty.
    """
    mean = sums.mean()
    if mean is None or sums.members < LEAST_FOR_A_MEAN:
        return None
    variance = sums.variance()
    if variance == 0:
        return None
    reach = t_quantile(sums.members - 1) * sqrt(variance / sums.members)
    return Interval(mean - reach, mean + reach)


def mean_difference_interval(first: Sums, second: Sums) -> Interval | None:
    """Return Welch's interval of the difference of two means, of two different sets of people.

    B. L. Welch (1947), Biometrika 34, 28–35, with the degrees of freedom of F. E. Satterthwaite (1946),
    Biometrics Bulletin 2, 110–114, rounded down. None where `mean_interval` has none for either.
    """
    if mean_interval(first) is None or mean_interval(second) is None:
        return None
    parts = [sums.variance() / sums.members for sums in (first, second)]
    spread = sum(parts)
    freedom = spread**2 / sum(
        part**2 / (sums.members - 1) for part, sums in zip(parts, (first, second), strict=True)
    )
    difference = first.net_minor / first.members - second.net_minor / second.members
    reach = t_quantile(int(freedom)) * sqrt(spread)
    return Interval(difference - reach, difference + reach)


def t_quantile(freedom: int) -> float:
    """Return the t that |T| stays within with 95 % confidence, for whole degrees of freedom ≥ 1.

    The finite series of Abramowitz & Stegun (1964) 26.7.3–4, solved by halving; beyond 200 degrees the
    expansion 26.7.5, whose error there is below 1e-9.
    """
    if freedom > _SERIES_UP_TO:
        return _t_expansion(freedom)
    low, high = 0.0, 16.0
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        if _t_within(middle, freedom) < CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def _t_within(t: float, freedom: int) -> float:
    """Return the chance that |T| ≤ t (Abramowitz & Stegun 26.7.3 for odd, 26.7.4 for even degrees)."""
    angle = atan(t / sqrt(freedom))
    odd = freedom % 2
    term, total = (cos(angle), 0.0) if odd else (1.0, 0.0)
    # Odd: cos + 2/3 cos³ + 2·4/(3·5) cos⁵ + …; even: 1 + 1/2 cos² + 1·3/(2·4) cos⁴ + …
    for step in range(2 + odd, freedom + 1, 2):
        total += term
        term *= (step - 1) / step * cos(angle) ** 2
    return 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total


def _t_expansion(freedom: int) -> float:
    """Return the quantile in powers of 1 ÷ freedom (Abramowitz & Stegun 26.7.5)."""
    z, n = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )
