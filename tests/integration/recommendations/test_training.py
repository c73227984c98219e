"""Training reads what stands, gives the same model twice, and puts live only what earned it."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import Connection, Engine

from recommender.arms import SERVED_AS
from recommender.baselines import fit_baselines
from recommender.blending import BlendConfig
from recommender.config import TrainingConfig
from recommender.errors import ArtifactError
from recommender.history import History
from recommender.interactions import Interactions
from recommender.metrics import top_positions
from recommender.remote import list_artifacts
from recommender.serving import ServedModel
from service.experiments import operations as experiments
from service.recommendations import operations, register, store
from service.recommendations.artefacts import SharedFolder
from service.recommendations.errors import ModelUnusable, NothingToLearn, UnknownModel
from service.recommendations.judging import Measuring
from service.recommendations.ranking import count_taken
from service.recommendations.training import read_interactions, train_model
from tests.integration.recommendations.conftest import PROGRAMME, QUICK, Running, fill, open_serving
from tests.integration.recommendations.shop import NOON, Shop, days_before


def _rows(interactions: Interactions) -> set[tuple[str, str, int, float]]:
    return {
        (interactions.users.ids[user], interactions.items.ids[item], day, quantity)
        for user, item, day, quantity in zip(
            interactions.user_index.tolist(),
            interactions.item_index.tolist(),
            interactions.day.tolist(),
            interactions.quantity.tolist(),
            strict=True,
        )
    }


def _add_givings_back(shop: Shop) -> None:
    """Give things back in every way there is."""
    key = shop.member("returner")
    first = shop.order(key, {"a": 3, "b": 1}, at=days_before(50))
    shop.refund(key, {"a": 2}, at=days_before(45), order_key=first)
    whole = shop.order(key, {"a": 1, "c": 1}, at=days_before(40))
    shop.refund(key, {}, at=days_before(39), order_key=whole, amount_minor=200)
    cancelled = shop.order(key, {"d": 1, "b": 2}, at=days_before(30))
    shop.cancel(cancelled, at=days_before(29), amount_minor=300)
    shop.order(key, {"e": 2}, at=days_before(28))
    shop.order(key, {"e": 1}, at=days_before(20))
    shop.refund(key, {"e": 2}, at=days_before(10))
    shop.order(key, {"e": 4}, at=days_before(5))
    untouched = shop.member("keeper")
    shop.order(untouched, {"a": 1, "b": 1}, at=days_before(50))
    # An unlinked refund of something bought before our time takes nothing.
    shop.refund(untouched, {"c": 5}, at=days_before(3))


def _day(count: float) -> int:
    return int((np.datetime64(days_before(count).date()) - np.datetime64("1970-01-01")).astype(int))


def test_training_reads_what_stands(conn: Connection, shop: Shop) -> None:
    _add_givings_back(shop)
    assert _rows(read_interactions(conn, timezone="Asia/Taipei")) == {
        ("returner", "a", _day(50), 1.0),
        ("returner", "b", _day(50), 1.0),
        ("returner", "e", _day(28), 1.0),
        ("returner", "e", _day(5), 4.0),
        ("keeper", "a", _day(50), 1.0),
        ("keeper", "b", _day(50), 1.0),
    }


def test_answers_and_training_see_the_same_purchases(conn: Connection, shop: Shop) -> None:
    fill(shop, members=5)
    _add_givings_back(shop)
    trained_on = _rows(read_interactions(conn, timezone="Asia/Taipei"))
    for member_id in ("returner", "keeper", "member-003"):
        opening = store.find_opening(
            conn,
            member_id=member_id,
            context_sku=None,
            now=NOON,
            looked_since=NOON,
            timezone="Asia/Taipei",
        )
        taken = count_taken(opening.history)
        summed: dict[tuple[str, str, int], float] = {}
        for item, day, quantity in taken.purchases:
            summed[member_id, item, day] = summed.get((member_id, item, day), 0) + quantity
        assert {(*where, pieces) for where, pieces in summed.items()} == {
            row for row in trained_on if row[0] == member_id
        }


def test_a_day_is_counted_in_the_programmes_zone(conn: Connection, shop: Shop) -> None:
    shop.order(shop.member("m"), {"a": 1}, at=NOON.replace(hour=17))
    late = _rows(read_interactions(conn, timezone="Asia/Taipei"))
    assert {day for _, _, day, _ in late} == {_day(-1)}


def test_nothing_to_learn_from_is_refused(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as conn:
        shop = Shop(conn)
        key = shop.member("m")
        shop.cancel(shop.order(key, {"a": 1}, at=days_before(9)), at=days_before(8), amount_minor=100)
    with pytest.raises(NothingToLearn):
        train_model(engine, models_folder=tmp_path, programme=PROGRAMME, now=NOON)
    assert list(tmp_path.iterdir()) == []


def test_a_history_too_short_to_evaluate_still_gives_a_first_model(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as conn:
        shop = Shop(conn)
        shop.order(shop.member("m"), {"a": 1, "b": 1}, at=days_before(2))
    first = train_model(engine, models_folder=tmp_path, programme=PROGRAMME, now=NOON)
    second = train_model(engine, models_folder=tmp_path, programme=PROGRAMME, now=NOON)
    assert (first.version, first.status) == ("2026-11-21.1", "active")
    assert (second.version, second.status) == ("2026-11-21.2", "candidate")
    assert second.decision == "the history is too short to hold some of it back for evaluation"


def test_two_trainings_on_the_same_data_have_the_same_hash(judged: Running) -> None:
    again = train_model(judged.engine, models_folder=judged.models_folder, programme=PROGRAMME, now=NOON)
    assert again.version == "2026-11-21.2"
    assert again.content_hash == judged.model.content_hash


def test_the_register_keeps_figures_against_the_baselines(running: Running) -> None:
    with running.engine.connect() as conn:
        model = operations.get_model(conn, version=running.model.version)
        assert [one.version for one in operations.list_models(conn)] == [model.version]
    assert {"mixed", "popularity_28d", "personal_frequency"} <= set(model.manifest["metrics"]["methods"])
    assert model.summary()["status"] == "active"
    assert model.to_json()["counts"]["users"] == 40


def test_a_baseline_that_finds_more_is_served_under_its_own_name(engine: Engine, tmp_path: Path) -> None:
    """Weights that point the wrong way, and no search that could mend them."""
    with engine.begin() as conn:
        fill(Shop(conn))
    wrong = TrainingConfig(
        blend=BlendConfig(again=-50.0, again_times=0.0, again_recent=0.0, again_steady=0.0)
    )
    model = train_model(
        engine,
        models_folder=tmp_path,
        programme=PROGRAMME,
        now=NOON,
        config=wrong,
        measuring=Measuring(search=False),
    )
    served = model.manifest["metrics"]["served"]["mixed"]
    assert served in SERVED_AS
    assert (
        f"In force for `mixed`: **the baseline `{served}`**"
        in (tmp_path / model.version / "card.md").read_text()
    )
    asked = operations.Asked("member-003", placement="home", channel="web", limit=5)
    with engine.begin() as conn:
        answer = operations.recommend(conn, serving=open_serving(tmp_path), asked=asked, now=NOON)
        data = read_interactions(conn, timezone=PROGRAMME.timezone)
    assert answer["measurement"]["policy"]["model"]["name"] == served
    assert "is served" in str(model.decision)
    own = [row for row in _rows(data) if row[0] == "member-003"]
    history = History.encode([row[1:] for row in own], items=data.items, today=_day(0))
    scorers = fit_baselines(data, ServedModel.open(tmp_path / model.version))
    measured = top_positions(scorers.methods[SERVED_AS[served]](history), 5)
    assert [one["sku"] for one in answer["items"]] == [data.items.ids[one] for one in measured]


def test_the_blend_is_learned_and_the_fit_told_apart_from_search_and_evaluation(
    engine: Engine, tmp_path: Path
) -> None:
    with engine.begin() as conn:
        fill(Shop(conn), members=60)
    told: list[str] = []
    model = train_model(
        engine,
        models_folder=tmp_path,
        programme=PROGRAMME,
        now=NOON,
        progress=lambda stage, done, total: told.append(stage.split(":")[0]),
    )
    assert list(dict.fromkeys(told)) == ["read", "train", "search", "evaluate", "write"]
    metrics = model.manifest["metrics"]
    assert metrics["search"] is True
    assert model.manifest["parameters"]["blend"] != TrainingConfig().as_dict()["blend"]
    assert list(metrics["methods"]["mixed"]["recall_by_group"]) == ["base"]


def test_a_searched_model_in_force_is_measured_without_having_seen_the_days(judged: Running) -> None:
    """Its weights were learned on the very days it would be judged by; its method is judged instead."""
    again = train_model(judged.engine, models_folder=judged.models_folder, programme=PROGRAMME, now=NOON)
    metrics, before = again.manifest["metrics"], judged.model.manifest["metrics"]
    assert metrics["methods"]["mixed"]["recall"] == before["methods"]["mixed"]["recall"]
    assert "of the model in force" not in str(again.decision)


def test_an_older_model_can_be_put_back_in_force(running: Running) -> None:
    train_model(running.engine, models_folder=running.models_folder, programme=PROGRAMME, now=NOON)
    for version in ("2026-11-21.2", "2026-11-21.1", "2026-11-21.1"):
        with running.engine.begin() as conn:
            promoted = operations.promote_model(
                conn, version=version, models_folder=running.models_folder, actor="test", now=NOON
            )
            assert promoted.status == "active"
            statuses = [model.status for model in operations.list_models(conn)]
            assert sorted(statuses) in (["active", "candidate"], ["active", "retired"])


def test_a_damaged_or_unknown_model_is_not_promoted(running: Running) -> None:
    second = train_model(running.engine, models_folder=running.models_folder, programme=PROGRAMME, now=NOON)
    with running.engine.begin() as conn:
        operations.promote_model(
            conn, version=running.model.version, models_folder=running.models_folder, actor="test", now=NOON
        )
    (running.models_folder / second.version / "manifest.json").write_text("{")
    with running.engine.begin() as conn:
        with pytest.raises(ModelUnusable):
            operations.promote_model(
                conn, version=second.version, models_folder=running.models_folder, actor="test", now=NOON
            )
        with pytest.raises(UnknownModel):
            operations.promote_model(
                conn, version="1999-01-01.1", models_folder=running.models_folder, actor="test", now=NOON
            )
        assert (
            store.find_opening(conn, member_id="", context_sku=None, now=NOON, looked_since=NOON).active_model
            == running.model.version
        )


def test_old_artefacts_go_and_what_is_or_was_in_force_stays(running: Running) -> None:
    first = running.model.version
    for _ in range(4):
        train_model(
            running.engine,
            models_folder=running.models_folder,
            programme=PROGRAMME,
            now=NOON,
            kept=2,
            measuring=QUICK,
        )
    with running.engine.connect() as conn:
        listed = [model.version for model in register.list_models(conn)]
        active = next(model.version for model in register.list_models(conn) if model.status == "active")
    there = {path.name for path in running.models_folder.iterdir()}
    assert len(listed) == 5
    assert active in there
    assert listed[0] in there
    assert len(there) <= 4
    assert first in listed


def test_a_swap_under_load_fails_no_request_and_mixes_no_answer(running: Running) -> None:
    """Readers go on asking while two models take turns; each answer is of one of them, whole."""
    train_model(
        running.engine, models_folder=running.models_folder, programme=PROGRAMME, now=NOON, measuring=QUICK
    )
    with running.engine.connect() as conn:
        versions = [model.version for model in register.list_models(conn)]
    assert len(versions) == 2
    serving, done = open_serving(running.models_folder), threading.Event()

    answers: list[dict[str, Any]] = []

    def read(reader: int) -> None:
        while not done.is_set():
            asked = operations.Asked(f"member-{reader:03}", placement="home", channel="web", limit=30)
            with running.engine.begin() as conn:
                answers.append(operations.recommend(conn, serving=serving, asked=asked, now=NOON))

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read, reader) for reader in range(3)]
        for turn in range(8):
            with running.engine.begin() as conn:
                register.promote_model(
                    conn,
                    version=versions[turn % 2],
                    models_folder=running.models_folder,
                    actor="test",
                    now=NOON,
                )
            # However slow the machine: each reader has begun an answer after the promotion.
            enough = len(answers) + 7
            while len(answers) < enough and not any(reader.done() for reader in readers):
                time.sleep(0.01)
        done.set()
        for reader in readers:
            reader.result()
    served = {answer["measurement"]["policy"]["version"] for answer in answers}
    assert served == set(versions)
    for answer in answers:
        policy = answer["measurement"]["policy"]
        assert policy["version"] == policy["model"]["version"]
        assert len({item["sku"] for item in answer["items"]}) == 30


def test_machines_share_models_through_an_object_store(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as conn:
        experiments.ensure_global_holdout(conn, now=days_before(100), today=NOON.date())
        fill(Shop(conn))
    url = f"memory://{uuid4().hex}"
    trains, serves = (SharedFolder(tmp_path / name, url) for name in ("trains", "serves"))

    def run() -> str:
        made = train_model(
            engine, models_folder=trains, programme=PROGRAMME, now=NOON, measuring=QUICK, kept=1
        )
        return made.version

    def ask() -> Any:
        asked = operations.Asked("member-003", placement="home", channel="web", limit=5)
        with engine.begin() as conn:
            answer = operations.recommend(conn, serving=serving, asked=asked, now=next(moments))
        return answer["measurement"]["policy"]["model"]["version"]

    serving = open_serving(serves)
    moments = (NOON + timedelta(seconds=10 * number) for number in count())
    first = run()
    assert ask() == first
    second = run()
    with engine.begin() as conn:
        operations.promote_model(conn, version=second, models_folder=trains, actor="test", now=NOON)
    # Nobody waits for the store: the answer comes from the model there is.
    assert ask() == first
    assert serving._fetching is not None
    serving._fetching.join(30)
    assert ask() == second
    versions = {first, second, run(), run(), run()}
    assert set(list_artifacts(url)) == {one.name for one in trains.path.iterdir()} < versions
    gone = versions - set(list_artifacts(url))
    third = SharedFolder(tmp_path / "third", url)
    with engine.begin() as conn, pytest.raises(ModelUnusable):
        operations.promote_model(conn, version=gone.pop(), models_folder=third, actor="test", now=NOON)


def test_what_a_killed_training_left_goes_a_day_later_and_a_store_that_fails_leaves_nothing(
    running: Running, tmp_path: Path
) -> None:
    old, fresh = (running.models_folder / f".2026-11-2{day}.1.abc.partial" for day in (0, 1))
    for left in (old, fresh):
        left.mkdir()
    os.utime(old, (0, 0))
    with running.engine.begin() as conn:
        register.drop_artefacts(conn, models_folder=running.models_folder, kept=1, now=NOON)
    assert not old.exists()
    assert fresh.exists()
    nowhere = SharedFolder(tmp_path / "other", "nonsense://bucket")
    with pytest.raises(ArtifactError):
        train_model(running.engine, models_folder=nowhere, programme=PROGRAMME, now=NOON, measuring=QUICK)
    assert list((tmp_path / "other").iterdir()) == []
    with running.engine.connect() as conn:
        assert [one.version for one in register.list_models(conn)] == [running.model.version]
