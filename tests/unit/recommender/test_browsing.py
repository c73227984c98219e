"""Browsing: fades, is forgotten once fulfilled, weighs what was found to help, and nothing by default."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from recommender.blending import BlendConfig
from recommender.browsing import BROWSED_DAYS, Browsed, Kind, Look
from recommender.history import History
from recommender.leaning import LEAST_PEOPLE, WEIGHTS, LookLog, weigh_browsing
from recommender.lists import list_by, list_looks
from recommender.search import Trainings
from recommender.serving import Purchase, ServedModel
from tests.unit.recommender import shop

TODAY = shop.FIRST_DAY + shop.DAYS
NOW = TODAY + 0.5
BOUGHT = [Purchase("sku-021", TODAY - 40), Purchase("sku-022", TODAY - 12)]


@pytest.fixture(scope="module")
def model() -> ServedModel:
    return shop.trained().serve()


@pytest.fixture(scope="module")
def leaning() -> ServedModel:
    """The same model with weights for what was looked at."""
    blend = BlendConfig(viewed=5.0, wanted=7.0, like_viewed=0.5)
    return replace(shop.trained(), config=replace(shop.QUICK, blend=blend)).serve()


def ids(answer: object) -> list[str]:
    return [one.item_id for one in answer.items]  # type: ignore[attr-defined]


def looked(item: str, *, days_ago: float = 0.1, kind: Kind = "viewed") -> Look:
    return Look(item, NOW - days_ago, kind)


def test_browsing_weighs_nothing_unless_that_was_learned(model: ServedModel) -> None:
    looks = [looked("sku-070"), looked("sku-071", kind="carted")]
    for history in (BOUGHT, []):
        plain = model.recommend(history, today=TODAY, limit=80)
        assert model.recommend(history, today=TODAY, limit=80, looks=looks, now=NOW) == plain


@pytest.mark.parametrize(
    ("kind", "code"), [("viewed", "looked_at"), ("carted", "put_in_cart"), ("wished", "wished_for")]
)
def test_what_was_looked_at_comes_forward_and_says_so(leaning: ServedModel, kind: Kind, code: str) -> None:
    before = leaning.recommend(BOUGHT, today=TODAY, limit=80)
    item = ids(before)[60]
    after = leaning.recommend(BOUGHT, today=TODAY, limit=80, looks=[looked(item, kind=kind)], now=NOW)
    assert ids(after).index(item) < 60
    assert next(one for one in after.items if one.item_id == item).reason_code == code
    assert sorted(ids(after)) == sorted(ids(before))


def test_what_was_looked_at_comes_forward_among_what_to_buy_again_too(leaning: ServedModel) -> None:
    before = leaning.recommend(shop.history_of("u001"), today=TODAY, limit=20, mode="buy_again")
    fourth = ids(before)[3]
    looks = [looked(fourth, kind="carted")]
    after = leaning.recommend(
        shop.history_of("u001"), today=TODAY, limit=20, mode="buy_again", looks=looks, now=NOW
    )
    assert ids(after).index(fourth) < 3
    assert sorted(ids(after)) == sorted(ids(before))
    assert {one.source for one in after.items} == {"buy_again"}


def test_it_fades_with_age_until_it_is_forgotten(leaning: ServedModel) -> None:
    item = ids(leaning.recommend(BOUGHT, today=TODAY, limit=80))[60]
    places = []
    for days in (0.1, 6, 15, BROWSED_DAYS + 0.1):
        looks = [looked(item, days_ago=days)]
        places.append(ids(leaning.recommend(BOUGHT, today=TODAY, limit=80, looks=looks, now=NOW)).index(item))
    assert places[:3] == sorted(places[:3])
    # Forgotten, it stands where it stood, and what is like it no longer passes it.
    assert places[0] < places[1] < places[-1] == 60


def test_a_wish_that_was_fulfilled_no_longer_speaks(leaning: ServedModel) -> None:
    items = leaning.items
    history = History.encode([("sku-021", TODAY - 3, 1.0)], items=items, today=TODAY)
    looks = [looked("sku-021", days_ago=3.2), looked("sku-021", days_ago=5), looked("sku-022", days_ago=5)]
    left = Browsed.encode(looks, items=items, now=NOW, taken=history, today=TODAY)
    assert [items.ids[one] for one in left.items] == ["sku-022"]
    again = Browsed.encode([looked("sku-021", days_ago=1)], items=items, now=NOW, taken=history, today=TODAY)
    assert len(again) == 1


def test_somebody_new_who_looked_at_something_is_answered_by_that(leaning: ServedModel) -> None:
    looks = [looked("sku-021"), looked("sku-022")]
    answer = leaning.recommend([], today=TODAY, limit=5, looks=looks, now=NOW)
    assert answer.fallback is None
    assert set(ids(answer)[:2]) == {"sku-021", "sku-022"}
    assert (
        leaning.recommend([], today=TODAY, limit=5, looks=[Look("unknown", NOW, "viewed")], now=NOW).fallback
        == "popular"
    )
    assert leaning.recommend(
        [], today=TODAY, limit=5, looks=looks, now=NOW, policy="baseline"
    ) == leaning.recommend([], today=TODAY, limit=5, policy="baseline")


def test_what_goes_with_it_names_what_was_looked_at(leaning: ServedModel) -> None:
    answer = leaning.recommend([], today=TODAY, limit=20, looks=[looked("sku-021")], now=NOW)
    like = [one for one in answer.items if one.reason_code == "like_viewed"]
    assert like
    assert {one.reason_params["item_id"] for one in like} == {"sku-021"}


def test_masks_stand_above_browsing(leaning: ServedModel) -> None:
    looks = [looked("sku-021"), looked("sku-022"), looked("sku-023")]
    allowed = np.ones(80, dtype=bool)
    allowed[leaning.items.get("sku-022")] = False
    answer = leaning.recommend(
        [], today=TODAY, limit=80, looks=looks, now=NOW, exclude=["sku-021"], allowed=allowed
    )
    assert not {"sku-021", "sku-022"} & set(ids(answer))
    assert len(ids(answer)) == len(set(ids(answer))) == 78


def test_recently_viewed_lists_each_item_once_the_latest_first(model: ServedModel) -> None:
    looks = [
        looked("sku-005", days_ago=2),
        looked("sku-003", days_ago=1),
        looked("sku-005", days_ago=9),
        looked("sku-007", days_ago=3, kind="wished"),
        looked("gone", days_ago=0.2),
        looked("sku-009", days_ago=BROWSED_DAYS + 1),
    ]
    answer = list_looks(model, looks, now=NOW, limit=10)
    assert ids(answer) == ["sku-003", "sku-005", "sku-007"]
    assert [one.reason_code for one in answer.items] == ["looked_at", "looked_at", "wished_for"]
    assert {one.source for one in answer.items} == {"recently_viewed"}
    assert ids(list_looks(model, looks, now=NOW, limit=10, exclude=["sku-003"])) == ["sku-005", "sku-007"]
    assert list_looks(model, [], now=NOW, limit=10).fallback == "empty"


def test_a_list_of_its_own_is_filled_by_what_is_popular(model: ServedModel) -> None:
    scores = np.zeros(80, np.float32)
    scores[[3, 9]] = 1.0, 2.0
    answer = list_by(model, scores, source="trending", codes="trending_now", limit=80)
    assert ids(answer)[:2] == ["sku-009", "sku-003"]
    assert [one.source for one in answer.items[:3]] == ["trending", "trending", "popular"]
    assert len(set(ids(answer))) == 80
    nothing = list_by(model, np.zeros(80, np.float32), source="trending", codes="trending_now", limit=5)
    assert nothing.fallback == "popular"
    groups = (np.arange(80) // 4).astype(np.int32)
    capped = list_by(model, scores, source="trending", codes="x", limit=80, groups=groups, cap=1)
    assert len(ids(capped)) == 20
    nowhere = np.zeros(80, dtype=bool)
    assert list_by(model, scores, source="trending", codes="x", limit=5, allowed=nowhere).fallback == "empty"


@pytest.fixture(scope="module")
def trainings() -> Trainings:
    return Trainings(shop.interactions(), shop.QUICK, seed=1)


def _log(*, telling: bool, people: int) -> LookLog:
    """Looks of so many people on the days before each origin: at what they take next, or at anything."""
    random_ = random.Random(5)
    users, items, moments = [], [], []
    for number in range(people):
        user = f"u{number:03d}"
        own = [row for row in shop.rows() if row.user_id == user]
        for cut in (TODAY - 1 - 28, TODAY - 1 - 56):
            coming = [row.item_id for row in own if cut < row.day <= cut + 28]
            for _ in range(4):
                choice = random_.choice(coming) if telling and coming else f"sku-{random_.randrange(80):03d}"
                users.append(user)
                items.append(choice)
                moments.append(cut + random_.random())
    return LookLog.of(users=users, items=items, moments=moments, kinds=[0] * len(users))


def test_looks_that_tell_what_is_taken_next_are_weighed(trainings: Trainings) -> None:
    found = weigh_browsing(trainings, _log(telling=True, people=160), shop.QUICK, origins=2)
    assert found.figures["used"]
    assert found.figures["gain"] > 2 * found.figures["standard_error"]
    assert found.blend.viewed > 0
    assert replace(found.blend, viewed=0.0, wanted=0.0, like_viewed=0.0) == shop.QUICK.blend
    assert found.figures["weights"] == {name: getattr(found.blend, name) for name in WEIGHTS}


def test_looks_that_tell_nothing_weigh_nothing(trainings: Trainings) -> None:
    found = weigh_browsing(trainings, _log(telling=False, people=160), shop.QUICK, origins=2)
    assert found.figures["people"] >= LEAST_PEOPLE
    assert not found.figures["used"]
    assert found.blend == shop.QUICK.blend


def test_too_few_looks_weigh_nothing_however_telling(trainings: Trainings) -> None:
    found = weigh_browsing(trainings, _log(telling=True, people=20), shop.QUICK, origins=2)
    assert found.blend == shop.QUICK.blend
    assert not found.figures["used"]


def test_what_was_looked_at_after_the_cut_is_not_seen() -> None:
    log = LookLog.of(
        users=["u", "u", "u"], items=["a", "b", "c"], moments=[100.9, 101.0, 60.0], kinds=[0, 1, 0]
    )
    assert log.before("u", cut=100) == [("a", 100.9, "viewed")]
    assert log.before("nobody", cut=100) == []
