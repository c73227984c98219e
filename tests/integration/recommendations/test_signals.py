"""What people look at and what they buy today: lists of their own, segments, statistics picked up at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from service.activity import operations as activity
from service.experiments import operations as experiments
from service.experiments.operations import Visitor
from service.recommendations import operations
from service.recommendations.operations import Asked, Surface
from service.recommendations.refreshing import refresh_statistics
from service.recommendations.serving import Serving
from service.recommendations.showing import expose_visitor
from service.recommendations.training import read_interactions, read_looks, train_model
from service.tiers import operations as tiers
from tests.conftest import wipe
from tests.integration.recommendations.conftest import PROGRAMME, QUICK, fill, open_serving
from tests.integration.recommendations.shop import NOON, Shop, days_before
from tests.integration.recommendations.test_answers import HELD_OUT, TREATED, held_out, plan_words, skus

ZONE = PROGRAMME.timezone
LINKED = next(f"member-{n:03}" for n in range(14, 40) if not held_out(f"member-{n:03}"))


class Signals:
    """A shop with a model, where things go on happening."""

    def __init__(self, engine: Engine, serving: Serving) -> None:
        self.engine, self.serving, self._orders, self._events = engine, serving, 5_000, 0

    def ask(self, member_id: str | None, *, now: datetime = NOON, **wishes: Any) -> dict[str, Any]:
        asked = Asked(member_id, placement="home", channel="web", **wishes)
        with self.engine.begin() as conn:
            return operations.recommend(conn, serving=self.serving, asked=asked, now=now)

    def buy(self, members: Mapping[str, str | None], sku: str, *, at: datetime) -> None:
        """Have people, new ones of this tier, buy something."""
        with self.engine.begin() as conn:
            shop = Shop(conn)
            shop._numbers = self._orders
            for member_id, tier in members.items():
                found = experiments.find_subject(conn, member_id=member_id).member_key
                shop.order(found or shop.member(member_id, tier=tier), {sku: 1}, at=at)
            self._orders = shop._numbers

    def happen(self, *events: Mapping[str, Any]) -> None:
        """Record events as a storefront sends them."""
        with self.engine.begin() as conn:
            self._events += len(events)
            numbered = [
                {"event_id": f"e{self._events}-{place}", "anonymous_id": None, "member_id": None, **one}
                for place, one in enumerate(events)
            ]
            verdicts = activity.record_events(conn, events=numbered, now=NOON)
        assert {verdict.status for verdict in verdicts} == {"accepted"}

    def object(self, member_id: str) -> None:
        """Have a member object to profiling."""
        change = text("UPDATE members SET consent_profiling = :objects WHERE member_id = :member_id")
        with self.engine.begin() as conn:
            conn.execute(change, {"objects": '{"granted": false}', "member_id": member_id})

    def refresh(self, now: datetime = NOON) -> int:
        return refresh_statistics(self.engine, timezone=ZONE, now=now).version


def view(who: str, sku: str, *, days: float = 0.01, kind: str = "view_item") -> dict[str, Any]:
    return {"type": kind, "member_id": who, "sku": sku, "occurred_at": days_before(days)}


def reasons(answer: Mapping[str, Any]) -> list[str]:
    return [item["reason"]["code"] for item in answer["items"]]


def policy(answer: Mapping[str, Any]) -> Any:
    return answer["measurement"]["policy"]


@pytest.fixture(scope="module")
def trained(shared_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A filled shop with a ladder and a model in force, made once."""
    folder = tmp_path_factory.mktemp("models")
    with shared_engine.begin() as conn:
        experiments.ensure_global_holdout(conn, now=days_before(100), today=NOON.date())
        tiers.ensure_default_ruleset(conn, currency="TWD", now=days_before(400))
        fill(Shop(conn))
    train_model(shared_engine, models_folder=folder, programme=PROGRAMME, now=NOON, measuring=QUICK)
    yield folder
    wipe(shared_engine)


@pytest.fixture
def signals(shared_engine: Engine, trained: Path) -> Signals:
    signals = Signals(shared_engine, open_serving(trained))
    with shared_engine.connect() as conn:
        signals._orders += 1_000 * (conn.scalar(text("SELECT count(*) FROM order_keys")) or 0)
        signals._events = conn.scalar(text("SELECT count(*) FROM events")) or 0
    return signals


