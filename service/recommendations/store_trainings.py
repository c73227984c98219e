"""SQL of trainings as they go; a lock of the connection that each holds tells that it is still there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.db import dumps

_JOB = "models.train"
_KEPT = 50

_BEGIN = text("INSERT INTO job_runs (job, started_at) VALUES (:job, :now) RETURNING run_key")
_FORGET = text(
    "DELETE FROM job_runs WHERE job = :job AND run_key NOT IN "
    "(SELECT run_key FROM job_runs WHERE job = :job ORDER BY run_key DESC LIMIT :kept)"
)
_HOLD = text("SELECT pg_advisory_lock(hashtextextended('models.train/' || CAST(:run_key AS text), 6))")
_RELEASE = text("SELECT pg_advisory_unlock(hashtextextended('models.train/' || CAST(:run_key AS text), 6))")
_TELL = text("UPDATE job_runs SET done = :done, detail = CAST(:detail AS jsonb) WHERE run_key = :run_key")
_END = text(
    "UPDATE job_runs SET finished_at = :now, detail = coalesce(detail, '{}') || CAST(:detail AS jsonb) "
    "WHERE run_key = :run_key"
)
_LIST = text(
    """
    SELECT r.run_key, r.started_at, r.finished_at, r.done, r.detail, EXISTS (
        SELECT FROM pg_locks l
        WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND (l.classid::bigint << 32) | l.objid::bigint
                = hashtextextended('models.train/' || CAST(r.run_key AS text), 6)
    ) AS held
    FROM job_runs r WHERE r.job = :job ORDER BY r.run_key DESC LIMIT :limit
    """
)


def begin(conn: Connection, *, now: datetime) -> int:
    """Note that a training begins, for as long as this connection lasts; return its key."""
    run_key: int = conn.execute(_BEGIN, {"job": _JOB, "now": now}).scalar_one()
    conn.execute(_HOLD, {"run_key": run_key})
    conn.execute(_FORGET, {"job": _JOB, "kept": _KEPT})
    return run_key


def tell(conn: Connection, *, run_key: int, done: int, detail: Mapping[str, object]) -> None:
    """Note how far a training is."""
    conn.execute(_TELL, {"run_key": run_key, "done": done, "detail": dumps(detail)})


def end(conn: Connection, *, run_key: int, detail: Mapping[str, object], now: datetime) -> None:
    """Note how a training ended."""
    conn.execute(_END, {"run_key": run_key, "detail": dumps(detail), "now": now})


def release(conn: Connection, *, run_key: int) -> None:
    """Let go of a training, on the connection that began it."""
    conn.execute(_RELEASE, {"run_key": run_key})


def list_runs(conn: Connection, *, limit: int) -> Sequence[Row[Any]]:
    """Return the latest trainings, the latest first; `held` while the process that trains is there."""
    return conn.execute(_LIST, {"job": _JOB, "limit": limit}).all()
