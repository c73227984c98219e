"""The same facts in any order and any pieces end in the same state (rulings 9), as by the API."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from service.kit.db import transaction
from service.programme.operations import Programme, change_settings, get_programme
from service.programme.rules import default_values
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

KINDS = ("items", "members", "orders", "refunds")


@pytest.fixture
def in_order(engine: Engine, programme: Programme, files: dict[str, Path]) -> dict[str, list[str]]:
    """The state after the files in their natural order; the database is empty again."""
    for kind in KINDS:
        report = bring_in(engine, programme, kind, files[kind])
        assert (report.lines_rejected, report.records_known, report.records_parked) == (0, 0, 0)
    assert_lawful(engine)
    state = dump(engine)
    assert all(state[name] for name in state if name != "parked")
    wipe(engine)
    return state


def shuffled(engine: Engine, programme: Programme, shop: Shop, folder: Path) -> None:
    """Refunds before their orders, both shuffled."""
    stream = random.Random(5)
    for kind in ("refunds", "orders"):
        records = list(shop[kind])
        stream.shuffle(records)
        report = bring_in(engine, programme, kind, write_ndjson(folder / f"{kind}.ndjson", records))
        assert report.lines_rejected == 0
        assert (report.records_parked > 0) == (kind == "refunds")
        assert (report.records_unparked > 0) == (kind == "orders")


def in_pieces(engine: Engine, programme: Programme, shop: Shop, folder: Path) -> None:
    """Three overlapping pieces, the last first, orders and refunds by turns."""
    for low, high in ((60, 100), (0, 50), (30, 80)):
        for kind in ("orders", "refunds"):
            records = shop[kind]
            piece = records[len(records) * low // 100 : len(records) * high // 100]
            bring_in(engine, programme, kind, write_ndjson(folder / f"{kind}{low}.ndjson", piece))


def one_by_one(engine: Engine, programme: Programme, shop: Shop, folder: Path) -> None:
    """Many tiny files, so that everything is rated again and again."""
    stream = random.Random(9)
    records = [("orders", one) for one in shop["orders"]] + [("refunds", one) for one in shop["refunds"]]
    stream.shuffle(records)
    for begin in range(0, len(records), 40):
        for kind in ("orders", "refunds"):
            piece = [one for its, one in records[begin : begin + 40] if its == kind]
            bring_in(engine, programme, kind, write_ndjson(folder / f"{kind}{begin}.ndjson", piece))


@pytest.mark.parametrize("arrive", [shuffled, in_pieces, one_by_one])
def test_any_order_of_arrival_ends_in_the_same_state(
    arrive: Callable[[Engine, Programme, Shop, Path], None],
    in_order: dict[str, list[str]],
    engine: Engine,
    shop: Shop,
    files: dict[str, Path],
    tmp_path: Path,
) -> None:
    programme = start(engine)
    bring_in(engine, programme, "items", files["items"])
    bring_in(engine, programme, "members", files["members"])
    arrive(engine, programme, shop, tmp_path)
    assert differences(in_order, dump(engine)) == {}
    assert_lawful(engine)


OTHER_SETTINGS = [
    {"points_expiry": {"model": "rolling_months", "months": 3}, "return_period_days": 0},
    {"shortfall_policy": "allow_negative", "points_expiry": {"model": "rolling_months", "months": 6}},
    {"points_expiry": {"model": "end_of_period", "period": "quarter", "periods": 1}},
]


@pytest.mark.parametrize("settings", OTHER_SETTINGS)
def test_any_order_of_arrival_ends_in_the_same_points_where_points_expire(
    settings: dict[str, Any],
    engine: Engine,
    programme: Programme,
    shop: Shop,
    files: dict[str, Path],
    tmp_path: Path,
) -> None:
    states = []
    for natural in (True, False):
        wipe(engine)
        start(engine)
        programme = change(engine, **settings)
        for kind in KINDS if natural else KINDS[:2]:
            bring_in(engine, programme, kind, files[kind])
        if not natural:
            in_pieces(engine, programme, shop, tmp_path)
        assert_lawful(engine)
        states.append(dump(engine))
    assert differences(*states) == {}
    assert any("expired" in flow for flow in states[0]["flows"])


def test_settings_changed_between_two_pieces_leave_earlier_orders_at_the_settings_of_then(
    in_order: dict[str, list[str]], engine: Engine, shop: Shop, files: dict[str, Path], tmp_path: Path
) -> None:
    programme = start(engine)
    for kind in ("items", "members"):
        bring_in(engine, programme, kind, files[kind])
    for number in (0, 1):
        for kind in ("orders", "refunds"):
            path = write_ndjson(tmp_path / f"{kind}{number}.ndjson", shop[kind][number::2])
            bring_in(engine, programme, kind, path)
        programme = change(engine, effective_from=NOW - timedelta(minutes=1), earn_points=5)
    assert differences(in_order, dump(engine)) == {}


def change(engine: Engine, *, effective_from: datetime | None = None, **values: Any) -> Programme:
    """Change settings, from the beginning or from a moment on."""
    with transaction(engine) as conn:
        change_settings(
            conn,
            values=default_values("TWD") | values,
            effective_from=effective_from or datetime(1970, 1, 1, tzinfo=UTC),
            changed_by="tests",
            reason="to see what it does",
            now=NOW,
        )
        return get_programme(conn, fresh=True)


def test_a_second_run_of_the_same_files_changes_nothing(
    engine: Engine, programme: Programme, files: dict[str, Path]
) -> None:
    first = {kind: bring_in(engine, programme, kind, files[kind]) for kind in KINDS}
    state, rows = dump(engine), count(engine)
    for kind in KINDS:
        again = bring_in(engine, programme, kind, files[kind])
        assert (again.records_new, again.members_rated, again.lines_rejected) == (0, 0, 0)
        assert again.records_known == first[kind].records_new
        assert again.lines_read == first[kind].lines_read
    assert differences(state, dump(engine)) == {}
    assert count(engine) == rows


def test_orders_without_members_or_items_are_rated_once_both_have_come(
    in_order: dict[str, list[str]], engine: Engine, files: dict[str, Path]
) -> None:
    programme = start(engine)
    refused = bring_in(engine, programme, "orders", files["orders"])
    assert refused.rejected.keys() == {"member-not-enrolled"}
    for kind in ("members", "orders", "refunds", "items"):
        bring_in(engine, programme, kind, files[kind])
    assert differences(in_order, dump(engine)) == {}


def test_an_import_does_what_the_same_calls_of_the_api_do(
    in_order: dict[str, list[str]], engine: Engine, shop: Shop, files: dict[str, Path]
) -> None:
    programme = start(engine)
    bring_in(engine, programme, "items", files["items"])
    live_through(engine, programme, shop)
    assert differences(in_order, dump(engine)) == {}
