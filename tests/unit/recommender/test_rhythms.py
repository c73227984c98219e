"""Shops of other rhythms: from its defaults, the mixed list is not below the best baseline beyond chance."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from recommender.arms import SERVED_AS
from recommender.blending import BlendConfig
from recommender.evaluation import BASELINES, Evaluation, evaluate
from recommender.gate import figures_of, settle
from recommender.search import search
from tests.conftest import SCALE
from tests.unit.recommender import rhythms, shop


@cache
def measured(name: str) -> Evaluation:
    """Learn and measure one shop with every setting at its default, on fewer origins than a real one."""
    # Of those who come once hardly anybody can be measured.
    users = 300 if name == "one_time_buyers" else 150
    data = rhythms.interactions(name, users=users * min(SCALE, 8), items=60 * min(SCALE, 4))
    return evaluate(data, seed=1, origins=2, search=True, search_origins=2)


@pytest.mark.parametrize("name", [name for name in rhythms.SHOPS if name != "full_baskets"])
def test_no_baseline_is_above_the_mixed_list_beyond_chance(name: str) -> None:
    table = measured(name)
    gaps = table.differences["mixed"]
    best = max(table.baselines, key=lambda one: table.baselines[one]["recall"])
    assert set(table.baselines) == set(BASELINES)
    assert gaps[best]["high"] >= 0, (best, gaps[best], table.chosen)


def test_on_full_baskets_what_found_more_is_served() -> None:
    """Right after a purchase an item is quiet: where everything is taken every week that costs a little."""
    table = measured("full_baskets")
    served = figures_of(table, settle(table, BlendConfig()))
    assert served is not None
    servable = [name for name in SERVED_AS.values() if name in table.methods and name not in table.unserved]
    rivals = [table.methods[name]["recall"] for name in servable]
    assert served["recall"] >= max(rivals)
    assert table.candidate["recall"] > max(rivals) - 0.006


def test_what_is_used_up_is_offered_again_when_it_is_due() -> None:
    table = measured("replenishment")
    assert table.differences["mixed"]["gp_topfreq_all"]["low"] > 0.03
    assert table.differences["mixed"]["repeat_popularity"]["low"] > 0.03


def test_where_tastes_drift_the_list_follows_them() -> None:
    assert measured("drifting_tastes").differences["mixed"]["gp_topfreq_all"]["low"] > 0


def test_where_nothing_is_taken_twice_the_list_holds_new_things() -> None:
    table = measured("durable_goods")
    assert table.candidate["explore_recall"] > 2 * table.methods["repeat_popularity"]["explore_recall"]
    assert table.differences["mixed"]["gp_topfreq"]["low"] > 0


def test_a_shop_where_nobody_takes_anything_new_can_be_learned_from() -> None:
    lines = [
        shop.Row(f"u{user}", f"i{(user + number) % 9}", shop.FIRST_DAY + day, 1.0)
        for user in range(40)
        for number in range(4)
        for day in range(user % 7, 140, 7 * (number + 1))
    ]
    found = search(shop.interactions_of(lines), shop.QUICK, seed=1, origins=3)
    assert np.isfinite(found.blend.weights(("again", "again_times", "popular_28d"))).all()
