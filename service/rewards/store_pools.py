"""Every statement of code pools: codes that somebody else made, handed out one by one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from service.kit.db import run

_ADD = text("INSERT INTO code_pools (pool, created_at) VALUES (:pool, :now) ON CONFLICT (pool) DO NOTHING")
_FIND = text("SELECT pool_key, pool, created_at FROM code_pools WHERE pool = :pool")
# Imports into one pool wait for each other.
_LOCK = text("SELECT pool_key FROM code_pools WHERE pool = :pool FOR NO KEY UPDATE")
_LAST = text("SELECT coalesce(max(code_key), 0) FROM pool_codes")
_COUNT = text(
    "SELECT count(*) AS codes, count(*) FILTER (WHERE redemption_id IS NULL) AS left_over "
    "FROM pool_codes WHERE pool_key = :pool_key"
)
_STAGE = text(
    'CREATE TEMP TABLE IF NOT EXISTS incoming_codes (line_no bigint, code text COLLATE "C") ON COMMIT DROP'
)
_EMPTY = text("TRUNCATE incoming_codes")
_COPY = "COPY incoming_codes (line_no, code) FROM STDIN"

# What is in the file twice, or was there before: a code of an earlier import of this pool changes nothing.
_LOAD = text("""
WITH first AS (
    SELECT code, array_agg(line_no ORDER BY line_no) AS lines FROM incoming_codes GROUP BY code
), fresh AS (
    INSERT INTO pool_codes (pool_key, code) SELECT :pool_key, code FROM first ORDER BY code
    ON CONFLICT (code) DO NOTHING RETURNING code
), stale AS (
    SELECT f.code, f.lines FROM first f LEFT JOIN fresh n USING (code) WHERE n.code IS NULL
), judged AS (
    SELECT s.lines, CASE WHEN k.pool_key IS DISTINCT FROM :pool_key THEN 'code-of-other-pool'
                         WHEN k.code_key > :last_key THEN 'duplicate-code' END AS fault
    -- One by one through the index: joined otherwise, every part of a file would read the whole table.
    FROM stale s LEFT JOIN LATERAL (SELECT pool_key, code_key FROM pool_codes WHERE code = s.code LIMIT 1) k
         ON true
), faults AS (
    SELECT lines[1] AS line_no, fault FROM judged WHERE fault IS NOT NULL
    UNION ALL
    SELECT l.line_no, 'duplicate-code'
    FROM first f, unnest(f.lines) WITH ORDINALITY AS l (line_no, place)
    WHERE cardinality(f.lines) > 1 AND l.place > 1
)
SELECT (SELECT count(*) FROM fresh) AS added,
       (SELECT count(*) FROM judged WHERE fault IS NULL) AS known,
       (SELECT CAST(coalesce(jsonb_agg(jsonb_build_array(line_no, fault) ORDER BY line_no), '[]') AS text)
        FROM faults) AS rejects
""")

_GIVE = """
UPDATE pool_codes SET redemption_id = :redemption_id WHERE code_key = (
    SELECT code_key FROM pool_codes WHERE pool_key = :pool_key AND redemption_id IS NULL
    ORDER BY code_key LIMIT 1 FOR NO KEY UPDATE{passing})
RETURNING code
"""
_GIVE_AT_ONCE = text(_GIVE.replace("{passing}", " SKIP LOCKED"))
_GIVE_WAITING = text(_GIVE.replace("{passing}", ""))


def open_pool(conn: Connection, *, pool: str, now: datetime) -> int:
    """Return the key of a pool that is locked for an import, opening it where there is none."""
    conn.execute(_ADD, {"pool": pool, "now": now})
    return int(conn.execute(_LOCK, {"pool": pool}).scalar_one())


def find_pool(conn: Connection, *, pool: str) -> Row[Any] | None:
    """Return a pool."""
    return conn.execute(_FIND, {"pool": pool}).one_or_none()


def count_codes(conn: Connection, *, pool_key: int) -> Row[Any]:
    """Return how many codes a pool has had, and how many of them are left."""
    return conn.execute(_COUNT, {"pool_key": pool_key}).one()


def find_last_key(conn: Connection) -> int:
    """Return the key of the newest code of any pool."""
    return int(conn.execute(_LAST).scalar_one())


def begin_staging(conn: Connection) -> None:
    """Make the place where the lines of a file stand until the transaction ends."""
    conn.execute(_STAGE)


def load(conn: Connection, *, pool_key: int, last_key: int, lines: Sequence[tuple[int, str]]) -> Row[Any]:
    """Add codes with the numbers of their lines; return `added`, `known` and `rejects` as JSON text."""
    driver: Any = conn.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
        for line in lines:
            copy.write_row(line)
    loaded = conn.execute(_LOAD, {"pool_key": pool_key, "last_key": last_key}).one()
    conn.execute(_EMPTY)
    return loaded


def give(conn: Connection, *, pool_key: int, redemption_id: UUID) -> str | None:
    """Give a free code of a pool to a redemption and return it; None when none is left."""
    values = {"pool_key": pool_key, "redemption_id": redemption_id}
    code: str | None = run(conn, _GIVE_AT_ONCE, values).scalar_one_or_none()
    return code or run(conn, _GIVE_WAITING, values).scalar_one_or_none()
