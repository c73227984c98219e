"""Whether the arms have the sizes they were given. Pure.

- K. Pearson (1900), Philosophical Magazine 50, 157–175: χ² of the counts against the configured shares. Where
  a version changed the shares, counts and variances of all draws add up before they are compared.
- Where few are expected in an arm the exact binomial (C. J. Clopper and E. S. Pearson (1934), Biometrika 26,
  404–413) takes its place, each arm against the rest.
- M. Lindon and A. Malek (2020), Anytime-valid inference for multinomial count data, arXiv 2011.03567: the
  Dirichlet-multinomial mixture whose inverse is a p-value that holds at every look together,
  BF = Γ(κ) ÷ Γ(κ + n) · Π Γ(κθ + nᵢ) ÷ (Γ(κθ) θ^nᵢ) with shares θ and κ members' weight of the prior.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import exp, inf, lgamma, log

from service.experiments.statistics.distributions import binomial_p, chi_square_p
from service.experiments.statistics.report import RatioTest, SampleRatio
from service.experiments.statistics.sums import Draw

INVALID_BELOW = 0.001
WARNING_BELOW = 0.01
BASIS_POINTS = 10_000
EXACT_BELOW = 100
"""Where fewer than this are expected in an arm, χ² is too coarse for a p-value of a thousandth."""
CONCENTRATION = 1_000
"""Weight of the Dirichlet prior around the shares, in members; it looks for shares off by about 3 %."""

Shares = tuple[tuple[str, int], ...]

OK, WARNING, INVALID = "ok", "warning", "invalid"


def judge_ratio(draws: Sequence[Draw]) -> SampleRatio:
    """Return the tests overall and by stratum, and what they come to: `ok`, `warning` or `invalid`.

    Raises:
        ValueError: nothing was drawn, or shares that do not sum to 10,000.
    """
    for draw in draws:
        if sum(draw.shares_bp.values()) != BASIS_POINTS:
            raise ValueError("the shares of a draw sum to 10,000 basis points")
    if not draws:
        raise ValueError("nothing was drawn")
    overall = compare_counts(draws, stratum=None)
    names = sorted({draw.stratum for draw in draws})
    strata = [
        compare_counts([draw for draw in draws if draw.stratum == name], stratum=name)
        for name in (names if len(names) > 1 else ())
    ]
    sequential_p = sequential(draws)
    smallest = min([overall.p_value, sequential_p, *(test.p_value for test in strata)])
    status = INVALID if smallest < INVALID_BELOW else WARNING if smallest < WARNING_BELOW else OK
    return SampleRatio(status, overall, tuple(strata), sequential_p)


def compare_counts(draws: Sequence[Draw], *, stratum: str | None) -> RatioTest:
    """Return the fixed test of all draws together."""
    counted: dict[str, int] = {}
    expected: dict[str, float] = {}
    for draw in draws:
        drawn = sum(draw.members.values())
        for arm in (*draw.shares_bp, *draw.members):
            counted.setdefault(arm, 0)
            expected.setdefault(arm, 0.0)
        for arm, members in draw.members.items():
            counted[arm] += members
        for arm, share in draw.shares_bp.items():
            expected[arm] += drawn * share / BASIS_POINTS
    if any(members and not expected[arm] for arm, members in counted.items()):
        # Somebody in an arm that draws nobody: no chance explains that.
        return RatioTest(stratum, counted, expected, None, 0.0, "impossible")
    drawing = [arm for arm in counted if expected[arm] > 0]
    if len(drawing) < 2:
        return RatioTest(stratum, counted, expected, 0.0, 1.0, "chi_square")
    chi_square = _chi_square(draws, drawing, counted, expected)
    if min(expected[arm] for arm in drawing) < EXACT_BELOW:
        return RatioTest(stratum, counted, expected, chi_square, _exact_p(draws), "exact_binomial")
    p_value = chi_square_p(chi_square, len(drawing) - 1)
    return RatioTest(stratum, counted, expected, chi_square, p_value, "chi_square")


def _chi_square(
    draws: Sequence[Draw], arms: Sequence[str], counted: Mapping[str, int], expected: Mapping[str, float]
) -> float:
    """Return d'C⁻¹d over all arms but one, C = Σ n (diag p - pp'): Pearson's χ² where the shares are one."""
    import numpy as np

    free = arms[:-1]
    spread = np.zeros((len(free), len(free)))
    for draw in draws:
        share = np.array([draw.shares_bp.get(arm, 0) / BASIS_POINTS for arm in free])
        spread += sum(draw.members.values()) * (np.diag(share) - np.outer(share, share))
    off = np.array([counted[arm] - expected[arm] for arm in free])
    return float(off @ np.linalg.pinv(spread) @ off)


def _exact_p(draws: Sequence[Draw]) -> float:
    """Return the smallest exact p-value of any arm under any shares, times how many were looked at."""
    groups: dict[Shares, dict[str, int]] = {}
    for draw in draws:
        into = groups.setdefault(_shares_of(draw), {})
        for arm, members in draw.members.items():
            into[arm] = into.get(arm, 0) + members
    found = []
    for shares, members_by_arm in groups.items():
        drawn = sum(members_by_arm.values())
        # Of two arms one says what the other says.
        looked_at = shares[:1] if len(shares) == 2 else shares
        found += [binomial_p(members_by_arm.get(arm, 0), drawn, bp / BASIS_POINTS) for arm, bp in looked_at]
    return min(1.0, len(found) * min(found))


def _shares_of(draw: Draw) -> Shares:
    """Return the shares of the arms that draw anybody, to group draws by."""
    return tuple(sorted((arm, share) for arm, share in draw.shares_bp.items() if share))


def sequential(draws: Iterable[Draw]) -> float:
    """Return the smallest 1 ÷ Bayes factor over the days: a p-value at any time one cares to look.

    Draws under the same shares belong to one mixture; mixtures under different shares are independent and
    multiply. Strata are added up; draws without a day come first.
    """
    logs: dict[Shares, float] = {}
    counts: dict[Shares, dict[str, int]] = {}
    largest = 0.0
    for day in _by_day(draws):
        for draw in day:
            shares = _shares_of(draw)
            if any(members and not draw.shares_bp.get(arm) for arm, members in draw.members.items()):
                return 0.0
            so_far = counts.setdefault(shares, {arm: 0 for arm, _ in shares})
            for arm, members in draw.members.items():
                if members:
                    so_far[arm] += members
            logs[shares] = log_bayes_factor(so_far, dict(shares))
        largest = max(largest, sum(logs.values()))
    return exp(-largest)


def _by_day(draws: Iterable[Draw]) -> list[list[Draw]]:
    days: dict[float, list[Draw]] = {}
    for draw in draws:
        days.setdefault(-inf if draw.day is None else draw.day.toordinal(), []).append(draw)
    return [days[day] for day in sorted(days)]


def log_bayes_factor(counted: Mapping[str, int], shares_bp: Mapping[str, int]) -> float:
    """Return the logarithm of the evidence against the shares (Lindon & Malek 2020).

    The prior is a Dirichlet about the shares, with `CONCENTRATION` members' weight.
    """
    drawn = sum(counted.values())
    found = lgamma(CONCENTRATION) - lgamma(CONCENTRATION + drawn)
    for arm, basis_points in shares_bp.items():
        share = basis_points / BASIS_POINTS
        members = counted.get(arm, 0)
        prior = CONCENTRATION * share
        found += lgamma(prior + members) - lgamma(prior) - members * log(share)
    return found
