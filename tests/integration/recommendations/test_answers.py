"""Answers: one shape for everybody, fresh to the last order, accountable, and never without a page."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from service.catalogue.errors import UnknownItem
from service.experiments import operations as experiments
from service.experiments.laws import check_laws
from service.experiments.operations import Visitor
from service.experiments.rules import bucket_of
from service.recommendations import operations
from service.recommendations.annotation import Surface
from service.recommendations.attribution import AttributionKeys, verify_token
from service.recommendations.errors import DecisionNotFound, TokenForeign
from service.recommendations.operations import Asked
from service.recommendations.showing import expose_visitor
from tests.integration.recommendations.conftest import PROGRAMME, Running, open_serving
from tests.integration.recommendations.shop import NOON, Shop, days_before

Ask = Callable[..., dict[str, Any]]


def asked(member_id: str | None, **wishes: Any) -> Asked:
    return Asked(member_id, placement="home", channel="web", **wishes)


@pytest.fixture
def ask(running: Running) -> Ask:
    """Ask as the door does: one committed transaction per answer."""

    def answer(member_id: str | None, *, now: Any = NOON, **wishes: Any) -> dict[str, Any]:
        with running.engine.begin() as conn:
            return operations.recommend(
                conn, serving=running.serving, asked=asked(member_id, **wishes), now=now
            )

    return answer


def shape(value: Any) -> Any:
    """Return the names of everything in an answer, without its values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value and isinstance(value[0], dict) else []
    return "value"


def skus(answer: dict[str, Any]) -> list[str]:
    return [item["sku"] for item in answer["items"]]


def held_out(member_id: str) -> bool:
    return bucket_of("global-holdout-2026h2", "s1", member_id) < 1000


def first_member(*, in_holdout: bool) -> str:
    return next(f"member-{n:03}" for n in range(40) if held_out(f"member-{n:03}") is in_holdout)


TREATED = first_member(in_holdout=False)
HELD_OUT = first_member(in_holdout=True)


def test_both_arms_and_strangers_get_the_same_shape(ask: Ask) -> None:
    treated, held, stranger = ask(TREATED), ask(HELD_OUT), ask("nobody")
    assert shape(treated) == shape(held) == shape(stranger)
    assert [len(answer["items"]) for answer in (treated, held, stranger)] == [10, 10, 10]


def test_an_empty_list_has_the_same_shape(ask: Ask) -> None:
    full, empty = ask(TREATED), ask(TREATED, category="no such category")
    assert empty["items"] == []
    assert shape(empty["measurement"]) == shape(full["measurement"])
    assert empty["measurement"]["policy"]["fallback"] == "empty"


def test_an_empty_shop_answers_an_empty_list(conn: Connection, tmp_path: Path) -> None:
    experiments.ensure_global_holdout(conn, now=NOON)
    Shop(conn).member("m")
    answer = operations.recommend(conn, serving=open_serving(tmp_path), asked=asked("m"), now=NOON)
    assert answer["items"] == []
    assert answer["measurement"]["policy"]["fallback"] == "empty"
    assert answer["measurement"]["assignment"]["arm"] in {"holdout", "treatment"}


def test_before_the_first_training_what_is_sold_is_shown(conn: Connection, tmp_path: Path) -> None:
    shop = Shop(conn)
    shop.item("unsold")
    shop.item("gone", available=False)
    key = shop.member("m")
    shop.order(key, {"b": 1, "gone": 1}, at=days_before(3))
    shop.order(key, {"b": 1, "a": 1}, at=days_before(2))
    serving = open_serving(tmp_path)
    answer = operations.recommend(conn, serving=serving, asked=asked("m"), now=NOON)
    assert skus(answer) == ["b", "a", "unsold"]
    assert [item["reason"]["code"] for item in answer["items"]] == [
        "popular_now",
        "popular_now",
        "also_available",
    ]
    assert answer["measurement"]["policy"]["fallback"] == "popular"
    assert answer["measurement"]["policy"]["model"]["version"] is None
    kept = operations.get_decision(conn, recommendation_id=answer["recommendation_id"])
    assert [item["sku"] for item in kept["items"]] == ["b", "a", "unsold"]
    fewer = operations.recommend(conn, serving=serving, asked=asked("m", exclude=("b",), limit=1), now=NOON)
    assert skus(fewer) == ["a"]
    own = operations.recommend(conn, serving=serving, asked=asked("m", mode="recently_viewed"), now=NOON)
    assert (own["items"], own["measurement"]["policy"]["fallback"]) == ([], "empty")


