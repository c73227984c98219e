"""Bulk import of orders, with the points and tiers they would have brought, against a bare COPY."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.baselines import binary_copy
from benchmarks.results import Row, ratio_of
from benchmarks.shop import LINES_PER_ORDER, ORDERS_PER_MEMBER
from benchmarks.world import Database, World, tell
from service.kit.db import dumps
from service.kit.settings import Settings

UCI = Path(__file__).resolve().parents[2] / "shared" / "data" / "uci_online_retail.parquet"
_UCI_LINES = 541_909


def measure(world: World, *, rounds: int) -> list[Row]:
    """Measure the import of a year of orders into a shop of members and items."""
    _ = world.base
    lines = world.sizes.members * ORDERS_PER_MEMBER * LINES_PER_ORDER
    return [
        _compare(
            world, "orders", world.orders_file, what="bulk import of orders", lines=lines, rounds=rounds,
            template="base",
        )
    ]  # fmt: skip


def measure_rules(world: World, *, rounds: int) -> list[Row]:
    """Measure the same import where earning rules look at every line, beside one rate for all."""
    _ = world.base
    lines = world.sizes.members * ORDERS_PER_MEMBER * LINES_PER_ORDER
    plain, by_category = list[float](), list[float]()
    used: dict[bool, list[float]] = {False: [], True: []}
    for round_no in range(1, rounds + 1):
        tell(f"import under earning rules, round {round_no} of {rounds}")
        for seconds, rules in ((plain, None), (by_category, _BY_CATEGORY)):
            database = world.create("imported", template="base")
            if rules is not None:
                _rule(world, database, rules)
            started = time.process_time()
            seconds.append(world.bring_in(database, "orders", world.orders_file))
            used[rules is not None].append(time.process_time() - started)
            world.drop("imported")
    return [
        Row(
            "bulk import of orders under earning rules by category",
            f"{lines / median(by_category):,.0f} lines/s",
            f"one rate {lines / median(plain):,.0f} lines/s",
            ratio=ratio_of(by_category, plain),
            note=f"{lines:,} lines in {median(by_category):.1f} s and {median(plain):.1f} s, "
            f"{median(used[True]):.1f} s and {median(used[False]):.1f} s of it CPU of the command; two "
            "categories with rates of their own, one left out, a limit for each order and each day",
        )
    ]


_BY_CATEGORY = {
    "currency": "TWD",
    "base": {"points": 1, "per": "30"},
    "exclude": {"categories": ["category-1"]},
    "rates": [
        {"categories": ["category-2"], "multiplier_bp": 20_000},
        {"categories": ["category-3"], "points": 5, "per": "50"},
    ],
    "caps": {"per_order": 500, "per_member_day": 900},
}


def _rule(world: World, database: Database, definition: dict[str, Any]) -> None:
    """Let rules have been in force for ever: what is published only counts from then on."""
    with world.connect(database) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute("UPDATE earning_rules SET definition = %s WHERE version = 1", [dumps(definition)])
        conn.commit()


def measure_uci(world: World, *, rounds: int) -> list[Row]:
    """Measure the import of the Online Retail data set; nothing where its file is missing."""
    if not UCI.exists():
        return [Row("bulk import, Online Retail", "no data", "", note=f"{UCI.name} is not there")]
    pounds = world.settings(currency="GBP", timezone="Europe/London")
    world.create("london", settings=pounds)
    return [
        _compare(
            world, "uci-online-retail", UCI, what="bulk import, Online Retail", lines=_UCI_LINES,
            rounds=rounds, template="london", settings=pounds,
        )
    ]  # fmt: skip


def _compare(
    world: World,
    kind: str,
    source: Path,
    *,
    what: str,
    lines: int,
    rounds: int,
    template: str,
    settings: Settings | None = None,
) -> Row:
    imported, copied, used, rows, written = [], [], [], 0, 0
    for round_no in range(1, rounds + 1):
        tell(f"{what}, round {round_no} of {rounds}")
        ours = world.create("imported", template=template, settings=settings)
        with world.connect(ours) as conn:
            before = binary_copy.dump(conn)
        started = time.process_time()
        imported.append(world.bring_in(ours, kind, source))
        used.append(time.process_time() - started)
        with world.connect(ours) as conn:
            tables = binary_copy.changed(before, binary_copy.dump(conn))
            rows = binary_copy.count(conn, tables)
        # From the imported one: the same partitions of the same months.
        copied.append(_copy(world, world.create("copied", template="imported", settings=settings), tables))
        world.drop("copied")
        world.drop("imported")
        written = sum(map(len, tables.values()))
    return Row(
        what,
        f"{lines / median(imported):,.0f} lines/s",
        f"B4 {rows / median(copied):,.0f} rows/s",
        ratio_of(copied, imported),
        0.2,
        at_least=True,
        note=(
            f"{lines:,} lines in {median(imported):.1f} s ({median(used):.1f} s of it CPU of the command), "
            f"{rows:,} rows ({written / 1e6:.0f} MB) copied in {median(copied):.1f} s"
        ),
    )


def _copy(world: World, database: Database, tables: dict[str, bytes]) -> float:
    with world.connect(database) as conn:
        binary_copy.empty(conn, tables)
        return binary_copy.load(conn, tables)
