"""Every SQL statement of the log of imports: the one that may run, how far it is, what it refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from service.intake.bulk.adapters.source import Reject
from service.intake.bulk.store import copy_rows
from service.kit.ids import new_id

_LOCK_ID = 7_203_114_855_127_301
"""The advisory lock of imports: any constant that nothing else in the database uses."""

_TRY_LOCK = text("SELECT pg_try_advisory_lock(:lock_id)")
_UNLOCK = text("SELECT pg_advisory_unlock(:lock_id)")

_REGISTER = text(
    "INSERT INTO imports (import_id, kind, source_name, source_hash, status, started_at) "
    "VALUES (:import_id, :kind, :source_name, '', 'staging', :now)"
)
_FIND_IMPORT = text("SELECT * FROM imports WHERE import_id = :import_id")
_BURY = text(
    "UPDATE imports SET status = 'failed', error = 'interrupted', finished_at = :now "
    "WHERE status IN ('loading', 'rating') AND import_key <> :import_key"
)
_SET_STATUS = text(
    "UPDATE imports SET status = :status, error = :error, "
    "source_hash = CASE WHEN :source_hash = '' THEN source_hash ELSE :source_hash END, "
    "finished_at = CASE WHEN :status IN ('done', 'failed', 'cancelled') THEN CAST(:now AS timestamptz) END "
    "WHERE import_key = :import_key"
)
_COUNT = text(
    "UPDATE imports SET lines_read = :lines_read, records_new = records_new + :records_new, "
    "records_known = records_known + :records_known, lines_rejected = lines_rejected + :lines_rejected, "
    "records_parked = records_parked + :records_parked WHERE import_key = :import_key"
)
_MOVE_PARKED = text(
    "UPDATE imports SET records_new = records_new + :taken, lines_rejected = lines_rejected + :rejected, "
    "records_parked = records_parked - :taken - :rejected WHERE import_key = :import_key"
)
_REJECTS = text(
    "SELECT line_no, code, detail FROM import_rejects WHERE import_key = :import_key "
    "AND (line_no, reject_no) > (:after, 0) ORDER BY line_no, reject_no LIMIT :limit"
)


def try_lock(conn: Connection) -> bool:
    """Take the lock of imports for this connection; False when another one has it."""
    return bool(conn.execute(_TRY_LOCK, {"lock_id": _LOCK_ID}).scalar_one())


def unlock(conn: Connection) -> None:
    """Give the lock of imports back."""
    conn.execute(_UNLOCK, {"lock_id": _LOCK_ID})


def register(conn: Connection, *, kind: str, source_name: str, now: datetime) -> str:
    """Enter an import and return its id."""
    import_id = new_id("imp", now)
    conn.execute(_REGISTER, {"import_id": import_id, "kind": kind, "source_name": source_name, "now": now})
    return import_id


def find_import(conn: Connection, *, import_id: str) -> Row[Any] | None:
    """Return an import."""
    return conn.execute(_FIND_IMPORT, {"import_id": import_id}).one_or_none()


def bury_interrupted(conn: Connection, *, import_key: int, now: datetime) -> None:
    """Say of imports that died without a word that they were interrupted."""
    conn.execute(_BURY, {"import_key": import_key, "now": now})


def set_status(
    conn: Connection,
    *,
    import_key: int,
    status: str,
    now: datetime,
    source_hash: str = "",
    error: str | None = None,
) -> None:
    """Write how far an import has come."""
    parameters = {
        "import_key": import_key,
        "status": status,
        "now": now,
        "source_hash": source_hash,
        "error": error,
    }
    conn.execute(_SET_STATUS, parameters)


def add_counts(conn: Connection, *, import_key: int, counts: Mapping[str, int]) -> None:
    """Add to an import's counts; `lines_read` is the total so far."""
    conn.execute(_COUNT, {**counts, "import_key": import_key})


def move_parked(conn: Connection, *, import_key: int, taken: int, rejected: int) -> None:
    """Count parked refunds of an import where they have come to: in, or refused."""
    conn.execute(_MOVE_PARKED, {"import_key": import_key, "taken": taken, "rejected": rejected})


def add_rejects(conn: Connection, *, import_key: int, rejects: Iterable[Reject]) -> None:
    """Write rejects by line number."""
    columns = ("import_key", "line_no", "code", "detail")
    rows = ((import_key, *reject) for reject in rejects)
    copy_rows(conn, table="import_rejects", columns=columns, rows=rows)


def list_rejects(conn: Connection, *, import_key: int, after: int, limit: int) -> Sequence[Row[Any]]:
    """Return an import's rejects after a line number."""
    return conn.execute(_REJECTS, {"import_key": import_key, "after": after, "limit": limit}).all()