def test_the_two_arms_differ_in_what_decides_and_nothing_else(ask: Ask) -> None:
    treated, held = ask(TREATED)["measurement"], ask(HELD_OUT)["measurement"]
    assert (treated["assignment"]["arm"], held["assignment"]["arm"]) == ("treatment", "holdout")
    assert (treated["assignment"]["is_holdout"], held["assignment"]["is_holdout"]) == (False, True)
    assert (treated["policy"]["name"], held["policy"]["name"]) == ("hybrid", "popularity")
    assert treated["assignment"]["reason"] == held["assignment"]["reason"] == "split"
    assert (treated["policy"]["fallback"], held["policy"]["fallback"]) == (None, None)
    assert {item["source"] for item in ask(HELD_OUT)["items"]} == {"popular"}


def test_a_stranger_gets_popular_items_and_is_not_enrolled(ask: Ask, running: Running) -> None:
    answer = ask("nobody")
    assert answer["measurement"]["assignment"] == {
        "experiment": "global-holdout-2026h2",
        "version": 1,
        "arm": None,
        "is_holdout": False,
        "reason": "not_a_member",
    }
    assert answer["measurement"]["policy"]["fallback"] == "popular"
    assert {item["source"] for item in answer["items"]} == {"popular"}
    with running.engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM assignments")).scalar_one() == 0


def test_the_window_is_that_of_the_assignment(ask: Ask) -> None:
    ask(TREATED, now=days_before(10))
    outcome = ask(TREATED)["measurement"]["outcome"]
    assert outcome["window_start"] == "2026-11-11T12:00:00Z"
    assert outcome["window_end"] == "2027-01-10T12:00:00Z"
    assert outcome["matures_at"] == "2027-02-09T12:00:00Z"
    assert (outcome["window_days"], outcome["refund_grace_days"]) == (60, 30)


def test_the_baseline_is_shown_once_there_is_one(ask: Ask, running: Running) -> None:
    assert ask(TREATED)["measurement"]["outcome"]["baseline"]["repurchase_rate"] is None
    with running.engine.begin() as conn:
        conn.execute(
            text("INSERT INTO holdout_baselines VALUES ('global-holdout-2026h2', 'base', 4280, 20000, :day)"),
            {"day": NOON.date()},
        )
    assert ask(TREATED)["measurement"]["outcome"]["baseline"] == {
        "repurchase_rate": 0.214,
        "numerator": 4280,
        "denominator": 20000,
        "as_of": "2026-11-21",
    }


def test_ranks_run_from_one_and_nothing_is_shown_twice(ask: Ask) -> None:
    answer = ask(TREATED, limit=100)
    assert [item["rank"] for item in answer["items"]] == list(range(1, 31))
    assert [item["index"] for item in answer["items"]] == list(range(30))
    assert len(set(skus(answer))) == 30
    assert answer["items"][0]["impression_id"] == f"{answer['recommendation_id']}#1"


def test_the_next_order_changes_the_next_answer(ask: Ask, running: Running) -> None:
    before = ask(TREATED, limit=30)
    new = skus(before)[-1]
    with running.engine.begin() as conn:
        shop = Shop(conn)
        shop._numbers = 1_000
        key = experiments.find_subject(conn, member_id=TREATED).member_key
        assert key is not None
        for day in (20, 10, 1):
            shop.order(key, {new: 2}, at=days_before(day))
    after = ask(TREATED, limit=30)
    assert skus(after).index(new) < 10
    bought = next(item for item in after["items"] if item["sku"] == new)
    assert bought["source"] == "buy_again"
    assert bought["reason"]["code"] == "usual_interval"


