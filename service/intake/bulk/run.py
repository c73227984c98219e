"""One run of an import: load in chunks, then rate everybody whose facts changed.

Every chunk is one transaction: whole orders with their part of the day roll-up, and a note of the members
whose tiers and points do not know them yet. So nothing is ever half-written, facts that are in are passed
over by a second run, and rating goes on with whatever notes are left.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from service.intake.bulk import log_store as log
from service.intake.bulk import rating_store as backlog
from service.intake.bulk import store
from service.intake.bulk.adapted import ADAPTERS, open_adapter
from service.intake.bulk.adapters.source import Reject
from service.intake.bulk.csv_files import read_csv
from service.intake.bulk.files import Format, Kind, Lines, Record, guess_format, read_ndjson
from service.intake.bulk.loading import (
    Incoming,
    Run,
    Tally,
    load_events,
    load_items,
    load_members,
    load_orders,
    months_of,
    prepare_order,
)
from service.intake.bulk.rating import rate_members
from service.intake.bulk.refunds import load_refunds, take_parked
from service.intake.errors import ImportCancelled
from service.kit.db import BROKEN_OFF
from service.kit.errors import Problem
from service.kit.partitions import ensure_months
from service.kit.sealing import Sealer
from service.programme.operations import Programme

Stage = Literal["reading", "loading", "parked refunds", "tiers and points"]
Progress = Callable[[Stage, int, int | None], None]
"""Called with the stage, how much is done, and the total where it is known.

