"""Read CSV (RFC 4180) into the bodies that the API takes: one row a record, and for orders one row a line."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from service.intake.bulk.adapters.source import Reject, SourceUnreadable
from service.intake.bulk.files import Kind, Lines, Record, load, reject
from service.intake.schemas import MAX_LINES

_WHOLE: Final = re.compile(r"-?\d{1,18}\Z", re.ASCII)
_TOO_MANY: Final = f"an order has at most {MAX_LINES} lines"


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns a CSV file of one kind must and may have; `of_line` are an order line's own."""

    required: frozenset[str]
    optional: frozenset[str]
    of_line: frozenset[str] = frozenset()


COLUMNS: Final[Mapping[str, Columns]] = {
    "items": Columns(
        frozenset({"sku"}),
        frozenset({"name_en", "name_zh_hant", "category", "price", "currency", "available"}),
    ),
    "members": Columns(
        frozenset({"member_id"}),
        frozenset(
            {
                "joined_at", "store_id", "locale", "name", "birthday", "email", "phone", "marketing",
                "profiling", "text_version", "referred_by",
            }
        ),
    ),
    "orders": Columns(
        frozenset({"order_id", "member_id", "placed_at", "currency", "sku", "quantity", "amount"}),
        frozenset({"shipping", "tax", "discount", "exchange_rate", "store_id", "channel", "category"}),
        of_line=frozenset({"sku", "quantity", "amount", "category"}),
    ),
    "refunds": Columns(
        frozenset({"refund_id", "refunded_at", "amount"}),
        frozenset({"order_id", "member_id", "requested_at", "kind", "reason", "currency", "store_id"}),
    ),
    "events": Columns(
        frozenset({"event_id", "type", "occurred_at"}),
        frozenset(
            {
                "member_id", "anonymous_id", "session_id", "sku", "touchpoint", "source", "recommendation_id",
                "impression_id", "attribution_token", "dwell_seconds", "page_depth",
            }
        ),
    ),
}  # fmt: skip


class _Row(NamedTuple):
    """One row: the number of its first line, its cells by column, or what is wrong with it."""

    line_no: int
    cells: dict[str, str]
    code: str = ""
    detail: str = ""


def read_csv(lines: Lines, *, kind: Kind) -> Iterator[Record | Reject]:
    """Yield what a CSV file of one kind holds, in its order.

    Raises:
        SourceUnreadable: it has not the header it needs; nothing has been yielded then.
    """
    rows = _read_rows(lines, COLUMNS[kind])
    if kind == "orders":
        yield from _join_orders(rows)
        return
    build = _BODIES[kind]
    for row in rows:
        if row.code:
            yield reject(row.line_no, row.code, row.detail)
        else:
            yield load(kind, (row.line_no,), build(row.cells))[0]


def _read_rows(lines: Lines, columns: Columns) -> Iterator[_Row]:
    source = _TextLines(lines)
    header = _read_header(source, columns)
    while True:
        # The reader is made anew for each row: after a row that it cannot read, the next line starts afresh.
        source.start_row()
        try:
            cells = next(csv.reader(source, strict=True))
        except StopIteration:
            return
        except csv.Error as error:
            # A quote that is never closed swallows lines that may be good ones: each is told.
            for line_no in range(source.first, lines.count + 1):
                yield _Row(line_no, {}, "malformed-request", f"the row is not CSV: {error}")
            continue
        yield _judge_row(source, header, cells)


def _judge_row(source: _TextLines, header: Sequence[str], cells: Sequence[str]) -> _Row:
    if source.problem:
        return _Row(source.first, {}, "malformed-request", source.problem)
    if source.is_cut:
        # Half a number is a number: a row counts as whole only when its end is there.
        return _Row(source.first, {}, "malformed-request", "the file ends in this row, without a line break")
    if len(cells) != len(header):
        detail = f"the row has {len(cells)} cells where the header has {len(header)}"
        return _Row(source.first, {}, "malformed-request", detail)
    return _Row(source.first, {name: cell for name, cell in zip(header, cells, strict=True) if cell})


def _read_header(source: _TextLines, columns: Columns) -> list[str]:
    source.start_row()
    try:
        names = [name.strip() for name in next(csv.reader(source, strict=True), [])]
    except csv.Error as error:
        raise SourceUnreadable(f"the header line is not CSV: {error}") from error
    if source.problem or not names:
        raise SourceUnreadable(source.problem or "the file is empty: a header line is needed")
    missing = sorted(columns.required - set(names))
    unknown = sorted(set(names) - columns.required - columns.optional)
    if missing or unknown or len(set(names)) != len(names):
        wrong = [f"lacks {', '.join(missing)}"] if missing else []
        wrong += [f"has unknown columns {', '.join(map(repr, unknown))}"] if unknown else []
        raise SourceUnreadable(f"the header line {' and '.join(wrong) or 'names a column twice'}")
    return names


