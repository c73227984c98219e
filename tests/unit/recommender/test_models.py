"""One suite that every model passes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from recommender.engines import local
from recommender.errors import InvalidConfig
from recommender.history import History
from recommender.interactions import Interactions
from recommender.models import Model
from recommender.models.als import Als, AlsConfig
from recommender.models.ease import Ease, EaseConfig
from recommender.models.item_to_item import ItemToItem, ItemToItemConfig
from recommender.models.personal_frequency import PersonalFrequency, PersonalFrequencyConfig
from recommender.models.popularity import Popularity, PopularityConfig
from recommender.models.tifu_knn import TifuKnn, TifuKnnConfig
from recommender.models.top_frequency import TopFrequency, TopFrequencyConfig
from tests.unit.recommender import shop

Fit = Callable[[Interactions], Model]


def fit_popularity(interactions: Interactions) -> Model:
    return Popularity.fit(interactions, PopularityConfig())


def fit_personal_frequency(interactions: Interactions) -> Model:
    popularity = Popularity.fit(interactions, PopularityConfig()).scores
    return PersonalFrequency.fit(interactions, PersonalFrequencyConfig(), popularity=popularity)


def fit_cosine(interactions: Interactions) -> Model:
    config = ItemToItemConfig(weighting="cosine")
    return ItemToItem.fit(interactions, config, find=local.find_neighbours)


def fit_bm25(interactions: Interactions) -> Model:
    config = ItemToItemConfig(weighting="bm25")
    return ItemToItem.fit(interactions, config, find=local.find_neighbours)


def fit_als(interactions: Interactions) -> Model:
    return Als.fit(interactions, AlsConfig(factors=8, iterations=5), factorise=local.factorise, seed=1)


def fit_ease(interactions: Interactions) -> Model:
    return Ease.fit(interactions, EaseConfig(min_users=1), solve=local.solve_ease)


def fit_top_frequency(interactions: Interactions) -> Model:
    return TopFrequency.fit(interactions, TopFrequencyConfig())


def fit_personal_top_frequency(interactions: Interactions) -> Model:
    return TopFrequency.fit(interactions, TopFrequencyConfig(fill=False))


def fit_tifu_knn(interactions: Interactions) -> Model:
    return TifuKnn.fit(interactions, TifuKnnConfig(neighbours=20))


every_model = pytest.mark.parametrize(
    "fit",
    [
        fit_popularity,
        fit_personal_frequency,
        fit_cosine,
        fit_bm25,
        fit_als,
        fit_ease,
        fit_top_frequency,
        fit_personal_top_frequency,
        fit_tifu_knn,
    ],
)


def one(item_id: str = "only", users: int = 1) -> Interactions:
    ids = [f"u{user}" for user in range(users)]
    return Interactions.from_columns(user_id=ids, item_id=[item_id] * users, day=[5] * users)


@every_model
def test_every_item_gets_one_finite_score(fit: Fit) -> None:
    data = shop.interactions()
    model = fit(data)
    history = History.encode(shop.history_of("u001"), items=data.items, today=data.last_day + 1)
    scores = model.score(history)
    assert scores.shape == (len(data.items),)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


@every_model
def test_an_empty_history_is_scored_without_complaint(fit: Fit) -> None:
    data = shop.interactions()
    scores = fit(data).score(History.empty())
    assert scores.shape == (len(data.items),)
    assert np.isfinite(scores).all()


@every_model
def test_fitting_twice_gives_the_same_arrays(fit: Fit) -> None:
    first, second = fit(shop.interactions()).arrays(), fit(shop.interactions()).arrays()
    assert list(first) == list(second)
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name


@every_model
def test_a_history_is_not_changed_by_being_scored(fit: Fit) -> None:
    data = shop.interactions()
    history = History.encode(shop.history_of("u002"), items=data.items, today=data.last_day)
    before = [np.copy(array) for array in (history.items, history.starts, history.age_days, history.quantity)]
    fit(data).score(history)
    after = (history.items, history.starts, history.age_days, history.quantity)
    for was, array in zip(before, after, strict=True):
        np.testing.assert_array_equal(was, array)


@every_model
def test_a_catalogue_of_one_can_be_fitted_and_scored(fit: Fit) -> None:
    data = one()
    history = History.encode([("only", 5, 1.0)], items=data.items, today=6)
    assert np.isfinite(fit(data).score(history)).all()


@every_model
def test_an_item_bought_by_everyone_breaks_nothing(fit: Fit) -> None:
    lines = [*shop.rows(), *(shop.Row(f"u{user:03d}", "bag", 20_100, 1.0) for user in range(160))]
    data = shop.interactions_of(lines)
    model = fit(data)
    history = History.encode(shop.history_of("u003"), items=data.items, today=data.last_day)
    assert np.isfinite(model.score(history)).all()
    for array in model.arrays().values():
        assert np.isfinite(array).all()


@every_model
def test_a_history_of_fifty_thousand_purchases_is_scored(fit: Fit) -> None:
    data = shop.interactions()
    ids = data.items.ids
    purchases = [(ids[number % len(ids)], 10_000 + number // len(ids), 1.0) for number in range(50_000)]
    history = History.encode(purchases, items=data.items, today=data.last_day)
    assert np.isfinite(fit(data).score(history)).all()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: PopularityConfig(window_days=(7,), window_weights=(1, 2)),
        lambda: PopularityConfig(window_days=(0,), window_weights=(1,)),
        lambda: PopularityConfig(window_days=(7,), window_weights=(0,)),
        lambda: PersonalFrequencyConfig(half_life_days=0),
        lambda: PersonalFrequencyConfig(popularity_weight=-1),
        lambda: PersonalFrequencyConfig(repeat_prior_buyers=0),
        lambda: PersonalFrequencyConfig(due_floor=1.5),
        lambda: ItemToItemConfig(neighbours=0),
        lambda: ItemToItemConfig(weighting="tfidf"),  # type: ignore[arg-type]
        lambda: ItemToItemConfig(half_life_days=-1),
        lambda: AlsConfig(factors=0),
        lambda: AlsConfig(regularization=0),
        lambda: AlsConfig(half_life_days=0),
        lambda: EaseConfig(regularization=0),
        lambda: EaseConfig(neighbours=0),
        lambda: TopFrequencyConfig(tie_window_days=0),
        lambda: TopFrequencyConfig(half_life_days=0),
        lambda: TifuKnnConfig(neighbours=0),
        lambda: TifuKnnConfig(group_decay=0),
    ],
)
def test_settings_out_of_range_are_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(InvalidConfig):
        wrong()


def test_ease_matches_the_closed_form_of_its_paper() -> None:
    data = shop.interactions()
    matrix = local.to_scipy(data.weighted(half_life_days=None), np.float64).toarray() > 0
    gram = matrix.T.astype(np.float64) @ matrix + 50 * np.eye(matrix.shape[1])
    inverse = np.linalg.inv(gram)
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    model = Ease.fit(data, EaseConfig(regularization=50, neighbours=80, min_users=1), solve=local.solve_ease)
    found = np.zeros_like(expected)
    np.put_along_axis(found, model.neighbours.astype(np.intp), model.weights, axis=1)
    np.testing.assert_allclose(found, np.maximum(expected, 0), atol=1e-6)


def test_ease_is_not_fitted_for_a_catalogue_that_is_too_large() -> None:
    model = Ease.fit(shop.interactions(), EaseConfig(max_items=10), solve=local.solve_ease)
    assert not model.fitted
    assert not model.score(
        History.encode(shop.history_of("u001"), items=shop.interactions().items, today=1)
    ).any()


def test_top_frequency_counts_days_and_breaks_ties_by_popularity() -> None:
    lines = [
        *(shop.Row("a", item, day, 1.0) for item, day in [("x", 1), ("x", 2), ("y", 3), ("z", 4)]),
        shop.Row("b", "z", 5, 1.0),
    ]
    data = shop.interactions_of(lines)
    history = History.encode([("x", 1, 1.0), ("x", 2, 9.0), ("y", 3, 1.0)], items=data.items, today=6)
    filled = TopFrequency.fit(data, TopFrequencyConfig()).score(history)
    np.testing.assert_allclose(filled, [2.5, 1.25, 0.5])
    own = TopFrequency.fit(data, TopFrequencyConfig(fill=False)).score(history)
    np.testing.assert_allclose(own, [2.5, 1.25, 0])


def test_tifu_weighs_baskets_and_groups_as_the_paper_does() -> None:
    """Three baskets in groups of two: the group of the oldest holds one, decays 0.9 and 0.7, two groups."""
    lines = [shop.Row("a", item, day, 1.0) for item, day in [("x", 1), ("y", 2), ("x", 3), ("z", 3)]]
    data = shop.interactions_of([*lines, shop.Row("b", "z", 1, 1.0)])
    model = TifuKnn.fit(data, TifuKnnConfig(group_baskets=2, own_share=1.0))
    history = History.encode([(row.item_id, row.day, 1.0) for row in lines], items=data.items, today=4)
    newest, middle, oldest = 1 / 2 / 2, 0.9 / 2 / 2, 0.7 / 2
    np.testing.assert_allclose(model.score(history), [newest + oldest, middle, newest], rtol=1e-6)
    np.testing.assert_allclose(model.vectors.data[:3], [newest + oldest, middle, newest], rtol=1e-6)