def test_a_refunded_item_stops_driving_the_answer(ask: Ask, running: Running) -> None:
    member = "newcomer-1"
    with running.engine.begin() as conn:
        shop = Shop(conn)
        shop._numbers = 2_000
        key = shop.member(member)
        order = shop.order(key, {"sku-05": 1}, at=days_before(3))
    driven = ask(member)
    assert any(item["source"] == "buy_again" for item in driven["items"])
    with running.engine.begin() as conn:
        shop = Shop(conn)
        shop._numbers = 3_000
        shop.refund(key, {"sku-05": 1}, at=days_before(1), order_key=order)
    after = ask(member)
    assert after["measurement"]["policy"]["fallback"] in {"popular", None}
    assert not any(item["source"] == "buy_again" for item in after["items"])


def test_an_unavailable_item_disappears_at_once_and_comes_back(ask: Ask, running: Running) -> None:
    first = skus(ask(TREATED))[0]
    for number, available in enumerate((False, True, False), start=1):
        with running.engine.begin() as conn:
            Shop(conn).item(first, available=available, at=NOON + timedelta(seconds=number))
        now = NOON + timedelta(seconds=number, milliseconds=1)
        assert (first in skus(ask(TREATED, now=now, limit=30))) is available


def test_exclusions_category_and_page_item_are_kept_out(ask: Ask) -> None:
    best = skus(ask(TREATED))
    assert best[0] not in skus(ask(TREATED, exclude=(best[0], "unknown"), limit=30))
    assert best[0] not in skus(ask(TREATED, context_sku=best[0], limit=30))
    within = skus(ask(TREATED, category="group-1", limit=30))
    assert within
    assert all(int(sku[-2:]) % 3 == 1 for sku in within)


def test_reasons_speak_the_callers_language(ask: Ask) -> None:
    english, chinese = ask(TREATED, limit=30), ask(TREATED, limit=30, locale="zh-Hant")
    assert skus(english) == skus(chinese)
    for one, other in zip(english["items"], chinese["items"], strict=True):
        assert one["reason"]["code"] == other["reason"]["code"]
        assert one["reason"]["text"].isascii()
        assert not other["reason"]["text"].isascii()
        if one["reason"]["code"] == "often_bought_with":
            assert "Tea " in one["reason"]["text"]
            assert "茶 " in other["reason"]["text"]


def test_related_items_leave_the_item_out_and_need_a_known_one(running: Running) -> None:
    with running.engine.begin() as conn:
        answer = operations.relate(
            conn, serving=running.serving, sku="sku-03", asked=asked(None, limit=30), now=NOON
        )
        assert "sku-03" not in skus(answer)
        assert answer["measurement"]["policy"]["name"] == "related"
        assert answer["measurement"]["assignment"]["reason"] == "not_a_member"
        named = operations.relate(
            conn, serving=running.serving, sku="sku-03", asked=asked(HELD_OUT), now=NOON
        )
        assert named["measurement"]["policy"]["name"] == "popularity"
        assert "sku-03" not in skus(named)
        assert shape(named) == shape(answer)
        with pytest.raises(UnknownItem):
            operations.relate(conn, serving=running.serving, sku="nothing", asked=asked(None), now=NOON)


def test_a_basket_steers_the_answer_and_is_not_shown(ask: Ask, running: Running) -> None:
    basket = ("sku-01", "sku-02")
    assert not {*basket} & {*skus(ask(TREATED, basket=basket, limit=30))}
    with running.engine.begin() as conn:
        answer = operations.relate(
            conn, serving=running.serving, sku="sku-00", asked=asked(None, basket=basket, limit=30), now=NOON
        )
    assert len(answer["items"]) == 27
    assert not {"sku-00", *basket} & {*skus(answer)}