A file is counted in bytes, an adapter's in lines, parked refunds in refunds, tiers and points in members.
"""

_CHUNK_LINES = 20_000
_CHUNK_RECORDS = 4_000
_CHUNK_MEMBERS = 1_000
_TRIES = 4
# Fewer new rows than this leave the planner's picture as it is.
_ANALYZE_FROM = 5_000

_Chunk = TypeVar("_Chunk")


@dataclass(slots=True)
class ImportReport:
    """What an import did; `rejected` counts refused lines by code.

    `records_new` are records added or changed, `records_known` those that were there already,
    `records_unparked` refunds that waited for an order of this import.
    """

    import_id: str
    lines_read: int = 0
    records_new: int = 0
    records_known: int = 0
    records_parked: int = 0
    records_unparked: int = 0
    members_rated: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def lines_rejected(self) -> int:
        """Return how many lines were refused."""
        return self.rejected.total()


class ImportRun:
    """One run, from reading to rated, on one connection."""

    def __init__(
        self,
        conn: Connection,
        kind: str,
        programme: Programme,
        sealer: Sealer,
        now: datetime,
        progress: Progress,
    ) -> None:
        self.conn, self.kind, self.progress = conn, kind, progress
        self.chunk = Run(import_key=0, programme=programme, sealer=sealer, now=now)
        self.report = ImportReport("")
        self.months: dict[str, set[date]] = {"orders": set(), "refunds": set(), "events": set()}
        self.source_hash = ""

    def run(self, source: Path | BinaryIO, fmt: Format | None, import_id: str | None) -> ImportReport:
        """Do it all."""
        self._begin(source, import_id)
        try:
            is_cancelled = not self._load(source, fmt)
            self._take_parked()
            if self.report.records_new >= _ANALYZE_FROM:
                with self.conn.begin():
                    store.analyze(self.conn)
            self._set_status("rating")
            self._rate()
        except BaseException as error:
            self._give_up(error)
            raise
        self._set_status("cancelled" if is_cancelled else "done")
        return self.report

    def _load(self, source: Path | BinaryIO, fmt: Format | None) -> bool:
        """Load the file; False where it was called off. What is in by then stays, and is rated."""
        try:
            if self.kind in ADAPTERS:
                self._load_adapter(source)
            else:
                self._load_file(source, fmt)
        except ImportCancelled:
            return False
        return True

    def _begin(self, source: Path | BinaryIO, import_id: str | None) -> None:
        now = self.chunk.now
        with self.conn.begin():
            store.create_stages(self.conn)
            if import_id is None:
                name = source.name if isinstance(source, Path) else "stream"
                import_id = log.register(self.conn, kind=self.kind, source_name=name, now=now)
            row = log.find_import(self.conn, import_id=import_id)
            if row is None:
                raise ValueError(f"no import has the id {import_id}")
            self.chunk.import_key, self.report.import_id = row.import_key, import_id
            log.bury_interrupted(self.conn, import_key=row.import_key, now=now)
        self._set_status("loading")

    def _set_status(self, status: str, error: str | None = None) -> None:
        with self.conn.begin():
            log.set_status(
                self.conn,
                import_key=self.chunk.import_key,
                status=status,
                now=self.chunk.now,
                source_hash=self.source_hash,
                error=error,
            )

    def _give_up(self, error: BaseException) -> None:
        status = "cancelled" if isinstance(error, KeyboardInterrupt) else "failed"
        detail = error.detail if isinstance(error, Problem) else f"{type(error).__name__}: {error}"
        # What went wrong is more than that it could not be noted: a lost connection cannot take the note.
        with contextlib.suppress(SQLAlchemyError):
            self.conn.rollback()
            self._set_status(status, None if status == "cancelled" else detail[:1000])

    # --- files of Tidemark's own kinds -------------------------------------------------------------------

    def _load_file(self, source: Path | BinaryIO, fmt: Format | None) -> None:
        if not isinstance(source, Path):
            if fmt is None:
                raise ValueError("a stream needs its format")
            self._load_stream(source, fmt, None)
            return
        fmt = fmt or guess_format(source)
        with source.open("rb") as stream:
            self._load_stream(stream, fmt, source.stat().st_size)

    def _load_stream(self, stream: BinaryIO, fmt: Format, size: int | None) -> None:
        lines = Lines(stream)
        kind: Kind = self.kind  # type: ignore[assignment]
        records = read_ndjson(lines, kind=kind) if fmt == "ndjson" else read_csv(lines, kind=kind)
        self.progress("loading", 0, size)
        for chunk, rejects in _cut(records, kind=kind):
            self.report.lines_read = lines.count
            self._load_chunk(kind, chunk, rejects)
            self.progress("loading", lines.bytes, size)
        self.report.lines_read, self.source_hash = lines.count, lines.sha256

    def _load_chunk(self, kind: Kind, records: Sequence[Record], rejects: list[Reject]) -> None:
        run = self.chunk
        if kind == "orders":
            incoming = []
            refused = Tally(rejects=rejects)
            for record in records:
                try:
                    incoming.append(prepare_order(record, run=run))
                except Problem as problem:
                    refused.refuse_problem(record.line_nos, problem)
            self._load_orders(incoming, rejects)
        elif kind == "refunds":
            self._load_refunds(records, rejects)
        elif kind == "events":
            self._load_events(records, rejects)
        else:
            load = load_items if kind == "items" else load_members
            self._commit(lambda: load(self.conn, records=records, run=run), rejects)

    def _load_orders(self, incoming: Sequence[Incoming], rejects: list[Reject]) -> None:
        self._prepare_months("orders", ("orders", "order_lines"), (one.order.placed_at for one in incoming))
        self._commit(lambda: load_orders(self.conn, incoming=incoming, run=self.chunk), rejects)

    def _load_refunds(self, records: Sequence[Record], rejects: list[Reject]) -> None:
        moments = (record.body["refunded_at"] for record in records)
        self._prepare_months("refunds", ("refunds", "refund_lines"), moments)
        self._commit(lambda: load_refunds(self.conn, records=records, run=self.chunk), rejects)

    def _load_events(self, records: Sequence[Record], rejects: list[Reject]) -> None:
        self._prepare_months("events", ("events",), (record.body["occurred_at"] for record in records))
        self._commit(lambda: load_events(self.conn, records=records, run=self.chunk), rejects)

    def _prepare_months(self, name: str, tables: Sequence[str], moments: Iterable[datetime]) -> None:
        """Give new months their partitions, apart from the chunk: the tables are locked for a moment only."""
        for month in sorted(months_of(moments, now=self.chunk.now) - self.months[name]):
            for table in tables:
                with self.conn.begin():
                    ensure_months(self.conn, table=table, first=month, last=month)
            self.months[name].add(month)

    def _commit(self, load: Callable[[], Tally], rejects: Sequence[Reject]) -> None:
        """Load a chunk and commit it with its rejects and counts."""

        def chunk() -> Tally:
            if log.is_cancelled(self.conn, import_key=self.chunk.import_key):
                raise ImportCancelled
            tally = load()
            refused = [*rejects, *tally.rejects]
            log.add_rejects(self.conn, import_key=self.chunk.import_key, rejects=refused)
            self._add_counts(tally, len(refused))
            return tally

        tally = self._try(chunk)
        self.report.records_new += tally.new
        self.report.records_known += tally.known
        self.report.records_parked += tally.parked
        self.report.rejected.update(reject.code for reject in (*rejects, *tally.rejects))

    def _add_counts(self, tally: Tally, lines_rejected: int) -> None:
        counts = {
            "lines_read": self.report.lines_read,
            "records_new": tally.new,
            "records_known": tally.known,
            "lines_rejected": lines_rejected,
            "records_parked": tally.parked,
        }
        log.add_counts(self.conn, import_key=self.chunk.import_key, counts=counts)

    def _try(self, work: Callable[[], _Chunk]) -> _Chunk:
        """Run one transaction; again when live traffic and the import got into each other's way."""
        for attempt in range(1, _TRIES + 1):
            try:
                with self.conn.begin():
                    store.tune(self.conn)
                    return work()
            except OperationalError as error:
                if attempt == _TRIES or getattr(error.orig, "sqlstate", None) not in BROKEN_OFF:
                    raise
                # Stubs and stores that were made in it are gone with it.
                self.chunk.item_keys.clear()
                self.chunk.stores.clear()
        raise AssertionError("the last attempt returns or raises")

    # --- adapters ----------------------------------------------------------------------------------------

    def _load_adapter(self, source: Path | BinaryIO) -> None:
        if not isinstance(source, Path):
            raise ValueError("an adapter reads a file, not a stream")
        self.progress("reading", 0, None)
        parts = open_adapter(self.kind, source, programme=self.chunk.programme)
        with source.open("rb") as file:
            self.source_hash = hashlib.file_digest(file, "sha256").hexdigest()
        self.chunk.keeps_earliest_joining = True
        done, total = 0, parts.lines
        self.progress("loading", done, total)
        for records in _slices(parts.items, _CHUNK_RECORDS):
            self._load_chunk("items", records, [])
        for records in _slices(parts.members, _CHUNK_RECORDS):
            self._load_chunk("members", records, [])
        for rejects in _slices(parts.rejects, _CHUNK_LINES):
            done = self._advance(done + len(rejects), total)
            self._commit(Tally, rejects)
            self.progress("loading", done, total)
        for batch in parts.orders:
            incoming, refused = parts.value_orders(batch, now=self.chunk.now)
            done = self._advance(done + len(batch), total)
            self._load_orders(incoming, refused.rejects)
            self.progress("loading", done, total)
        for records in _slices(parts.refunds, _CHUNK_RECORDS):
            done = self._advance(done + sum(len(record.line_nos) for record in records), total)
            self._load_refunds(records, [])
            self.progress("loading", done, total)

    def _advance(self, done: int, total: int) -> int:
        self.report.lines_read = min(done, total)
        return done

    # --- what follows from the facts ---------------------------------------------------------------------

    def _take_parked(self) -> None:
        """Take in parked refunds whose orders are there; what is refused is told by its own import."""
        done = 0
        while True:
            count, tallies = self._try(self._take_parked_chunk)
            if count == 0:
                return
            done += count
            self.report.records_unparked += sum(tally.new for tally in tallies.values())
            self.progress("parked refunds", done, None)

    def _take_parked_chunk(self) -> tuple[int, Mapping[int, Tally]]:
        count, tallies = take_parked(self.conn, run=self.chunk)
        for import_key, tally in tallies.items():
            log.add_rejects(self.conn, import_key=import_key, rejects=tally.rejects)
            log.move_parked(
                self.conn, import_key=import_key, rejected=len(tally.rejects), taken=tally.new + tally.known
            )
        return count, tallies

    def _rate(self) -> None:
        """Make tiers and points of everybody on the backlog, an interrupted import's people included."""
        with self.conn.begin():
            total = backlog.count_backlog(self.conn)
        while member_keys := self._next_members():
            self.progress("tiers and points", self.report.members_rated, total)
            self._try(lambda keys=member_keys: self._rate_chunk(keys))  # type: ignore[misc]
            self.report.members_rated += len(member_keys)
        self.progress("tiers and points", self.report.members_rated, total)

    def _next_members(self) -> list[int]:
        with self.conn.begin():
            return backlog.list_backlog(self.conn, limit=_CHUNK_MEMBERS)

    def _rate_chunk(self, member_keys: Sequence[int]) -> None:
        rate_members(
            self.conn,
            member_keys=member_keys,
            programme=self.chunk.programme,
            import_key=self.chunk.import_key,
            now=self.chunk.now,
        )


def _cut(records: Iterable[Record | Reject], *, kind: Kind) -> Iterator[tuple[list[Record], list[Reject]]]:
    """Cut what a file holds into chunks; a member comes once in each, since a later line may change it."""
    chunk: list[Record] = []
    rejects: list[Reject] = []
    seen: set[str] = set()
    size = 0
    for one in records:
        if isinstance(one, Reject):
            rejects.append(one)
            size += 1
        else:
            again = kind == "members" and one.body["member_id"] in seen
            if again or size >= _CHUNK_LINES or len(chunk) >= _CHUNK_RECORDS:
                yield chunk, rejects
                chunk, rejects, seen, size = [], [], set(), 0
            chunk.append(one)
            if kind == "members":
                seen.add(one.body["member_id"])
            size += len(one.body["lines"]) if kind == "orders" else 1
        if len(rejects) >= _CHUNK_LINES:
            yield chunk, rejects
            chunk, rejects, seen, size = [], [], set(), 0
    if chunk or rejects:
        yield chunk, rejects


def _slices(rows: Sequence[_Chunk], size: int) -> Iterator[list[_Chunk]]:
    return (list(rows[begin : begin + size]) for begin in range(0, len(rows), size))
