"""A baseline in force is served exactly as it was measured: the same items in the same order."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from recommender.arms import DISCOVER_AS, SERVED_AS, same_order
from recommender.baselines import BASELINES, DISCOVERERS, Scorers, fit_baselines
from recommender.blending import BlendConfig, DiscoverArm, MixedArm
from recommender.history import History
from recommender.metrics import top_positions
from recommender.models.ease import EaseConfig
from recommender.serving import Mode, ServedModel
from recommender.training import train
from tests.unit.recommender import shop

TODAY = shop.FIRST_DAY + shop.DAYS
USERS = ("u001", "u002", "u077")


@cache
def fitted() -> Scorers:
    return fit_baselines(shop.interactions(), shop.trained().serve())


def in_force(blend: BlendConfig) -> ServedModel:
    trained = shop.trained()
    return replace(trained, config=replace(trained.config, blend=blend)).serve()


def served(model: ServedModel, user: str, mode: Mode) -> list[str]:
    answer = model.recommend(shop.history_of(user), today=TODAY, limit=20, mode=mode)
    return [one.item_id for one in answer.items]


def measured(name: str, user: str, mode: Mode) -> list[str]:
    """Rank as the evaluation does."""
    data = shop.interactions()
    history = History.encode(shop.history_of(user), items=data.items, today=TODAY)
    table = fitted().methods if mode == "mixed" else fitted().discover
    scores = table[name](history).astype(np.float32)
    if mode == "discover":
        scores[history.items] = -np.inf
    return [data.items.ids[one] for one in top_positions(scores, 20)]


@pytest.mark.parametrize(("arm", "name"), SERVED_AS.items())
def test_the_mixed_list_of_a_baseline_in_force_is_the_baselines_own(arm: MixedArm, name: str) -> None:
    model = in_force(BlendConfig(mixed=arm))
    for user in USERS:
        assert served(model, user, "mixed") == measured(name, user, "mixed")


@pytest.mark.parametrize(("arm", "name"), DISCOVER_AS.items())
def test_the_new_items_of_a_baseline_in_force_are_the_baselines_own(arm: DiscoverArm, name: str) -> None:
    model = in_force(BlendConfig(discover=arm))
    for user in USERS:
        assert served(model, user, "discover") == measured(name, user, "discover")


def test_personal_frequency_is_the_beginning_of_what_fills_it() -> None:
    """P-TopFreq has no arm of its own: GP-TopFreq gives its list, and goes on where it ends."""
    model = in_force(BlendConfig(mixed="top_frequency"))
    for user in USERS:
        own = measured("personal_frequency", user, "mixed")
        assert own
        assert served(model, user, "mixed")[: len(own)] == own


def test_only_what_cannot_be_asked_at_page_speed_or_is_not_in_the_artefact_is_unserved() -> None:
    everything = {*BASELINES, *DISCOVERERS}
    assert fitted().unserved == {"tifu_knn", "item_knn_cosine"}
    assert {
        *SERVED_AS.values(),
        *DISCOVER_AS.values(),
        "personal_frequency",
    } == everything - fitted().unserved


def test_a_model_without_ease_does_not_serve_it_though_the_table_has_it() -> None:
    config = replace(shop.QUICK, ease=EaseConfig(max_items=3))
    trained = train(shop.interactions(), config, seed=3)
    scorers = fit_baselines(shop.interactions(), trained.serve())
    assert {"ease", "ease_popularity"} <= scorers.unserved & {*scorers.discover}
    chosen = BlendConfig(mixed="ease", discover="ease_popularity")
    model = replace(trained, config=replace(config, blend=chosen)).serve()
    assert (model.blend.config.mixed, model.blend.config.discover) == ("learned", "learned")


def test_scaling_a_ranking_changes_no_place() -> None:
    near = np.array([100.5, np.nextafter(np.float32(100.5), np.float32(200)), 0, -3], dtype=np.float32)
    scaled = same_order(near)
    assert np.argsort(-scaled).tolist() == np.argsort(-near).tolist() == [1, 0, 2, 3]
    assert np.abs(scaled).max() <= 1
    assert same_order(np.zeros(3, np.float32)).tolist() == [0, 0, 0]
