"""Law T3: a rule evaluated for one member in Python equals the rule compiled to SQL over everyone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Row, SmallInteger, literal, select

from service.activity import operations as activity
from service.activity.rules import TierFact
from service.kit.clock import local_midnight
from service.members.operations import list_joined
from service.tiers import store_bulk
from service.tiers.changes import state_values
from service.tiers.conditions import Condition, Metrics, holds, parse_condition
from service.tiers.fold import MemberFold, fold
from service.tiers.passing import pass_days
from service.tiers.population.store_conditions import condition_sql, keeps_sql, qualified_rank_sql
from service.tiers.population.store_disagreeing import list_disagreeing
from service.tiers.population.store_metrics import metrics_sql
from service.tiers.resuming import resume_members
from service.tiers.rules import RuleSet, parse_ruleset
from service.tiers.timeline import RuleTimeline
from tests.conftest import SCALE
from tests.integration.tiers.shop import Shop, programme_in
from tests.laws.tier_worlds import (
    CONDITIONS,
    END,
    PERIODS,
    ROLLING,
    START,
    ZONES,
    World,
    arriving,
    definitions,
    moments,
)


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
            pins=[],
            merges=[],
        )
        for _ in range(draw(st.integers(1, 3)))
    ]


def settle(conn: Connection, members: list[World]) -> Shop:
    """Bring in every member's facts at once, as an import does, and fold them up to the end."""
    shop = Shop(conn, members[0].definition, programme=programme_in(members[0].timezone))
    shop.now = datetime.combine(members[0].end, time(12), tzinfo=UTC)
    for number, world in enumerate(members):
        shop.enrol_only(f"m{number}", joined_at=world.joined_at)
        for fact in world.facts:
            bring_in(shop, replace(fact, source_id=f"{number}{fact.source_id}"), number)
    shop.refold(*shop.keys)
    return shop


def bring_in(shop: Shop, fact: TierFact, number: int) -> None:
    member_id = f"m{number}"
    if fact.cause == "order":
        shop.record_order(fact.source_id, fact.at, fact.goods_delta, member_id=member_id)
        return
    order_id = None if fact.order_key is None else f"{number}o{fact.order_key}"
    minor = fact.unlinked_delta - fact.goods_delta
    shop.record_refund(fact.source_id, order_id, fact.at, minor, member_id=member_id)


def read_in_python(shop: Shop, rules: RuleSet, day: date) -> dict[int, MemberFold]:
    """Fold every member who is one by the end of `day` on the facts in effect by then."""
    timezone = shop.programme.timezone
    cut = local_midnight(day + timedelta(days=1), timezone=timezone)
    found = {}
    for key, joined_at in list_joined(shop.conn, member_keys=list(shop.keys.values())).items():
        facts = [fact for fact in activity.list_tier_facts(shop.conn, member_key=key) if fact.at < cut]
        if facts or joined_at < cut:
            timeline = RuleTimeline.always(rules)
            found[key] = fold(facts, timeline=timeline, timezone=timezone, joined_at=joined_at, until=day)
    return found


def read_in_sql(
    shop: Shop, rules: RuleSet, conditions: list[Condition], day: date, *, past: bool
) -> dict[int, Row[Any]]:
    """Read metrics and verdicts of every member."""
    metrics = metrics_sql(rules.window, day=day, timezone=shop.programme.timezone, past=past).subquery("m")
    ranks = [literal(tier.rank, SmallInteger) for tier in rules.tiers]
    verdicts = [
        qualified_rank_sql(rules, metrics.c).label("qualified"),
        *(keeps_sql(rules, rank, metrics.c).label(f"stands_{n}") for n, rank in enumerate(ranks)),
        *(condition_sql(one, metrics.c).label(f"holds_{n}") for n, one in enumerate(conditions)),
    ]
    return {row.member_key: row for row in shop.conn.execute(select(*metrics.c, *verdicts))}


@given(memberships(), st.lists(CONDITIONS, max_size=2), st.data())
@settings(max_examples=20 * SCALE)
def test_t3_python_and_sql_read_the_same_rule_the_same_way(
    conn: Connection, members: list[World], more: list[dict[str, Any]], data: st.DataObject
) -> None:
    savepoint = conn.begin_nested()
    try:
        shop = settle(conn, members)
        rules = parse_ruleset(members[0].definition, version=1)
        conditions = [parse_condition(one, currency="TWD") for one in more]
        past = data.draw(st.booleans())
        day = members[0].end
        if past:
            day = data.draw(st.dates(START.date() - timedelta(days=3), day))
        folds = read_in_python(shop, rules, day)
        rows = read_in_sql(shop, rules, conditions, day, past=past)
        assert set(rows) == set(folds)
        for key, member in folds.items():
            metrics = member.measure(max(day, member.last_day))
            agree(rows[key], metrics, rules, conditions)
    finally:
        savepoint.rollback()


def agree(row: Row[Any], metrics: Metrics, rules: RuleSet, conditions: list[Condition]) -> None:
    """Hold one member's row against what the first reader says."""
    told = Metrics(*(getattr(row, name) for name in Metrics._fields))
    if metrics.member_days is None:
        # Not asked for by the rule set, but perhaps by a condition beside it.
        metrics = metrics._replace(member_days=told.member_days)
    assert told == metrics
    assert row.qualified == rules.qualified_rank(metrics)
    for tier in rules.tiers:
        assert getattr(row, f"stands_{tier.rank}") is rules.stands(tier.rank, metrics)
    for number, condition in enumerate(conditions):
        assert getattr(row, f"holds_{number}") is holds(condition, metrics)


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
        looked = list_disagreeing(
            conn, rules=rules, day=day, timezone=shop.programme.timezone, after=0, size=99
        )
        assert looked is not None
        assert looked.members == len(members)
        # Nobody is taken for wrong who is not.
        assert looked.astray == frozenset()
        folds = read_in_python(shop, rules, day)
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
