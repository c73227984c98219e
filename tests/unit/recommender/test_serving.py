from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.blending import BlendConfig
from recommender.errors import InvalidRequest
from recommender.history import History
from recommender.models.top_frequency import TopFrequency, TopFrequencyConfig
from recommender.serving import Answer, Mode, Purchase, ServedModel
from tests.unit.recommender import shop

TODAY = shop.FIRST_DAY + shop.DAYS
MODES: list[Mode] = ["mixed", "buy_again", "discover"]
every_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    place = tmp_path_factory.mktemp("models") / "v1"
    shop.trained().write(place, version="v1")
    return ServedModel.open(place)


def ids(answer: Answer) -> list[str]:
    return [one.item_id for one in answer.items]


def test_the_model_says_what_it_is(model: ServedModel) -> None:
    assert model.version == "v1"
    assert len(model.content_hash) == 64
    assert model.trained_from == shop.FIRST_DAY
    assert model.trained_through == TODAY - 1
    assert len(model.items) == 80


@given(
    user=st.integers(0, 159),
    limit=st.integers(0, 100),
    mode=st.sampled_from(MODES),
    exclude=st.lists(st.integers(-3, 79), max_size=60),
    context=st.lists(st.integers(-3, 79), max_size=5),
    hidden=st.sets(st.integers(0, 79), max_size=80),
    policy=st.sampled_from(["model", "baseline"]),
)
def test_no_list_holds_a_duplicate_an_excluded_or_an_unknown_item(
    user: int, limit: int, mode: Mode, exclude: list[int], context: list[int], hidden: set[int], policy: str
) -> None:
    served = shop.trained().serve()
    allowed = np.ones(80, dtype=bool)
    allowed[list(hidden)] = False
    out = [f"sku-{item:03d}" for item in exclude]
    cart = [f"sku-{item:03d}" for item in context]
    answer = served.recommend(
        shop.history_of(f"u{user:03d}"),
        today=TODAY,
        limit=limit,
        mode=mode,
        exclude=out,
        allowed=allowed,
        context_items=cart,
        policy=policy,  # type: ignore[arg-type]
    )
    found = ids(answer)
    assert len(set(found)) == len(found) == min(limit, answer.candidate_count)
    assert not set(found) & {*out, *cart}
    assert all(allowed[served.items.get(one)] for one in found)
    scores = [one.score for one in answer.items]
    assert scores == sorted(scores, reverse=True)
    assert all(np.isfinite(scores))
    assert (answer.fallback == "empty") == (answer.candidate_count == 0)


@pytest.mark.parametrize("policy", ["model", "baseline"])
def test_a_limit_above_the_catalogue_gives_the_catalogue(model: ServedModel, policy: str) -> None:
    answer = model.recommend(
        shop.history_of("u001"),
        today=TODAY,
        limit=10_000,
        policy=policy,  # type: ignore[arg-type]
    )
    assert sorted(ids(answer)) == list(model.items.ids)
    assert answer.candidate_count == 80


def test_a_mixed_list_holds_both_arms_and_says_which(model: ServedModel) -> None:
    history = shop.history_of("u001")
    bought = {item for item, _, _ in history}
    answer = model.recommend(history, today=TODAY, limit=80)
    for one in answer.items:
        assert one.source == ("buy_again" if one.item_id in bought else "discover")
    assert answer.fallback is None
    assert {one.source for one in answer.items[:10]} == {"buy_again", "discover"}


def test_buy_again_gives_only_what_was_bought_and_discover_none_of_it(model: ServedModel) -> None:
    history = shop.history_of("u001")
    bought = {item for item, _, _ in history}
    again = model.recommend(history, today=TODAY, limit=80, mode="buy_again")
    fresh = model.recommend(history, today=TODAY, limit=80, mode="discover")
    assert set(ids(again)) == bought
    assert set(ids(fresh)) == set(model.items.ids) - bought
    assert again.candidate_count == len(bought)


def test_discoveries_are_to_the_buyers_taste(model: ServedModel) -> None:
    answer = model.recommend(shop.history_of("u001"), today=TODAY, limit=8, mode="discover")
    assert all(20 <= int(one.item_id[4:]) < 40 for one in answer.items)
    assert {one.reason_code for one in answer.items} & {"often_bought_with", "like_your_purchases"}


@every_mode
def test_the_next_order_changes_the_next_answer(model: ServedModel, mode: Mode) -> None:
    history = shop.history_of("u001")
    before = model.recommend(history, today=TODAY, limit=20, mode=mode)
    new = model.recommend(history, today=TODAY, limit=1, mode="discover").items[0].item_id
    days = [TODAY - 30, TODAY - 15, TODAY - 3]
    after = model.recommend(
        [*history, *(Purchase(new, day) for day in days)], today=TODAY, limit=20, mode=mode
    )
    assert after != before
    if mode == "discover":
        assert new not in ids(after)
    else:
        assert next(one for one in after.items if one.item_id == new).source == "buy_again"


