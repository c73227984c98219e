"""Each way to fool oneself when measuring rankings, and that the evaluation does not fall into it."""

from __future__ import annotations

import numpy as np
import pytest

from recommender.evaluation import evaluate, top_positions
from recommender.splitting import list_cases, list_cuts, list_newcomers
from tests.unit.recommender import shop

LAST = shop.FIRST_DAY + shop.DAYS - 1
CUT = LAST - 28


def test_one_day_cuts_everybody_and_nothing_later_is_learned_from() -> None:
    data = shop.interactions()
    past = data.between(through_day=CUT)
    for case in list_cases(data, past, cut=CUT, horizon_days=28, max_users=None, seed=1):
        assert max(day for _, day, _ in case.purchases) <= CUT
        assert case.history.age_days.min() >= 0
        later = {row.item_id for row in shop.rows() if row.user_id == case.user_id and row.day > CUT}
        assert {past.items.ids[one] for one in case.truth.tolist()} == later & set(past.items.ids)


def test_what_came_into_the_shop_after_the_cut_is_neither_ranked_nor_counted() -> None:
    lines = [*shop.rows(), *(shop.Row(f"u{user:03d}", "zz-later", LAST - 3, 1.0) for user in range(160))]
    data = shop.interactions_of(lines)
    past = data.between(through_day=CUT)
    assert "zz-later" not in past.items
    for case in list_cases(data, past, cut=CUT, horizon_days=28, max_users=None, seed=1):
        assert case.truth.max() < len(past.items)


def test_every_item_is_in_the_running_and_none_is_sampled() -> None:
    scores = np.linspace(1, 0, 5_000, dtype=np.float32)
    scores[4_999] = 2
    assert top_positions(scores, 2) == [4_999, 0]


def test_several_origins_are_measured_and_their_order_is_by_time() -> None:
    assert list_cuts(0, 100, horizon_days=28, origins=9) == [72, 44, 16]
    assert list_cuts(0, 100, horizon_days=28, origins=2, skip=1) == [44, 16]


def test_those_without_a_history_stand_apart_and_do_not_thin_the_figures() -> None:
    lines = [*shop.rows(), *(shop.Row(f"new{user}", "sku-001", LAST - 3, 1.0) for user in range(30))]
    data = shop.interactions_of(lines)
    past = data.between(through_day=CUT)
    facts = {"cut": CUT, "horizon_days": 28, "max_users": None, "seed": 1}
    known = list(list_cases(data, past, **facts))  # type: ignore[arg-type]
    new = list(list_newcomers(data, past, **facts))  # type: ignore[arg-type]
    assert {case.user_id for case in new} == {f"new{user}" for user in range(30)}
    assert all(len(case.history) == 0 for case in new)
    assert not {case.user_id for case in known} & {case.user_id for case in new}


def test_repeat_and_explore_are_reported_apart_for_the_same_list() -> None:
    table = evaluate(shop.interactions(), shop.QUICK, seed=1, origins=1)
    own = table.methods["personal_frequency"]
    assert own["repeat_recall"] > 0
    assert own["explore_recall"] == 0
    assert table.methods["mixed"]["repeat_recall"] > own["recall"]


def test_a_baseline_that_needs_no_learning_is_always_in_the_table() -> None:
    table = evaluate(shop.interactions(), shop.QUICK, seed=1, origins=1)
    for name in ("popularity_28d", "personal_frequency", "gp_topfreq", "tifu_knn", "ease", "als"):
        assert name in table.methods
        assert name in table.differences["mixed"]
        gap = table.differences["mixed"][name]
        assert gap["low"] <= gap["difference"] <= gap["high"]
        expected = table.methods["mixed"]["recall"] - table.methods[name]["recall"]
        assert gap["difference"] == pytest.approx(expected, abs=2e-6)
