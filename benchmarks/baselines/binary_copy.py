"""B4: binary COPY of rows that an import wrote, all of them, into the same tables with the same indexes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

from service.shelves import metadata

Rows = Mapping[str, bytes]
"""A table's rows as PostgreSQL's binary COPY, by name; parents before children."""


def dump(conn: psycopg.Connection[Any]) -> dict[str, bytes]:
    """Return the rows of every table."""
    rows = {}
    for table in metadata.sorted_tables:
        # A partitioned table can only be read through a query.
        query = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT (FORMAT BINARY)").format(
            sql.Identifier(table.name)
        )
        with conn.cursor() as cursor, cursor.copy(query) as copy:
            rows[table.name] = b"".join(bytes(block) for block in copy)
    conn.rollback()
    return rows


def changed(before: Rows, after: Rows) -> dict[str, bytes]:
    """Return the tables that an import has written to."""
    return {name: rows for name, rows in after.items() if rows != before[name]}


def empty(conn: psycopg.Connection[Any], tables: Rows) -> None:
    """Empty some tables, the append-only ones too."""
    names = sql.SQL(", ").join(map(sql.Identifier, tables))
    conn.execute("SET LOCAL session_replication_role = replica")
    conn.execute(sql.SQL("TRUNCATE {} CASCADE").format(names))
    conn.commit()


def load(conn: psycopg.Connection[Any], tables: Rows) -> float:
    """Copy the rows in and commit; return the seconds it took."""
    started = time.perf_counter()
    for name, rows in tables.items():
        query = sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(sql.Identifier(name))
        with conn.cursor() as cursor, cursor.copy(query) as copy:
            for start in range(0, len(rows), 1 << 20):
                copy.write(rows[start : start + (1 << 20)])
    conn.commit()
    return time.perf_counter() - started


def count(conn: psycopg.Connection[Any], tables: Rows) -> int:
    """Return how many rows the tables hold."""
    total = 0
    for name in tables:
        row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))).fetchone()
        total += 0 if row is None else int(row[0])
    conn.rollback()
    return total
