"""The outcome join of an experiment over the whole membership, against DuckDB adding up the same."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from sqlalchemy import text

from benchmarks.baselines import duckdb_outcomes
from benchmarks.membership import ORDERS_PER_MEMBER
from benchmarks.results import Row, ratio_of
from benchmarks.world import Database, World, tell
from service.experiments import operations
from service.experiments.operations import Definition
from service.experiments.uplift import add_up
from service.kit.partitions import ensure_months

_HISTORY_DAYS = 730
_BLOCK = 1 << 20

# Two years of orders, each member's own number of them; one in twelve is given back within a month. Everybody
# was drawn in the course of two months, one in ten into the hold-out.
_MAKING = (
    "CREATE MACRO dice(i, n) AS (hash(CAST(i AS bigint) * 31 + n) % 1000003) / 1000003.0",
    """
    CREATE TABLE lines AS
    SELECT member_key, TIMESTAMP '{now}' - to_seconds(CAST(dice(key, 8) * {seconds} AS bigint)) AS placed_at,
           greatest(100, CAST(exp(9 + 2 * dice(key, 9)) AS bigint)) AS goods, key
    FROM (SELECT i AS member_key,
                 i * 1000 + unnest(range(1 + CAST(2 * {mean} * dice(i, 2) AS integer))) AS key
          FROM range(1, {members} + 1) AS m (i))
    """,
    """
    COPY (SELECT row_number() OVER (ORDER BY placed_at, key) AS order_key, member_key, placed_at, goods
          FROM lines ORDER BY placed_at, key) TO '{folder}/orders.parquet' (FORMAT parquet)
    """,
    """
    COPY (SELECT order_key, member_key,
                 placed_at + to_seconds(CAST(dice(order_key, 4) * 2592000 AS bigint)) AS refunded_at,
                 CASE WHEN dice(order_key, 5) < 0.5 THEN goods ELSE 1 + goods // 2 END AS amount
          FROM '{folder}/orders.parquet' WHERE dice(order_key, 3) < 0.08 ORDER BY refunded_at)
    TO '{folder}/refunds.parquet' (FORMAT parquet)
    """,
    """
    COPY (SELECT i AS member_key, CASE WHEN dice(i, 6) < 0.1 THEN 'holdout' ELSE 'treatment' END AS arm,
                 TIMESTAMP '{now}' - INTERVAL 95 DAY
                     - to_seconds(CAST(dice(i, 7) * 5184000 AS bigint)) AS assigned_at
          FROM range(1, {members} + 1) AS m (i))
    TO '{folder}/assignments.parquet' (FORMAT parquet)
    """,
)
_LOADS = {
    "orders (order_key, placed_at, received_at, member_key, day, currency, order_goods_minor, goods_minor, "
    "spend_minor)": "SELECT order_key, placed_at || '+00', placed_at || '+00', member_key, "
    "CAST(placed_at AS date), 'TWD', goods, goods, goods FROM '{folder}/orders.parquet'",
    "refund_keys (refund_key, refund_id, member_key, order_key, refunded_at, order_amount_minor, "
    "content_hash)": "SELECT row_number() OVER (), 'r' || order_key, member_key, order_key, "
    "refunded_at || '+00', amount, '' FROM '{folder}/refunds.parquet'",
    "assignments (experiment, member_key, experiment_key, arm, bucket, reason, assigned_at)": "SELECT "
    "'{experiment}', member_key, {version}, arm, 0, 'split', assigned_at || '+00' "
    "FROM '{folder}/assignments.parquet'",
}


def measure(world: World, *, rounds: int) -> list[Row]:
    """Alternate the join with DuckDB's, and refuse to tell a figure where their sums differ."""
    database = world.create("uplift")
    folder = world.folder / "uplift"
    folder.mkdir(exist_ok=True)
    with database.engine.connect() as conn:
        running = operations.get_running_holdout(conn)
        if running is None:
            raise RuntimeError("no hold-out runs")
        definition = operations.get_experiment(conn, experiment=running.experiment)
    tell(f"making {world.sizes.population:,} members with {ORDERS_PER_MEMBER} orders each")
    orders = _make(world, database, folder, definition)
    ours, theirs = [], []
    for round_no in range(1, rounds + 1):
        tell(f"uplift, round {round_no} of {rounds}")
        seconds, expected = duckdb_outcomes.measure(folder, now=world.now)
        theirs.append(seconds)
        seconds, found = _join(database, definition, world)
        ours.append(seconds)
        tell(f"join {ours[-1]:.1f} s, DuckDB {theirs[-1]:.1f} s")
        _compare(found, expected)
    return [
        Row(
            f"uplift join, {world.sizes.population:,} members, {orders:,} orders",
            f"{median(ours):.1f} s",
            f"DuckDB {median(theirs):.1f} s",
            ratio=ratio_of(ours, theirs),
            budget=3,
            note="one statement from the orders themselves; ours adds up 22 sums and the draws, DuckDB 12",
        )
    ]


def _make(world: World, database: Database, folder: Path, definition: Definition) -> int:
    import duckdb

    members = world.sizes.population
    given: dict[str, Any] = {
        "now": world.now.strftime("%Y-%m-%d %H:%M:%S"),
        "members": members,
        "mean": ORDERS_PER_MEMBER - 1,
        "seconds": _HISTORY_DAYS * 86_400,
        "folder": folder,
        "experiment": definition.experiment,
        "version": definition.experiment_key,
    }
    with database.engine.begin() as conn:
        first = (world.now - timedelta(days=_HISTORY_DAYS + 1)).date()
        ensure_months(conn, table="orders", first=first, last=world.now.date())
        conn.execute(text("UPDATE experiments SET started_at = :at"), {"at": world.now - timedelta(days=200)})
    with duckdb.connect() as maker, world.connect(database) as conn:
        for statement in _MAKING:
            maker.execute(statement.format(**given))
        counted = maker.execute(f"SELECT count(*) FROM '{folder}/orders.parquet'").fetchone()
        # Constraints hold already for what is made here.
        conn.execute("SET session_replication_role = replica")
        for target, query in _LOADS.items():
            path = folder / "rows.csv"
            maker.execute(f"COPY ({query.format(**given)}) TO '{path}' (FORMAT csv, HEADER false)")
            _copy(conn, target, path)
            path.unlink()
        conn.commit()
        conn.autocommit = True
        conn.execute("VACUUM (ANALYZE)")
        conn.execute("CHECKPOINT")
    return 0 if counted is None else int(counted[0])


def _copy(conn: psycopg.Connection[Any], target: str, path: Path) -> None:
    statement = f"COPY {target} FROM STDIN (FORMAT csv)"
    with conn.cursor() as cursor, cursor.copy(statement.encode()) as copy, path.open("rb") as file:
        while block := file.read(_BLOCK):
            copy.write(block)


def _join(database: Database, definition: Definition, world: World) -> tuple[float, list[dict[str, Any]]]:
    with database.engine.connect() as conn:
        started = time.perf_counter()
        counted = add_up(
            conn,
            definition=operations.get_experiment(conn, experiment=definition.experiment),
            anchor="assigned_at",
            window_days=60,
            now=world.now,
        )
        seconds = time.perf_counter() - started
    return seconds, [dict(row) for row in counted.rows if row["day"] is None]


def _compare(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    ours = {row["arm"]: row for row in found}
    for row in expected:
        differing = {name: (ours[row["arm"]][name], value) for name, value in row.items()
                     if ours[row["arm"]][name] != value}  # fmt: skip
        if differing:
            raise RuntimeError(f"other sums than DuckDB's in {row['arm']}: {differing}")
