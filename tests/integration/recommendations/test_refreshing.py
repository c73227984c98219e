"""Statistics between trainings: the same as from the beginning, at the cost of what changed."""

from __future__ import annotations

import random
import threading
from dataclasses import fields
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text

from recommender.statistics import Figures, Statistics
from service.activity import store_merging
from service.recommendations import refreshing, store_statistics
from service.recommendations.refreshing import Refreshment, read_takings, refresh_statistics
from tests.integration.recommendations.shop import NOON, Shop, days_before

ZONE = "Asia/Taipei"


def refresh(engine: Engine, **wishes: Any) -> Refreshment:
    return refresh_statistics(engine, timezone=ZONE, now=wishes.pop("now", NOON), **wishes)


def assert_fresh(engine: Engine) -> None:
    """The statistics kept are those that everything on the shelves comes to, to the last number."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn, conn.begin():
        row = store_statistics.find_state(conn)
        served = store_statistics.find_figures(conn)
        assert row is not None
        assert served is not None
        kept = Statistics.from_bytes(row.state)
        takings = read_takings(conn, timezone=ZONE)
        tiers = store_statistics.map_tiers(conn, member_keys=takings.user.tolist())
    whole = Statistics.of(takings, through_day=kept.through_day)
    for one, other in ((kept, whole), (Figures.from_bytes(served.figures), whole.figures(tiers))):
        for field in fields(one):
            mine, theirs = getattr(one, field.name), getattr(other, field.name)
            np.testing.assert_array_equal(mine, theirs, err_msg=field.name)


class Life:
    """A shop that lives: orders, refunds of every kind, cancellations, merges, in any order."""

    def __init__(self, shop: Shop, random_: random.Random, members: list[int]) -> None:
        self.shop, self.random, self.members = shop, random_, members
        self.orders: list[tuple[int, dict[str, int]]] = []
        self.undone: set[int] = set()
        self.merged: list[tuple[int, int]] = []

    def step(self) -> None:
        happens = self.random.choices(
            (self.order, self.refund, self.refund_unlinked, self.cancel, self.merge), (12, 3, 2, 1, 1)
        )[0]
        happens()

    def _day(self) -> Any:
        return days_before(self.random.choice((0.1, 1, 2, 5, 8, 30, 60, 70, 200)))

    def order(self) -> None:
        lines = {f"i{self.random.randrange(8)}": self.random.randint(1, 3) for _ in range(3)}
        key = self.shop.order(self.random.choice(self.members), lines, at=self._day())
        self.orders.append((key, lines))

    def refund(self) -> None:
        if self.orders:
            key, lines = self.random.choice(self.orders)
            whole = self.random.random() < 0.3
            back = lines if whole else dict([self.random.choice(list(lines.items()))])
            with_lines = {} if self.random.random() < 0.2 else back
            amount = 100 * sum(back.values())
            owner = self.shop.conn.scalar(
                text("SELECT member_key FROM order_keys WHERE order_key = :key"), {"key": key}
            )
            self.shop.refund(owner, with_lines, at=self._day(), order_key=key, amount_minor=amount)

    def refund_unlinked(self) -> None:
        lines = {f"i{self.random.randrange(8)}": 1}
        self.shop.refund(self.random.choice(self.members), lines, at=self._day())

    def cancel(self) -> None:
        left = [key for key, _ in self.orders if key not in self.undone]
        if left:
            key = self.random.choice(left)
            self.undone.add(key)
            self.shop.cancel(key, at=NOON, amount_minor=100)

    def merge(self) -> None:
        if self.merged and self.random.random() < 0.5:
            origin, into = self.merged.pop()
            store_merging.hand_back_facts(self.shop.conn, from_key=origin, into_key=into, origins=[origin])
        else:
            origin, into = self.random.sample(self.members, 2)
            store_merging.hand_over_facts(self.shop.conn, from_key=origin, into_key=into)
            self.merged.append((origin, into))


@pytest.mark.parametrize("seed", range(3))
def test_refresh_after_refresh_gives_the_figures_computed_from_scratch(engine: Engine, seed: int) -> None:
    random_ = random.Random(seed)
    with engine.begin() as conn:
        members = [Shop(conn).member(f"m{number}", tier="base") for number in range(5)]
    assert refresh(engine).changes is None
    shop_numbers, life = 0, None
    for _ in range(6):
        with engine.begin() as conn:
            shop = Shop(conn)
            shop._numbers = shop_numbers
            life = Life(shop, random_, members) if life is None else life
            life.shop = shop
            for _ in range(random_.randint(1, 12)):
                life.step()
            shop_numbers = shop._numbers
        assert refresh(engine).changes is not None
        assert_fresh(engine)


def test_days_that_pass_move_the_windows_without_any_change(engine: Engine) -> None:
    with engine.begin() as conn:
        shop = Shop(conn)
        shop.order(shop.member("m"), {"a": 1}, at=days_before(3))
    refresh(engine)
    refresh(engine, now=NOON + timedelta(days=10))
    assert_fresh(engine)
    with engine.connect() as conn:
        row = store_statistics.find_figures(conn)
    assert row is not None
    assert Figures.from_bytes(row.figures).counts.tolist() == [[0], [1], [1]]


def test_a_refresh_again_takes_nothing_in_twice(engine: Engine) -> None:
    with engine.begin() as conn:
        shop = Shop(conn)
        key = shop.member("m")
        shop.order(key, {"a": 1}, at=days_before(3))
    assert refresh(engine).changes is None
    with engine.begin() as conn:
        shop = Shop(conn)
        shop._numbers = 10
        shop.order(key, {"a": 1}, at=days_before(2))
    done = [refresh(engine) for _ in range(3)]
    assert [one.changes for one in done] == [1, 0, 0]
    assert [one.version for one in done] == [2, 3, 4]
    assert_fresh(engine)


def test_a_refresh_that_is_cut_off_has_done_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine.begin() as conn:
        shop = Shop(conn)
        key = shop.member("m")
    refresh(engine)
    with engine.begin() as conn:
        Shop(conn).order(key, {"a": 1}, at=days_before(2))

    def break_off(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store_statistics, "insert_statistics", break_off)
        with pytest.raises(KeyboardInterrupt):
            refresh(engine)
    assert refresh(engine).changes == 1
    assert_fresh(engine)


def test_orders_that_commit_late_are_not_passed_over(engine: Engine) -> None:
    with engine.begin() as conn:
        shop = Shop(conn)
        key = shop.member("m")
        shop.item("a")
        shop.item("b")
    refresh(engine)
    with engine.begin() as late:
        Shop(late).order(key, {"a": 1}, at=days_before(2))
        with engine.begin() as conn:
            shop = Shop(conn)
            shop._numbers = 10
            shop.order(key, {"b": 1}, at=days_before(2))
        assert refresh(engine).changes == 1
    assert refresh(engine).changes == 1
    assert_fresh(engine)


def test_two_refreshes_at_once_take_everything_in_once(engine: Engine) -> None:
    with engine.begin() as conn:
        shop = Shop(conn)
        key = shop.member("m")
        for day in range(20):
            shop.order(key, {f"i{day % 4}": 1}, at=days_before(day))
    done: list[Refreshment] = []
    threads = [threading.Thread(target=lambda: done.append(refresh(engine))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.version for one in done) == [1, 2, 3, 4]
    assert sum(one.changes is None for one in done) == 1
    assert_fresh(engine)


def test_the_cost_follows_the_new_orders_and_not_the_history(engine: Engine) -> None:
    read = []
    for size in (1, 10):
        with engine.begin() as conn:
            shop = Shop(conn)
            shop._numbers = size * 10_000
            shopper = shop.member(f"shopper-{size}")
            shop.order(shopper, {"i1": 1, "i2": 1}, at=days_before(90))
            for number in range(12 * size):
                others = shop.member(f"other-{size}-{number}")
                shop.order(others, {"i1": 1, f"i{number % 7}": 1}, at=days_before(number % 60))
        refresh(engine)
        with engine.begin() as conn:
            shop = Shop(conn)
            shop._numbers = size * 10_000 + 5_000
            shop.order(shopper, {"i1": 1, "i3": 1}, at=days_before(1))
        read.append(refresh(engine).lines_read)
    # The line before, and the two new ones.
    assert read == [3, 3]
    assert_fresh(engine)


def test_very_many_changes_are_read_from_the_beginning(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh(engine)
    with engine.begin() as conn:
        shop = Shop(conn)
        key = shop.member("m")
        for day in range(4):
            shop.order(key, {"a": 1}, at=days_before(day))
    monkeypatch.setattr(refreshing, "MOST_CHANGES", 4)
    assert refresh(engine).changes is None
    assert_fresh(engine)


def test_statistics_that_cannot_be_read_are_computed_anew(engine: Engine) -> None:
    with engine.begin() as conn:
        shop = Shop(conn)
        shop.order(shop.member("m"), {"a": 1}, at=days_before(1))
    refresh(engine)
    with engine.begin() as conn:
        conn.execute(text("UPDATE recommender_statistics SET state = 'torn'"))
    assert refresh(engine).changes is None
    assert_fresh(engine)
