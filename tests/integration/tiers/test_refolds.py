"""History brought in by an import, and members folded again."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import Connection, text

from service.tiers import operations as tiers
from service.tiers import store_bulk
from tests.integration.tiers.shop import START, Shop, spend_ladder

MIDNIGHT = 4 / 24


@pytest.fixture
def shop(conn: Connection) -> Shop:
    shop = Shop(conn, spend_ladder(100, 300))
    for number in range(3):
        shop.enrol_only(f"m{number}", joined_at=START)
    shop.now = shop.at(100)
    return shop


def bring_in(shop: Shop, member_id: str = "m0") -> None:
    shop.record_order(f"{member_id}-o1", shop.at(2), 15000, member_id=member_id)
    shop.record_order(f"{member_id}-o2", shop.at(5), 20000, member_id=member_id)
    shop.record_refund(f"{member_id}-r1", f"{member_id}-o2", shop.at(8), 20000, member_id=member_id)


HISTORY = [
    (None, "t0", "enrol", 0),
    ("t0", "t1", "order", 2),
    ("t1", "t2", "order", 5),
    ("t2", "t1", "refund", 8),
    ("t1", "t0", "roll_off", 42 - MIDNIGHT),
]


def test_imported_history_moves_in_its_own_time_with_its_own_causes(shop: Shop) -> None:
    bring_in(shop)
    shop.refold("m0", "m1")
    assert shop.log("m0") == HISTORY
    assert shop.log("m1") == [(None, "t0", "enrol", 0)]
    assert shop.events() == []
    recorded = shop.conn.execute(text("SELECT DISTINCT recorded_at, import_key FROM tier_changes")).all()
    assert [tuple(row) for row in recorded] == [(shop.now, 1)]
    assert shop.violations() == [tiers.Violation("T1", "a member without a tier", shop.keys["m2"])]


def test_every_order_gets_the_tier_held_just_before_it(shop: Shop) -> None:
    bring_in(shop)
    bring_in(shop, "m1")
    found = shop.refold("m1", "m0")
    ids: dict[int, str] = {
        row.order_key: row.order_id
        for row in shop.conn.execute(text("SELECT order_key, order_id FROM order_keys"))
    }
    assert [(ids[order.order_key], order.tier, order.multiplier_bp) for order in found] == [
        ("m0-o1", "t0", 10_000),
        ("m0-o2", "t1", 10_000),
        ("m1-o1", "t0", 10_000),
        ("m1-o2", "t1", 10_000),
    ]


def _everything(shop: Shop) -> list[Any]:
    changes = shop.conn.execute(text("SELECT * FROM tier_changes ORDER BY change_key")).all()
    states = shop.conn.execute(text("SELECT s.*, s.xmin::text FROM tier_states s ORDER BY member_key")).all()
    return [*changes, *states]


def test_folding_again_without_news_writes_nothing(shop: Shop) -> None:
    bring_in(shop)
    shop.refold("m0", "m1")
    before = _everything(shop)
    shop.now = shop.at(101)
    shop.refold("m0", "m1", import_key=2)
    assert _everything(shop) == before


def test_history_that_comes_in_pieces_and_shuffled_ends_the_same(conn: Connection) -> None:
    pieces = [("o", n, n * 3 + n % 4, 40 + 35 * (n % 5)) for n in range(20)]
    refunds = [("r", n, n * 3 + n % 4 + 2 + n % 9, 40 + 35 * (n % 5)) for n in range(0, 20, 4)]

    def told(order: list[tuple[str, int, int, int]], cuts: int) -> tuple[Any, ...]:
        with conn.begin_nested() as savepoint:
            shop = Shop(conn, spend_ladder(100, 200, 350))
            shop.enrol_only("m1", joined_at=START)
            shop.now = shop.at(150)
            for place, (kind, number, day, amount) in enumerate(order):
                if kind == "o":
                    shop.record_order(f"o{number:02d}", shop.at(day), amount * 100)
                else:
                    shop.record_refund(f"r{number:02d}", f"o{number:02d}", shop.at(day), amount * 100)
                if place % cuts == 0:
                    shop.refold("m1")
            shop.refold("m1")
            assert shop.violations() == []
            state = shop.state()
            rows = conn.execute(
                text(
                    "SELECT c.from_tier, c.to_tier, c.effective_at, c.cause, c.metrics, k.order_id "
                    "FROM tier_changes c LEFT JOIN order_keys k USING (order_key) "
                    "WHERE superseded_at IS NULL ORDER BY effective_at, change_key"
                )
            ).all()
            savepoint.rollback()
        return ([tuple(row) for row in rows], state.tier, state.since, state.next_review_on, state.through)

    plain = told([*pieces, *refunds], cuts=1000)
    assert len(plain[0]) > 5
    for seed in range(4):
        shuffled = pieces.copy()
        random.Random(seed).shuffle(shuffled)
        assert told([*shuffled, *refunds], cuts=3 + seed) == plain


def test_live_members_take_imported_history_in(conn: Connection) -> None:
    shop = Shop(conn, spend_ladder(100, 300))
    shop.enrol("m1", day=20)
    shop.order("live", 25, 120)
    shop.record_order("old", shop.at(3), 35000)
    shop.refold("m1")
    assert shop.log() == [(None, "t0", "enrol", 3), ("t0", "t2", "order", 3)]
    assert shop.state().tier == "t2"
    assert shop.violations() == []


def test_more_members_than_one_chunk_are_folded_in_chunks(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.tiers.refolds.CHUNK", 2)
    for number in range(3):
        bring_in(shop, f"m{number}")
    assert len(shop.refold("m2", "m0", "m1")) == 6
    assert [shop.log(f"m{number}") for number in range(3)] == [HISTORY] * 3
    assert shop.violations() == []


def test_the_laws_find_what_was_tampered_with(shop: Shop) -> None:
    bring_in(shop)
    shop.refold("m0", "m1", "m2")
    assert shop.violations() == []
    shop.conn.execute(
        text("UPDATE tier_states SET tier = 't2', rank = 2 WHERE member_key = :key"), {"key": shop.keys["m0"]}
    )
    shop.conn.execute(
        text("UPDATE tier_changes SET metrics = '{}' WHERE member_key = :key"), {"key": shop.keys["m1"]}
    )
    shop.conn.execute(
        text("UPDATE tier_changes SET superseded_at = now() WHERE member_key = :key"),
        {"key": shop.keys["m2"]},
    )
    found = [(violation.law, violation.member_key) for violation in shop.violations()]
    assert found == [
        ("T1", shop.keys["m0"]),
        ("T1", shop.keys["m0"]),
        ("T1", shop.keys["m2"]),
        ("T4", shop.keys["m1"]),
    ]
    assert shop.violations()[0].to_json() == {
        "law": "T1",
        "detail": "tier is t2, the replay says t0",
        "member_key": shop.keys["m0"],
    }


def test_copy_writes_many_states_at_once(shop: Shop) -> None:
    shop.refold("m0", "m1", "m2")
    rows = [dict(shop.state(f"m{number}")._mapping) | {"tier": "t1", "rank": 1} for number in range(3)]
    store_bulk.write_states(shop.conn, rows=rows)
    store_bulk.write_states(shop.conn, rows=rows[:1])
    assert [shop.state(f"m{number}").tier for number in range(3)] == ["t1"] * 3
