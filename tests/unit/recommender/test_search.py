from __future__ import annotations

from dataclasses import fields, replace
from typing import get_args

import numpy as np
import pytest

from recommender.blending import BlendConfig, MixedArm
from recommender.errors import InvalidConfig
from recommender.evaluation import evaluate
from recommender.learning import collect, learn
from recommender.search import Trainings, search
from recommender.splitting import list_cases
from tests.unit.recommender import shop

LAST = shop.FIRST_DAY + shop.DAYS - 1


def test_the_search_is_the_same_every_time_and_moves_the_weights() -> None:
    one = search(shop.interactions(), shop.QUICK, seed=1, origins=2, max_users=60)
    other = search(shop.interactions(), shop.QUICK, seed=1, origins=2, max_users=60)
    assert one == other
    assert one.blend != BlendConfig()
    assert replace(one, blend=BlendConfig()) == shop.QUICK


def test_too_short_a_history_gives_the_defaults_back() -> None:
    short = shop.interactions().between(through_day=shop.FIRST_DAY + 30)
    assert search(short, shop.QUICK, seed=1) == shop.QUICK


def test_a_search_through_a_day_does_not_see_what_came_after() -> None:
    """Another future, the same choice: the one trap that makes every offline figure worthless."""
    whole = shop.interactions()
    cut = LAST - 28
    other = shop.interactions_of(
        [row if row.day <= cut else row._replace(item_id="sku-000") for row in shop.rows()]
    )
    found = []
    for data in (whole, other):
        trainings = Trainings(data, shop.QUICK, seed=1)
        past = data.between(through_day=cut)
        found.append(
            search(past, shop.QUICK, seed=1, origins=2, max_users=60, through_day=cut, trainings=trainings)
        )
    assert found[0] == found[1]


def test_weights_that_must_not_speak_against_an_item_do_not() -> None:
    found = search(shop.interactions(), shop.QUICK, seed=1, origins=2, max_users=60).blend
    for name in ("ease", "als", "item_to_item", "again_times", "again_repeat", "again_due"):
        assert getattr(found, name) >= 0


def test_learning_makes_what_was_taken_likelier() -> None:
    data = shop.interactions()
    past, trained = Trainings(data, shop.QUICK, seed=1).at(LAST - 28)
    cases = list(list_cases(data, past, cut=LAST - 28, horizon_days=28, max_users=80, seed=1))
    model = trained.serve()
    examples = collect(model, cases, seed=1)
    learned = learn([examples], BlendConfig())

    def likelihood(blend: BlendConfig) -> float:
        served = replace(trained, config=replace(trained.config, blend=blend)).serve()
        total = 0.0
        for case in cases:
            answer = served.recommend(case.purchases, today=case.today, limit=80)
            scores = {one.item_id: one.score for one in answer.items}
            whole = sum(scores.values())
            taken = [scores[served.items.ids[one]] for one in case.truth.tolist()]
            total += float(np.mean(np.log(np.array(taken) / whole)))
        return total / len(cases)

    assert likelihood(learned) > likelihood(BlendConfig())


def test_a_baseline_is_put_in_force_where_it_ranks_better() -> None:
    """Weights that point the wrong way lose to a baseline on every origin."""
    upside_down = BlendConfig(
        again=-50.0, again_discover=0.0, again_recent=0.0, again_steady=0.0, again_times=0.0, again_repeat=0.0
    )
    from recommender import search as module

    data = shop.interactions()
    trainings = Trainings(data, shop.QUICK, seed=1)
    tried = [(trainings.at(LAST - 28)[1], trainings.cases(LAST - 28, horizon_days=28, max_users=60))]
    chosen = module._choose_arms(replace(shop.QUICK, blend=upside_down), tried)
    assert chosen.mixed != "learned"


def test_an_evaluation_can_learn_at_every_origin() -> None:
    table = evaluate(shop.interactions(), shop.QUICK, seed=1, origins=1, search=True, search_origins=2)
    assert table.chosen[0]["mixed"] in get_args(MixedArm)
    assert table.methods["mixed"]["recall"] > 0.9 * table.methods["gp_topfreq"]["recall"]


def test_blend_weights_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(InvalidConfig):
        BlendConfig(ease=float("nan"))
    with pytest.raises(InvalidConfig):
        BlendConfig(mixed="magic")  # type: ignore[arg-type]
    assert len(fields(BlendConfig)) == 22
