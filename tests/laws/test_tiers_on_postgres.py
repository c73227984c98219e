"""Law T1 on a real database: facts in any order of arrival, through the verbs that the doors use."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from service.activity import operations as activity
from service.activity.rules import TierFact
from service.kit.clock import local_day
from service.tiers import operations as tiers
from service.tiers.errors import NoOverride, UnknownTier
from tests.conftest import SCALE
from tests.integration.tiers.shop import Shop, programme_in
from tests.laws.tier_oracle import Pinned, simulate
from tests.laws.tier_worlds import World, changing_worlds, late_worlds, worlds

Step = tuple[datetime, Callable[[], object]]


def record(shop: Shop, fact: TierFact) -> TierFact:
    """Record an order or a refund as the shop would have sent it."""
    if fact.cause == "order":
        return shop.record_order(fact.source_id, fact.at, fact.goods_delta)
    order_id = None if fact.order_key is None else f"o{fact.order_key}"
    if order_id is not None and fact.refund_key is None:
        return shop.record_cancellation(order_id, fact.at)
    return shop.record_refund(fact.source_id, order_id, fact.at, fact.unlinked_delta - fact.goods_delta)


def learn(shop: Shop, fact: TierFact) -> None:
    """Rate a fact as it arrives."""
    outcome = shop.rate("m1", fact.at, shop.now, partial(record, shop, fact))
    if outcome.pending:
        tiers.refold_member(shop.conn, member_key=shop.keys["m1"], programme=shop.programme, now=shop.now)


def pin(shop: Shop, pinned: Pinned, done: list[Pinned]) -> None:
    """Hold the member at a tier, as staff would, until the midnight that it ends at or is lifted before."""
    end = pinned.ends_at.astimezone(ZoneInfo(shop.programme.timezone))
    until = end.date() if end.time() == time() else end.date() + timedelta(days=9)
    try:
        tiers.pin_tier(
            shop.conn,
            member_key=shop.keys["m1"],
            tier=pinned.tier,
            until=until,
            reason="because",
            actor="admin:k1",
            now=shop.now,
            programme=shop.programme,
        )
    except UnknownTier:
        return
    done.append(pinned)


def lift(shop: Shop, pinned: Pinned, done: list[Pinned]) -> None:
    """Lift what has not ended by itself."""
    if pinned not in done:
        return
    try:
        tiers.lift_pin(
            shop.conn,
            member_key=shop.keys["m1"],
            actor="admin:k1",
            now=shop.now,
            programme=shop.programme,
        )
    except NoOverride:
        assert pinned.ends_at.astimezone(ZoneInfo(shop.programme.timezone)).time() == time()


def live(shop: Shop, world: World, data: st.DataObject) -> list[Pinned]:
    """Let facts arrive, rules change and staff decide, with reviews in between; return the pins set."""
    shop.enrol(joined_at=world.joined_at)
    done: list[Pinned] = []
    steps: list[Step] = [(at, partial(learn, shop, fact)) for at, fact in world.arrivals]
    for starts_at, definition in world.rulesets[1:]:
        # Long before, in time, or committed when facts had been rated under the rules before.
        known_at = starts_at + timedelta(hours=data.draw(st.sampled_from([-700, 0, 0, 30])))
        steps.append((known_at, partial(shop.publish, definition, starts_at)))
    for pinned in world.pins:
        if pinned.starts_at >= world.joined_at:
            steps.append((pinned.starts_at, partial(pin, shop, pinned, done)))
            steps.append((pinned.ends_at, partial(lift, shop, pinned, done)))
    for at, step in sorted(steps, key=lambda step: step[0]):
        shop.now = max(shop.now, at)
        if data.draw(st.booleans()):
            tiers.review_due(
                shop.conn,
                now=shop.now,
                programme=shop.programme,
                limit=9,
                everyone=data.draw(st.booleans()),
            )
        step()
        assert shop.violations() == []
    return done


def check_against_living_through(shop: Shop, world: World, pins: list[Pinned]) -> None:
    """Compare state and log with the plain simulation of what is in the database."""
    verdict = simulate(
        world.rulesets,
        activity.list_tier_facts(shop.conn, member_key=shop.keys["m1"]),
        timezone=world.timezone,
        joined_at=world.joined_at,
        until=local_day(shop.now, timezone=world.timezone),
        pins=pins,
    )
    state = shop.state()
    assert (state.tier, state.since, state.unqualified_since, state.stands_until, state.pinned_until) == (
        verdict.tier,
        verdict.since,
        verdict.unqualified,
        verdict.stands_until,
        verdict.pinned_until,
    )
    moves = [(change[0], change[1], change[3]) for change in shop.log()]
    assert moves == [
        (left, reached, (at - shop.at(0)) / timedelta(days=1)) for left, reached, at, _ in verdict.moves
    ]


@given(st.one_of(worlds(), changing_worlds()), st.data())
@settings(max_examples=25 * SCALE)
def test_t1_the_stored_tier_is_the_fold_of_all_facts(
    conn: Connection, world: World, data: st.DataObject
) -> None:
    savepoint = conn.begin_nested()
    try:
        shop = Shop(conn, world.definition, programme=programme_in(world.timezone))
        pins = live(shop, world, data)
        shop.review((shop.now - shop.at(0)) / timedelta(days=1) + 60)
        assert shop.violations() == []
        check_against_living_through(shop, world, pins)
    finally:
        savepoint.rollback()


@given(late_worlds(), st.data())
@settings(max_examples=25 * SCALE)
def test_t1_holds_when_days_past_are_told_of_between_todays_refunds_and_cancellations(
    conn: Connection, world: World, data: st.DataObject
) -> None:
    savepoint = conn.begin_nested()
    try:
        shop = Shop(conn, world.definition, programme=programme_in(world.timezone))
        live(shop, world, data)
        assert shop.violations() == []
        check_against_living_through(shop, world, [])
        shop.review((shop.now - shop.at(0)) / timedelta(days=1) + 200)
        assert shop.violations() == []
    finally:
        savepoint.rollback()


@given(st.one_of(worlds(), changing_worlds(), late_worlds()), st.data())
@settings(max_examples=10 * SCALE)
def test_imported_in_one_go_or_lived_through_the_tiers_are_the_same(
    conn: Connection, world: World, data: st.DataObject
) -> None:
    savepoint = conn.begin_nested()
    try:
        shop = Shop(conn, world.definition, programme=programme_in(world.timezone))
        live(shop, world, data)
        tiers.review_due(shop.conn, now=shop.now, programme=shop.programme, limit=9)
        lived = (shop.state(), [change[:2] + change[3:] for change in shop.log()])
        shop.refold("m1")
        assert (shop.state(), [change[:2] + change[3:] for change in shop.log()]) == lived
    finally:
        savepoint.rollback()