def test_somebody_the_training_never_saw_is_served_from_a_first_order(model: ServedModel) -> None:
    answer = model.recommend([Purchase("sku-045", TODAY)], today=TODAY, limit=5, mode="discover")
    assert answer.fallback is None
    assert all(40 <= int(one.item_id[4:]) < 60 for one in answer.items)


@every_mode
def test_an_empty_history_gives_popular_items_and_says_so(model: ServedModel, mode: Mode) -> None:
    answer = model.recommend([], today=TODAY, limit=5, mode=mode)
    assert answer.fallback == "popular"
    assert [one.source for one in answer.items] == ["popular"] * 5
    assert [one.reason_code for one in answer.items] == ["popular_now"] * 5
    baseline = model.recommend(shop.history_of("u001"), today=TODAY, limit=5, policy="baseline")
    assert baseline.items == answer.items
    assert baseline.fallback is None


def test_a_history_of_unknown_items_counts_as_empty(model: ServedModel) -> None:
    answer = model.recommend([Purchase("ghost", TODAY), Purchase("sku-001", TODAY, 0)], today=TODAY, limit=3)
    assert answer == model.recommend([], today=TODAY, limit=3)


def test_unknown_items_in_a_history_are_ignored(model: ServedModel) -> None:
    history = shop.history_of("u001")
    with_ghost = model.recommend([*history, Purchase("ghost", TODAY)], today=TODAY, limit=20)
    assert with_ghost == model.recommend(history, today=TODAY, limit=20)


@every_mode
def test_with_nothing_allowed_the_answer_is_empty_in_the_same_shape(model: ServedModel, mode: Mode) -> None:
    nothing = np.zeros(80, dtype=bool)
    for history in ([], shop.history_of("u001")):
        answer = model.recommend(history, today=TODAY, limit=5, mode=mode, allowed=nothing)
        assert answer == Answer((), "empty", 0)
    assert model.related(["sku-001"], limit=5, allowed=nothing) == Answer((), "empty", 0)


def test_when_everything_bought_is_out_of_stock_buy_again_falls_back_to_popular(model: ServedModel) -> None:
    history = shop.history_of("u001")
    allowed = ~model.mask({item for item, _, _ in history})
    answer = model.recommend(history, today=TODAY, limit=5, mode="buy_again", allowed=allowed)
    assert answer.fallback == "popular"
    assert len(answer.items) == 5


def test_masks_act_before_the_cut(model: ServedModel) -> None:
    """Hiding the best ten brings up exactly the next ten: nothing is taken from a list already cut."""
    history = shop.history_of("u001")
    twenty = ids(model.recommend(history, today=TODAY, limit=20))
    hidden = model.recommend(history, today=TODAY, limit=10, allowed=~model.mask(twenty[:10]))
    excluded = model.recommend(history, today=TODAY, limit=10, exclude=twenty[:10])
    assert ids(hidden) == ids(excluded) == twenty[10:]


def test_the_same_question_gets_the_same_answer_in_any_order(model: ServedModel) -> None:
    history = shop.history_of("u001")
    assert model.recommend(history, today=TODAY, limit=80) == model.recommend(
        history[::-1], today=TODAY, limit=80
    )


def test_the_opened_model_answers_as_the_one_in_memory(model: ServedModel) -> None:
    history = shop.history_of("u077")
    assert shop.trained().serve().recommend(history, today=TODAY, limit=80) == model.recommend(
        history, today=TODAY, limit=80
    )


@pytest.mark.parametrize("user", ["u001", "u042", "u087", "u150"])
def test_reasons_are_true(model: ServedModel, user: str) -> None:
    history = shop.history_of(user)
    days: dict[str, list[int]] = {}
    for item, day, _ in history:
        days.setdefault(item, []).append(day)
    buyers: dict[str, set[str]] = {}
    for row in shop.rows():
        buyers.setdefault(row.item_id, set()).add(row.user_id)
    answer = model.recommend(history, today=TODAY, limit=80)
    for one in answer.items:
        taken = sorted(set(days.get(one.item_id, [])))
        if one.reason_code == "usual_interval":
            assert len(taken) >= 3
            assert one.reason_params == {"days": round(float(np.median(np.diff(taken))))}
        elif one.reason_code == "bought_before":
            assert one.reason_params == {"times": len(taken)}
        elif one.reason_code == "often_bought_with":
            because = str(one.reason_params["item_id"])
            assert because in days
            assert len(buyers[because] & buyers[one.item_id]) >= 2
        else:
            assert one.reason_code in {"like_your_purchases", "popular_now", "also_available"}
            assert one.reason_params == {}
    seen = {one.reason_code for one in answer.items}
    assert {"usual_interval", "often_bought_with", "like_your_purchases"} <= seen


