"""A simulation says what applying the draft would do: the fold under the draft, once grace is over."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from service.activity import operations as activity
from service.activity.rules import TierFact
from service.kit.clock import local_day
from service.members.operations import list_joined
from service.tiers.fold import fold
from service.tiers.population import store_people
from service.tiers.population.answers import Tallies
from service.tiers.population.rules import Question
from service.tiers.rules import parse_ruleset
from service.tiers.timeline import RuleTimeline
from tests.conftest import SCALE
from tests.integration.tiers.shop import Shop, programme_in
from tests.laws.test_tiers_two_readers import bring_in
from tests.laws.tier_worlds import CODES, END, START, ZONES, arriving, definitions, moments

LADDERS = st.tuples(st.permutations(CODES), st.integers(1, 3)).map(
    lambda drawn: ["t0", *drawn[0][: drawn[1]]]
)


def still(definition: dict[str, Any]) -> dict[str, Any]:
    """Return a rule set on which time works through grace alone: nothing leaves a window, nothing ages."""
    timeless = {"net_spend", "active_days", "orders", "visit_interval_days"}

    def lasting(condition: dict[str, Any]) -> dict[str, Any]:
        if "metric" in condition:
            kept = condition["metric"] in timeless
            return condition if kept else {"metric": "orders", "op": ">=", "value": 1}
        ((combiner, parts),) = condition.items()
        if combiner == "at_least":
            return {combiner: {**parts, "of": [lasting(part) for part in parts["of"]]}}
        return {combiner: [lasting(part) for part in parts]}

    return definition | {
        "window": {"kind": "rolling", "days": 700},
        "tiers": [
            {name: lasting(part) if name in {"enter", "keep"} else part for name, part in tier.items()}
            for tier in definition["tiers"]
        ],
        "downgrade": definition["downgrade"] | {"min_hold_days": 0},
        "review_cadence": "daily",
    }


@given(definitions(), definitions(ladders=LADDERS), st.sampled_from(ZONES), st.data())
@settings(max_examples=20 * SCALE)
def test_a_simulation_tells_what_the_draft_would_do(
    conn: Connection, before: dict[str, Any], draft: dict[str, Any], timezone: str, data: st.DataObject
) -> None:
    savepoint = conn.begin_nested()
    try:
        shop = Shop(conn, still(before), programme=programme_in(timezone))
        shop.now = datetime.combine(END, time(12), tzinfo=UTC)
        for number in range(data.draw(st.integers(1, 3))):
            shop.enrol_only(f"m{number}", joined_at=data.draw(st.one_of(st.just(START), moments())))
            arrivals = data.draw(arriving((timezone, timezone)))
            for fact in sorted((fact for _, fact in arrivals), key=TierFact.sort_key):
                bring_in(shop, replace(fact, source_id=f"{number}{fact.source_id}"), number)
        shop.refold(*shop.keys)
        assert simulated(shop, still(before), still(draft)) == applied(shop, still(before), still(draft))
    finally:
        savepoint.rollback()


def simulated(shop: Shop, before: dict[str, Any], draft: dict[str, Any]) -> Counter[tuple[str, str]]:
    """Count from which tier held to which tier members settle, as a simulation reads it."""
    in_force, rules = parse_ruleset(before, version=1), parse_ruleset(draft, version=2)
    question = Question(
        rules,
        None,
        in_force,
        RuleTimeline.always(in_force),
        day=local_day(shop.now, timezone=shop.programme.timezone),
        is_past=False,
    )
    counting = store_people.counting_sql(question, timezone=shop.programme.timezone, costed=9)
    tallies = Tallies()
    tallies.add(
        store_people.tally(
            shop.conn,
            counting=counting,
            question=question,
            timezone=shop.programme.timezone,
            keys=(0, 2**40),
            anchors={"anchored_keys": [], "anchored_from": []},
        )
    )
    cells = Counter[tuple[str, str]]()
    for flow, members in tallies.flows.items():
        cells[flow.held, rules.tiers[flow.draft].code] += members
    return cells


def applied(shop: Shop, before: dict[str, Any], draft: dict[str, Any]) -> Counter[tuple[str, str]]:
    """Count the same by folding every member under both rule sets, until grace is over."""
    in_force, rules = parse_ruleset(before, version=1), parse_ruleset(draft, version=2)
    today = local_day(shop.now, timezone=shop.programme.timezone)
    cells = Counter[tuple[str, str]]()
    for key, joined_at in list_joined(shop.conn, member_keys=list(shop.keys.values())).items():
        facts = activity.list_tier_facts(shop.conn, member_key=key)
        given: dict[str, Any] = {"timezone": shop.programme.timezone, "joined_at": joined_at}
        held = fold(facts, timeline=RuleTimeline.always(in_force), until=today, **given)
        both = RuleTimeline.of([(START - timedelta(days=999), in_force), (shop.now, rules)])
        settled = fold(
            facts, timeline=both, until=today + timedelta(days=rules.downgrade.grace_days), **given
        )
        cells[held.tier.code, settled.tier.code] += 1
    return cells
