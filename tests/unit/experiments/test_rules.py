"""Buckets, arms and windows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from service.experiments.rules import (
    Arm,
    Experiment,
    arm_of,
    bucket_of,
    holdout_arms,
    name_global_holdout,
    probability_of,
    window_of,
)


@pytest.mark.parametrize(
    ("experiment", "salt", "member_id", "bucket"),
    [
        ("holdout-2026h2", "s1", "member-0001", 8196),
        ("holdout-2026h2", "s1", "member-0002", 6866),
        ("holdout-2026h2", "s2", "member-0001", 8506),
        ("reco-policy", "s1", "member-0001", 1768),
        ("holdout-2026h2", "s1", "Ærø-7", 4331),
    ],
)
def test_the_bucket_is_the_published_one(experiment: str, salt: str, member_id: str, bucket: int) -> None:
    assert bucket_of(experiment, salt, member_id) == bucket


def test_buckets_are_spread_evenly() -> None:
    counts = [0] * 10
    for number in range(20_000):
        counts[bucket_of("x", "s1", f"m{number}") // 1000] += 1
    assert all(abs(count - 2000) < 5 * (20_000 * 0.1 * 0.9) ** 0.5 for count in counts)


def test_arms_are_half_open_ranges_with_the_holdout_first() -> None:
    arms = holdout_arms(1_000)
    assert [arm_of(arms, bucket) for bucket in (0, 999, 1000, 9999)] == [
        "holdout",
        "holdout",
        "treatment",
        "treatment",
    ]


def test_enlarging_the_holdout_lets_nobody_out() -> None:
    small, large = holdout_arms(1_000), holdout_arms(2_000)
    for bucket in range(0, 10_000, 7):
        if arm_of(small, bucket) == "holdout":
            assert arm_of(large, bucket) == "holdout"


def test_a_bucket_beyond_the_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond the arms"):
        arm_of((Arm("holdout", 1_000),), 1_000)


@pytest.mark.parametrize("weight_bp", [-1, 10_001])
def test_a_share_outside_all_is_refused(weight_bp: int) -> None:
    with pytest.raises(ValueError, match="basis points"):
        holdout_arms(weight_bp)


def test_the_probability_of_an_arm_is_its_share() -> None:
    arms = holdout_arms(1_000)
    assert (probability_of(arms, "holdout"), probability_of(arms, "treatment")) == (0.1, 0.9)


def test_the_holdout_is_named_by_half_year() -> None:
    assert name_global_holdout(date(2026, 6, 30)) == "global-holdout-2026h1"
    assert name_global_holdout(date(2026, 7, 1)) == "global-holdout-2026h2"


def test_the_window_begins_at_its_anchor_and_matures_after_the_grace() -> None:
    experiment = Experiment(1, "x", 1, "s1", holdout_arms(1_000), window_days=60, refund_grace_days=30)
    anchor = datetime(2026, 11, 21, 19, 3, tzinfo=UTC)
    window = window_of(experiment, anchor=anchor)
    assert (window.start, window.end, window.matures_at) == (
        anchor,
        anchor + timedelta(days=60),
        anchor + timedelta(days=90),
    )
