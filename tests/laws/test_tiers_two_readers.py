"""Law T3: a rule evaluated for one member in Python equals the rule compiled to SQL over everyone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert

from service.activity.rules import TierFact
from service.tiers import store_bulk
from service.tiers.changes import state_values
from service.tiers.conditions import parse_condition
from service.tiers.models import tier_pins
from service.tiers.passing import pass_days
from service.tiers.population.store import find_range
from service.tiers.population.store_disagreeing import list_disagreeing
from service.tiers.resuming import resume_members
from service.tiers.rules import parse_ruleset
from service.tiers.timeline import RuleTimeline
from tests.conftest import SCALE
from tests.integration.tiers.shop import Shop, programme_in
from tests.laws.tier_oracle import Pinned
from tests.laws.tier_worlds import (
    CONDITIONS,
    END,
    NAMES,
    PERIODS,
    ROLLING,
    START,
    ZONES,
    World,
    arriving,
    definitions,
    moments,
    pins,
)
from tests.laws.two_readers import agree, read_in_python, read_in_sql


@st.composite
def memberships(draw: st.DrawFn) -> list[World]:
    """Draw one to three members of one programme, under one rule set with a window of any kind."""
    timezone = draw(st.sampled_from(ZONES))
    years = draw(st.sampled_from([0, 0, 1, 2]))
    rulesets = [(START, draw(definitions(st.one_of(ROLLING, PERIODS))))]
    return [
        World(
            rulesets=rulesets,
            timezone=timezone,
            joined_at=draw(st.one_of(st.just(START), moments(), st.just(START - timedelta(days=340)))),
            arrivals=draw(arriving((timezone, "Asia/Tokyo"), years=years)),
            end=END + timedelta(days=365 * years),
            pins=draw(pins(timezone, years)),
            merges=[],
        )
        for _ in range(draw(st.integers(1, 3)))
    ]


def settle(conn: Connection, members: list[World]) -> Shop:
    """Bring in every member's facts at once, as an import does, and fold them up to the end."""
    shop = Shop(conn, members[0].definition, programme=programme_in(members[0].timezone))
    codes = {tier["code"] for tier in members[0].definition["tiers"]}
    shop.now = datetime.combine(members[0].end, time(12), tzinfo=UTC)
    for number, world in enumerate(members):
        shop.enrol_only(f"m{number}", joined_at=world.joined_at)
        for fact in world.facts:
            bring_in(shop, replace(fact, source_id=f"{number}{fact.source_id}"), number)
        for pinned in world.pins:
            if pinned.tier in codes:
                hold(shop, pinned, number)
    shop.refold(*shop.keys)
    return shop


def hold(shop: Shop, pinned: Pinned, number: int) -> None:
    """Hold a member at a tier for a while that is over."""
    shop.conn.execute(
        insert(tier_pins).values(
            member_key=shop.keys[f"m{number}"],
            tier=pinned.tier,
            starts_at=pinned.starts_at,
            ends_at=pinned.ends_at,
            reason="because",
            actor="admin:k1",
            recorded_at=pinned.starts_at,
        )
    )


def bring_in(shop: Shop, fact: TierFact, number: int) -> None:
    member_id = f"m{number}"
    if fact.cause == "order":
        shop.record_order(fact.source_id, fact.at, fact.goods_delta, member_id=member_id)
        return
    order_id = None if fact.order_key is None else f"{number}o{fact.order_key}"
    minor = fact.unlinked_delta - fact.goods_delta
    shop.record_refund(fact.source_id, order_id, fact.at, minor, member_id=member_id)


def after(days: int, minor: int, *, order: int, refund: int | None = None) -> TierFact:
    """Return an order of the first day, or its whole refund some days later."""
    at, name = START + timedelta(days=days), f"o{order}" if refund is None else f"r{refund}"
    cause: Any = "order" if refund is None else "refund"
    sign = 1 if refund is None else -1
    return TierFact(at, START.date(), cause, name, order, refund, sign * minor, sign * minor, sign, 0)


