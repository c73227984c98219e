"""Give each month of a fact table its own partition, ahead of the rows that belong there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

_EXISTS = text("SELECT to_regclass(:name) IS NOT NULL")
# Attaching needs the default partition to itself for a moment, and whoever comes while we wait for that waits
# behind us: not for longer than this.
_PATIENCE = text("SET LOCAL lock_timeout = '200ms'")
_NO_PATIENCE = text("SET LOCAL lock_timeout = 0")
_LEFT_ALONE = {
    "23514",  # check_violation: the default partition holds such rows
    "55P03",  # lock_not_available: too busy just now
    "42P07",  # duplicate_table: another process was faster
    "23505",  # unique_violation in the catalogue: likewise, at the same moment
}

PARTITIONED = ("orders", "order_lines", "refunds", "refund_lines", "events", "exposures")
"""Every table whose rows are kept by month."""


def keep_ahead(conn: Connection, *, today: date, days: int = 62) -> list[str]:
    """Create every table's partitions from this month to that of `days` ahead; returns the names created."""
    last = today + timedelta(days=days)
    return [
        name for table in PARTITIONED for name in ensure_months(conn, table=table, first=today, last=last)
    ]


def ensure_months(conn: Connection, *, table: str, first: date, last: date) -> list[str]:
    """Create the missing monthly partitions of `table` from the month of `first` to that of `last`.

    Months are those of UTC; partitions are named like `orders_y2011m06`. A month of which the default
    partition already holds rows is left there, as is one whose table is too busy to attach to just now:
    rows find their place either way. Returns the names created. Never for the request path.
    """
    made = []
    for begin, end in _months(first, last):
        name = f"{table}_y{begin.year:04d}m{begin.month:02d}"
        if conn.execute(_EXISTS, {"name": name}).scalar_one():
            continue
        try:
            with conn.begin_nested():
                conn.execute(_PATIENCE)
                _attach(conn, table=table, name=name, begin=begin, end=end)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in _LEFT_ALONE:
                raise
        else:
            made.append(name)
        conn.execute(_NO_PATIENCE)
    return made


def _attach(conn: Connection, *, table: str, name: str, begin: date, end: date) -> None:
    # Attaching locks out less than creating the partition in place, which would stop every reader.
    conn.exec_driver_sql(f'CREATE TABLE "{name}" (LIKE "{table}" INCLUDING ALL)')
    conn.exec_driver_sql(
        f'ALTER TABLE "{table}" ATTACH PARTITION "{name}" '
        f"FOR VALUES FROM ('{begin.isoformat()} 00:00:00+00') TO ('{end.isoformat()} 00:00:00+00')"
    )


def _months(first: date, last: date) -> Iterator[tuple[date, date]]:
    begin = first.replace(day=1)
    while begin <= last:
        end = date(begin.year + begin.month // 12, begin.month % 12 + 1, 1)
        yield begin, end
        begin = end
