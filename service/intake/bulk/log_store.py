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
_REGISTER_UPLOAD = text(
    "INSERT INTO imports (import_id, kind, source_name, source_hash, status, started_at, format, "
    "requested_by) VALUES (:import_id, :kind, :source_name, :source_hash, 'staging', :now, :format, "
    ":requested_by) "
    "RETURNING import_key"
)
_FIND_IMPORT = text("SELECT * FROM imports WHERE import_id = :import_id")
_LIST_IMPORTS = text("SELECT * FROM imports WHERE import_key < :before ORDER BY import_key DESC LIMIT :limit")
_ASK_TO_CANCEL = text(
    "UPDATE imports SET cancel_requested_at = COALESCE(cancel_requested_at, :now), "
    "status = CASE status WHEN 'staging' THEN 'cancelled' ELSE status END, "
    "finished_at = CASE status WHEN 'staging' THEN CAST(:now AS timestamptz) END "
    "WHERE import_key = :import_key AND status IN ('staging', 'loading', 'rating') RETURNING status"
)
_IS_CANCELLED = text("SELECT cancel_requested_at IS NOT NULL FROM imports WHERE import_key = :import_key")
_SET_STAGE = text(
    "UPDATE imports SET stage = :stage, stage_done = :done, stage_total = :total "
    "WHERE import_key = :import_key"
)
# A run after a crash counts from the first line again.
_START_OVER = text(
    "UPDATE imports SET lines_read = 0, records_new = 0, records_known = 0, lines_rejected = 0, "
    "records_parked = 0, error = NULL, finished_at = NULL WHERE import_key = :import_key"
)
_FORGET_REJECTS = text("DELETE FROM import_rejects WHERE import_key = :import_key")
_ADD_PART = text(
    "INSERT INTO import_parts (import_key, part_no, content) VALUES (:import_key, :part_no, :content)"
)
_GET_PART = text("SELECT content FROM import_parts WHERE import_key = :import_key AND part_no = :part_no")
_FORGET_PARTS = text("DELETE FROM import_parts WHERE import_key = :import_key")
_FORGET_LEFT_PARTS = text(
    "DELETE FROM import_parts p USING imports i WHERE i.import_key = p.import_key "
    "AND (i.status IN ('done', 'failed', 'cancelled') OR i.started_at < :before)"
)
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
    "SELECT line_no, reject_no, code, detail FROM import_rejects WHERE import_key = :import_key "
    "AND (line_no, reject_no) > (:after, :after_no) ORDER BY line_no, reject_no LIMIT :limit"
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


def register_upload(
    conn: Connection,
    *,
    kind: str,
    source_name: str,
    fmt: str,
    source_hash: str,
    requested_by: str,
    now: datetime,
) -> tuple[int, str]:
    """Enter an import whose file follows in parts, and return its key and id."""
    import_id = new_id("imp", now)
    parameters = {
        "import_id": import_id,
        "kind": kind,
        "source_name": source_name,
        "format": fmt,
        "source_hash": source_hash,
        "requested_by": requested_by,
        "now": now,
    }
    return conn.execute(_REGISTER_UPLOAD, parameters).scalar_one(), import_id


def start_over(conn: Connection, *, import_key: int) -> None:
    """Forget what an earlier run of an import counted and refused."""
    conn.execute(_FORGET_REJECTS, {"import_key": import_key})
    conn.execute(_START_OVER, {"import_key": import_key})


def add_part(conn: Connection, *, import_key: int, part_no: int, content: bytes) -> None:
    """Keep one sealed part of an uploaded file."""
    conn.execute(_ADD_PART, {"import_key": import_key, "part_no": part_no, "content": content})


def find_part(conn: Connection, *, import_key: int, part_no: int) -> bytes | None:
    """Return one sealed part, None behind the last."""
    content = conn.execute(_GET_PART, {"import_key": import_key, "part_no": part_no}).scalar_one_or_none()
    return None if content is None else bytes(content)


def forget_parts(conn: Connection, *, import_key: int) -> None:
    """Throw an uploaded file away."""
    conn.execute(_FORGET_PARTS, {"import_key": import_key})


def forget_left_parts(conn: Connection, *, before: datetime) -> int:
    """Throw away files of imports that ended, or began before a moment; return how many parts."""
    return conn.execute(_FORGET_LEFT_PARTS, {"before": before}).rowcount


def list_imports(conn: Connection, *, before: int, limit: int) -> Sequence[Row[Any]]:
    """Return imports with keys below `before`, the latest first."""
    return conn.execute(_LIST_IMPORTS, {"before": before, "limit": limit}).all()


def ask_to_cancel(conn: Connection, *, import_key: int, now: datetime) -> str | None:
    """Note that an import is to end, at once where it has not begun; None when it has ended already."""
    return conn.execute(_ASK_TO_CANCEL, {"import_key": import_key, "now": now}).scalar_one_or_none()


def is_cancelled(conn: Connection, *, import_key: int) -> bool:
    """Say whether somebody asked for an import to end."""
    return bool(conn.execute(_IS_CANCELLED, {"import_key": import_key}).scalar_one())


def set_stage(conn: Connection, *, import_key: int, stage: str, done: int, total: int | None) -> None:
    """Write how far the stage of an import is."""
    conn.execute(_SET_STAGE, {"import_key": import_key, "stage": stage, "done": done, "total": total})


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


def list_rejects(
    conn: Connection, *, import_key: int, after: int, after_no: int = 0, limit: int
) -> Sequence[Row[Any]]:
    """Return an import's rejects after a line number, and after the so-manieth of that line."""
    parameters = {"import_key": import_key, "after": after, "after_no": after_no, "limit": limit}
    return conn.execute(_REJECTS, parameters).all()