def undone() -> World:
    """A rise that a refund undoes the next day: the stay in the base tier goes on, and so does its year."""
    facts = [after(0, 50, order=1), after(0, 50, order=2), after(1, 50, order=2, refund=1)]
    definition = {
        "currency": "TWD",
        "window": {"kind": "membership_year", "anchor": "tier"},
        "tiers": [
            {"code": "t0", "names": NAMES},
            {"code": "t1", "names": NAMES, "enter": {"metric": "orders", "op": ">=", "value": 2}},
        ],
        "downgrade": {"policy": "one_step", "grace_days": 0, "min_hold_days": 0},
    }
    arrivals = [(fact.at, fact) for fact in facts]
    return World([(START, definition)], "UTC", START, arrivals, END, pins=[], merges=[])


@given(memberships(), st.lists(CONDITIONS, max_size=2), st.one_of(st.none(), st.integers(-3, 890)))
@example([undone()], [], 10)
@settings(max_examples=20 * SCALE)
def test_t3_python_and_sql_read_the_same_rule_the_same_way(
    conn: Connection, members: list[World], more: list[dict[str, Any]], past: int | None
) -> None:
    savepoint = conn.begin_nested()
    try:
        shop = settle(conn, members)
        rules = parse_ruleset(members[0].definition, version=1)
        conditions = [parse_condition(one, currency="TWD") for one in more]
        day = members[0].end
        if past is not None:
            day = min(day, START.date() + timedelta(days=past))
        folds = read_in_python(shop, day)
        rows = read_in_sql(shop, rules, conditions, day, past=past is not None)
        assert set(rows) == set(folds)
        for key, member in folds.items():
            metrics = member.measure(max(day, member.last_day))
            agree(rows[key], metrics, rules, conditions)
    finally:
        savepoint.rollback()


@given(memberships(), st.integers(0, 80))
@settings(max_examples=20 * SCALE)
def test_whom_the_second_reader_leaves_out_of_a_full_review_no_rating_would_change(
    conn: Connection, members: list[World], later: int
) -> None:
    savepoint = conn.begin_nested()
    try:
        shop = settle(conn, members)
        rules = parse_ruleset(members[0].definition, version=1)
        day = members[0].end + timedelta(days=later)
        everyone = find_range(conn, after=0, size=99)
        assert everyone is not None
        looked = list_disagreeing(
            conn, rules=rules, day=day, timezone=shop.programme.timezone, found=everyone
        )
        assert looked.members == len(members)
        # Nobody is taken for wrong who is not.
        assert looked.astray == frozenset()
        folds = read_in_python(shop, day)
        for row in store_bulk.list_states(conn, member_keys=list(folds)):
            if row.member_key not in looked.disagreeing:
                member = folds[row.member_key]
                member.rate_on(day)
                assert state_values(member, member_key=row.member_key) == row._asdict()
    finally:
        savepoint.rollback()


@given(memberships(), st.integers(0, 80))
@settings(max_examples=20 * SCALE)
def test_whom_days_are_said_to_leave_where_they_are_every_rating_on_them_leaves_there(
    conn: Connection, members: list[World], later: int
) -> None:
    savepoint = conn.begin_nested()
    try:
        shop = settle(conn, members)
        timeline = RuleTimeline.always(parse_ruleset(members[0].definition, version=1))
        day = members[0].end + timedelta(days=later)
        rows = store_bulk.list_states(conn, member_keys=list(shop.keys.values()))
        passed = pass_days(conn, rows, timeline=timeline, programme=shop.programme, day=day)
        for row, member in resume_members(conn, rows, timeline=timeline, programme=shop.programme, day=day):
            if row.member_key in passed:
                member.catch_up(day)
                left = row._asdict() | {"next_review_on": passed[row.member_key]}
                assert state_values(member, member_key=row.member_key) == left
                assert (member.changes, member.notices) == ([], [])
    finally:
        savepoint.rollback()
