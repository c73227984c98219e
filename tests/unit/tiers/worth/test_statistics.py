"""Intervals against the papers they come from, and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from service.tiers.worth.statistics import (
    LEAST_FOR_A_MEAN,
    Sums,
    mean_difference_interval,
    mean_interval,
    newcombe,
    t_quantile,
    wilson,
)


def sums_of(values: list[int]) -> Sums:
    return Sums(len(values), 0, sum(values), sum(value * value for value in values))


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_score_interval_is_that_of_newcombes_first_paper(
    successes: int, trials: int, low: float, high: float
) -> None:
    """Table I, method 3, of Statistics in Medicine 17, 857."""
    found = wilson(successes, trials)
    assert found is not None
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        ((56, 48), (70, 80), 0.0524, 0.3339),
        ((9, 3), (10, 10), 0.1705, 0.8090),
        ((6, 2), (7, 7), 0.0582, 0.8062),
        ((5, 0), (56, 29), -0.0381, 0.1926),
        ((0, 0), (10, 20), -0.1611, 0.2775),
        ((0, 0), (10, 10), -0.2775, 0.2775),
        ((10, 0), (10, 20), 0.6791, 1.0),
        ((10, 0), (10, 10), 0.6075, 1.0),
    ],
)
def test_the_difference_interval_is_that_of_newcombes_second_paper(
    successes: tuple[int, int], trials: tuple[int, int], low: float, high: float
) -> None:
    """Table II, method 10, of Statistics in Medicine 17, 873."""
    found = newcombe(successes, trials)
    assert found is not None
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_the_difference_interval_holds_at_millions() -> None:
    """The aggregates of the Criteo uplift data, v2.1."""
    found = newcombe((576_824, 80_105), (11_882_655, 2_096_937))
    assert found is not None
    assert (round(found.low, 7), round(found.high, 7)) == (0.0100549, 0.0106285)


@given(st.integers(0, 400), st.integers(1, 400))
def test_the_score_interval_agrees_with_scipy(successes: int, trials: int) -> None:
    successes = min(successes, trials)
    found = wilson(successes, trials)
    oracle = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)
    assert 0 <= found.low <= successes / trials <= found.high <= 1


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 30, 199, 200, 201, 500, 10_000, 10**7])
def test_students_quantile_agrees_with_scipy(freedom: int) -> None:
    assert t_quantile(freedom) == pytest.approx(float(stats.t.ppf(0.975, freedom)), rel=1e-10)


@given(st.lists(st.integers(-(10**7), 10**9), min_size=LEAST_FOR_A_MEAN, max_size=60))
def test_the_interval_of_a_mean_agrees_with_scipy(values: list[int]) -> None:
    found = mean_interval(sums_of(values))
    if len(set(values)) == 1:
        assert found is None
        return
    oracle = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert found is not None
    assert (found.low, found.high) == pytest.approx(oracle, rel=1e-9, abs=1e-3)


@given(
    st.lists(st.integers(0, 10**7), min_size=LEAST_FOR_A_MEAN, max_size=40, unique=True),
    st.lists(st.integers(0, 10**7), min_size=LEAST_FOR_A_MEAN, max_size=40, unique=True),
)
def test_the_interval_of_two_means_is_welchs_and_errs_on_the_wide_side(
    first: list[int], second: list[int]
) -> None:
    found = mean_difference_interval(sums_of(first), sums_of(second))
    oracle = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert found is not None
    assert (found.low + found.high) / 2 == pytest.approx((oracle.low + oracle.high) / 2, rel=1e-6, abs=1e-3)
    wide, narrow = found.high - found.low, oracle.high - oracle.low
    # Whole degrees of freedom, rounded down.
    assert narrow <= wide * (1 + 1e-9)
    assert wide <= narrow * 1.02


def test_there_is_no_interval_where_the_numbers_hold_none() -> None:
    few, alike = sums_of(list(range(LEAST_FOR_A_MEAN - 1))), sums_of([500] * 50)
    enough = sums_of(list(range(LEAST_FOR_A_MEAN)))
    assert mean_interval(Sums()) is None
    assert mean_interval(few) is None
    assert mean_interval(alike) is None
    assert mean_interval(enough) is not None
    assert mean_difference_interval(enough, few) is None
    assert wilson(0, 0) is None
    assert newcombe((1, 0), (5, 0)) is None