def test_only_what_sells_is_called_popular(model: ServedModel) -> None:
    answer = model.recommend([], today=TODAY, limit=80)
    codes = [one.reason_code for one in answer.items]
    assert codes[:20] == ["popular_now"] * 20
    assert set(codes[20:]) == {"also_available"}


def test_a_cart_steers_the_answer_and_is_not_repeated(model: ServedModel) -> None:
    cart = ["sku-062", "sku-066"]
    answer = model.recommend([], today=TODAY, limit=5, context_items=cart)
    assert answer.fallback is None
    assert all(int(one.item_id[4:]) >= 60 for one in answer.items)
    assert not set(ids(answer)) & set(cart)


def test_related_items_are_linked_to_the_basket(model: ServedModel) -> None:
    answer = model.related(["sku-021", "sku-025", "ghost"], limit=5)
    assert answer.fallback is None
    for one in answer.items:
        assert one.reason_code == "often_bought_with"
        assert one.reason_params["item_id"] in {"sku-021", "sku-025"}
        assert one.item_id not in {"sku-021", "sku-025"}


def test_related_items_end_in_popular_ones_and_give_the_whole_catalogue(model: ServedModel) -> None:
    answer = model.related(["sku-021"], limit=500)
    assert sorted(ids(answer)) == sorted(set(model.items.ids) - {"sku-021"})
    assert answer.items[-1].source == "popular"


