"""Whatever serving saves itself, its lists are those of the definition: items, order, scores and reasons."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.drawn_model import draw_model
from recommender.arms import same_order
from recommender.blending import BlendConfig
from recommender.history import History
from recommender.ranker import Ranker
from recommender.ranking import OUT, best
from recommender.serving import Answer, Mode, ServedModel
from recommender.training import TrainedModel, train
from tests.conftest import SCALE
from tests.unit.recommender import shop
from tests.unit.recommender.plain_ranking import Plain

TODAY = shop.FIRST_DAY + shop.DAYS
KINDS = ("viewed", "carted", "wished")
LEANING = BlendConfig(viewed=2.0, wanted=3.0, like_viewed=0.5, again_discover=0.7)
DRAWN = 9_000


@cache
def trained(name: str) -> tuple[TrainedModel, ServedModel]:
    """Small shops of every kind: with EASE and without, leaning on looks, large enough for every shortcut."""
    if name in ("drawn", "uneven"):
        made = draw_model([f"sku-{item:04d}" for item in range(DRAWN)], through_day=TODAY - 1)
        made = replace(made, config=replace(made.config, blend=LEANING))
    else:
        made = shop.trained()
    if name == "uneven":
        # As in a shop: what many take has long factors, what few take short ones. What goes with the history
        # comes up from far behind, and what was taken falls.
        length = np.random.default_rng(2).pareto(2.0, (DRAWN, 1)).astype(np.float32)
        factors = made.arrays["als_item_factors"] * length
        blend = replace(LEANING, item_to_item=1.5, popular_28d=0.3, again=-3.0)
        made = replace(
            made,
            config=replace(made.config, blend=blend),
            arrays={**made.arrays, "als_item_factors": factors, "als_gram": factors.T @ factors},
        )
    if name == "leaning":
        made = replace(made, config=replace(made.config, blend=LEANING))
    if name == "without_ease":
        nothing = {
            "ease_neighbours": np.zeros((80, 0), np.int32),
            "ease_weights": np.zeros((80, 0), np.float32),
        }
        made = replace(made, arrays={**made.arrays, **nothing})
    if name == "tiny":
        few = [row for row in shop.rows() if row.item_id < "sku-003"]
        made = train(shop.interactions_of(few), shop.QUICK, seed=1)
    return made, made.serve()


@st.composite
def questions(draw: st.DrawFn, items: int) -> dict[str, Any]:
    """A history with repeats, unknown items and days to come; a cart, looks and masks."""
    seed = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    width = 4 if items > 1_000 else 3

    def some(most: int) -> list[str]:
        # Rather the popular ones, as people do; above the last are some that nobody knows.
        drawn = (seed.random(int(seed.integers(0, most + 1))) ** 3 * (items + 2)).astype(int)
        return [f"sku-{item:0{width}d}" for item in drawn.tolist()]

    own = some(draw(st.sampled_from([0, 2, 12, 120])))
    history = [
        (item, TODAY + 1 - int(seed.integers(0, 200)), float(seed.integers(0, 3)))
        for item in own
        for _ in range(int(seed.integers(1, 5)))
    ]
    looks = [
        (item, TODAY + 0.5 - float(seed.uniform(-0.2, 40)), KINDS[int(seed.integers(0, 3))])
        for item in [*some(6), *own[:2]]
    ]
    return {
        "history": history,
        "context_items": some(draw(st.sampled_from([0, 0, 4]))),
        "looks": looks if draw(st.booleans()) else [],
        "exclude": some(draw(st.sampled_from([0, 5, items]))),
        "allowed": seed.random(items) < draw(st.sampled_from([0.02, 0.5, 0.95, 1.0])),
        "limit": draw(st.sampled_from([0, 1, 10, 60, 4_000])),
        "mode": draw(st.sampled_from(["mixed", "buy_again", "discover"])),
    }


def ask(model: ServedModel, question: dict[str, Any], **more: Any) -> Answer:
    return model.recommend(**question, today=TODAY, now=TODAY + 0.5, **more)


def expect(made: TrainedModel, question: dict[str, Any], mode: Mode) -> Plain:
    arrays, looks = made.arrays, question["looks"]
    text, offsets = arrays["items_text"].tobytes().decode(), arrays["items_offsets"].tolist()
    return Plain(
        arrays,
        made.config,
        ids=[text[start:end] for start, end in pairwise(offsets)],
        through_day=made.trained_through,
        history=question["history"],
        today=TODAY,
        mode=mode,
        context=question["context_items"],
        looks=looks,
        now=TODAY + 0.5,
    )


def ids(answer: Answer) -> list[str]:
    return [one.item_id for one in answer.items]


def masked(plain: Plain, scores: np.ndarray[Any, Any], question: dict[str, Any]) -> np.ndarray[Any, Any]:
    left = scores.astype(float)
    left[~question["allowed"]] = -np.inf
    for item in (*question["exclude"], *question["context_items"]):
        if item in plain.position:
            left[plain.position[item]] = -np.inf
    return left


def compare(answer: Answer, plain: Plain, question: dict[str, Any], scores: np.ndarray[Any, Any]) -> None:
    """The list is the best of `scores`, and each item's score and reason are its own."""
    left = masked(plain, scores, question)
    candidates = int(np.isfinite(left).sum())
    if not candidates and question["mode"] == "buy_again":
        assert answer.fallback in ("popular", "empty")
        return
    assert answer.candidate_count == candidates
    assert answer.fallback == (None if candidates else "empty")
    found = [plain.position[one.item_id] for one in answer.items]
    assert len(set(found)) == len(found) == min(question["limit"], candidates)
    highest = scores.max(initial=-np.inf)
    np.testing.assert_allclose([one.score for one in answer.items], np.exp(left[found] - highest), rtol=1e-5)
    # Only what differs by less than rounding may stand in another order.
    assert (np.diff(left[found]) <= 2e-6).all()
    rest = np.delete(left, found)
    if found and len(rest):
        assert left[found[-1]] >= rest.max() - 2e-6
    for item, one in zip(found, answer.items, strict=True):
        assert (one.reason_code, one.reason_params) == plain.reason(item)
        assert one.source == ("buy_again" if item in plain.days else "discover")