def test_new_orders_show_with_the_next_refresh_and_the_answer_names_it(signals: Signals) -> None:
    before = signals.ask("nobody")
    assert policy(before)["refreshed_through"] is None
    rising = skus(signals.ask("nobody", limit=30))[-1]
    signals.buy({f"rush-{n}": None for n in range(30)}, rising, at=days_before(1))
    assert skus(signals.ask("nobody")) == skus(before)
    version = signals.refresh()
    after = signals.ask(TREATED), signals.ask("nobody")
    assert after[1]["items"][0]["sku"] == rising
    assert {policy(one)["refreshed_through"] for one in after} == {"2026-11-21T12:00:00Z"}
    with signals.engine.connect() as conn:
        then, now = (
            operations.get_decision(conn, recommendation_id=one["recommendation_id"])
            for one in (before, after[0])
        )
    assert (then["statistics_version"], now["statistics_version"]) == (None, version)
    assert then["config_hash"] != now["config_hash"]


def test_statistics_that_cannot_be_read_are_refused_and_the_last_good_ones_serve(signals: Signals) -> None:
    signals.refresh()
    good = signals.ask("nobody")
    with signals.engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO recommender_statistics SELECT version + 1, now(), through_day, 0, 'torn', state "
                "FROM recommender_statistics ORDER BY version DESC LIMIT 1"
            )
        )
    answer = signals.ask("nobody")
    assert skus(answer) == skus(good)
    assert policy(answer) == policy(good)
    signals.refresh(NOON + timedelta(hours=1))
    assert policy(signals.ask("nobody"))["refreshed_through"] == "2026-11-21T13:00:00Z"


def test_refreshes_under_load_fail_no_request_and_mix_no_answer(signals: Signals) -> None:
    signals.refresh()
    seen: list[tuple[str, tuple[tuple[str, float], ...]]] = []
    failed: list[BaseException] = []
    done = threading.Event()

    def go_on_asking() -> None:
        try:
            while not done.is_set():
                answer = signals.ask("nobody", limit=30)
                items = tuple((item["sku"], item["score"]) for item in answer["items"])
                seen.append((policy(answer)["refreshed_through"], items))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=go_on_asking) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(3):
        signals.buy({f"load-{number}-{n}": None for n in range(5)}, f"sku-{number:02}", at=days_before(0.5))
        signals.refresh(NOON + timedelta(minutes=number + 1))
        # However slow the machine: both have begun an answer after the refresh.
        enough = len(seen) + 5
        while len(seen) < enough and all(thread.is_alive() for thread in threads):
            done.wait(0.01)
    done.set()
    for thread in threads:
        thread.join()
    assert not failed
    lists: dict[str, set[Any]] = {}
    for through, items in seen:
        lists.setdefault(through, set()).add(items)
    assert len(lists) >= 2
    assert all(len(found) == 1 for found in lists.values())


def test_trending_lists_what_many_buy_now_first_in_both_languages(signals: Signals) -> None:
    signals.buy({f"trend-{n}": None for n in range(60)}, "sku-17", at=days_before(2))
    signals.refresh()
    answer = signals.ask(TREATED, mode="trending", limit=5)
    one = next(item for item in answer["items"] if item["sku"] == "sku-17")
    sources = [item["source"] for item in answer["items"]]
    assert one["source"] == "trending"
    # What only fills stands below.
    assert sources == sorted(sources, reverse=True)
    assert one["reason"] == {"code": "trending_now", "text": "Many are buying this now"}
    chinese = signals.ask(TREATED, mode="trending", locale="zh-Hant")
    assert chinese["items"][0]["reason"]["text"] == "近期許多人購買"
    assert policy(answer)["model"]["name"] == "trending"
    assert "sku-17" not in skus(signals.ask(TREATED, mode="trending", exclude=("sku-17",)))
    held = signals.ask(HELD_OUT, mode="trending", limit=5)
    assert {item["source"] for item in held["items"]} == {"popular"}
    assert (policy(held)["name"], policy(held)["fallback"]) == ("popularity", None)


def test_who_is_new_is_shown_what_their_tier_buys_if_enough_do(signals: Signals) -> None:
    bought = {f"silver-{n}": "silver" for n in range(25)}
    signals.buy(bought, "sku-23", at=days_before(5))
    signals.buy({f"gold-{n}": "gold" for n in range(3)}, "sku-24", at=days_before(5))
    signals.refresh()
    with signals.engine.begin() as conn:
        for tier in ("silver", "gold"):
            Shop(conn).member(f"new-{tier}", tier=tier)
    answer = signals.ask("new-silver")
    if experiments_hold_out(answer):
        pytest.fail("the member of this test is in the hold-out: choose another id")
    assert policy(answer)["fallback"] == "popular_in_tier"
    assert answer["items"][0]["sku"] == "sku-23"
    assert answer["items"][0]["reason"] == {
        "code": "popular_in_tier",
        "text": "Popular among Silver members",
    }
    few = signals.ask("new-gold")
    assert policy(few)["fallback"] in {"popular", None}
    with signals.engine.begin() as conn:
        conn.execute(
            text(
                "UPDATE members SET consent_profiling = '{\"granted\": false}' WHERE member_id = 'new-silver'"
            )
        )
    assert policy(signals.ask("new-silver"))["fallback"] == "popular"


