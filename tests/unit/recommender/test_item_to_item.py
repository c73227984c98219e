from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.engines import local
from recommender.history import History
from recommender.interactions import Interactions
from recommender.models.als import AlsConfig
from recommender.models.item_to_item import ItemToItem, ItemToItemConfig, Weighting
from recommender.training import TrainingConfig, train
from tests.unit.recommender import shop


def baskets(*owned: str) -> Interactions:
    """Give one user per word, owning one item per letter."""
    pairs = [(f"u{number}", letter) for number, word in enumerate(owned) for letter in word]
    user_id, item_id = zip(*pairs, strict=True)
    return Interactions.from_columns(user_id=user_id, item_id=item_id, day=[1] * len(pairs))


def fit(data: Interactions, **settings: object) -> ItemToItem:
    config = ItemToItemConfig(**{"weighting": "cosine", "min_common_users": 1, **settings})  # type: ignore[arg-type]
    return ItemToItem.fit(data, config, find=local.find_neighbours)


def test_cosine_with_shrinkage_matches_the_formula() -> None:
    data = baskets("ab", "ab", "ac", "b", "c", "c")
    model = fit(data, shrinkage=2.0)
    owners = {"a": 3, "b": 3, "c": 3}
    common = {frozenset("ab"): 2, frozenset("ac"): 1}
    expected = {
        (one, other): both / np.sqrt(owners[one] * owners[other]) * both / (both + 2.0)
        for one, other in permutations("abc", 2)
        if (both := common.get(frozenset((one, other)), 0))
    }
    found = {
        (data.items.ids[item], data.items.ids[near]): value
        for item in range(3)
        for near, value in zip(
            model.neighbours[item].tolist(), model.similarities[item].tolist(), strict=True
        )
        if value
    }
    assert found == pytest.approx(expected)


def test_few_common_users_make_strangers() -> None:
    data = baskets("ab", "ac", "ac", "b", "c")
    model = fit(data, min_common_users=2, shrinkage=0)
    assert model.neighbours[data.items.get("a"), 0] == data.items.get("c")
    assert model.similarities[data.items.get("b")].tolist() == [0, 0, 0]


@pytest.mark.parametrize("weighting", ["cosine", "bm25"])
def test_common_users_are_counted_exactly(weighting: Weighting) -> None:
    data = shop.interactions()
    ones = data.weighted(half_life_days=None)
    dense = np.zeros(ones.shape)
    dense[np.repeat(np.arange(ones.shape[0]), np.diff(ones.indptr)), ones.indices] = 1
    common = dense.T @ dense
    model = fit(data, weighting=weighting, min_common_users=8)
    item, place = np.nonzero(model.similarities)
    assert len(item)
    assert common[item, model.neighbours[item, place]].min() >= 8


@pytest.mark.parametrize("weighting", ["cosine", "bm25"])
def test_rows_are_padded_with_the_item_itself_at_zero(weighting: Weighting) -> None:
    data = shop.interactions()
    model = fit(data, weighting=weighting, neighbours=79, min_common_users=2)
    count = len(data.items)
    assert model.neighbours.shape == model.similarities.shape == (count, 79)
    assert model.neighbours.min() >= 0
    assert model.neighbours.max() < count
    own = model.neighbours == np.arange(count)[:, None]
    assert (model.similarities[own] == 0).all()
    assert own.any()
    assert (np.diff(model.similarities, axis=1) <= 0).all()
    for row, values in zip(model.neighbours, model.similarities, strict=True):
        real = row[values > 0].tolist()
        assert len(set(real)) == len(real)


def test_scores_add_up_over_the_history_and_fade() -> None:
    data = baskets("ab", "ab", "cb", "cb", "d")
    model = fit(data, shrinkage=0, half_life_days=10)
    history = History.encode([("a", 0, 1.0), ("c", 10, 1.0)], items=data.items, today=10)
    scores = model.score(history)
    b, near = data.items.get("b"), 2 / np.sqrt(2 * 4)
    assert scores[b] == pytest.approx(near * 0.5 + near)
    assert scores[data.items.get("d")] == 0


def test_the_strongest_link_names_what_speaks_for_an_item() -> None:
    data = baskets("ab", "ab", "ab", "cb", "d")
    model = fit(data, shrinkage=0)
    a, b, c, d = range(4)
    items = np.array([a, c], dtype=np.int32)
    assert model.spread(items, np.ones(2)).strongest(np.array([b, d])) == {b: a}
    assert model.spread(items, np.array([0.1, 1.0])).strongest(np.array([b])) == {b: c}
    assert model.spread(items, np.ones(2)).strongest(np.array([], dtype=np.intp)) == {}


@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(100, 106)), min_size=8))
def test_onward_counts_who_took_the_neighbour_with_the_item_or_after_it(
    rows: set[tuple[int, int, int]],
) -> None:
    user, item, day = zip(*sorted(rows), strict=True)
    past = Interactions.from_columns(user_id=user, item_id=item, day=day)
    config = ItemToItemConfig(min_common_users=1, neighbours=3)
    near = ItemToItem.fit(past, config, find=local.find_neighbours)
    assert near.onward is not None
    days = {
        (who, what): [one[2] for one in rows if (str(one[0]), str(one[1])) == (who, what)]
        for who in past.users.ids
        for what in past.items.ids
    }
    for place, one in enumerate(past.items.ids):
        for rank, neighbour in enumerate(near.neighbours[place].tolist()):
            if not near.similarities[place, rank]:
                continue
            pairs = [(days[who, one], days[who, past.items.ids[neighbour]]) for who in past.users.ids]
            took_both = [(mine, theirs) for mine, theirs in pairs if mine and theirs]
            onward = sum(max(theirs) >= min(mine) for mine, theirs in took_both)
            assert near.onward[place, rank] == pytest.approx((onward + 1) / (len(took_both) + 1))


def test_what_is_taken_before_an_item_is_not_related_to_it_as_what_comes_after_is() -> None:
    lines = [("rest", item, 50) for item in ("tea", "cup")]
    for number in range(45):
        lines += [(f"u{number}", "phone", 100 + number), (f"u{number}", "case", 107 + number)]
        if number < 20:
            lines.append((f"u{number}", "strap", 107 + number))
        lines.append((f"u{number}", f"other-{number % 7}", 90))
    user, item, day = zip(*lines, strict=True)
    past = Interactions.from_columns(user_id=user, item_id=item, day=day)
    made = train(past, TrainingConfig(als=AlsConfig(factors=4, iterations=2)), seed=1)
    model = made.serve()
    assert [one.item_id for one in model.related(["phone"], limit=2).items] == ["case", "strap"]
    of_case = model.related(["case"], limit=1).items[0]
    assert (of_case.item_id, of_case.reason_params) == ("strap", {"item_id": "case"})
    # As an artefact of before, which tells nothing of the order.
    plain = {name: array for name, array in made.arrays.items() if name != "item_onward"}
    older = replace(made, arrays=plain).serve()
    assert [one.item_id for one in older.related(["case"], limit=1).items] == ["phone"]
