"""Imported history earns by the rules of each order's time: as live orders do, in any order of arrival."""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from service.earning import operations as earning
from service.earning.operations import Actor, Draft
from service.kit.db import transaction
from service.programme.operations import Programme
from tests.conftest import wipe
from tests.integration.intake.business import (
    NOW,
    assert_lawful,
    bring_in,
    count,
    differences,
    dump,
    live_through,
    start,
    write_ndjson,
)
from tests.integration.intake.conftest import Shop
from tests.integration.intake.test_import_order_of_arrival import in_pieces, one_by_one

KINDS = ("items", "members", "orders", "refunds")
BY_CATEGORY = {
    "currency": "TWD",
    "base": {"points": 3, "per": "70"},
    "tiers": {"bonus_bp": {"silver": 450}},
    "counts": {"tax": False, "shipping": True},
    "exclude": {"categories": ["d"]},
    "rates": [
        {"categories": ["a"], "multiplier_bp": 25_000},
        {"categories": ["b"], "points": 1, "per": "9.99"},
    ],
    "minimum_order": "300",
    "caps": {"per_order": 120, "per_member_day": 150},
}
PLAIN = {"currency": "TWD", "base": {"points": 2, "per": "55"}, "tiers": {"multiplier": False}}


def publish(engine: Engine, definition: Mapping[str, Any], *, days_ago: int) -> None:
    """Put rules in force so many days before now."""
    at = NOW - timedelta(days=days_ago)
    with transaction(engine) as conn:
        draft = earning.RULES.add_draft(conn, draft=Draft("t", definition), actor=Actor("test"), now=at)
        earning.RULES.shelf.publish(
            conn,
            version=draft.version,
            state="active",
            effective_from=at,
            actor="test",
            reason="t",
            now=at,
        )
        earning.forget_rules(conn)


def open_shop(engine: Engine) -> Programme:
    """Open the shop under three versions of rules: the first start's, rates by category, a plain rate."""
    programme = start(engine)
    with transaction(engine) as conn:
        earning.ensure_default_rules(conn, currency="TWD", now=NOW - timedelta(days=900))
    publish(engine, BY_CATEGORY, days_ago=450)
    publish(engine, PLAIN, days_ago=60)
    return programme


@pytest.fixture(scope="session")
def rich(shop: Shop) -> Shop:
    """The shop's records with categories on lines, and goods named by every other refund."""
    found = copy.deepcopy(shop)
    lines: dict[str, Any] = {}
    for order in found["orders"]:
        lines[order["order_id"]] = order["lines"]
        for line in order["lines"]:
            line["category"] = "abcd"[zlib.crc32(line["sku"].encode()) % 4]
    for number, refund in enumerate(found["refunds"]):
        if number % 2 and refund.get("order_id") in lines:
            refund["lines"] = [{"sku": lines[refund["order_id"]][-1]["sku"], "quantity": 1}]
    return found


@pytest.fixture
def paths(rich: Shop, tmp_path: Path) -> dict[str, Path]:
    return {kind: write_ndjson(tmp_path / f"{kind}.ndjson", records) for kind, records in rich.items()}


@pytest.fixture
def in_order(engine: Engine, paths: dict[str, Path]) -> dict[str, list[str]]:
    """The state after the files in their natural order; the database is empty again."""
    programme = open_shop(engine)
    for kind in KINDS:
        report = bring_in(engine, programme, kind, paths[kind])
        assert (report.lines_rejected, report.records_known, report.records_parked) == (0, 0, 0)
    assert_lawful(engine)
    state = dump(engine)
    wipe(engine)
    return state


def test_the_history_has_awards_of_every_kind(in_order: dict[str, list[str]]) -> None:
    recorded = [json.loads(row.split(", ", 1)[1].strip("')").strip("'")) for row in in_order["rules"]]
    assert {rule.get("rules_version") for rule in recorded} == {None, 2, 3}
    by_terms = [rule for rule in recorded if "terms" in rule]
    assert by_terms
    assert any(rule["granted"] == 120 for rule in by_terms)
    assert any(rule["terms"]["day_left"] < 150 for rule in by_terms)
    assert any(rule["granted"] == 0 for rule in by_terms)
    assert {rate[3] for rule in by_terms for rate in rule["terms"]["rates"]} == {"base", "rate", "excluded"}


@pytest.mark.parametrize("arrive", [in_pieces, one_by_one])
def test_any_order_of_arrival_earns_the_same_by_category_and_within_limits(
    arrive: Callable[[Engine, Programme, Shop, Path], None],
    in_order: dict[str, list[str]],
    engine: Engine,
    rich: Shop,
    paths: dict[str, Path],
    tmp_path: Path,
) -> None:
    programme = open_shop(engine)
    for kind in KINDS[:2]:
        bring_in(engine, programme, kind, paths[kind])
    arrive(engine, programme, rich, tmp_path)
    assert differences(in_order, dump(engine)) == {}
    assert_lawful(engine)


def test_a_second_run_finds_nothing_to_correct(engine: Engine, paths: dict[str, Path]) -> None:
    programme = open_shop(engine)
    for kind in KINDS:
        bring_in(engine, programme, kind, paths[kind])
    rows = count(engine)
    with transaction(engine) as conn:
        conn.execute(
            text("INSERT INTO import_backlog SELECT member_key, 1 FROM members ON CONFLICT DO NOTHING")
        )
    bring_in(engine, programme, "items", paths["items"])
    assert count(engine) == rows


def test_live_orders_earn_what_imported_ones_do(
    in_order: dict[str, list[str]], engine: Engine, rich: Shop, paths: dict[str, Path]
) -> None:
    programme = open_shop(engine)
    bring_in(engine, programme, "items", paths["items"])
    live_through(engine, programme, rich)
    assert differences(in_order, dump(engine)) == {}
    assert_lawful(engine)
