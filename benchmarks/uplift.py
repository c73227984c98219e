"""The outcome join of an experiment over the whole membership, against DuckDB adding up the same."""

from __future__ import annotations

import os
import time
from contextlib import suppress
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

# Two years of orders, each member's own number of them: one in twelve is given back within a month, one in
# twenty is of another currency, one in twenty is paid in part with points; most tell when the checkout
# began. Everybody was drawn in the course of two months, one in ten into the hold-out; some are testers, and
# the last ones drawn are not mature yet. One in thirty-three unsubscribed in the last 150 days.
_MAKING = (
    "CREATE MACRO dice(i, n) AS (hash(CAST(i AS bigint) * 31 + n) % 1000003) / 1000003.0",
    """
    CREATE TABLE lines AS
    SELECT member_key, TIMESTAMP '{now}' - to_seconds(CAST(dice(key, 8) * {seconds} AS bigint)) AS placed_at,
           greatest(100, CAST(exp(9 + 2 * dice(key, 9)) AS bigint)) AS order_goods, key
    FROM (SELECT i AS member_key,
                 i * 1000 + unnest(range(1 + CAST(2 * {mean} * dice(i, 2) AS integer))) AS key
          FROM range(1, {members} + 1) AS m (i))
    """,
    """
    COPY (SELECT *, CASE WHEN rate IS NULL THEN order_goods ELSE CAST(round(order_goods * rate) AS bigint) END
                    AS goods,
                 goods - CASE WHEN rate IS NULL THEN paid ELSE CAST(round(paid * rate) AS bigint) END AS spend
          FROM (SELECT row_number() OVER (ORDER BY placed_at, key) AS order_key, member_key, placed_at,
                       order_goods, CASE WHEN dice(key, 10) < 0.05 THEN order_goods // 10 ELSE 0 END AS paid,
                       CASE WHEN dice(key, 11) < 0.05 THEN CAST(1.25 AS decimal(9, 2)) END AS rate,
                       CASE WHEN dice(key, 12) < 0.8
                            THEN placed_at - to_seconds(CAST(dice(key, 13) * 7200 AS bigint)) END AS begun_at
                FROM lines)
          ORDER BY order_key) TO '{folder}/orders.parquet' (FORMAT parquet)
    """,
    """
    COPY (SELECT CASE WHEN dice(order_key, 14) < 0.98 THEN order_key END AS order_key, member_key,
                 placed_at + to_seconds(CAST(dice(order_key, 4) * 2592000 AS bigint)) AS refunded_at,
                 CASE WHEN dice(order_key, 5) < 0.5 THEN order_goods ELSE 1 + order_goods // 2 END AS amount
          FROM '{folder}/orders.parquet' WHERE dice(order_key, 3) < 0.08 ORDER BY refunded_at)
    TO '{folder}/refunds.parquet' (FORMAT parquet)
    """,
    """
    COPY (SELECT i AS member_key, CASE WHEN dice(i, 6) < 0.1 THEN 'holdout' ELSE 'treatment' END AS arm,
                 CASE WHEN dice(i, 15) < 0.005 THEN 'override' ELSE 'split' END AS reason,
                 CASE WHEN dice(i, 16) < 0.6 THEN 'silver' WHEN dice(i, 16) < 0.9 THEN 'gold' END AS tier,
                 TIMESTAMP '{now}' - INTERVAL 87 DAY
                     - to_seconds(CAST(dice(i, 7) * 5184000 AS bigint)) AS assigned_at
          FROM range(1, {members} + 1) AS m (i))
    TO '{folder}/assignments.parquet' (FORMAT parquet)
    """,
    """
    COPY (SELECT i AS member_key,
                 TIMESTAMP '{now}' - to_seconds(CAST(dice(i, 18) * 12960000 AS bigint)) AS withdrawn_at
          FROM range(1, {members} + 1) AS m (i) WHERE dice(i, 17) < 0.03)
    TO '{folder}/withdrawals.parquet' (FORMAT parquet)
    """,
)
_FIRST_DRAWN = timedelta(days=147)
_LOADS = {
    "orders (order_key, placed_at, received_at, member_key, day, currency, order_goods_minor, goods_minor, "
    "spend_minor, order_points_paid_minor, exchange_rate, checkout_started_at)": "SELECT order_key, "
    "placed_at || '+00', placed_at || '+00', member_key, CAST(placed_at AS date), "
    "CASE WHEN rate IS NULL THEN 'TWD' ELSE 'XTS' END, order_goods, goods, spend, paid, rate, "
    "begun_at || '+00' FROM '{folder}/orders.parquet'",
    "refund_keys (refund_key, refund_id, member_key, order_key, refunded_at, order_amount_minor, "
    "content_hash)": "SELECT row_number() OVER () AS n, 'r' || n, member_key, order_key, "
    "refunded_at || '+00', amount, 'x' FROM '{folder}/refunds.parquet'",
    "assignments (experiment, member_key, experiment_key, arm, bucket, reason, assigned_at, "
    "tier_at_assignment)": "SELECT '{experiment}', member_key, {version}, arm, 0, reason, "
    "assigned_at || '+00', tier FROM '{folder}/assignments.parquet'",
    "consent_changes (member_key, purpose, granted, was_granted, changed_at)": "SELECT member_key, "
    "'marketing', false, true, withdrawn_at || '+00' FROM '{folder}/withdrawals.parquet'",
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
    what = f"uplift join, {world.sizes.population:,} members, {orders:,} orders"
    cold = _alternate(world, database, definition, folder, rounds=1, is_cold=True)
    warm = _alternate(world, database, definition, folder, rounds=rounds, is_cold=False)
    return [
        _tell_row(f"{what}, both from disk", cold, "one look; neither finds anything in the page cache"),
        _tell_row(what, warm, "one statement from the orders themselves; the same sums on both sides"),
    ]


def _alternate(
    world: World, database: Database, definition: Definition, folder: Path, *, rounds: int, is_cold: bool
) -> tuple[list[float], list[float]]:
    """Return the seconds of the join and of DuckDB, by round."""
    ours, theirs = [], []
    for round_no in range(1, rounds + 1):
        tell(f"uplift, round {round_no} of {rounds}{', from disk' if is_cold else ''}")
        if is_cold:
            _forget(world.folder)
        seconds, expected = duckdb_outcomes.measure(folder, now=world.now)
        theirs.append(seconds)
        if is_cold:
            _forget(world.folder)
        seconds, found = _join(database, definition, world)
        ours.append(seconds)
        tell(f"join {ours[-1]:.1f} s, DuckDB {theirs[-1]:.1f} s")
        _compare(found, expected)
    return ours, theirs


def _tell_row(what: str, measured: tuple[list[float], list[float]], note: str) -> Row:
    ours, theirs = measured
    return Row(
        what,
        f"{median(ours):.1f} s",
        f"DuckDB {median(theirs):.1f} s",
        ratio=ratio_of(ours, theirs),
        budget=3,
        note=note,
    )


def _forget(folder: Path) -> None:
    """Let the system forget what it holds of every file in a folder, so that it is read from disk again.

    The server's own buffers (128 MB) stay: a sixteenth of what the join reads of a million members.
    """
    os.sync()
    for path in folder.rglob("*"):
        # A server makes and removes files as it likes, and has sockets among them.
        with suppress(OSError):
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


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
        conn.execute(text("UPDATE experiments SET started_at = :at"), {"at": world.now - _FIRST_DRAWN})
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
    return seconds, [dict(row) for row in counted.rows]


def _compare(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    def place(row: dict[str, Any]) -> tuple[str, str, str]:
        return row["arm"], row["stratum"], row["day"] or ""

    ours = {place(row): row for row in found}
    if ours.keys() != {place(row) for row in expected}:
        raise RuntimeError("other arms, strata or days than DuckDB's")
    for row in expected:
        differing = {
            name: (ours[place(row)][name], value)
            for name, value in row.items()
            if ours[place(row)][name] != value
        }
        if differing:
            raise RuntimeError(f"other sums than DuckDB's at {place(row)}: {differing}")
