from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recommender.baselines import DISCOVERERS
from recommender.errors import HistoryTooShort, InvalidConfig
from recommender.evaluation import BASELINES, Evaluation, evaluate, top_positions
from recommender.gate import beats
from recommender.history import History
from recommender.interactions import Interactions
from recommender.models.top_frequency import TopFrequency, TopFrequencyConfig
from tests.unit.recommender import shop


@pytest.fixture(scope="module")
def table() -> Evaluation:
    return evaluate(shop.interactions(), shop.QUICK, seed=1, origins=2)


def test_origins_roll_back_by_the_horizon(table: Evaluation) -> None:
    last = shop.interactions().last_day
    assert [origin["cut_day"] for origin in table.origins] == [last - 28, last - 56]
    assert all(origin["users"] > 100 for origin in table.origins)


def test_all_baselines_and_both_tables_are_there(table: Evaluation) -> None:
    assert {*BASELINES, "mixed", "buy_again"} == set(table.methods)
    assert {*DISCOVERERS, "discover"} == set(table.discover)
    for methods in (table.methods, table.discover):
        for metrics in methods.values():
            assert all(0 <= metrics[name] <= 1 for name in ("recall", "ndcg", "hit_rate", "coverage"))
            assert len(metrics["recall_by_origin"]) == 2


def test_habits_are_found_by_the_served_lists(table: Evaluation) -> None:
    assert table.methods["mixed"]["recall"] > 2 * table.methods["popularity_28d"]["recall"]
    assert table.methods["mixed"]["recall"] > 0.95 * table.methods["personal_frequency"]["recall"]
    assert table.discover["discover"]["recall"] > 1.5 * table.discover["popularity_28d"]["recall"]


def test_measuring_twice_gives_the_same_table(table: Evaluation) -> None:
    assert evaluate(shop.interactions(), shop.QUICK, seed=1, origins=2).as_dict() == table.as_dict()


def test_nothing_after_the_cut_is_seen() -> None:
    """A different future leaves every list as it was: only what is counted as a hit may change."""
    told: list[list[int]] = []
    for lines in (
        shop.rows(),
        tuple(row for row in shop.rows() if row.user_id != "u009" or row.day < 20_200),
    ):
        past = shop.interactions_of([row for row in lines if row.day <= 20_199])
        scores = TopFrequency.fit(past, TopFrequencyConfig()).score
        history = History.encode(shop.history_of("u001"), items=past.items, today=20_199)
        told.append(top_positions(scores(history), 10))
    assert told[0] == told[1]
    moved = [row._replace(day=row.day + 28) if row.day > 20_211 else row for row in shop.rows()]
    one = evaluate(shop.interactions(), shop.QUICK, origins=1)
    other = evaluate(shop.interactions_of(moved), shop.QUICK, origins=1, horizon_days=56)
    assert one.origins[0]["cut_day"] == other.origins[0]["cut_day"]
    assert one.methods["mixed"]["coverage"] > 0


def test_recall_ndcg_and_hits_match_a_count_by_hand() -> None:
    """Three users, one horizon: what the personal baseline lists and what came true is known."""
    lines = [
        *[
            shop.Row("a", item, day, 1.0)
            for item, day in [("x", 1), ("x", 2), ("y", 3), ("x", 40), ("z", 41)]
        ],
        *[shop.Row("b", item, day, 1.0) for item, day in [("y", 1), ("z", 41)]],
        *[shop.Row("c", item, day, 1.0) for item, day in [("z", 2), ("new", 41)]],
    ]
    table = evaluate(shop.interactions_of(lines), shop.QUICK, horizon_days=28, origins=1, k=2)
    assert table.origins == [{"cut_day": 13, "users": 2, "newcomers": 0, "items": 3}]
    found = table.methods["personal_frequency"]
    assert found["recall"] == pytest.approx((0.5 + 0) / 2)
    assert found["hit_rate"] == pytest.approx(0.5)
    ideal = 1 + 1 / np.log2(3)
    assert found["ndcg"] == pytest.approx((1 / ideal + 0) / 2, abs=1e-6)
    assert found["coverage"] == pytest.approx(2 / 3, abs=1e-6)


def test_a_sample_of_users_is_seeded() -> None:
    one = evaluate(shop.interactions(), shop.QUICK, origins=1, max_users=30, seed=2)
    same = evaluate(shop.interactions(), shop.QUICK, origins=1, max_users=30, seed=2)
    assert one.origins[0]["users"] == 30
    assert one.as_dict() == same.as_dict()


def test_latest_origins_can_be_kept_back(table: Evaluation) -> None:
    earlier = evaluate(shop.interactions(), shop.QUICK, seed=1, origins=1, skip_origins=1)
    assert earlier.origins == table.origins[1:]
    assert earlier.methods["mixed"]["recall"] == pytest.approx(
        table.methods["mixed"]["recall_by_origin"][1], abs=1e-6
    )


def test_too_short_a_history_is_refused_by_name() -> None:
    short = Interactions.from_columns(user_id=["a", "b"], item_id=["x", "x"], day=[1, 20])
    with pytest.raises(HistoryTooShort):
        evaluate(short)


@pytest.mark.parametrize(
    "wrong", [{"k": 0}, {"k": 1001}, {"origins": 0}, {"horizon_days": 0}, {"skip_origins": -1}]
)
def test_measuring_with_settings_out_of_range_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidConfig):
        evaluate(shop.interactions(), **wrong)  # type: ignore[arg-type]


def metrics(recall: float) -> dict[str, Any]:
    return {"recall": recall}


@pytest.mark.parametrize(
    ("candidate", "baselines", "in_force", "promote", "best"),
    [
        (0.20, {"p": 0.10, "q": 0.19}, None, True, "q"),
        (0.20, {"p": 0.10, "q": 0.20}, None, False, "q"),
        (0.20, {"p": 0.10, "q": 0.25}, None, False, "q"),
        (0.20, {"p": 0.10}, 0.19, True, "p"),
        (0.20, {"p": 0.10}, 0.20, True, "p"),
        (0.20, {"p": 0.10}, 0.21, False, "in_force"),
        (0.20, {}, None, True, None),
        (float("nan"), {"p": 0.1}, None, False, None),
    ],
)
def test_a_candidate_must_beat_every_baseline_and_not_fall_behind_the_model_in_force(
    candidate: float, baselines: dict[str, float], in_force: float | None, promote: bool, best: str | None
) -> None:
    decision = beats(
        metrics(candidate),
        {name: metrics(recall) for name, recall in baselines.items()},
        None if in_force is None else metrics(in_force),
    )
    assert decision.promote is promote
    assert decision.best_other == best
    assert decision.reason