def test_the_decision_record_says_what_the_answer_does_not(ask: Ask, running: Running) -> None:
    answer = ask(HELD_OUT)
    with running.engine.connect() as conn:
        decision = operations.get_decision(conn, recommendation_id=answer["recommendation_id"])
        with pytest.raises(DecisionNotFound):
            operations.get_decision(conn, recommendation_id="rec_" + "0" * 32)
        with pytest.raises(DecisionNotFound):
            operations.get_decision(conn, recommendation_id="rubbish")
    assert decision["member_id"] == HELD_OUT
    assert decision["assignment"] == {
        "experiment": "global-holdout-2026h2",
        "version": 1,
        "arm": "holdout",
        "reason": "split",
        "bucket": bucket_of("global-holdout-2026h2", "s1", HELD_OUT),
        "salt_id": "s1",
        "arm_probability": 0.1,
    }
    assert decision["propensity"] == {"kind": "deterministic", "value": None}
    assert decision["candidates"]["count"] == 30
    assert len(decision["candidates"]["hash"]) == 16
    assert decision["context"]["tier"] == "base"
    assert decision["context"]["days_since_last_order"] > 0
    assert [item["sku"] for item in decision["items"]] == skus(answer)
    assert decision["policy"]["model_version"] == running.model.version


def test_the_token_belongs_to_the_answer_and_its_member(ask: Ask, running: Running) -> None:
    answer = ask(TREATED)
    token = answer["measurement"]["attribution_token"]
    keys: AttributionKeys = running.serving.keys
    said = verify_token(keys, token, member_id=TREATED, now=NOON)
    assert said.recommendation_id == answer["recommendation_id"]
    with pytest.raises(TokenForeign):
        verify_token(keys, token, member_id=HELD_OUT, now=NOON)


def test_an_answer_takes_two_statements(ask: Ask, running: Running) -> None:
    ask(TREATED)
    statements: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(running.engine, "before_cursor_execute", note)
    try:
        ask(TREATED)
    finally:
        event.remove(running.engine, "before_cursor_execute", note)
    assert len(statements) == 2


def test_reading_writes_only_the_exposure_and_the_first_assignment(ask: Ask, running: Running) -> None:
    def count() -> tuple[int, int]:
        with running.engine.connect() as conn:
            return (
                conn.execute(text("SELECT count(*) FROM exposures")).scalar_one(),
                conn.execute(text("SELECT count(*) FROM assignments")).scalar_one(),
            )

    ask(TREATED)
    ask(TREATED)
    ask("nobody")
    assert count() == (3, 1)


def test_when_the_assignment_store_fails_the_baseline_is_served_without_an_arm(
    ask: Ask, running: Running
) -> None:
    whole = ask(TREATED)
    with running.engine.begin() as conn:
        conn.execute(text("ALTER TABLE assignments RENAME TO assignments_away"))
    try:
        answer = ask(HELD_OUT)
    finally:
        with running.engine.begin() as conn:
            conn.execute(text("ALTER TABLE assignments_away RENAME TO assignments"))
    assert shape(answer) == shape(whole)
    assert answer["measurement"]["assignment"]["arm"] is None
    assert answer["measurement"]["assignment"]["reason"] == "assignment_unavailable"
    assert answer["measurement"]["policy"]["fallback"] == "popular"
    with running.engine.connect() as conn:
        assert experiments.find_subject(conn, member_id=HELD_OUT).assignment is None


def test_when_ranking_fails_the_member_stays_in_the_arm_and_the_fallback_is_named(
    ask: Ask, running: Running
) -> None:
    whole = ask(TREATED)
    shelf = running.serving.last()
    assert shelf is not None
    # Nothing personal can be ranked without it; popularity still can.
    kept = shelf.model.item_to_item
    shelf.model.item_to_item = None  # type: ignore[assignment]
    try:
        answer = ask(TREATED)
    finally:
        shelf.model.item_to_item = kept
    assert shape(answer) == shape(whole)
    assert answer["measurement"]["assignment"]["arm"] == "treatment"
    assert answer["measurement"]["policy"]["name"] == "hybrid"
    assert answer["measurement"]["policy"]["fallback"] == "popular"


