"""Looking twenty times: what it costs with a fixed interval, and what it does not with one made for it."""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.experiments.statistics.always_valid import bound, rho_squared, shrunk_share
from service.experiments.statistics.means import Mean, mean_of
from service.experiments.statistics.proportions import compare_shares
from service.experiments.statistics.report import Estimate
from service.experiments.statistics.sums import Moments
from tests.conftest import SCALE

LOOKS = 20


def misses_zero(found: Estimate) -> bool:
    return found.low > 0 or found.high < 0


@pytest.mark.parametrize(("holdout", "treated"), [(500, 500), (50, 950)])
def test_looking_twenty_times_at_nothing(holdout: int, treated: int) -> None:
    """A/A, 1,000 members more at each of 20 looks, halves or a hold-out of 5 %."""
    runs = 500 * SCALE
    chance = np.random.default_rng(20_260_102)
    wrong_fixed = wrong_always = 0
    for _ in range(runs):
        had = chance.binomial(holdout, 0.2, LOOKS).cumsum().tolist()
        had_treated = chance.binomial(treated, 0.2, LOOKS).cumsum().tolist()
        fixed = always = False
        for look in range(LOOKS):
            tried = Moments.of_share((look + 1) * treated, had_treated[look])
            baseline = Moments.of_share((look + 1) * holdout, had[look])
            fixed |= misses_zero(compare_shares(tried, baseline, level=0.05))
            sides = (shrunk_share(tried), shrunk_share(baseline))
            always |= misses_zero(bound(*sides, level=0.05, planned_members=20_000))
        wrong_fixed += fixed
        wrong_always += always
    assert 0.16 <= wrong_fixed / runs <= 0.26
    assert wrong_always / runs < 0.05


def test_looking_twenty_times_at_skewed_spend_of_nobody_different() -> None:
    """A hold-out of 10 %, first looked at when it holds 100 members, the least a plan asks for."""
    runs = 100 * SCALE
    chance = np.random.default_rng(3)
    wrong = 0
    for _ in range(runs):
        arms = [Moments(), Moments()]
        always = False
        for _look in range(LOOKS):
            for arm, members in enumerate((900, 100)):
                bought = chance.random(members) < 0.3
                arms[arm] += Moments.of(
                    (bought * np.rint(chance.lognormal(7, 0.8, members))).astype(int).tolist()
                )
            always |= misses_zero(
                bound(mean_of(arms[0]), mean_of(arms[1]), level=0.05, planned_members=20_000)
            )
        wrong += always
    assert wrong / runs <= 0.05


def test_the_bounds_are_those_of_the_theorem() -> None:
    """Theorem 2.2 with σ̂ = 1: √(2(tρ² + 1) ÷ (t²ρ²) · ln(√(tρ² + 1) ÷ α))."""
    t, alpha = 400, 0.05
    rho = rho_squared(1_000, level=alpha)
    published = sqrt(2 * (t * rho + 1) / (t * t * rho) * log(sqrt(t * rho + 1) / alpha))
    # Two arms of 200 whose difference has the variance 1/t: σ² of each is 1/4.
    found = bound(Mean(200, 0.0, 0.25), Mean(200, 0.0, 0.25), level=alpha, planned_members=1_000)
    assert found.high == pytest.approx(published)
    assert found.low == pytest.approx(-published)


@given(st.integers(50, 100_000), st.floats(-1, 1), st.sampled_from([0.01, 0.05, 0.1]))
def test_the_p_value_falls_below_the_level_just_where_the_interval_leaves_zero(
    members: int, difference: float, level: float
) -> None:
    arms = (Mean(members, difference, 1.0), Mean(members, 0.0, 2.0))
    found = bound(*arms, level=level, planned_members=20_000)
    assert found.p_value is not None
    assert misses_zero(found) == (found.p_value < level)


def test_it_is_narrowest_about_the_planned_size_and_wider_than_the_fixed_one() -> None:
    def factor(members: int, planned: int) -> float:
        half = Mean(members // 2, 0.0, 1.0)
        reach = bound(half, half, level=0.05, planned_members=planned).high
        return reach / sqrt(4 / members)

    assert factor(20_000, 20_000) < factor(20_000, 1_000)
    assert factor(20_000, 20_000) < factor(20_000, 1_000_000)
    assert 1.96 < factor(20_000, 20_000) < 3.2
    # The smallest possible factor grows with the certainty asked for.
    assert factor(20_000, 20_000) > sqrt(-2 * log(0.05)) > exp(0.5)


def test_early_looks_that_saw_nobody_are_not_certain() -> None:
    nobody = Moments.of_share(20, 0)
    found = bound(shrunk_share(nobody), shrunk_share(nobody), level=0.05, planned_members=1_000)
    assert found.low < -0.1 < 0.1 < found.high
    certain = bound(Mean(5, 1.0, 0.0), Mean(5, 1.0, 0.0), level=0.05, planned_members=1_000)
    assert certain.p_value == 1.0
