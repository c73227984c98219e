"""Members compared with others of their own tier."""

from __future__ import annotations

import numpy as np
import pytest

from service.experiments.statistics.means import compare_means, mean_of
from service.experiments.statistics.proportions import unpooled_z
from service.experiments.statistics.strata import combine_means, combine_shares, pair_up
from service.experiments.statistics.sums import Moments


def test_one_stratum_is_the_plain_difference() -> None:
    tried, baseline = Moments.of_share(900, 270), Moments.of_share(100, 20)
    found = combine_shares([(tried, baseline)], level=0.05)
    assert found is not None
    assert found.value == pytest.approx(0.1)
    # With a single stratum Sato's variance is close to each arm's own.
    error = (found.high - found.low) / 2 / 1.959964
    assert 0.1 / error == pytest.approx(unpooled_z(tried, baseline), rel=0.05)


def test_a_mix_that_differs_between_the_arms_does_not_mislead() -> None:
    """In every tier the arms are alike; gold, who buy more, happen to be more in the tried arm."""
    gold = (Moments.of_share(600, 300), Moments.of_share(400, 200))
    silver = (Moments.of_share(400, 40), Moments.of_share(600, 60))
    found = combine_shares([gold, silver], level=0.05)
    assert found is not None
    assert found.value == pytest.approx(0.0)
    assert pytest.approx(0.08) == (340 / 1000) - (260 / 1000)


def test_the_interval_over_many_small_strata_covers_the_truth() -> None:
    chance = np.random.default_rng(17)
    runs, covered, covered_means = 1_000, 0, 0
    for _ in range(runs):
        pairs = []
        for stratum in range(40):
            share = 0.1 + 0.01 * stratum
            pairs.append(
                (
                    Moments.of_share(30, int(chance.binomial(30, share + 0.05))),
                    Moments.of_share(6, int(chance.binomial(6, share))),
                )
            )
        found, means = combine_shares(pairs, level=0.05), combine_means(pairs, level=0.05)
        assert found is not None
        assert means is not None
        covered += found.low <= 0.05 <= found.high
        covered_means += means.low <= 0.05 <= means.high
    assert covered / runs >= 0.935
    # The plain variances of means are a little small where an arm has six members.
    assert covered_means / runs >= 0.91


def test_one_stratum_of_means_is_welch_without_student() -> None:
    chance = np.random.default_rng(1)
    arms = [Moments.of(chance.poisson(3, members).tolist()) for members in (4_000, 500)]
    found = combine_means([(arms[0], arms[1])], level=0.05)
    welch = compare_means(mean_of(arms[0]), mean_of(arms[1]), level=0.05)
    assert found is not None
    assert (found.value, found.low) == pytest.approx((welch.value, welch.low), rel=0.01)


def test_strata_without_anybody_to_compare_with_get_no_weight() -> None:
    tried = {
        "gold": Moments.of_share(10, 5),
        "new": Moments.of_share(99, 1),
        "silver": Moments.of_share(9, 1),
    }
    baseline = {"gold": Moments.of_share(10, 4), "silver": Moments()}
    pairs = pair_up(tried, baseline)
    assert pairs == [(tried["gold"], baseline["gold"])]
    assert combine_shares([], level=0.05) is None
    assert combine_means([(Moments.of([1]), Moments.of([1, 2]))], level=0.05) is None
