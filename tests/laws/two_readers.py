"""The two readers of a rule, and that they agree: the fold of each member, and SQL over everybody."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import Row, SmallInteger, literal, select

from service.kit.clock import last_moment
from service.members.operations import find_survivors
from service.tiers.conditions import Condition, Metrics, holds
from service.tiers.fold import MemberFold
from service.tiers.lives import list_ended_lives, stream_lives
from service.tiers.population.anchors import find_anchors
from service.tiers.population.store_conditions import condition_sql, keeps_sql, qualified_rank_sql
from service.tiers.population.store_metrics import metrics_sql
from service.tiers.resuming import read_pins
from service.tiers.rules import RuleSet
from service.tiers.rulesets import recall_timeline
from tests.integration.tiers.shop import Shop


def read_in_python(shop: Shop, day: date) -> dict[int, MemberFold]:
    """Fold every member who is one by the end of `day` on the facts in effect by then."""
    conn, programme, timeline = shop.conn, shop.programme, recall_timeline(shop.conn)
    moment = last_moment(day, timezone=programme.timezone)
    keys = sorted(shop.keys.values())
    held = read_pins(conn, member_keys=keys)
    survivors = find_survivors(conn, member_keys=keys)
    standing = [key for key in keys if survivors[key] == key]
    ended = [key for key in keys if survivors[key] != key]
    found = {}
    for life in [*stream_lives(conn, member_keys=standing), *list_ended_lives(conn, member_keys=ended)]:
        if life.left_at is not None and life.left_at <= moment:
            continue
        known = life.until(moment)
        if known.known_facts(by=moment) or known.begins_at(by=moment) <= moment:
            pins = held.get(life.member_key, ())
            found[life.member_key] = known.fold(
                timeline=timeline, programme=programme, until=day, pins=pins, at=moment
            )
    return found


def read_in_sql(
    shop: Shop, rules: RuleSet, conditions: list[Condition], day: date, *, past: bool
) -> dict[int, Row[Any]]:
    """Read metrics and verdicts of every member."""
    programme = shop.programme
    metrics = metrics_sql(rules.window, day=day, timezone=programme.timezone, past=past).subquery("m")
    anchors = find_anchors(shop.conn, windows=[rules.window], day=day, programme=programme, past=past)
    ranks = [literal(tier.rank, SmallInteger) for tier in rules.tiers]
    verdicts = [
        qualified_rank_sql(rules, metrics.c).label("qualified"),
        *(keeps_sql(rules, rank, metrics.c).label(f"stands_{n}") for n, rank in enumerate(ranks)),
        *(condition_sql(one, metrics.c).label(f"holds_{n}") for n, one in enumerate(conditions)),
    ]
    return {row.member_key: row for row in shop.conn.execute(select(*metrics.c, *verdicts), anchors)}


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
