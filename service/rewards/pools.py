"""Pools of codes that somebody else made: brought in by the million, handed out one by one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, BinaryIO

from sqlalchemy import Connection

from service.kit.clock import format_time
from service.rewards import store_pools
from service.rewards.codes import looks_ours
from service.rewards.errors import UnknownCodePool

LONGEST_CODE = 64
MOST_REJECTS = 1_000
"""How many refused lines are told one by one; all are counted."""

_CHUNK = 50_000


@dataclass(slots=True)
class LoadedCodes:
    """What became of a file: codes added, codes that this pool had before, and lines that were refused."""

    pool: str
    lines: int = 0
    added: int = 0
    known: int = 0
    rejected: int = 0
    rejects: list[tuple[int, str]] = field(default_factory=list)

    def refuse(self, line_no: int, fault: str) -> None:
        """Count a line that was refused, and remember the first ones."""
        self.rejected += 1
        if len(self.rejects) < MOST_REJECTS:
            self.rejects.append((line_no, fault))


def import_codes(conn: Connection, *, pool: str, file: BinaryIO, now: datetime) -> LoadedCodes:
    """Add the codes of a file, one a line, to a pool, which is opened where there is none.

    What this pool had before changes nothing, so the same file may come again. A line is refused that is
    empty, longer than 64 characters or not visible, that could be a code of our own, that is in the file
    twice, or that another pool has.
    """
    pool_key = store_pools.open_pool(conn, pool=pool, now=now)
    last_key = store_pools.find_last_key(conn)
    store_pools.begin_staging(conn)
    loaded = LoadedCodes(pool)
    lines = _read(file, loaded)
    while chunk := list(islice(lines, _CHUNK)):
        row = store_pools.load(conn, pool_key=pool_key, last_key=last_key, lines=chunk)
        loaded.added += row.added
        loaded.known += row.known
        for line_no, fault in json.loads(row.rejects):
            loaded.refuse(line_no, fault)
    loaded.rejects.sort()
    return loaded


def _read(file: Iterable[bytes], loaded: LoadedCodes) -> Iterator[tuple[int, str]]:
    for line_no, line in enumerate(file, 1):
        loaded.lines = line_no
        try:
            code = line.decode("utf-8-sig" if line_no == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            loaded.refuse(line_no, "not-text")
            continue
        fault = find_fault(code)
        if fault is None:
            yield line_no, code
        else:
            loaded.refuse(line_no, fault)


def find_fault(code: str) -> str | None:
    """Return why a line cannot be a code, or None."""
    if not code:
        return "empty-line"
    if len(code) > LONGEST_CODE:
        return "code-too-long"
    if not code.isprintable() or code in {".", ".."}:
        return "not-visible"
    return "code-like-ours" if looks_ours(code) else None


def show_pool(conn: Connection, *, pool: str) -> dict[str, Any]:
    """Return a pool: how many codes it has had, and how many can still be handed out.

    Raises:
        UnknownCodePool: there is none.
    """
    row = store_pools.find_pool(conn, pool=pool)
    if row is None:
        raise UnknownCodePool(f"no pool of codes is named {pool}")
    counted = store_pools.count_codes(conn, pool_key=row.pool_key)
    return {
        "pool": row.pool,
        "codes": counted.codes,
        "left": counted.left_over,
        "created_at": format_time(row.created_at),
    }
