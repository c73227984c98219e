"""Imports over HTTP: the file waits in the database, sealed, until the worker has read it.

In the database, because the worker may run on another machine; in parts, so that nobody holds all of it.
"""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from sqlalchemy import Connection, Engine

from service.intake.bulk import log_store as log
from service.intake.bulk.files import Format, Kind
from service.intake.bulk.operations import ImportReport, run_import, show_import
from service.intake.bulk.run import Stage
from service.intake.errors import ImportEnded, UnknownImport
from service.kit.db import transaction
from service.kit.jobs import defer
from service.kit.pagination import decode_cursor, encode_cursor, page
from service.kit.sealing import Sealer
from service.programme.operations import Programme

PART_BYTES = 1 << 20
KEPT_DAYS = 7
"""An uploaded file that no worker came for is thrown away after so many days."""
_NEWEST = 2**63 - 1


def stage_import(
    conn: Connection,
    *,
    kind: Kind,
    source_name: str,
    fmt: Format,
    file: BinaryIO,
    sha256: bytes,
    requested_by: str,
    sealer: Sealer,
    now: datetime,
) -> dict[str, Any]:
    """Keep a file, leave it to the worker, and return the import as the API shows it."""
    import_key, import_id = log.register_upload(
        conn,
        kind=kind,
        source_name=source_name,
        fmt=fmt,
        source_hash=sha256.hex(),
        requested_by=requested_by,
        now=now,
    )
    part_no = 0
    while part := file.read(PART_BYTES):
        log.add_part(conn, import_key=import_key, part_no=part_no, content=sealer.seal_bytes(part))
        part_no += 1
    defer(conn, task="imports.run", arguments={"import_id": import_id})
    return get_import(conn, import_id=import_id)


def get_import(conn: Connection, *, import_id: str) -> dict[str, Any]:
    """Return an import as the API shows it.

    Raises:
        UnknownImport: there is none of this id.
    """
    row = log.find_import(conn, import_id=import_id)
    if row is None:
        raise UnknownImport(f"no import has the id {import_id}")
    return show_import(row)


def list_imports(conn: Connection, *, limit: int, cursor: str | None) -> dict[str, Any]:
    """Return a page of imports, the latest first, those of the command line too."""
    key = decode_cursor(cursor, types=(int,))
    rows = log.list_imports(conn, before=_NEWEST if key is None else key[0], limit=limit + 1)
    return page(
        [show_import(row) for row in rows],
        limit=limit,
        cursors=[encode_cursor(row.import_key) for row in rows],
    )


def page_rejects(conn: Connection, *, import_id: str, limit: int, cursor: str | None) -> dict[str, Any]:
    """Return a page of the lines that an import refused, by line number.

    Raises:
        UnknownImport: there is none of this id.
    """
    row = log.find_import(conn, import_id=import_id)
    if row is None:
        raise UnknownImport(f"no import has the id {import_id}")
    after = decode_cursor(cursor, types=(int, int)) or (0, 0)
    rejects = log.list_rejects(
        conn, import_key=row.import_key, after=after[0], after_no=after[1], limit=limit + 1
    )
    return page(
        [{"line": found.line_no, "code": found.code, "detail": found.detail} for found in rejects],
        limit=limit,
        cursors=[encode_cursor(found.line_no, found.reject_no) for found in rejects],
    )


def cancel_import(conn: Connection, *, import_id: str, now: datetime) -> dict[str, Any]:
    """Call an import off; what is in by then stays in, and is rated.

    Raises:
        UnknownImport: there is none of this id. ImportEnded: it has ended by itself.
    """
    row = log.find_import(conn, import_id=import_id)
    if row is None:
        raise UnknownImport(f"no import has the id {import_id}")
    if row.status != "cancelled":
        status = log.ask_to_cancel(conn, import_key=row.import_key, now=now)
        if status is None:
            raise ImportEnded(f"the import is {row.status}")
        if status == "cancelled":
            log.forget_parts(conn, import_key=row.import_key)
    return get_import(conn, import_id=import_id)


def run_staged(
    engine: Engine, *, import_id: str, programme: Programme, sealer: Sealer, now: datetime
) -> ImportReport | None:
    """Import a file that was staged; None where it was called off, or is done already.

    Run again after a crash it begins anew: what is in is passed over.

    Raises:
        ImportRunning: another import is running; try again later.
    """
    with transaction(engine) as conn:
        row = log.find_import(conn, import_id=import_id)
    if row is None or row.status in ("done", "cancelled"):
        return None

    def note(stage: Stage, done: int, total: int | None) -> None:
        with transaction(engine) as conn:
            log.set_stage(conn, import_key=row.import_key, stage=stage, done=done, total=total)

    with transaction(engine) as conn:
        log.start_over(conn, import_key=row.import_key)
    source = io.BufferedReader(_Parts(engine, row.import_key, sealer), buffer_size=PART_BYTES)
    report = run_import(
        engine,
        kind=row.kind,
        source=source,
        fmt=row.format,
        programme=programme,
        sealer=sealer,
        now=now,
        progress=note,
        import_id=import_id,
    )
    with transaction(engine) as conn:
        log.forget_parts(conn, import_key=row.import_key)
    return report


def forget_uploads(conn: Connection, *, now: datetime) -> int:
    """Throw away files that nobody needs any more; return how many parts."""
    return log.forget_left_parts(conn, before=now - timedelta(days=KEPT_DAYS))


class _Parts(io.RawIOBase):
    """The parts of a staged file as one stream, a part at a time in memory."""

    def __init__(self, engine: Engine, import_key: int, sealer: Sealer) -> None:
        self._engine, self._import_key, self._sealer = engine, import_key, sealer
        self._next, self._part = 0, memoryview(b"")

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with what comes next; 0 at the end."""
        if not self._part:
            with transaction(self._engine) as conn:
                sealed = log.find_part(conn, import_key=self._import_key, part_no=self._next)
            if sealed is None:
                return 0
            self._part, self._next = memoryview(self._sealer.open_bytes(sealed)), self._next + 1
        size = min(len(buffer), len(self._part))
        buffer[:size] = self._part[:size]
        self._part = self._part[size:]
        return size