@pytest.mark.parametrize("basket", [[], ["ghost"]])
def test_related_to_nothing_known_is_popular_and_says_so(model: ServedModel, basket: list[str]) -> None:
    answer = model.related(basket, limit=3)
    assert answer.fallback == "popular"
    assert answer.items == model.recommend([], today=TODAY, limit=3).items


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": -1},
        {"diversity": 1.5},
        {"cap": 1},
        {"cap": 0, "groups": np.zeros(80, np.int32)},
        {"groups": np.zeros(79, np.int32)},
        {"mode": "everything"},
        {"policy": "magic"},
        {"allowed": np.ones(79, dtype=bool)},
        {"allowed": np.ones(80, dtype=np.int8)},
    ],
)
def test_a_request_that_makes_no_sense_is_refused(model: ServedModel, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        model.recommend([], **{"today": TODAY, "limit": 5, **wrong})  # type: ignore[arg-type]


def test_answering_leaves_the_model_and_the_arguments_alone(model: ServedModel) -> None:
    arrays = {name: np.copy(array) for name, array in shop.trained().arrays.items()}
    served = shop.trained().serve()
    allowed = np.ones(80, dtype=bool)
    allowed[3] = False
    history = shop.history_of("u001")
    for mode in MODES:
        served.recommend(history, today=TODAY, limit=5, mode=mode, allowed=allowed, exclude=["sku-001"])
    served.related(["sku-021"], limit=5, allowed=allowed)
    assert history == shop.history_of("u001")
    assert allowed.sum() == 79
    for name, array in shop.trained().arrays.items():
        np.testing.assert_array_equal(array, arrays[name])


def test_a_model_of_another_catalogue_can_be_told(model: ServedModel) -> None:
    assert model.known_share(["sku-001", "sku-002"]) == 1
    assert model.known_share(["sku-001", "other"]) == 0.5
    assert model.known_share([]) == 0


def test_parts_without_weight_are_not_asked() -> None:
    trained = shop.trained()
    blend = BlendConfig(als=0, item_to_item=0, ease=0, again_ease=0)
    only_popular = replace(trained, config=replace(trained.config, blend=blend)).serve()
    answer = only_popular.recommend(shop.history_of("u001"), today=TODAY, limit=3, mode="discover")
    assert {one.reason_code for one in answer.items} <= {"popular_now", "also_available"}


def test_a_baseline_in_force_is_served_exactly() -> None:
    """Takings filled with 28-day popularity, and popularity of what was never taken."""
    trained = shop.trained()
    blend = BlendConfig(mixed="top_frequency", discover="popularity")
    model = replace(trained, config=replace(trained.config, blend=blend)).serve()
    history = shop.history_of("u001")
    data = shop.interactions()
    own = TopFrequency.fit(data, TopFrequencyConfig()).score(
        History.encode(history, items=data.items, today=TODAY)
    )
    expected = [data.items.ids[one] for one in np.argsort(-own, kind="stable")]
    assert ids(model.recommend(history, today=TODAY, limit=80)) == expected
    bought = {item for item, _, _ in history}
    by_popularity = [one for one in ids(model.recommend([], today=TODAY, limit=80)) if one not in bought]
    assert ids(model.recommend(history, today=TODAY, limit=80, mode="discover")) == by_popularity


@every_mode
def test_no_diversity_is_exact_score_order_and_more_is_more_varied(model: ServedModel, mode: Mode) -> None:
    history = shop.history_of("u001")
    plain = model.recommend(history, today=TODAY, limit=8, mode=mode)
    assert model.recommend(history, today=TODAY, limit=8, mode=mode, diversity=0.0) == plain
    varied = model.recommend(history, today=TODAY, limit=8, mode=mode, diversity=1.0)
    assert len(set(ids(varied))) == len(varied.items)
    assert varied.items[0] == plain.items[0]

    vectors = model.als.item_factors[[model.items.get(one) for one in ids(varied)]]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = np.maximum(unit @ unit.T, 0)
    for place in range(1, len(likeness)):
        # Nothing that stands further down would have been less like what stands above.
        closest = likeness[place:, :place].max(axis=1)
        assert closest[0] <= closest.min() + 1e-6


@every_mode
def test_no_more_than_the_cap_comes_from_one_category(model: ServedModel, mode: Mode) -> None:
    groups = (np.arange(80) // 5).astype(np.int32)
    groups[:10] = -1
    history = shop.history_of("u001")
    capped = model.recommend(history, today=TODAY, limit=30, mode=mode, groups=groups, cap=1)
    counted = [groups[model.items.get(one)] for one in ids(capped)]
    assert max(counted.count(group) for group in counted if group >= 0) == 1
    free = ids(model.recommend(history, today=TODAY, limit=80, mode=mode))
    seen: set[int] = set()
    expected = []
    for one in free:
        group = int(groups[model.items.get(one)])
        if group < 0 or group not in seen:
            expected.append(one)
            seen.add(group)
    assert ids(capped) == expected[:30]


def test_fresh_popularity_moves_the_lists_and_leaves_the_old_model_alone(model: ServedModel) -> None:
    before = model.recommend([], today=TODAY, limit=5)
    counts = model.blend.facts.counts.copy()
    counts[:, model.items.get("sku-079")] = 1e6
    fresh = model.refreshed(counts, through_day=TODAY)
    assert fresh.recommend([], today=TODAY, limit=5).items[0].item_id == "sku-079"
    assert model.recommend([], today=TODAY, limit=5) == before
    with pytest.raises(InvalidRequest):
        model.refreshed(counts[:2], through_day=TODAY)


def test_what_nobody_took_in_four_weeks_is_not_called_popular_now(model: ServedModel) -> None:
    counts = model.blend.facts.counts.copy()
    counts[:2] = 0
    counts[:2, model.items.get("sku-079")] = 1
    answer = model.refreshed(counts, through_day=TODAY).recommend([], today=TODAY, limit=5)
    codes = [one.reason_code for one in answer.items]
    assert answer.items[0].item_id == "sku-079"
    assert codes == ["popular_now", *["also_available"] * 4]


def test_an_item_just_bought_is_held_back_and_one_that_is_due_comes_forward(model: ServedModel) -> None:
    days = [TODAY - 90, TODAY - 60, TODAY - 30]
    due = [Purchase("sku-021", day) for day in days]
    rival = [Purchase("sku-022", day) for day in days]
    again = model.recommend(
        [*due, *rival, Purchase("sku-021", TODAY)], today=TODAY, limit=2, mode="buy_again"
    )
    assert ids(again)[0] == "sku-022"


def test_a_history_of_fifty_thousand_purchases_is_answered(model: ServedModel) -> None:
    many = [Purchase(f"sku-{number % 80:03d}", TODAY - number // 80) for number in range(50_000)]
    answer = model.recommend(many, today=TODAY, limit=10)
    assert len(answer.items) == 10
    assert model.recommend(many, today=TODAY, limit=5, mode="discover").fallback == "empty"


def test_a_model_can_be_opened_by_its_path_as_text(tmp_path: Path) -> None:
    shop.trained().write(str(tmp_path / "v9"), version="v9")
    assert ServedModel.open(str(tmp_path / "v9")).version == "v9"


def test_right_after_a_purchase_an_item_stands_lower_than_the_days_after(model: ServedModel) -> None:
    """It fades from day to day, and yet has more to say the day after than on the day itself."""
    item = "sku-001"
    scores = [
        model.score(History.encode([(item, TODAY - age, 1.0)], items=model.items, today=TODAY))[
            model.items.get(item)
        ]
        for age in (0, 1, 2)
    ]
    assert scores[1] > scores[2] > scores[0]
