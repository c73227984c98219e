"""Willingness to recommend, and when nothing is said about it."""

from __future__ import annotations

import numpy as np
import pytest

from service.insights.nps import Answers, score, sort_answers


def test_the_worked_example_comes_out() -> None:
    found = score(Answers(promoters=162, passives=108, detractors=54))
    assert found is not None
    assert (f"{found.value:.3f}", f"{found.standard_error:.4f}") == ("33.333", "4.1409")
    assert (f"{found.low:.3f}", f"{found.high:.3f}") == ("25.217", "41.449")
    assert found.promoter_share == 0.5


def test_under_thirty_answers_nothing_is_published() -> None:
    assert score(Answers(29, 0, 0)) is None
    assert score(Answers(20, 9, 1)) is not None


def test_ratings_fall_into_their_groups_and_groups_add_up() -> None:
    assert sort_answers(range(11)) == Answers(promoters=2, passives=2, detractors=7)
    assert sort_answers([10, 9]) + sort_answers([8, 0]) == Answers(2, 1, 1)
    with pytest.raises(ValueError, match="between 0 and 10"):
        sort_answers([11])


def test_the_interval_covers_the_truth() -> None:
    chance = np.random.default_rng(8)
    runs, covered = 3_000, 0
    for promoters, passives, detractors in chance.multinomial(200, [0.5, 0.3, 0.2], runs).tolist():
        found = score(Answers(promoters, passives, detractors))
        assert found is not None
        covered += found.low <= 30 <= found.high
    assert covered / runs == pytest.approx(0.95, abs=0.012)


def test_a_score_never_leaves_its_scale() -> None:
    found = score(Answers(30, 1, 0))
    assert found is not None
    assert found.high == 100
