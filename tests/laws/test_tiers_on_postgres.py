"""Law T1 on a real database: facts in any order of arrival, through the verbs that the doors use."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from service.activity import operations as activity
from service.activity.rules import TierFact
from service.kit.clock import local_day
from service.tiers import operations as tiers
from tests.conftest import SCALE
from tests.integration.tiers.shop import Shop, programme_in
from tests.laws.tier_oracle import simulate
from tests.laws.tier_worlds import World, worlds


def record(shop: Shop, fact: TierFact) -> TierFact:
    """Record an order or a refund as the shop would have sent it."""
    if fact.cause == "order":
        return shop.record_order(fact.source_id, fact.at, fact.goods_delta)
    order_id = None if fact.order_key is None else f"o{fact.order_key}"
    return shop.record_refund(fact.source_id, order_id, fact.at, fact.unlinked_delta - fact.goods_delta)


def live(shop: Shop, world: World, data: st.DataObject) -> None:
    """Let the facts of a world arrive, with reviews in between."""
    shop.enrol(joined_at=world.joined_at)
    for received_at, fact in world.arrivals:
        shop.now = max(shop.now, received_at)
        if data.draw(st.booleans()):
            tiers.review_due(
                shop.conn,
                now=shop.now,
                programme=shop.programme,
                limit=9,
                everyone=data.draw(st.booleans()),
            )
        outcome = shop.rate("m1", fact.at, shop.now, partial(record, shop, fact))
        if outcome.pending:
            tiers.refold_member(shop.conn, member_key=shop.keys["m1"], programme=shop.programme, now=shop.now)
        assert shop.violations() == []


@given(worlds(), st.data())
@settings(max_examples=20 * SCALE)
def test_t1_the_stored_tier_is_the_fold_of_all_facts(
    conn: Connection, world: World, data: st.DataObject
) -> None:
    savepoint = conn.begin_nested()
    try:
        shop = Shop(conn, world.definition, programme=programme_in(world.timezone))
        live(shop, world, data)
        shop.review((shop.now - shop.at(0)) / timedelta(days=1) + 60)
        assert shop.violations() == []
        facts = activity.list_tier_facts(conn, member_key=shop.keys["m1"])
        verdict = simulate(
            world.definition,
            facts,
            timezone=world.timezone,
            joined_at=world.joined_at,
            until=local_day(shop.now, timezone=world.timezone),
        )
        state = shop.state()
        assert (state.rank, state.since, state.unqualified_since) == (
            verdict.rank,
            verdict.since,
            verdict.unqualified,
        )
        moves = [(change[0], change[1], change[3]) for change in shop.log()]
        assert moves == [
            (None if rank is None else f"t{rank}", f"t{to}", (at - shop.at(0)) / timedelta(days=1))
            for rank, to, at, _ in verdict.moves
        ]
    finally:
        savepoint.rollback()


@given(worlds(), st.data())
@settings(max_examples=10 * SCALE)
def test_imported_in_one_go_or_lived_through_the_tiers_are_the_same(
    conn: Connection, world: World, data: st.DataObject
) -> None:
    savepoint = conn.begin_nested()
    try:
        shop = Shop(conn, world.definition, programme=programme_in(world.timezone))
        live(shop, world, data)
        lived = (shop.state(), [change[:2] + change[3:] for change in shop.log()])
        shop.refold("m1")
        assert (shop.state(), [change[:2] + change[3:] for change in shop.log()]) == lived
    finally:
        savepoint.rollback()
