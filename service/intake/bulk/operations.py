"""Bulk import: what a door calls to register, run and look at imports.

Interrupted anywhere, an import is simply run again: see `import_run`.
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, Engine, Row
from sqlalchemy.exc import SQLAlchemyError

from service.intake.bulk import log_store as log
from service.intake.bulk.adapted import ADAPTERS
from service.intake.bulk.files import Format
from service.intake.bulk.run import ImportReport, ImportRun, Progress, Stage
from service.intake.errors import ImportRunning
from service.kit.clock import format_time
from service.kit.sealing import Sealer
from service.programme.operations import Programme

__all__ = [
    "KINDS",
    "ImportReport",
    "Progress",
    "Stage",
    "find_import",
    "list_rejects",
    "register_import",
    "run_import",
    "show_import",
]

OWN_KINDS = ("members", "items", "orders", "refunds", "events")
"""Tidemark's own kinds: a line is the body of the API call it stands for."""

KINDS = (*OWN_KINDS, *ADAPTERS)
"""What can be imported: Tidemark's own kinds, and the adapters."""


def register_import(conn: Connection, *, kind: str, source_name: str, now: datetime) -> str:
    """Enter an import that `run_import` is to do later, and return its id."""
    return log.register(conn, kind=kind, source_name=source_name, now=now)


def find_import(conn: Connection, *, import_id: str) -> dict[str, Any] | None:
    """Return an import as the API shows it, or None."""
    row = log.find_import(conn, import_id=import_id)
    return None if row is None else show_import(row)


def show_import(row: Row[Any]) -> dict[str, Any]:
    """Return an import as the API shows it."""
    return {
        "import_id": row.import_id,
        "kind": row.kind,
        "source": row.source_name,
        "status": row.status,
        "progress": None
        if row.stage is None
        else {"stage": row.stage, "done": row.stage_done, "total": row.stage_total},
        "lines_read": row.lines_read,
        "records_new": row.records_new,
        "records_known": row.records_known,
        "lines_rejected": row.lines_rejected,
        "records_parked": row.records_parked,
        "started_at": format_time(row.started_at),
        "finished_at": None if row.finished_at is None else format_time(row.finished_at),
        "cancel_requested_at": None
        if row.cancel_requested_at is None
        else format_time(row.cancel_requested_at),
        "error": row.error,
    }


def list_rejects(conn: Connection, *, import_id: str, after_line: int, limit: int) -> list[dict[str, Any]]:
    """Return up to `limit` rejects of an import behind a line number, by line."""
    row = log.find_import(conn, import_id=import_id)
    if row is None:
        return []
    rejects = log.list_rejects(conn, import_key=row.import_key, after=after_line, limit=limit)
    return [{"line": found.line_no, "code": found.code, "detail": found.detail} for found in rejects]


def run_import(
    engine: Engine,
    *,
    kind: str,
    source: Path | BinaryIO,
    programme: Programme,
    sealer: Sealer,
    now: datetime,
    progress: Progress | None = None,
    fmt: Format | None = None,
    import_id: str | None = None,
) -> ImportReport:
    """Import a file, and rate everybody whose facts it changed; commits as it goes.

    `kind` is one of `KINDS`; a stream needs `fmt`, a path tells it by its ending, an adapter needs a path.
    `import_id` is one that `register_import` gave.

    Raises:
        ImportRunning: another import is running.
        SourceUnreadable, SourceMismatch: the file cannot be taken at all; nothing is written.
        ValueError: an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind}; known are {', '.join(KINDS)}")
    with engine.connect() as conn:
        with conn.begin():
            if not log.try_lock(conn):
                raise ImportRunning
        try:
            return ImportRun(conn, kind, programme, sealer, now, progress or _say_nothing).run(
                source, fmt, import_id
            )
        finally:
            # The lock belongs to the session, which goes back to the pool; a broken one has lost it already.
            with contextlib.suppress(SQLAlchemyError):
                conn.rollback()
                with conn.begin():
                    log.unlock(conn)


def _say_nothing(stage: Stage, done: int, total: int | None) -> None:
    """Be the progress of an import that nobody watches."""
