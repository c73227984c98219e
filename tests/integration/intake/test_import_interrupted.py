"""Interrupted anywhere and run again, an import ends like an undisturbed one; live orders go on meanwhile."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from service.activity.rules import NewLine, NewOrder
from service.intake import operations as stories
from service.intake.bulk import run as import_run
from service.intake.bulk.operations import Stage
from service.kit.db import transaction
from service.programme.operations import Programme
from tests.conftest import SCALE, wipe
from tests.integration.intake.business import (
    NOW,
    assert_lawful,
    bring_in,
    differences,
    dump,
    start,
)
from tests.killing import process_at, wait_for_quiet

KINDS = ("items", "members", "orders", "refunds")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make many chunks of a small file."""
    monkeypatch.setattr(import_run, "_CHUNK_LINES", 40)
    monkeypatch.setattr(import_run, "_CHUNK_RECORDS", 25)
    monkeypatch.setattr(import_run, "_CHUNK_MEMBERS", 9)


@pytest.fixture
def undisturbed(engine: Engine, programme: Programme, files: dict[str, Path]) -> dict[str, list[str]]:
    """The state after an import that nothing interrupted; the database is empty again."""
    for kind in KINDS:
        bring_in(engine, programme, kind, files[kind])
    state = dump(engine)
    wipe(engine)
    return state


class Interrupted(Exception):
    """Somebody pulled the plug."""


class Breaker:
    """A progress that raises at its n-th call."""

    def __init__(self, at: int, error: type[BaseException]) -> None:
        self.left, self.error = at, error

    def __call__(self, stage: Stage, done: int, total: int | None) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.error


@pytest.mark.usefixtures("small_chunks")
def test_an_import_broken_off_again_and_again_ends_like_an_undisturbed_one(
    undisturbed: dict[str, list[str]], engine: Engine, files: dict[str, Path]
) -> None:
    programme = start(engine)
    broken = 0
    for kind in KINDS:
        at = 1
        while True:
            # Each run gets a little further than the one before it; the last one comes through.
            at += 1 if SCALE > 1 else 3
            error = KeyboardInterrupt if at % 2 else Interrupted
            try:
                bring_in(engine, programme, kind, files[kind], progress=Breaker(at, error))
            except (Interrupted, KeyboardInterrupt):
                broken += 1
            else:
                break
    assert broken > 10
    assert differences(undisturbed, dump(engine)) == {}
    assert_lawful(engine)
    with engine.connect() as conn:
        rows = conn.execute(text("SELECT status, count(*) FROM imports GROUP BY status"))
        counts = {row[0]: row[1] for row in rows}
    assert counts["done"] == len(KINDS)
    assert counts["cancelled"] + counts["failed"] == broken


SCRIPT = """
import sys, time
from pathlib import Path
from service.intake.bulk import run as import_run
from service.kit.db import open_engine, transaction
from service.programme.operations import get_programme
from tests.integration.intake.business import bring_in
import service.shelves

import_run._CHUNK_LINES, import_run._CHUNK_RECORDS, import_run._CHUNK_MEMBERS = 40, 25, 9
url, kind, path, stage, at = sys.argv[1:]
left = int(at)

def progress(now_at, done, total):
    global left
    left -= now_at == stage
    if left == 0:
        print(stage, flush=True)
        time.sleep(600)

engine = open_engine(url)
with transaction(engine) as conn:
    programme = get_programme(conn)
bring_in(engine, programme, kind, Path(path), progress=progress)
"""


@pytest.mark.parametrize(("stage", "at"), [("loading", 4), ("tiers and points", 3)])
def test_a_killed_import_leaves_whole_chunks_and_the_next_one_finishes_its_work(
    stage: str, at: int, undisturbed: dict[str, list[str]], engine: Engine, files: dict[str, Path]
) -> None:
    programme = start(engine)
    for kind in ("items", "members"):
        bring_in(engine, programme, kind, files[kind])
    url = engine.url.render_as_string(hide_password=False)
    with process_at("-c", SCRIPT, url, "orders", str(files["orders"]), stage, str(at)) as (_, place):
        assert place == stage
    # Its connection may end a moment after it.
    wait_for_quiet(engine)
    with engine.connect() as conn:
        left = conn.execute(text("SELECT count(*) FROM import_backlog")).scalar_one()
        whole = conn.execute(
            text(
                "SELECT count(*) FROM orders o WHERE o.order_goods_minor <> "
                "(SELECT sum(l.order_amount_minor) FROM order_lines l WHERE l.order_key = o.order_key)"
            )
        ).scalar_one()
    assert left > 0
    assert whole == 0
    # Whatever is imported next finishes the rating; the interrupted file itself brings the rest.
    for kind in ("refunds", "orders"):
        bring_in(engine, programme, kind, files[kind])
    assert differences(undisturbed, dump(engine)) == {}
    assert_lawful(engine)
    with engine.connect() as conn:
        states = conn.execute(text("SELECT kind, status, error FROM imports ORDER BY import_key")).fetchall()
    assert tuple(states[2]) == ("orders", "failed", "interrupted")


@pytest.mark.usefixtures("small_chunks")
def test_live_orders_and_refunds_go_on_while_an_import_runs(
    engine: Engine, programme: Programme, shop: dict[str, list[Any]], files: dict[str, Path]
) -> None:
    for kind in ("items", "members"):
        bring_in(engine, programme, kind, files[kind])
    member_ids = sorted(member["member_id"] for member in shop["members"])
    running, failures, placed = threading.Event(), list[BaseException](), [0, 0]
    running.set()

    def serve(worker: int) -> None:
        number = 0
        try:
            while running.is_set():
                member_id = member_ids[(number * 7 + worker * 3) % len(member_ids)]
                with transaction(engine) as conn:
                    order = NewOrder(
                        order_id=f"live-{worker}-{number}",
                        placed_at=NOW,
                        currency="TWD",
                        lines=(NewLine(f"SKU-{number % 5}", 1, 50_000, None),),
                    )
                    stories.place_order(
                        conn, member_id=member_id, order=order, programme=programme, locale="en", now=NOW
                    )
                number += 1
                placed[worker] = number
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=serve, args=(worker,)) for worker in range(2)]
    for thread in threads:
        thread.start()
    try:
        for kind in ("refunds", "orders", "refunds"):
            report = bring_in(engine, programme, kind, files[kind])
            assert report.lines_rejected == 0
    finally:
        running.clear()
        for thread in threads:
            thread.join()
    assert failures == []
    assert min(placed) > 3
    state = dump(engine)
    assert len(state["orders"]) == len(shop["orders"]) + sum(placed)
    assert len(state["refunds"]) == len(shop["refunds"])
    assert_lawful(engine)


def test_the_files_of_the_tests_hold_what_the_tests_are_about(shop: dict[str, list[Any]]) -> None:
    linked = [refund for refund in shop["refunds"] if "order_id" in refund]
    assert len(linked) > 50
    assert len(shop["refunds"]) - len(linked) > 50
    assert any("discount" in order for order in shop["orders"])
    assert any(order["currency"] == "USD" for order in shop["orders"])
    assert any("store_id" in order for order in shop["orders"])
    assert json.dumps(shop)
