"""Arms of the wrong sizes are refused, whether one looks once or every day."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.gof import chisquare

from service.experiments.statistics.sample_ratio import compare_counts, judge_ratio, sequential
from service.experiments.statistics.sums import Draw
from tests.conftest import SCALE

HALVES = {"a": 5_000, "b": 5_000}
NINE_TO_ONE = {"treatment": 9_000, "holdout": 1_000}


def days_of(count: int, members: dict[str, int], shares_bp: dict[str, int]) -> list[Draw]:
    start = date(2026, 10, 1)
    return [Draw(members, shares_bp, day=start + timedelta(days=number)) for number in range(count)]


@pytest.mark.parametrize(
    ("members", "shares_bp", "printed"),
    [
        ({"treatment": 915, "holdout": 85}, NINE_TO_ONE, "3.3e-09"),
        ({"a": 520, "b": 480}, HALVES, "2.2e-06"),
    ],
)
def test_a_fortnight_of_small_imbalance_is_refused(
    members: dict[str, int], shares_bp: dict[str, int], printed: str
) -> None:
    fortnight = days_of(14, members, shares_bp)
    found = judge_ratio(fortnight)
    assert f"{found.overall.p_value:.1e}" == printed
    assert found.status == "invalid"
    # The test that may be read every day refuses as well; a single day does not.
    assert found.sequential_p < 0.001
    assert judge_ratio(fortnight[:1]).status == "ok"


@given(st.lists(st.integers(200, 5_000), min_size=3, max_size=4), st.integers(1, 3))
def test_statsmodels_finds_the_same_p_value(counts: list[int], batches: int) -> None:
    arms = "abcd"[: len(counts)]
    shares = dict(zip(arms, [10_000 // len(counts)] * len(counts), strict=True))
    shares["a"] += 10_000 - sum(shares.values())
    draws = [Draw(dict(zip(arms, counts, strict=True)), shares) for _ in range(batches)]
    total = batches * sum(counts)
    expected = [total * shares[arm] / 10_000 for arm in arms]
    statistic, p_value = chisquare(np.array(counts) * batches, np.array(expected))
    found = compare_counts(draws, stratum=None)
    assert found.chi_square == pytest.approx(statistic, rel=1e-6, abs=1e-9)
    assert found.p_value == pytest.approx(p_value, rel=1e-5, abs=1e-200)


def test_versions_with_other_shares_add_up_their_expectations() -> None:
    early = Draw({"treatment": 9_000, "holdout": 1_000}, NINE_TO_ONE)
    late = Draw({"treatment": 8_000, "holdout": 2_000}, {"treatment": 8_000, "holdout": 2_000})
    found = judge_ratio([early, late])
    assert found.overall.expected == {"treatment": 17_000, "holdout": 3_000}
    assert (found.status, found.overall.p_value) == ("ok", 1.0)
    # Held against either version's shares alone, the same members would be refused.
    merged = Draw({"treatment": 17_000, "holdout": 3_000}, NINE_TO_ONE)
    assert judge_ratio([merged]).status == "invalid"


def test_one_tier_can_be_wrong_where_the_whole_is_right() -> None:
    draws = [
        Draw({"a": 5_300, "b": 4_700}, HALVES, stratum="gold"),
        Draw({"a": 4_700, "b": 5_300}, HALVES, stratum="silver"),
    ]
    found = judge_ratio(draws)
    assert found.overall.p_value == 1.0
    assert [test.stratum for test in found.strata] == ["gold", "silver"]
    assert found.status == "invalid"


def test_a_small_tier_is_tested_exactly() -> None:
    """Five of twenty at a hold-out of 5 %: χ² says 4 in 100,000, the truth is 5 in 1,000."""
    found = compare_counts(
        [Draw({"holdout": 5, "treatment": 15}, {"holdout": 500, "treatment": 9_500})], stratum=""
    )
    assert found.method == "exact_binomial"
    assert found.p_value == pytest.approx(2 * 0.002574, rel=1e-3)
    assert found.chi_square == pytest.approx(16.842, rel=1e-3)


def test_a_small_tier_under_two_versions_is_tested_exactly_in_each() -> None:
    early = Draw({"holdout": 5, "treatment": 15}, {"holdout": 500, "treatment": 9_500})
    late = Draw({"holdout": 2, "treatment": 18}, NINE_TO_ONE)
    found = compare_counts([early, late], stratum="")
    assert (found.method, found.expected) == ("exact_binomial", {"holdout": 3, "treatment": 37})
    assert found.p_value == pytest.approx(2 * 2 * 0.002574, rel=1e-3)


def test_a_small_tier_of_three_arms_is_tested_exactly() -> None:
    found = compare_counts([Draw({"a": 9, "b": 0, "c": 0}, {"a": 3_400, "b": 3_300, "c": 3_300})], stratum="")
    assert found.method == "exact_binomial"
    assert found.p_value == pytest.approx(3 * 2 * 0.34**9, rel=1e-6)


def test_small_tiers_are_refused_as_rarely_as_promised() -> None:
    """A tier of 40 at a hold-out of 5 %: χ² is below 0.01 more often than it may be; this is not."""
    chance = np.random.default_rng(12)
    runs = 4_000
    shares = {"holdout": 500, "treatment": 9_500}
    below = coarse = 0
    for held in chance.binomial(40, 0.05, runs).tolist():
        found = compare_counts([Draw({"holdout": held, "treatment": 40 - held}, shares)], stratum="")
        below += found.p_value < 0.01
        coarse += (found.chi_square or 0) > 6.635
    assert below / runs <= 0.01
    assert coarse / runs > 0.01


def test_between_a_hundredth_and_a_thousandth_is_a_warning() -> None:
    assert judge_ratio([Draw({"a": 5_140, "b": 4_860}, HALVES)]).status == "warning"
    assert judge_ratio([Draw({"a": 5_100, "b": 4_900}, HALVES)]).status == "ok"


def test_somebody_in_an_arm_that_draws_nobody_is_refused() -> None:
    draw = Draw({"a": 50, "b": 50, "c": 1}, HALVES | {"c": 0})
    found = judge_ratio([draw])
    assert (found.status, found.overall.method, found.overall.chi_square) == ("invalid", "impossible", None)
    assert sequential([draw]) == 0.0


def test_nobody_drawn_yet_is_no_imbalance() -> None:
    assert judge_ratio([Draw({"a": 0, "b": 0}, HALVES)]).status == "ok"
    with pytest.raises(ValueError, match="nothing was drawn"):
        judge_ratio([])


def test_shares_that_do_not_sum_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to 10,000"):
        judge_ratio([Draw({"a": 1}, {"a": 5_000, "b": 4_000})])


def test_fair_draws_are_refused_as_rarely_as_promised() -> None:
    """Looked at on each of thirty days, the sequential p-value is below 0.05 in at most 5 % of runs."""
    runs = 300 * SCALE
    chance = np.random.default_rng(5)
    below = fixed = 0
    for _ in range(runs):
        holdouts = chance.binomial(300, 0.1, 30).tolist()
        start = date(2026, 1, 1)
        draws = [
            Draw({"treatment": 300 - held, "holdout": held}, NINE_TO_ONE, day=start + timedelta(days=number))
            for number, held in enumerate(holdouts)
        ]
        below += sequential(draws) < 0.05
        fixed += compare_counts(draws, stratum=None).p_value < 0.05
    assert below / runs <= 0.05
    assert 0.02 <= fixed / runs <= 0.09


@pytest.mark.parametrize("lost", ["treatment", "holdout"])
def test_exposures_lost_in_one_arm_are_noticed(lost: str) -> None:
    """100,000 members, a hold-out of 10 %, 5 % of one arm's exposures never written."""
    members = {"treatment": 90_000, "holdout": 10_000}
    members[lost] = members[lost] * 95 // 100
    assert judge_ratio([Draw(members, NINE_TO_ONE)]).status == "invalid"
