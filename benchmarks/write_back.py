"""What a review writes, against a bare COPY of the same rows into tables with the same indexes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from statistics import median
from typing import Any

from sqlalchemy import Connection, text

from benchmarks.membership import Membership
from benchmarks.results import Row, ratio_of
from benchmarks.world import Database, tell
from service.kit.db import dumps
from service.tiers import store_bulk

_SHARE = 33
"""Every so-manieth member moves: a day's falls and rises of a large shop are fewer."""
_METRICS = {
    "visit_interval_days": "21.50",
    "days_since_last_visit": 3,
    "active_days": 7,
    "net_spend": "12345.00",
    "orders": 8,
}
_TABLES = ("tier_states", "tier_changes")
_COPIES = text(
    "; ".join(
        f"DROP TABLE IF EXISTS bare_{table}; CREATE TABLE bare_{table} (LIKE {table} INCLUDING ALL)"
        for table in _TABLES
    )
)


def measure(database: Database, made: Membership, *, rounds: int) -> Row:
    """Write the states of some members back with one change each, and copy the same rows, in turns."""
    with database.engine.connect() as conn:
        found = conn.execute(
            text("SELECT * FROM tier_states WHERE member_key % :share = 0 ORDER BY member_key"),
            {"share": _SHARE},
        ).all()
    ours, bare = [], []
    for round_no in range(1, rounds + 1):
        tell(f"write-back, round {round_no} of {rounds}")
        states = [{**row._asdict(), "through": row.through + timedelta(minutes=round_no)} for row in found]
        changes = [_change(state) for state in states]
        ours.append(_timed(database, lambda conn, s=states, c=changes: _write(conn, s, c)))  # type: ignore[misc]
        with database.engine.begin() as conn:
            conn.execute(_COPIES)
        bare.append(_timed(database, lambda conn, s=states, c=changes: _copy(conn, s, c)))  # type: ignore[misc]
    return Row(
        f"write-back of a review, {len(found):,} members moved",
        f"{median(ours):.2f} s",
        f"bare COPY {median(bare):.2f} s",
        ratio=ratio_of(ours, bare),
        budget=2,
        note=f"{made.members:,} members; a state and a change each, of one transaction",
    )


def _timed(database: Database, work: Callable[[Connection], None]) -> float:
    started = time.perf_counter()
    with database.engine.begin() as conn:
        work(conn)
    return time.perf_counter() - started


def _change(state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "member_key": state["member_key"],
        "from_tier": "member",
        "to_tier": state["tier"],
        "effective_at": state["through"],
        "recorded_at": state["through"],
        "cause": "roll_off",
        "ruleset_version": state["ruleset_version"],
        "metrics": _METRICS,
        "order_key": None,
        "refund_key": None,
        "import_key": None,
        "pin_key": None,
    }


def _write(
    conn: Connection, states: Sequence[Mapping[str, Any]], changes: Sequence[Mapping[str, Any]]
) -> None:
    store_bulk.write_states(conn, rows=states)
    store_bulk.append_changes(conn, rows=changes)


def _copy(
    conn: Connection, states: Sequence[Mapping[str, Any]], changes: Sequence[Mapping[str, Any]]
) -> None:
    for table, rows in zip(_TABLES, (states, changes), strict=True):
        names = list(rows[0])
        driver: Any = conn.connection.driver_connection
        statement = f"COPY bare_{table} ({', '.join(names)}) FROM STDIN"
        with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for row in rows:
                copy.write_row([dumps(cell) if isinstance(cell, dict) else cell for cell in row.values()])