def test_a_promoted_model_is_picked_up_by_the_next_answer(ask: Ask, running: Running) -> None:
    from service.recommendations.training import train_model

    assert ask(TREATED)["measurement"]["policy"]["version"] == "2026-11-21.1"
    with running.engine.begin() as conn:
        shop = Shop(conn)
        shop._numbers = 4_000
        shop.order(shop.member("m-new"), {"sku-01": 1}, at=days_before(1))
    train_model(running.engine, models_folder=running.models_folder, programme=PROGRAMME, now=NOON)
    with running.engine.begin() as conn:
        operations.promote_model(
            conn, version="2026-11-21.2", models_folder=running.models_folder, actor="test", now=NOON
        )
    assert ask(TREATED)["measurement"]["policy"]["version"] == "2026-11-21.2"


def test_a_corrupt_artefact_is_refused_and_the_last_good_one_serves(ask: Ask, running: Running) -> None:
    good = ask(TREATED)
    with running.engine.begin() as conn:
        shutil.copytree(running.models_folder / "2026-11-21.1", running.models_folder / "bad")
        conn.execute(text("UPDATE recommender_models SET status = 'retired'"))
        conn.execute(
            text(
                "INSERT INTO recommender_models (version, status, location, content_hash, manifest, "
                "created_at, promoted_at) SELECT 'bad', 'active', 'bad', content_hash, manifest, "
                "created_at, :now FROM recommender_models"
            ),
            {"now": NOON},
        )
    array = next((running.models_folder / "bad").glob("als_item_factors*"))
    raw = bytearray(array.read_bytes())
    raw[-1] ^= 0xFF
    array.write_bytes(raw)
    held = ask(TREATED)
    assert held["measurement"]["policy"]["version"] == "2026-11-21.1"
    assert skus(held) == skus(good)
    # A worker that starts now has no last good one in memory, and finds it in the register.
    running.serving.__init__(  # type: ignore[misc]
        models_folder=running.models_folder, keys=running.serving.keys, timezone=PROGRAMME.timezone
    )
    assert ask(TREATED)["measurement"]["policy"]["version"] == "2026-11-21.1"
    assert skus(ask(TREATED)) == skus(good)


def test_an_answer_overtaken_by_another_is_given_once_its_arm_is_drawn(running: Running, ask: Ask) -> None:
    drawn = ask(TREATED)["measurement"]["issued_at"]
    # This request began first, and read the assignment that the other one had written meanwhile.
    overtaken = ask(TREATED, now=NOON - timedelta(milliseconds=3))
    assert overtaken["measurement"]["issued_at"] == drawn
    visitor = Visitor(TREATED, None)
    with running.engine.begin() as conn:
        plan_words(conn)
        pages = [
            expose_visitor(
                conn,
                serving=running.serving,
                experiment="words",
                visitor=visitor,
                surface=Surface("home", "web"),
                traceparent=None,
                now=NOON - timedelta(milliseconds=late),
            )
            for late in (0, 3)
        ]
    assert pages[0]["assigned_at"] == pages[1]["assigned_at"] == pages[1]["measurement"]["issued_at"]
    with running.engine.connect() as conn:
        assert check_laws(conn) == []


def plan_words(conn: Connection) -> None:
    """Start a test of a page's words."""
    conn.execute(
        text(
            "INSERT INTO experiments (experiment, version, salt, arms, is_global_holdout, status, "
            "window_days, refund_grace_days, created_at, started_at, surface) VALUES ('words', 1, 's', "
            """CAST('[{"arm": "a", "weight_bp": 5000}, {"arm": "b", "weight_bp": 5000}]' AS jsonb), """
            "false, 'running', 60, 30, :at, :at, 'storefront')"
        ),
        {"at": days_before(30)},
    )


def test_a_model_of_another_catalogue_is_refused(engine: Engine, running: Running) -> None:
    with engine.begin() as conn:
        conn.execute(text("UPDATE items SET sku = 'other-' || sku"))
        answer = operations.recommend(
            conn, serving=open_serving(running.models_folder), asked=asked(TREATED), now=NOON
        )
    assert answer["measurement"]["policy"]["model"]["version"] is None
    assert all(sku.startswith("other-") for sku in skus(answer))
