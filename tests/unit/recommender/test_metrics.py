from __future__ import annotations

import numpy as np
import pytest

from recommender.metrics import Surroundings, Tally, paired_difference

AROUND = Surroundings.of(np.array([3, 1, 0, 0]), 3, np.array([[1, 0], [1, 0], [0, 2], [0, 0]], np.float32))


def note(tally: Tally, ranked: list[int], truth: set[int], before: set[int], **more: object) -> None:
    facts = {"user": "a", "origin": 0, "days": 1, "k": 3, "around": AROUND, **more}
    tally.add(ranked, truth, before, **facts)  # type: ignore[arg-type]


def test_a_list_is_judged_as_counted_by_hand() -> None:
    """Ranked 0, 2, 1; taken 0, 3 and two that are never listed; 0 and 1 had been taken before."""
    tally = Tally()
    note(tally, [0, 2, 1], {0, 3, 8, 9}, {0, 1})
    told = tally.as_dict([4])
    assert told["recall"] == pytest.approx(1 / 4)
    assert told["recall_capped"] == pytest.approx(1 / 3, abs=1e-6)
    assert told["repeat_recall"] == 1
    assert told["explore_recall"] == 0
    assert told["hit_rate"] == 1
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    assert told["ndcg"] == pytest.approx(1 / ideal, abs=1e-6)
    assert told["coverage"] == pytest.approx(3 / 4)
    # Shares of users (3 + 1) ÷ 4, (0 + 1) ÷ 4, (1 + 1) ÷ 4: 0, 2 and 1 bits.
    assert told["novelty"] == pytest.approx(1)
    # Of three pairs, one is alike and two are not.
    assert told["diversity"] == pytest.approx(2 / 3, abs=1e-6)
    assert told["calibration_error"] == pytest.approx(2 / 3 - 1 / 4, abs=1e-6)


def test_histories_are_told_apart_by_length_and_fallbacks_are_counted() -> None:
    tally = Tally()
    for days, ranked, fallback in [(0, [1], True), (1, [0], False), (3, [1], False), (9, [0], False)]:
        note(tally, ranked, {0}, set(), days=days, fallback=fallback)
    told = tally.as_dict([4])
    assert {name: one["recall"] for name, one in told["recall_by_history"].items()} == {
        "0": 0.0,
        "1": 1.0,
        "2-4": 0.0,
        "5+": 1.0,
    }
    assert told["fallback_share"] == 0.25


def test_an_empty_list_counts_as_no_hit() -> None:
    tally = Tally()
    note(tally, [], {0}, set())
    told = tally.as_dict([4])
    assert told["recall"] == told["ndcg"] == told["coverage"] == 0


def test_the_interval_of_a_paired_difference_excludes_zero_only_when_it_should() -> None:
    rng = np.random.default_rng(1)
    better, same, worse = Tally(), Tally(), Tally()
    for user in range(300):
        hard = rng.random() < 0.5
        note(worse, [1], {0}, set(), user=str(user))
        note(better, [0] if hard else [1], {0}, set(), user=str(user))
        note(same, [0] if hard else [1], {0}, set(), user=str(user))
    gap = paired_difference(better, worse, seed=1)
    assert 0.4 < gap["low"] < gap["difference"] < gap["high"] < 0.6
    assert paired_difference(better, same, seed=1) == {"difference": 0.0, "low": 0.0, "high": 0.0}
    assert paired_difference(better, worse, seed=1) == gap


def test_origins_of_one_member_are_drawn_together() -> None:
    """Four rows of one member say no more than one row: the interval must not shrink."""
    once, often, none_once, none_often = Tally(), Tally(), Tally(), Tally()
    rng = np.random.default_rng(2)
    for user in range(60):
        hit = [0] if rng.random() < 0.5 else [1]
        note(once, hit, {0}, set(), user=str(user))
        note(none_once, [1], {0}, set(), user=str(user))
        for origin in range(4):
            note(often, hit, {0}, set(), user=str(user), origin=origin)
            note(none_often, [1], {0}, set(), user=str(user), origin=origin)
    short, long = paired_difference(once, none_once, seed=1), paired_difference(often, none_often, seed=1)
    assert long == short


def test_methods_measured_on_different_rows_are_not_compared() -> None:
    one, other = Tally(), Tally()
    note(one, [0], {0}, set(), user="a")
    note(other, [0], {0}, set(), user="b")
    with pytest.raises(ValueError, match="same rows"):
        paired_difference(one, other, seed=1)