class _TextLines:
    """Lines as text for the CSV reader, without blank ones; knows where a row began and its faults."""

    def __init__(self, lines: Lines) -> None:
        self._lines = iter(lines)
        self.first = 0
        self.problem = ""
        self.is_cut = False

    def start_row(self) -> None:
        """Begin the next row."""
        self.first, self.problem, self.is_cut = 0, "", False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        for line_no, raw in self._lines:
            if raw is not None and raw.isspace() and not self.first:
                continue
            self.first = self.first or line_no
            if raw is None:
                self.problem = "a line is longer than 1 MiB"
                return "\n"
            self.is_cut = not raw.endswith((b"\n", b"\r"))
            try:
                return raw.decode()
            except UnicodeDecodeError:
                self.problem = "the row is not UTF-8"
                return raw.decode(errors="replace")
        raise StopIteration


def _join_orders(rows: Iterator[_Row]) -> Iterator[Record | Reject]:
    """Bring together the rows of each order, which stand one after the other.

    A row that cannot be read may belong to the order before it or to the one behind it, so neither is whole.
    """
    group: list[_Row] = []
    is_torn = False
    for row in rows:
        if row.code:
            yield from _build_order(group, is_torn=True)
            yield reject(row.line_no, row.code, row.detail)
            group, is_torn = [], True
        elif not group or row.cells.get("order_id", row) != group[0].cells.get("order_id"):
            yield from _build_order(group, is_torn=is_torn and bool(group))
            is_torn = is_torn and not group
            group = [row]
        elif len(group) <= MAX_LINES:
            group.append(row)
        else:
            yield reject(row.line_no, "invalid", _TOO_MANY)
    yield from _build_order(group, is_torn=is_torn)


def _build_order(rows: Sequence[_Row], *, is_torn: bool) -> Iterator[Record | Reject]:
    if not rows:
        return
    own = COLUMNS["orders"].of_line
    head = {name: cell for name, cell in rows[0].cells.items() if name not in own}
    differing = {
        row.line_no
        for row in rows
        if {name: cell for name, cell in row.cells.items() if name not in own} != head
    }
    if not (is_torn or differing or len(rows) > MAX_LINES):
        lines = [_whole(dict(_only(row.cells, own)), "quantity") for row in rows]
        yield from load("orders", tuple(row.line_no for row in rows), {**head, "lines": lines})
        return
    for row in rows:
        if row.line_no in differing:
            detail = "what belongs to the order as a whole differs from the order's first row"
            yield reject(row.line_no, "rows-differ", detail)
        elif len(rows) > MAX_LINES:
            yield reject(row.line_no, "invalid", _TOO_MANY)
        elif is_torn:
            detail = "a row beside this order cannot be read and may belong to it"
            yield reject(row.line_no, "record-incomplete", detail)
        else:
            yield reject(row.line_no, "record-incomplete", "another row of this order cannot be taken")


def _only(cells: Mapping[str, str], names: frozenset[str]) -> Iterator[tuple[str, Any]]:
    return ((name, cell) for name, cell in cells.items() if name in names)


def _whole(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """Turn a whole number into one; anything else stays, for the schema to refuse."""
    value = fields.get(name)
    if isinstance(value, str) and _WHOLE.match(value):
        fields[name] = int(value)
    return fields


def _truth(cell: str) -> bool | str:
    return {"true": True, "false": False}.get(cell.lower(), cell)


def _item_body(cells: Mapping[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = dict(_only(cells, frozenset({"sku", "price", "currency"})))
    names = {locale: cells[f"name_{locale.lower().replace('-', '_')}"] for locale in ("en", "zh-Hant")
             if f"name_{locale.lower().replace('-', '_')}" in cells}  # fmt: skip
    if names:
        body["name"] = names
    if "category" in cells:
        body["category"] = [part.strip() for part in cells["category"].split("|")]
    if "available" in cells:
        body["available"] = _truth(cells["available"])
    return body


def _member_body(cells: Mapping[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = dict(cells)
    consent: dict[str, Any] = {
        purpose: _truth(body.pop(purpose)) for purpose in ("marketing", "profiling") if purpose in cells
    }
    if "text_version" in cells:
        consent["text_version"] = body.pop("text_version")
    if consent:
        body["consent"] = consent
    return body


_BODIES: Final[Mapping[str, Callable[[Mapping[str, str]], dict[str, Any]]]] = {
    "items": _item_body,
    "members": _member_body,
    "refunds": dict,
    "events": lambda cells: _whole(dict(cells), "page_depth"),
}