@pytest.mark.parametrize("name", ["plain", "leaning", "without_ease", "tiny", "drawn", "uneven"])
def test_a_list_is_what_its_definition_says(name: str) -> None:
    made, model = trained(name)

    @given(question=questions(len(model.items)))
    def holds(question: dict[str, Any]) -> None:
        answer = ask(model, question)
        plain = expect(made, question, question["mode"])
        if not plain.taken and (question["mode"] == "buy_again" or not (plain.context or plain.looked)):
            assert answer.fallback == "popular" or not answer.candidate_count
            assert answer.items == ask(model, question, policy="baseline").items
        else:
            compare(answer, plain, question, plain.scores)

    holds()


def test_the_few_items_that_are_looked_at_give_the_list_of_all() -> None:
    _, model = trained("uneven")
    few = Ranker.of(model.blend, model.popularity.scores)
    whole = copy(model)
    told: list[bool] = []
    whole._ranker = replace(few, front=None)
    assert few.front is not None

    @settings(max_examples=300 * SCALE)
    @given(question=questions(DRAWN))
    def holds(question: dict[str, Any]) -> None:
        question["limit"], question["mode"] = min(question["limit"], 60), "mixed"
        found, expected = ask(model, question), ask(whole, question)
        assert (found.fallback, found.candidate_count) == (expected.fallback, expected.candidate_count)
        for one, other in zip(found.items, expected.items, strict=True):
            assert one.score == pytest.approx(other.score, rel=1e-5)
            # Of two that differ by rounding alone either may come first.
            assert one._replace(score=0) == other._replace(score=0) or one.item_id != other.item_id
        order = [ids(found), ids(expected)]
        assert order[0] == order[1] or sorted(order[0]) == sorted(order[1])
        history = History.encode(question["history"], items=model.items, today=TODAY)
        person = model.blend.person(history)
        told.append(person is not None and few.front is not None and few.front.taste(person) is not None)

    holds()
    # Or this would say nothing of the shortcut.
    assert sum(told) >= 100 * SCALE


@given(question=questions(80))
def test_the_baseline_is_what_most_took(question: dict[str, Any]) -> None:
    made, model = trained("plain")
    answer = ask(model, question, policy="baseline")
    plain = expect(made, question, "mixed")
    left = masked(plain, made.arrays["popularity_scores"], question)
    best_first = [item for item in np.argsort(-left, kind="stable") if np.isfinite(left[item])]
    assert [plain.position[one.item_id] for one in answer.items] == best_first[: question["limit"]]
    assert answer.candidate_count == len(best_first)
    assert [one.score for one in answer.items] == left[best_first[: question["limit"]]].tolist()


@pytest.mark.parametrize("arm", ["als", "item_to_item", "popularity_28d", "top_frequency"])
def test_a_baseline_in_the_place_of_the_blend_ranks_by_its_own_scores(arm: str) -> None:
    made, _ = trained("plain")
    blend = replace(made.config.blend, mixed=cast(Any, arm))
    made = replace(made, config=replace(made.config, blend=blend))
    model = made.serve()

    @given(question=questions(80))
    def holds(question: dict[str, Any]) -> None:
        question["mode"] = "mixed"
        plain = expect(made, question, "mixed")
        if not plain.taken:
            return
        counts = made.arrays["popularity_counts"][1].astype(float)
        if arm == "als":
            scores = plain.tastes()
        elif arm == "item_to_item":
            scores = plain.spread_history()
        elif arm == "popularity_28d":
            scores = counts
        else:
            scores = 0.5 * counts / counts.max() + plain.times()
        compare(ask(model, question), plain, question, same_order(scores.astype(np.float32)).astype(float))

    holds()


@given(
    size=st.sampled_from([1, 5, 511, 2_047, 2_048, 5_000]),
    number=st.integers(0, 600),
    kinds=st.sampled_from([1, 3, 50, 10**6]),
    out=st.sampled_from([0.0, 0.5, 0.999]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_best_of_a_vector_are_those_of_sorting_it_whole(
    size: int, number: int, kinds: int, out: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(0, kinds, size).astype(np.float32)
    scores[random.random(size) < out] = OUT
    sorted_whole = [item for item in np.argsort(-scores, kind="stable") if scores[item] > OUT]
    found, count = best(scores.copy(), number, None, np.zeros(0, np.int32))
    assert found.tolist() == sorted_whole[:number]
    assert count == len(sorted_whole)
