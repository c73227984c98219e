"""Another ranker judged on logs of this one: right where it can be, refused where it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from service.experiments.statistics.off_policy import Logged, evaluate

ITEMS = 5
REWARDS = np.array([0.05, 0.10, 0.15, 0.20, 0.25])
LOGGING = np.array([0.4, 0.2, 0.2, 0.1, 0.1])
TARGET = np.array([0.1, 0.1, 0.2, 0.3, 0.3])
TRUTH = float(TARGET @ REWARDS)


def draw_log(seed: int, rows: int, *, model: np.ndarray | None = None) -> list[Logged]:
    chance = np.random.default_rng(seed)
    shown = chance.choice(ITEMS, rows, p=LOGGING)
    came = chance.random(rows) < REWARDS[shown]
    predicted = np.zeros(ITEMS) if model is None else model
    return [
        Logged(
            float(won),
            float(LOGGING[item]),
            float(TARGET[item]),
            float(predicted[item]),
            float(TARGET @ predicted),
        )
        for item, won in zip(shown, came, strict=True)
    ]


def test_all_three_estimates_cover_the_truth_as_often_as_said() -> None:
    runs = 200
    covered = dict.fromkeys(("ips", "snips", "doubly_robust"), 0)
    for seed in range(runs):
        found = evaluate(draw_log(seed, 2_000, model=REWARDS + 0.02))
        assert found.refused is None
        for name in covered:
            estimate = getattr(found, name)
            covered[name] += estimate.low <= TRUTH <= estimate.high
    assert all(0.91 <= count / runs <= 0.99 for count in covered.values()), covered


def test_what_the_logging_ranker_earned_is_not_what_the_other_would() -> None:
    found = evaluate(draw_log(1, 20_000))
    assert found.logged_mean == pytest.approx(float(LOGGING @ REWARDS), abs=0.01)
    assert found.snips is not None
    assert found.snips.value == pytest.approx(TRUTH, abs=0.02)
    assert found.to_json()["snips"]["method"] == "snips"


def test_a_good_model_of_rewards_narrows_the_doubly_robust_estimate() -> None:
    without, with_model = evaluate(draw_log(2, 5_000)), evaluate(draw_log(2, 5_000, model=REWARDS))
    assert without.ips is not None
    assert without.doubly_robust is not None
    assert with_model.doubly_robust is not None
    assert without.doubly_robust.low == pytest.approx(without.ips.low)
    assert with_model.doubly_robust.high - with_model.doubly_robust.low < without.ips.high - without.ips.low


def test_too_few_effective_rows_are_refused_without_a_figure() -> None:
    found = evaluate(draw_log(3, 150))
    assert found.refused == "too_few_effective_rows"
    told = found.to_json()
    assert [told[name] for name in ("logged_mean", "ips", "snips", "doubly_robust")] == [None] * 4


def test_less_than_a_hundredth_of_the_rows_is_refused() -> None:
    rows = [Logged(0.0, 1.0, 0.0)] * 49_000 + [Logged(1.0, 0.5, 0.5)] * 400
    assert evaluate(rows).effective_rows == pytest.approx(400)
    assert evaluate(rows).refused == "too_few_effective_rows"
    assert evaluate(rows[10_000:]).refused is None


def test_one_row_that_would_decide_is_refused() -> None:
    rows = [Logged(0.0, 0.5, 0.5)] * 900 + [Logged(1.0, 0.001, 0.2)]
    found = evaluate(rows)
    assert found.largest_weight_share > 0.1
    assert found.refused == "one_row_decides"


def test_a_ranker_that_shows_other_things_cannot_be_judged() -> None:
    assert evaluate([Logged(1.0, 0.5, 0.0)] * 500).refused == "no_overlap"


def test_a_deterministic_log_cannot_judge_anybody() -> None:
    assert evaluate([Logged(1.0, None, 1.0)] * 500).refused == "deterministic"


@pytest.mark.parametrize("row", [Logged(1.0, 0.0, 0.5), Logged(1.0, 1.5, 0.5), Logged(1.0, 0.5, -0.1)])
def test_chances_that_are_none_are_refused(row: Logged) -> None:
    with pytest.raises(ValueError, match=r"propensity|probability"):
        evaluate([row] * 300)


def test_rows_that_each_stand_for_themselves_have_the_usual_interval() -> None:
    rows = draw_log(4, 1_000)
    found, each = evaluate(rows), evaluate([replace(row, group=n) for n, row in enumerate(rows)])
    assert found == each
    values = np.array([row.target / (row.propensity or 1) * row.reward for row in rows])
    reach = 1.959963984540054 * values.std(ddof=1) / 1_000**0.5
    assert found.ips is not None
    assert found.ips.high - found.ips.value == pytest.approx(reach)


def test_rows_of_one_member_are_one_members_evidence() -> None:
    """Written down ten times, a log says no more than once."""
    once = [replace(row, group=n) for n, row in enumerate(draw_log(5, 1_000))]
    found, ten_times = evaluate(once), evaluate(once * 10)
    assert (ten_times.rows, ten_times.groups) == (10_000, 1_000)
    assert ten_times.effective_rows == pytest.approx(found.effective_rows)
    assert found.snips is not None
    assert ten_times.snips is not None
    assert ten_times.snips.low == pytest.approx(found.snips.low)
    few = [replace(row, group=n % 150) for n, row in enumerate(draw_log(6, 5_000))]
    assert evaluate(few).refused == "too_few_effective_rows"