def experiments_hold_out(answer: Mapping[str, Any]) -> bool:
    return bool(answer["measurement"]["assignment"]["is_holdout"])


def test_a_stranger_in_a_category_is_shown_what_is_popular_there(signals: Signals) -> None:
    signals.buy({f"group-{n}": None for n in range(30)}, "sku-10", at=days_before(5))
    signals.refresh()
    answer = signals.ask("nobody", category="group-1")
    assert policy(answer)["fallback"] == "popular_in_category"
    assert answer["items"][0]["sku"] == "sku-10"
    assert answer["items"][0]["reason"]["text"] == "Popular in group-1"
    assert policy(signals.ask("nobody", category="nothing here"))["fallback"] == "empty"


def test_recently_viewed_is_the_members_own_list_and_nobody_elses(signals: Signals) -> None:
    for who in (TREATED, HELD_OUT):
        signals.happen(
            view(who, "sku-03", days=2),
            view(who, "sku-05", days=1, kind="add_to_cart"),
            view(who, "sku-03", days=4),
            view(who, "not-in-the-model", days=0.5),
            view(who, "sku-07", days=31),
        )
    answer = signals.ask(TREATED, mode="recently_viewed")
    assert skus(answer) == ["sku-05", "sku-03"]
    assert [item["reason"]["text"] for item in answer["items"]] == [
        "You put this in your cart recently",
        "You looked at this recently",
    ]
    assert {item["source"] for item in answer["items"]} == {"recently_viewed"}
    assert policy(answer)["fallback"] is None
    with signals.engine.connect() as conn:
        kept = operations.get_decision(conn, recommendation_id=answer["recommendation_id"])
    assert [item["sku"] for item in kept["items"]] == ["sku-05", "sku-03"]
    assert kept["request"]["mode"] == "recently_viewed"
    assert kept["context"]["looks_read"] == 4
    assert skus(signals.ask(TREATED, mode="recently_viewed", exclude=("sku-05",))) == ["sku-03"]
    for nobody in ("nobody", HELD_OUT, "member-039"):
        empty = signals.ask(nobody, mode="recently_viewed")
        assert (empty["items"], policy(empty)["fallback"]) == ([], "empty")


@pytest.mark.parametrize("mode", ["mixed", "buy_again", "discover", "trending", "recently_viewed"])
def test_no_list_holds_a_duplicate_an_excluded_an_unknown_or_an_unavailable_item(
    signals: Signals, mode: str
) -> None:
    looks = [view(TREATED, f"sku-{number:02}", days=number + 1) for number in range(8)]
    signals.happen(*looks, view(TREATED, "not-in-the-model"))
    signals.refresh()
    with signals.engine.begin() as conn:
        Shop(conn).item("sku-02", categories=["tea"], available=False, at=NOON)
    answer = signals.ask(TREATED, now=NOON + timedelta(minutes=1), mode=mode, limit=100, exclude=("sku-04",))
    with signals.engine.begin() as conn:
        Shop(conn).item("sku-02", categories=["tea"], at=NOON + timedelta(minutes=2))
    shown = skus(answer)
    assert len(shown) == len(set(shown)) > 0
    assert not {"sku-02", "sku-04", "not-in-the-model"} & set(shown)
    assert [item["rank"] for item in answer["items"]] == list(range(1, len(shown) + 1))


def test_who_objected_to_profiling_has_nothing_looked_at(signals: Signals) -> None:
    signals.happen(view("member-011", "sku-03"))
    with signals.engine.begin() as conn:
        conn.execute(
            text(
                "UPDATE members SET consent_profiling = '{\"granted\": false}' WHERE member_id = 'member-011'"
            )
        )
        interactions = read_interactions(conn, timezone=ZONE)
        log = read_looks(conn, interactions, timezone=ZONE)
    assert signals.ask("member-011", mode="recently_viewed")["items"] == []
    assert "member-011" not in log.by_user


