"""Rows under a header, as a spreadsheet takes them (RFC 4180)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

CSV = "text/csv"
NDJSON = "application/x-ndjson"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Table:
    """What a door answers as CSV; `name` is its file's, `next_cursor` that of a list with more pages."""

    name: str
    columns: tuple[str, ...]
    rows: Iterable[Sequence[object]]
    next_cursor: str | None = None

    def to_csv(self) -> bytes:
        """Return it as UTF-8 with a header; None is an empty cell.

        Text that a spreadsheet would run as a formula gets an apostrophe in front (OWASP, CSV injection);
        numbers stay numbers.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(self.columns)
        for row in self.rows:
            writer.writerow([_defuse(cell) for cell in row])
        return text.getvalue().encode()


@dataclass(frozen=True, slots=True)
class Download:
    """What a door answers as lines of JSON, part by part; `parts` is called once its transaction is over."""

    name: str
    parts: Callable[[], Iterator[bytes]]


def _defuse(cell: object) -> object:
    if isinstance(cell, str) and cell.startswith(_FORMULA):
        return f"'{cell}"
    return "" if cell is None else cell
