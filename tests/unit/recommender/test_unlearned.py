"""Items that came after the training: ranked by what is known of them, and the learned ones as before."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.idmap import IdMap
from recommender.lists import list_looks
from recommender.refreshing import Refreshed
from recommender.serving import ServedModel
from recommender.statistics import Statistics, Takings
from recommender.training import TrainedModel
from tests.conftest import SCALE
from tests.unit.recommender.test_plain_ranking import TODAY, ask, compare, expect, ids, questions, trained

NEW = ("tea-1", "tea-2", "tea-3")


@cache
def grown(name: str) -> tuple[TrainedModel, ServedModel]:
    """A training with three items more, as if it had met them just now, and the model that was given them."""
    made, model = trained(name)
    arrays = dict(made.arrays)
    count = len(model.items)
    text, offsets = IdMap.from_ids([*model.items.ids, *NEW]).to_arrays()
    fresh = np.random.default_rng(5).integers(0, 9, (3, 3)).astype(np.float32)
    fresh[2] += 1
    arrays |= {"items_text": text, "items_offsets": offsets}
    counts = np.concatenate([arrays["popularity_counts"], fresh], axis=1)
    given_more = model.with_items(NEW).refreshed(counts, through_day=made.trained_through)
    own = np.repeat(np.arange(count, count + 3, dtype=np.int32)[:, None], 200, axis=1)
    arrays["popularity_counts"] = counts
    arrays["popularity_scores"] = given_more.popularity.scores
    arrays["item_first_day"] = np.append(arrays["item_first_day"], [made.trained_through + 1] * 3)
    for array, near in (("als_item_factors", False), ("item_neighbours", True), ("ease_neighbours", True)):
        held = arrays[array]
        more = own[:, : held.shape[1]] if near else np.zeros((3, held.shape[1]), np.float32)
        arrays[array] = np.concatenate([held, more])
    for array in ("item_similarities", "ease_weights"):
        arrays[array] = np.pad(arrays[array], ((0, 3), (0, 0)))
    arrays["popularity_14d"] = np.pad(arrays["popularity_14d"], (0, 3))
    facts, personal = given_more.blend.facts, given_more.personal_frequency
    arrays["repeat_probability"], arrays["repeat_gate"] = facts.repeat_probability, personal.gate
    arrays["repeat_gap_days"] = personal.gap_days
    return replace(made, arrays=arrays), given_more


@pytest.mark.parametrize("name", ["leaning", "without_ease", "uneven"])
def test_a_list_with_items_of_after_the_training_is_what_its_definition_says(name: str) -> None:
    made, model = grown(name)
    count = len(model.items)

    @settings(max_examples=20 * SCALE)
    @given(question=questions(count), touched=st.lists(st.sampled_from(NEW), max_size=3))
    def holds(question: dict[str, Any], touched: list[str]) -> None:
        question["history"] += [(item, TODAY - 3 - place, 1.0) for place, item in enumerate(touched)]
        question["looks"] += [(item, TODAY - 1.0, "viewed") for item in touched[:1]]
        question["context_items"] += touched[:1]
        answer, plain = ask(model, question), expect(made, question, question["mode"])
        if not plain.taken and (question["mode"] == "buy_again" or not (plain.context or plain.looked)):
            assert answer.items == ask(model, question, policy="baseline").items
        else:
            compare(answer, plain, question, plain.scores)

    holds()


@pytest.mark.parametrize("mode", ["mixed", "discover"])
@pytest.mark.parametrize("policy", ["model", "baseline"])
@pytest.mark.parametrize("arm", ["learned", "als", "popularity_7d", "item_to_item", "ease"])
def test_what_nobody_took_stands_behind_everything_and_makes_the_catalogue_whole(
    mode: Any, policy: Any, arm: Any
) -> None:
    made, _ = trained("leaning")
    blend = replace(made.config.blend, mixed=arm, discover=arm)
    model = replace(made, config=replace(made.config, blend=blend)).serve()
    more = model.with_items(NEW)
    for history in ([], [("sku-021", TODAY - 20, 1.0), ("sku-022", TODAY - 9, 1.0)]):
        asked = {"today": TODAY, "mode": mode, "policy": policy}
        before, after = (one.recommend(history, limit=500, **asked) for one in (model, more))
        assert after.items[: len(before.items)] == before.items
        assert ids(after)[len(before.items) :] == list(NEW)
        assert {one.reason_code for one in after.items[len(before.items) :]} == {"also_available"}
        assert more.recommend(history, limit=5, diversity=0.0, **asked).items == before.items[:5]
        varied = more.recommend(history, limit=83, diversity=0.5, **asked)
        assert len(set(ids(varied))) == len(after.items)
    assert len(model.items) == 80
    assert np.shares_memory(more.als.item_factors, model.als.item_factors)
    assert model.with_items(["sku-021"]) is model


def test_what_came_after_the_training_is_bought_again_looked_at_and_popular() -> None:
    _, model = trained("leaning")
    more = model.with_items(NEW).with_items(["tea-4", "tea-2"])
    again = more.recommend([("tea-4", TODAY - 30, 1.0)], today=TODAY, limit=5, mode="buy_again")
    assert ids(again) == ["tea-4"]
    looked = list_looks(more, [("tea-2", TODAY - 0.5, "viewed")], now=TODAY, limit=5)
    assert [(one.item_id, one.reason_code) for one in looked.items] == [("tea-2", "looked_at")]
    assert more.related(["tea-1"], limit=3).fallback == "popular"
    rush = Takings.of(range(400), [9] * 400, [TODAY - 1] * 400)
    keys = np.zeros(len(more.items), np.int64)
    keys[more.items.get("tea-2")] = 9
    fresh = Refreshed.of(more, Statistics.of(rush, through_day=TODAY).figures(), keys).model
    answer = fresh.recommend([], today=TODAY, limit=1)
    assert [(one.item_id, one.reason_code) for one in answer.items] == [("tea-2", "popular_now")]
    assert fresh.blend.facts.fortnight.sum() == 400