def test_an_item_that_came_after_the_training_is_shown_like_any_other(signals: Signals) -> None:
    everything = skus(signals.ask(TREATED, limit=100, mode="discover"))
    soon = NOON + timedelta(minutes=1)
    with signals.engine.begin() as conn:
        Shop(conn).item("late", names={"en": "Late tea"}, categories=["late"], at=soon)
    whole = signals.ask(TREATED, limit=100, mode="discover", now=soon)
    assert skus(whole) == [*everything, "late"]
    assert whole["items"][-1]["reason"]["code"] == "also_available"
    assert skus(signals.ask("nobody", category="late", now=soon)) == ["late"]
    signals.happen(view(TREATED, "late"))
    assert skus(signals.ask(TREATED, mode="recently_viewed", now=soon))[0] == "late"
    signals.buy({TREATED: None}, "late", at=days_before(20))
    assert "late" in skus(signals.ask(TREATED, mode="buy_again", limit=100, now=soon))
    signals.buy({f"late-{n}": None for n in range(70)}, "late", at=days_before(1))
    # What the shop never described is shown once it was bought, and not when somebody's event names it.
    signals.buy({f"stub-{n}": None for n in range(5)}, "late-stub", at=days_before(1))
    signals.happen(view("member-020", "named-only"))
    signals.refresh(soon)
    popular = signals.ask("nobody", limit=100, now=soon)
    assert popular["items"][0]["sku"] == "late"
    assert popular["items"][0]["reason"]["code"] == "popular_now"
    assert "late-stub" in skus(popular)
    assert "named-only" not in skus(popular)
    assert "late" in skus(signals.ask(TREATED, mode="trending", limit=100, now=soon))
    later = soon + timedelta(minutes=1)
    with signals.engine.begin() as conn:
        Shop(conn).item("late", categories=["late"], available=False, at=later)
    assert "late" not in skus(signals.ask("nobody", limit=100, now=later))


def test_what_was_looked_at_shifts_the_answer_where_that_was_learned(signals: Signals) -> None:
    before = signals.ask(TREATED, limit=30)
    last = skus(before)[-1]
    signals.happen(view(TREATED, last, days=0.2))
    assert skus(signals.ask(TREATED, limit=30)) == skus(before)
    shelf = signals.serving.last()
    assert shelf is not None
    leaning = copy(shelf.model)
    config = replace(leaning.blend.config, mixed="learned", discover="learned", viewed=4.0)
    leaning.blend = replace(leaning.blend, config=config)
    leaning._prepare()
    signals.serving._shelf = replace(shelf, model=leaning)
    after = signals.ask(TREATED, limit=30)
    moved = next(item for item in after["items"] if item["sku"] == last)
    assert moved["rank"] < 30
    if moved["source"] == "discover":
        assert moved["reason"]["code"] == "looked_at"


def test_what_a_visitor_looked_at_becomes_the_members(signals: Signals) -> None:
    def anonymous(sku: str, **more: Any) -> dict[str, Any]:
        return {**view("", sku), "member_id": None, "anonymous_id": "visitor-1", **more}

    member = "member-012"
    signals.happen(anonymous("sku-01", occurred_at=days_before(3)))
    assert signals.ask(member, mode="recently_viewed")["items"] == []
    signals.happen(anonymous("sku-02", member_id=member, occurred_at=days_before(2)))
    signals.happen(anonymous("sku-03", occurred_at=days_before(1)))
    signals.happen(anonymous("sku-04", member_id="member-013", occurred_at=days_before(0.5)))
    assert skus(signals.ask(member, mode="recently_viewed")) == ["sku-03", "sku-02", "sku-01"]


def test_a_page_of_the_shop_that_names_both_ids_links_the_visitor_too(signals: Signals) -> None:
    with signals.engine.begin() as conn:
        plan_words(conn)
        expose_visitor(
            conn,
            serving=signals.serving,
            experiment="words",
            visitor=Visitor(LINKED, "visitor-2"),
            surface=Surface("home", "web"),
            traceparent=None,
            now=NOON,
        )
    signals.happen({**view("", "sku-08"), "member_id": None, "anonymous_id": "visitor-2"})
    assert skus(signals.ask(LINKED, mode="recently_viewed")) == ["sku-08"]


def test_training_reads_what_was_looked_at_before_the_origins(conn: Connection) -> None:
    shop = Shop(conn)
    shop._numbers = 90_000
    keys = {name: shop.member(name) for name in ("a", "b")}
    shop.order(keys["a"], {"tea": 1}, at=days_before(300))
    shop.order(keys["b"], {"tea": 1}, at=days_before(1))
    events = [
        {**view("a", "tea", days=2), "event_id": "1"},
        {**view("a", "cup", days=9, kind="wishlist"), "event_id": "2"},
        {**view("b", "tea", days=200), "event_id": "3"},
        {**view("b", "tea", days=3, kind="search"), "event_id": "4"},
    ]
    activity.record_events(conn, events=events, now=NOON)
    log = read_looks(conn, read_interactions(conn, timezone=ZONE), timezone=ZONE)
    found = {name: [(look.item_id, look.kind) for look in log.by_user.get(name, ())] for name in keys}
    assert found == {"a": [("cup", "wished"), ("tea", "viewed")], "b": []}
    assert [look.at for look in log.by_user["a"]] == pytest.approx([20769.8333, 20776.8333], abs=1e-3)
