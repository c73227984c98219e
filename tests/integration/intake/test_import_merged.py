"""History imported for a member that was merged: as if it had come before the merge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from service.intake.bulk.rating import rate_members
from service.intake.bulk.run import ImportRun
from service.kit.db import open_engine, transaction
from service.kit.migrate import upgrade
from service.members.operations import find_keys
from service.profiles.merging import Asker, merge_members, undo_merge
from service.programme.operations import Programme
from tests.api.test_points_deadlock import wait_until_somebody_waits
from tests.conftest import create_database, drop_database
from tests.integration.intake.business import (
    NOW,
    assert_lawful,
    bring_in,
    differences,
    dump,
    start,
    write_ndjson,
)

ASKER = Asker("admin:k1", "one person", None, NOW)


def ago(days: float) -> str:
    return (NOW - timedelta(days=days)).isoformat()


def order(order_id: str, member_id: str, days: float, amount: str) -> dict[str, Any]:
    """An order as a line of a file."""
    lines = [{"sku": "TEA", "quantity": 1, "amount": amount}]
    return {
        "order_id": order_id,
        "member_id": member_id,
        "placed_at": ago(days),
        "currency": "TWD",
        "lines": lines,
    }


MEMBERS = [{"member_id": name, "joined_at": ago(days)} for name, days in (("A", 700), ("B", 400))]
ORDERS = [
    order("a1", "A", 500, "3000"),
    order("a2", "A", 300, "2500"),
    order("a3", "A", 20, "1200"),
    order("b1", "B", 250, "1800"),
    order("b2", "B", 2, "900"),
]
REFUNDS = [
    {"refund_id": "ra", "order_id": "a3", "refunded_at": ago(12), "amount": "700"},
    {"refund_id": "ru", "member_id": "A", "refunded_at": ago(5), "amount": "300"},
    {"refund_id": "rb", "order_id": "b1", "member_id": "B", "refunded_at": ago(200), "amount": "1800"},
]


class Shop:
    """A shop whose files come before the merge or after it."""

    def __init__(self, engine: Engine, programme: Programme, folder: Path) -> None:
        self.engine, self.programme, self.folder = engine, programme, folder

    def bring(self, kind: str, records: Sequence[dict[str, Any]], *, rejected: int = 0) -> None:
        path = write_ndjson(self.folder / f"{kind}.ndjson", records)
        report = bring_in(self.engine, self.programme, kind, path)
        assert report.lines_rejected == rejected

    def bring_facts(self) -> None:
        self.bring("orders", ORDERS)
        self.bring("refunds", REFUNDS)

    def merge(self, *, meanwhile: Callable[[], object] | None = None) -> None:
        with self.changing(meanwhile) as conn:
            merge_members(
                conn, member_id="A", into_id="B", asker=ASKER, programme=self.programme, locale="en"
            )

    def undo(self, *, meanwhile: Callable[[], object] | None = None) -> None:
        with self.changing(meanwhile) as conn:
            undo_merge(conn, member_id="A", asker=ASKER, programme=self.programme, locale="en")

    @contextmanager
    def changing(self, meanwhile: Callable[[], object] | None) -> Iterator[Connection]:
        """Yield a transaction that ends only when somebody else, who came after, waits for it."""
        with ThreadPoolExecutor(1) as pool:
            with transaction(self.engine) as conn:
                yield conn
                if meanwhile is not None:
                    other = pool.submit(meanwhile)
                    with self.engine.connect() as watcher:
                        wait_until_somebody_waits(watcher)
            if meanwhile is not None:
                other.result(30)

    def rate_listed(self, *member_ids: str) -> None:
        """Rate members that were listed some time ago."""
        with transaction(self.engine) as conn:
            keys = sorted(find_keys(conn, member_ids=member_ids).values())
            import_key = conn.scalar(text("SELECT max(import_key) FROM imports"))
            rate_members(conn, member_keys=keys, programme=self.programme, import_key=import_key, now=NOW)

    def whose(self) -> dict[str, str]:
        """Return whom each order counts for."""
        query = "SELECT order_id, member_id FROM order_keys JOIN members USING (member_key)"
        with self.engine.connect() as conn:
            return {row.order_id: row.member_id for row in conn.execute(text(query))}


@pytest.fixture
def shop(engine: Engine, programme: Programme, tmp_path: Path) -> Shop:
    shop = Shop(engine, programme, tmp_path)
    shop.bring("members", MEMBERS)
    return shop


def test_history_that_comes_before_or_after_a_merge_is_the_same_history(
    shop: Shop, server_url: str, tmp_path: Path
) -> None:
    shop.bring_facts()
    shop.merge()
    assert_lawful(shop.engine)
    # What each entry is filed under differs: before the merge it was the merged member's.
    before = dump(shop.engine, without=["flows"])
    url = create_database(server_url)
    other = open_engine(url, pool_size=3)
    try:
        upgrade(other)
        late = Shop(other, start(other), tmp_path)
        late.bring("members", MEMBERS)
        late.merge()
        late.bring_facts()
        assert_lawful(other)
        assert differences(before, dump(other, without=["flows"])) == {}
        late.bring_facts()
        assert differences(before, dump(other, without=["flows"])) == {}
    finally:
        other.dispose()
        drop_database(server_url, url)


def test_after_an_undone_merge_imported_history_is_with_whom_it_was_sent_for(shop: Shop) -> None:
    shop.bring_facts()
    parted = dump(shop.engine, without=["flows", "tier changes"])
    shop.merge()
    shop.bring("orders", [order("a4", "A", 100, "400")])
    shop.undo()
    assert_lawful(shop.engine)
    late = order("a5", "A", 90, "600")
    shop.bring("orders", [late])
    assert_lawful(shop.engine)
    found = dump(shop.engine, without=["flows", "tier changes"])
    changed = {line for lines in found.values() for line in lines if "'B'" in line}
    assert changed == {line for lines in parted.values() for line in lines if "'B'" in line}


def test_a_line_about_a_merged_members_own_row_is_rejected(shop: Shop) -> None:
    shop.merge()
    rows = [{"member_id": name, "locale": "en"} for name in ("A", "B")]
    shop.bring("members", rows, rejected=1)
    members = dump(shop.engine)["members"]
    assert [("'en'" in row, "'A'" in row) for row in members] == [(False, True), (True, False)]


def test_members_who_become_one_while_they_wait_to_be_rated_are_rated_as_one(shop: Shop) -> None:
    shop.bring_facts()
    shop.merge(meanwhile=lambda: shop.rate_listed("A"))
    assert_lawful(shop.engine)
    shop.undo(meanwhile=lambda: shop.rate_listed("A", "B"))
    assert_lawful(shop.engine)


def test_what_is_loaded_while_two_become_one_or_part_counts_for_whom_its_id_stands_for_then(
    shop: Shop,
) -> None:
    shop.merge(meanwhile=lambda: shop.bring("orders", ORDERS[:1]))
    assert shop.whose() == {"a1": "B"}
    assert_lawful(shop.engine)
    shop.undo(meanwhile=shop.bring_facts)
    assert shop.whose() == {order["order_id"]: order["member_id"] for order in ORDERS}
    assert_lawful(shop.engine)


def test_what_was_sent_for_a_merged_member_earns_for_it_though_it_was_parted_before_it_was_rated(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.merge()
    with monkeypatch.context() as patched:
        patched.setattr(ImportRun, "_rate", lambda self: None)
        shop.bring_facts()
    shop.undo()
    shop.bring("members", [MEMBERS[0] | {"locale": "en"}])
    assert_lawful(shop.engine)
    earned = {tuple(line.split("'")[1:4:2]) for line in dump(shop.engine)["lots"]}
    assert earned >= {("A", "a1"), ("A", "a2"), ("A", "a3"), ("B", "b2")}
