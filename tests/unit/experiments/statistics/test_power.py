"""The smallest effect that can be seen, and how many members it takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import power_proportions_2indep

from service.experiments.statistics.means import Mean
from service.experiments.statistics.multiplicity import holm
from service.experiments.statistics.power import (
    members_needed,
    power_of_shares,
    smallest_mean_difference,
    smallest_share_difference,
)
from service.experiments.statistics.proportions import compare_shares
from service.experiments.statistics.sums import Moments


@given(
    st.floats(0.02, 0.6), st.floats(0.005, 0.2), st.integers(200, 50_000), st.sampled_from([0.05, 0.1, 0.5])
)
def test_statsmodels_finds_the_same_power(share: float, lift: float, members: int, held: float) -> None:
    baseline = max(2, round(members * held))
    tried = members - baseline
    oracle = power_proportions_2indep(lift, share, tried, ratio=baseline / tried, alpha=0.05)
    found = power_of_shares(lift, share=share, tried=tried, baseline=baseline, level=0.05)
    # The oracle counts the far side too, which is never more than half the level.
    assert found == pytest.approx(oracle.power, abs=0.025)
    if oracle.power > 0.6:
        assert found == pytest.approx(oracle.power, abs=1e-4)


@given(st.floats(0.02, 0.6), st.integers(1_000, 500_000), st.integers(500, 5_000), st.floats(0.5, 0.95))
def test_the_smallest_difference_is_found_with_just_that_power(
    share: float, members: int, held_bp: int, power: float
) -> None:
    sizes = {"tried": members - members * held_bp // 10_000, "baseline": members * held_bp // 10_000}
    found = smallest_share_difference(share=share, power=power, **sizes)
    assert found is not None
    assert power_of_shares(found, share=share, level=0.05, **sizes) == pytest.approx(power, abs=1e-4)
    again = members_needed(share=share, difference=found, baseline_share_bp=held_bp, power=power)
    assert again is not None
    assert again == pytest.approx(members, rel=0.02, abs=30)


def test_a_real_difference_of_that_size_is_found_as_often_as_said() -> None:
    lift = smallest_share_difference(share=0.214, tried=18_000, baseline=2_000)
    assert lift == pytest.approx(0.0279, abs=0.0002)
    assert lift is not None
    chance = np.random.default_rng(9)
    runs = 2_000
    found = 0
    for had_tried, had in zip(
        chance.binomial(18_000, 0.214 + lift, runs).tolist(),
        chance.binomial(2_000, 0.214, runs).tolist(),
        strict=True,
    ):
        estimate = compare_shares(
            Moments.of_share(18_000, had_tried), Moments.of_share(2_000, had), level=0.05
        )
        found += estimate.low > 0
    assert found / runs == pytest.approx(0.8, abs=0.03)


def test_a_larger_holdout_sees_smaller_effects() -> None:
    sizes = [(9_500, 500), (9_000, 1_000), (8_000, 2_000)]
    found = [smallest_share_difference(share=0.2, tried=tried, baseline=held) for tried, held in sizes]
    assert None not in found
    assert found == sorted(found, reverse=True)  # type: ignore[type-var]


def test_so_few_that_nothing_could_be_shown() -> None:
    assert smallest_share_difference(share=0.9, tried=5, baseline=2) is None
    assert smallest_share_difference(share=0.2, tried=100, baseline=0) is None
    assert members_needed(share=0.2, difference=0.01, baseline_share_bp=0) is None
    assert power_of_shares(1.0, share=0.0, tried=5, baseline=5, level=0.05) == 1.0


def test_the_smallest_difference_of_means_is_the_textbook_one() -> None:
    found = smallest_mean_difference(Mean(100, 0.0, 1.0), Mean(100, 0.0, 1.0))
    assert found == pytest.approx((1.959964 + 0.841621) * (2 / 100) ** 0.5, rel=1e-6)


@settings(max_examples=8)  # the oracle takes a sixth of a second each
@given(st.lists(st.floats(0, 1), max_size=12))
def test_statsmodels_adjusts_by_holm_the_same(p_values: list[float]) -> None:
    expected = list(multipletests(p_values, method="holm")[1]) if p_values else []
    assert holm(p_values) == pytest.approx(expected, abs=1e-12)
