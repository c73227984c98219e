from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recommender.history import History
from recommender.interactions import Interactions
from recommender.models.personal_frequency import (
    PersonalFrequency,
    PersonalFrequencyConfig,
    repeat_probability,
    usual_gap_days,
)

PLAIN = PersonalFrequencyConfig(repeat_gate_share=0, due_floor=1, quiet_days=0, popularity_weight=0)


def shop() -> Interactions:
    """Forty buyers take coffee every 10 days; each takes a kettle once, and tea now and then."""
    user_id, item_id, day = [], [], []
    for user in range(40):
        for when in range(0, 100, 10):
            user_id.append(f"u{user}")
            item_id.append("coffee")
            day.append(when)
        user_id += [f"u{user}", f"u{user}", f"u{user}"]
        item_id += ["kettle", "tea", "tea"]
        day += [user % 90, 20, 80 + user % 10]
    return Interactions.from_columns(user_id=user_id, item_id=item_id, day=day)


def fit(config: PersonalFrequencyConfig = PLAIN, popularity: list[float] | None = None) -> PersonalFrequency:
    scores = np.array(popularity or [0.0, 0.0, 0.0], dtype=np.float32)
    return PersonalFrequency.fit(shop(), config, popularity=scores)


def score(model: PersonalFrequency, *purchases: tuple[str, int], today: int) -> dict[str, float]:
    items = shop().items
    history = History.encode([(item, day, 1.0) for item, day in purchases], items=items, today=today)
    return dict(zip(items.ids, model.score(history).tolist(), strict=True))


def test_the_repeat_probability_is_shrunk_towards_the_average() -> None:
    probability, average = repeat_probability(shop(), prior_buyers=20)
    assert average == pytest.approx(80 / 120)
    coffee, kettle, tea = probability
    assert kettle == pytest.approx((0 + 20 * average) / 60)
    assert coffee == pytest.approx((40 + 20 * average) / 60)
    assert tea == coffee


def test_the_usual_gap_is_the_median_shrunk_to_that_of_all_items() -> None:
    coffee, kettle, tea = usual_gap_days(shop(), prior_intervals=4)
    assert coffee == 10
    assert kettle == 10
    assert 10 < tea < 65


def test_with_no_repeated_purchase_the_gap_is_the_span_of_the_data() -> None:
    once = Interactions.from_columns(user_id=["a", "b"], item_id=["x", "y"], day=[1, 31])
    assert usual_gap_days(once, prior_intervals=4).tolist() == [30, 30]


def test_what_is_taken_more_often_scores_higher() -> None:
    found = score(fit(), ("coffee", 60), ("coffee", 70), ("tea", 70), today=100)
    assert found["coffee"] > found["tea"] > 0
    assert found["kettle"] == 0


def test_an_old_purchase_fades_with_the_half_life() -> None:
    found = score(fit(replace(PLAIN, half_life_days=30)), ("coffee", 100), ("tea", 70), today=100)
    assert found["coffee"] == pytest.approx(1)
    assert found["tea"] == pytest.approx(0.5)


def test_ties_go_to_the_more_popular_item() -> None:
    model = fit(replace(PLAIN, popularity_weight=0.5), popularity=[0.1, 0.0, 0.9])
    found = score(model, ("coffee", 90), ("tea", 90), today=100)
    assert found["tea"] > found["coffee"]


def test_a_durable_stays_behind_the_gate() -> None:
    found = score(fit(replace(PLAIN, repeat_gate_share=1.0)), ("coffee", 90), ("kettle", 90), today=100)
    assert found["kettle"] < 0.5 * found["coffee"]
    assert fit(replace(PLAIN, repeat_gate_share=1.0)).gate.tolist()[0] == 1


def test_what_is_not_yet_due_scores_lower_than_when_it_is() -> None:
    model = fit(replace(PLAIN, due_floor=0.2, half_life_days=None))
    buys = [("coffee", 70), ("coffee", 80), ("coffee", 90)]
    early = score(model, *buys, today=92)["coffee"]
    due = score(model, *buys, today=100)["coffee"]
    assert early == pytest.approx(3 * (0.2 + 0.8 * 0.2))
    assert due == pytest.approx(3)


def test_below_two_intervals_nothing_is_said_about_being_due() -> None:
    model = fit(replace(PLAIN, due_floor=0.0, half_life_days=None))
    assert score(model, ("coffee", 80), ("coffee", 90), today=91)["coffee"] == 2


def test_a_members_own_gap_is_shrunk_to_the_items() -> None:
    model = fit(replace(PLAIN, due_floor=0.0, half_life_days=None, gap_prior_intervals=2))
    slow = score(model, ("coffee", 0), ("coffee", 40), ("coffee", 80), today=85)["coffee"]
    assert slow == pytest.approx(3 * 5 / ((2 * 40 + 2 * 10) / 4))


def test_right_after_a_purchase_the_item_is_quiet() -> None:
    model = fit(replace(PLAIN, quiet_days=2, quiet_factor=0.25, half_life_days=None))
    assert score(model, ("coffee", 100), today=100)["coffee"] == 0.25
    assert score(model, ("coffee", 100), today=101)["coffee"] == 0.25
    assert score(model, ("coffee", 100), today=102)["coffee"] == 1
