"""Where a plain baseline finds more than the blend, the baseline is what is served."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recommender.arms import SERVED_AS
from recommender.blending import BlendConfig, MixedArm
from recommender.evaluation import Evaluation, evaluate
from recommender.gate import decide, figures_of, settle
from recommender.history import History
from recommender.models.top_frequency import REPEAT_POPULARITY, TopFrequency
from recommender.search import Trainings
from tests.unit.recommender import shop

TODAY = shop.FIRST_DAY + shop.DAYS


def table_of(mixed: float, discover: float = 0.2, **others: float) -> Evaluation:
    recalls = dict.fromkeys(SERVED_AS.values(), 0.1) | others
    methods: dict[str, dict[str, Any]] = {name: {"recall": recall} for name, recall in recalls.items()}
    found = {"discover": {"recall": discover}, "popularity": {"recall": 0.1}}
    return Evaluation(10, 28, [], {**methods, "mixed": {"recall": mixed}}, found, {}, {}, [])


def test_a_blend_that_finds_most_is_served_and_promoted() -> None:
    table = table_of(0.2)
    assert settle(table, BlendConfig()) == BlendConfig()
    assert decide(table, BlendConfig(), None).promote


@pytest.mark.parametrize(("arm", "name"), SERVED_AS.items())
def test_a_baseline_that_finds_more_is_served_in_place_of_the_blend(arm: MixedArm, name: str) -> None:
    table = table_of(0.2, **{name: 0.25})
    blend = settle(table, BlendConfig())
    assert blend == BlendConfig(mixed=arm)
    assert figures_of(table, blend) == {"recall": 0.25}
    decision = decide(table, blend, None)
    assert decision.promote
    assert name in decision.reason


def test_a_baseline_served_does_not_push_out_a_better_model_in_force() -> None:
    table = table_of(0.2, gp_topfreq=0.25)
    blend = settle(table, BlendConfig())
    assert not decide(table, blend, {"recall": 0.26}).promote
    assert decide(table, blend, {"recall": 0.25}).promote


def test_nothing_is_promoted_below_a_baseline_that_cannot_be_served() -> None:
    table = table_of(0.2, tifu_knn=0.3, gp_topfreq=0.25)
    decision = decide(table, settle(table, BlendConfig()), None)
    assert not decision.promote
    assert decision.best_other == "tifu_knn"


def test_what_is_new_falls_back_to_popularity_on_its_own() -> None:
    blend = settle(table_of(0.2, discover=0.05), BlendConfig())
    assert (blend.mixed, blend.discover) == ("learned", "popularity")


def test_fading_takings_in_force_are_served_exactly() -> None:
    trained = shop.trained()
    config = replace(trained.config, blend=BlendConfig(mixed="repeat_popularity"))
    model = replace(trained, config=config).serve()
    history, data = shop.history_of("u001"), shop.interactions()
    own = TopFrequency.fit(data, REPEAT_POPULARITY).score(
        History.encode(history, items=data.items, today=TODAY)
    )
    expected = [data.items.ids[one] for one in np.argsort(-own, kind="stable")]
    answer = model.recommend(history, today=TODAY, limit=80)
    assert [one.item_id for one in answer.items][:20] == expected[:20]


def test_popularity_in_force_is_served_exactly() -> None:
    trained = shop.trained()
    config = replace(trained.config, blend=BlendConfig(mixed="popularity"))
    model = replace(trained, config=config).serve()
    answer = model.recommend(shop.history_of("u001"), today=TODAY, limit=80)
    popular = model.recommend([], today=TODAY, limit=80)
    assert [one.item_id for one in answer.items] == [one.item_id for one in popular.items]
    again = model.recommend(shop.history_of("u001"), today=TODAY, limit=80, mode="buy_again")
    assert {one.source for one in again.items} == {"buy_again"}


def test_groups_are_told_apart_and_shared_trainings_change_nothing() -> None:
    data = shop.interactions()
    groups = {user: "gold" if number % 3 else "base" for number, user in enumerate(data.users.ids)}
    shared = Trainings(data, shop.QUICK, seed=1)
    shared.at(data.last_day - 28)
    one = evaluate(data, shop.QUICK, seed=1, origins=1, groups=groups, trainings=shared)
    other = evaluate(data, shop.QUICK, seed=1, origins=1)
    assert one.candidate["recall"] == other.candidate["recall"]
    told = one.candidate["recall_by_group"]
    assert sum(group["users"] for group in told.values()) == one.origins[0]["users"]
    assert "recall_by_group" not in other.candidate
