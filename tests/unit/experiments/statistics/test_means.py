"""Means, ratios and CUPED: the same as other libraries on random members."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW
from tea_tasting.aggr import Aggregates
from tea_tasting.metrics import Mean as OracleMean
from tea_tasting.metrics import RatioOfMeans as OracleRatio

from service.experiments.statistics.cuped import adjust
from service.experiments.statistics.means import Mean, compare_means, mean_of, ratio_of, relate_means
from service.experiments.statistics.report import Estimate
from service.experiments.statistics.sums import Moments

SEEDS = st.integers(0, 2**32 - 1)


def draw_arm(chance: np.random.Generator, members: int, lift: float) -> tuple[np.ndarray, np.ndarray]:
    """Return net spend and earlier orders of an arm's members."""
    before = chance.poisson(2.0, members)
    spend = chance.lognormal(8 + 0.2 * before, 0.5) * (chance.random(members) < 0.4) * (1 + lift)
    return np.rint(spend).astype(np.int64), before


def draw_both(seed: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    chance = np.random.default_rng(seed)
    return draw_arm(chance, int(chance.integers(40, 400)), 0.1), draw_arm(
        chance, int(chance.integers(40, 99)), 0
    )


def moments_of(arm: tuple[np.ndarray, np.ndarray]) -> Moments:
    return Moments.of(arm[0].tolist(), arm[1].tolist())


def aggregates_of(arm: tuple[np.ndarray, np.ndarray]) -> Aggregates:
    v, x = arm
    return Aggregates(
        count_=len(v),
        mean_={"v": float(v.mean()), "x": float(x.mean())},
        var_={"v": float(v.var(ddof=1)), "x": float(x.var(ddof=1))},
        cov_={("v", "x"): float(np.cov(v, x)[0, 1])},
    )


def assert_same(found: Estimate | None, oracle: Any, *, relative: bool = False) -> None:
    assert found is not None
    prefix = "rel_effect_size" if relative else "effect_size"
    names = (prefix, f"{prefix}_ci_lower", f"{prefix}_ci_upper")
    expected = [getattr(oracle, name) for name in names]
    assert [found.value, found.low, found.high] == pytest.approx(expected, rel=1e-7, abs=1e-9)
    if not relative:
        assert found.p_value == pytest.approx(oracle.pvalue, rel=1e-6, abs=1e-12)


@given(SEEDS)
def test_statsmodels_finds_the_same_difference_of_means(seed: int) -> None:
    tried, baseline = draw_both(seed)
    found = compare_means(mean_of(moments_of(tried)), mean_of(moments_of(baseline)), level=0.05)
    oracle = CompareMeans(DescrStatsW(tried[0]), DescrStatsW(baseline[0]))
    assert (found.low, found.high) == pytest.approx(oracle.tconfint_diff(usevar="unequal"), rel=1e-9)
    assert found.p_value == pytest.approx(oracle.ttest_ind(usevar="unequal")[1], rel=1e-9)


@given(SEEDS)
def test_tea_tasting_finds_the_same_means_absolute_and_relative(seed: int) -> None:
    tried, baseline = draw_both(seed)
    oracle = OracleMean("v", use_t=True, equal_var=False).analyze_aggregates(
        aggregates_of(baseline), aggregates_of(tried)
    )
    arms = (mean_of(moments_of(tried)), mean_of(moments_of(baseline)))
    assert_same(compare_means(*arms, level=0.05), oracle)
    assert_same(relate_means(*arms, level=0.05), oracle, relative=True)


@given(SEEDS)
def test_tea_tasting_finds_the_same_after_cuped_absolute_and_relative(seed: int) -> None:
    tried, baseline = draw_both(seed)
    oracle = OracleMean("v", "x", use_t=True, equal_var=False).analyze_aggregates(
        aggregates_of(baseline), aggregates_of(tried)
    )
    found = adjust(moments_of(tried), moments_of(baseline))
    assert found is not None
    assert (found.tried.mean, found.baseline.mean) == pytest.approx((oracle.treatment, oracle.control))
    assert_same(compare_means(found.tried, found.baseline, level=0.05), oracle)
    assert_same(relate_means(found.tried, found.baseline, level=0.05), oracle, relative=True)


@given(SEEDS)
def test_tea_tasting_finds_the_same_ratio_of_sums(seed: int) -> None:
    tried, baseline = draw_both(seed)
    oracle = OracleRatio("v", "x", use_t=True, equal_var=False).analyze_aggregates(
        aggregates_of(baseline), aggregates_of(tried)
    )
    first, second = ratio_of(moments_of(tried)), ratio_of(moments_of(baseline))
    assert first is not None
    assert second is not None
    assert_same(compare_means(first, second, level=0.05), oracle)
    assert_same(relate_means(first, second, level=0.05), oracle, relative=True)


def test_cuped_takes_noise_away_and_leaves_the_level() -> None:
    chance = np.random.default_rng(7)
    x = chance.poisson(3.0, 20_000)
    v = 10 * x + chance.poisson(5.0, 20_000)
    whole = Moments.of(v.tolist(), x.tolist())
    half = Moments.of(v[:5_000].tolist(), x[:5_000].tolist())
    rest = Moments.of(v[5_000:].tolist(), x[5_000:].tolist())
    found = adjust(half, rest)
    assert found is not None
    assert found.theta == pytest.approx(10, abs=0.1)
    assert found.variance_left < 0.03
    # Centred on the grand mean: the arms' adjusted means average to the mean of all.
    together = (5_000 * found.tried.mean + 15_000 * found.baseline.mean) / 20_000
    assert together == pytest.approx(whole.mean)


def test_cuped_needs_a_covariate_that_varies() -> None:
    assert adjust(Moments.of([1, 2], [3, 3]), Moments.of([4, 5], [3, 3])) is None


def test_the_relative_effect_after_cuped_covers_the_truth() -> None:
    """A hold-out of 5 %, covariates that differ by chance between the arms, 8 % of effect."""
    runs, covered, narrower = 600, 0, 0
    chance = np.random.default_rng(11)
    for _ in range(runs):
        arms = []
        for members, lift in ((4_750, 1.08), (250, 1.0)):
            x = chance.poisson(3.0, members)
            arms.append(Moments.of(chance.poisson(lift * (2 + 2 * x)).tolist(), x.tolist()))
        found = adjust(arms[0], arms[1])
        assert found is not None
        relative = relate_means(found.tried, found.baseline, level=0.05)
        plain = relate_means(mean_of(arms[0]), mean_of(arms[1]), level=0.05)
        assert relative is not None
        assert plain is not None
        covered += relative.low <= 0.08 <= relative.high
        narrower += relative.high - relative.low < plain.high - plain.low
    assert covered / runs >= 0.93
    assert narrower == runs


def test_no_relative_difference_is_given_without_positive_means() -> None:
    assert relate_means(Mean(10, 5.0, 1.0), Mean(10, 0.0, 1.0), level=0.05) is None
    assert relate_means(Mean(10, -5.0, 1.0), Mean(10, 2.0, 1.0), level=0.05) is None


def test_a_ratio_needs_something_to_be_divided_by() -> None:
    assert ratio_of(Moments.of([0, 0], [0, 0])) is None


def test_arms_without_any_spread_differ_or_do_not() -> None:
    same = compare_means(Mean(10, 5.0, 0.0), Mean(20, 5.0, 0.0), level=0.05)
    other = compare_means(Mean(10, 6.0, 0.0), Mean(20, 5.0, 0.0), level=0.05)
    assert (same.low, same.high, same.p_value) == (0.0, 0.0, 1.0)
    assert (other.low, other.high, other.p_value) == (1.0, 1.0, 0.0)
