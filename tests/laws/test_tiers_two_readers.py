"""Law T3: a rule evaluated for one member in Python equals the rule compiled to SQL over everyone."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, SmallInteger, literal, select

from service.activity import operations as activity
from service.kit.clock import local_day, local_midnight
from service.members.operations import list_joined
from service.tiers.conditions import holds, parse_condition
from service.tiers.fold import MemberFold, fold
from service.tiers.population.store_conditions import condition_sql, keeps_sql, qualified_rank_sql
from service.tiers.population.store_metrics import metrics_sql
from service.tiers.rules import RuleSet, parse_ruleset
from service.tiers.timeline import RuleTimeline
from tests.conftest import SCALE
from tests.integration.tiers.shop import Shop, programme_in
from tests.laws.tier_worlds import CONDITIONS, LENGTH_DAYS, START, World, worlds

END = START + timedelta(days=LENGTH_DAYS + 100)


def settle(conn: Connection, members: list[World]) -> Shop:
    """Bring in every member's facts at once, under the first one's rules, as an import does."""
    shop = Shop(conn, members[0].definition, programme=programme_in(members[0].timezone))
    shop.now = END
    for number, world in enumerate(members):
        shop.enrol_only(f"m{number}", joined_at=world.joined_at)
        for fact in world.facts:
            own = replace(fact, source_id=f"{number}{fact.source_id}", order_key=fact.order_key)
            bring_in(shop, own, number)
    shop.refold(*shop.keys)
    return shop


def bring_in(shop: Shop, fact: Any, number: int) -> None:
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
    for key in shop.keys.values():
        joined = list_joined(shop.conn, member_keys=[key])[key]
        facts = [fact for fact in activity.list_tier_facts(shop.conn, member_key=key) if fact.at < cut]
        if facts or joined < cut:
            found[key] = fold(
                facts,
                timeline=RuleTimeline.always(rules),
                timezone=timezone,
                joined_at=joined,
                until=day,
            )
    return found


@given(st.lists(worlds(), min_size=1, max_size=3), st.lists(CONDITIONS, max_size=2), st.data())
@settings(max_examples=200 * SCALE)
def test_t3_python_and_sql_read_the_same_rule_the_same_way(
    conn: Connection, members: list[World], more: list[dict[str, Any]], data: st.DataObject
) -> None:
    savepoint = conn.begin_nested()
    try:
        shop = settle(conn, members)
        rules = parse_ruleset({**members[0].definition}, version=1)
        conditions = [parse_condition(one, currency="TWD") for one in more]
        today = local_day(END, timezone=shop.programme.timezone)
        past = data.draw(st.booleans())
        day = (
            today if not past else START.date() + timedelta(days=data.draw(st.integers(-3, LENGTH_DAYS + 40)))
        )
        metrics = metrics_sql(rules.window, day=day, timezone=shop.programme.timezone, past=past).subquery(
            "metrics"
        )
        rows = conn.execute(
            select(
                metrics,
                qualified_rank_sql(rules, metrics.c).label("qualified"),
                *(
                    keeps_sql(rules, literal(tier.rank, SmallInteger), metrics.c).label(f"stands_{tier.rank}")
                    for tier in rules.tiers
                ),
                *(condition_sql(one, metrics.c).label(f"holds_{n}") for n, one in enumerate(conditions)),
            )
        ).all()
        folds = read_in_python(shop, rules, day)
        assert {row.member_key for row in rows} == set(folds)
        for row in rows:
            member = folds[row.member_key]
            expected = member.measure(max(day, member.last_day))
            assert row.active_days == expected.active_days
            assert row.span_days == expected.span_days
            assert row.days_since_last_visit == expected.days_since_last_visit
            assert row.net_spend_minor == expected.net_spend_minor
            assert row.orders == expected.orders
            full = expected._replace(member_days=row.member_days)
            if expected.member_days is not None:
                assert row.member_days == expected.member_days
            assert row.qualified == rules.qualified_rank(full)
            for tier in rules.tiers:
                assert getattr(row, f"stands_{tier.rank}") is rules.stands(tier.rank, full)
            for n, one in enumerate(conditions):
                assert getattr(row, f"holds_{n}") is holds(one, full)
    finally:
        savepoint.rollback()
