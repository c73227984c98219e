"""What a history says about taking its items again, against numbers counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from recommender.blending import ItemFacts
from recommender.habits import HABIT_SIGNALS, habit_signals
from recommender.history import History
from recommender.idmap import IdMap
from recommender.interactions import Interactions

ITEMS = IdMap.from_ids(["bread", "kettle"])


def signals(*purchases: tuple[str, int], today: int = 100) -> dict[str, dict[str, float]]:
    history = History.encode([(item, day, 1.0) for item, day in purchases], items=ITEMS, today=today)
    count = len(history)
    found = habit_signals(
        history,
        counts=np.array([[0, 3, 9]] * count, dtype=np.float32).T,
        repeat=np.full(count, 0.5, np.float32),
        soon=np.full(count, 0.25, np.float32),
        gap_days=np.full(count, 20, np.float32),
        gap_prior=2.0,
    )
    assert found.shape == (count, len(HABIT_SIGNALS))
    return {
        ITEMS.ids[item]: dict(zip(HABIT_SIGNALS, row, strict=True))
        for item, row in zip(history.items.tolist(), found.tolist(), strict=True)
    }


def test_counts_fade_by_days_and_by_visits() -> None:
    bread = signals(("bread", 40), ("bread", 100), ("kettle", 70), ("kettle", 100))["bread"]
    assert bread["again_60d"] == pytest.approx(np.log(1.5 + 0.02))
    assert bread["again_30d"] == pytest.approx(np.log(1.25 + 0.02))
    assert bread["again_visits"] == pytest.approx(np.log(1 + 0.9**2 + 0.02))
    assert bread["again_small_visits"] == pytest.approx(np.log(1 + 0.5 + 0.02))
    assert bread["again_times"] == pytest.approx(np.log(2))
    assert bread["again_last"] == 0


def test_late_and_early_are_told_by_the_persons_own_interval_shrunk_to_the_items() -> None:
    late = signals(("bread", 30), ("bread", 40))["bread"]
    usual = (10 + 2 * 20) / (1 + 2)
    assert late["again_late"] == pytest.approx(np.log(61 / (usual + 1)))
    assert late["again_early"] == 0
    early = signals(("bread", 90), ("bread", 100))["bread"]
    assert early["again_early"] == pytest.approx(np.log((usual + 1) / 1))
    assert early["again_late"] == 0


def test_what_was_taken_once_has_no_interval_and_says_so() -> None:
    found = signals(("kettle", 50), ("bread", 60), ("bread", 90))
    assert (found["kettle"]["again_once"], found["bread"]["again_once"]) == (1, 0)
    assert found["kettle"]["again_late"] == found["kettle"]["again_early"] == 0
    assert found["kettle"]["again_once_repeat"] == pytest.approx(np.log(0.5))
    assert found["bread"]["again_times_repeat"] == pytest.approx(np.log(2) * np.log(0.5))


def test_the_persons_breadth_and_habit_are_the_same_for_all_items() -> None:
    found = signals(("kettle", 50), ("bread", 60), ("bread", 90))
    for one in found.values():
        assert one["again_breadth"] == pytest.approx(np.log(2))
        assert one["again_habit"] == pytest.approx(np.log((3 - 2 + 1) / (3 + 2)))
        assert one["again_popular_28d"] == pytest.approx(np.log(4))


def test_nothing_taken_gives_no_rows() -> None:
    assert signals() == {}


def test_first_takings_count_people_and_shares_count_everybody_once() -> None:
    rows = [("a", "x", 0), ("a", "x", 50), ("a", "y", 95), ("b", "y", 100), ("c", "y", 10), ("c", "y", 90)]
    user, item, day = zip(*rows, strict=True)
    facts = ItemFacts.fit(Interactions.from_columns(user_id=user, item_id=item, day=day), prior_buyers=1e-9)
    assert facts.firsts.tolist() == [[0, 2], [1, 3]]
    assert facts.share == pytest.approx([2 / 3, 1 / 3 + 1 + 1])
    assert facts.fortnight.tolist() == [0, 3]
    # Of those who had it 28 days ago: a did not take x again, c did take y.
    assert facts.repeat_soon == pytest.approx([1e-3, 1], abs=1e-6)
