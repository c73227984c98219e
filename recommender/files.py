"""Interactions from CSV and Parquet files."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from recommender.artifact import EPOCH
from recommender.errors import InvalidInteractions
from recommender.interactions import Interactions

_REQUIRED = ("user_id", "item_id")


def read_interactions(
    path: str | os.PathLike[str], *, columns: Mapping[str, str] | None = None
) -> Interactions:
    """Read user_id, item_id, day or date, and quantity (1 when there is no such column).

    `day` counts days since 1970-01-01, `date` is a date or a time, as ISO 8601 or of Parquet's own kind: the
    calendar day that it names, no time zone applied. CSV is UTF-8 with a header. Other columns are left
    alone.
    `columns` says what the file calls them, by those names, where it has names of its own.
    InvalidInteractions names the file and, for CSV, the line.
    """
    file = Path(path)
    if not file.is_file():
        raise InvalidInteractions(f"{file} is not a file")
    try:
        read = _from_parquet if file.suffix.lower() in (".parquet", ".pq") else _from_csv
        return read(file, dict(columns or {}))
    except InvalidInteractions as wrong:
        raise type(wrong)(f"{file}: {wrong}") from wrong


def day_number(day: date) -> int:
    """Count days since 1970-01-01."""
    return (day - EPOCH).days


def _day_of(text: str) -> int:
    return day_number(datetime.fromisoformat(text).date())


def _from_csv(file: Path, named: dict[str, str]) -> Interactions:
    columns: dict[str, list[Any]] = {"user_id": [], "item_id": [], "day": [], "quantity": []}
    try:
        with file.open(encoding="utf-8-sig", newline="") as source:
            for row in _csv_rows(source, named):
                for name, value in zip(columns, row, strict=True):
                    columns[name].append(value)
    except UnicodeDecodeError as wrong:
        raise InvalidInteractions(f"not UTF-8 at byte {wrong.start}") from wrong
    except csv.Error as wrong:
        raise InvalidInteractions(f"not CSV: {wrong}") from wrong
    return Interactions.from_columns(**columns)


def _csv_rows(source: Iterator[str], named: dict[str, str]) -> Iterator[tuple[str, str, int, float]]:
    reader = csv.reader(source, strict=True)
    header = _renamed([name.strip() for name in next(reader, [])], named)
    when = _day_column(header)
    at = {name: header.index(name) for name in (*_REQUIRED, when)}
    quantity_at = header.index("quantity") if "quantity" in header else None
    for row in reader:
        if not row:
            continue
        line = reader.line_num
        if len(row) != len(header):
            raise InvalidInteractions(f"line {line} has {len(row)} fields, not {len(header)}")
        user, item, raw_day = (row[at[name]] for name in (*_REQUIRED, when))
        if not user or not item:
            raise InvalidInteractions(f"line {line} has no {'user_id' if not user else 'item_id'}")
        try:
            day = int(raw_day) if when == "day" else _day_of(raw_day)
        except ValueError as wrong:
            raise InvalidInteractions(f"line {line}: {when} {raw_day!r} cannot be read") from wrong
        yield user, item, day, 1.0 if quantity_at is None else _quantity(row[quantity_at], line)


def _quantity(raw: str, line: int) -> float:
    try:
        quantity = float(raw)
    except ValueError as wrong:
        raise InvalidInteractions(f"line {line}: quantity {raw!r} is not a number") from wrong
    if not 0 < quantity < float("inf"):
        raise InvalidInteractions(f"line {line}: quantity {raw!r} is not a finite number above zero")
    return quantity


def _from_parquet(file: Path, named: dict[str, str]) -> Interactions:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as absent:
        raise InvalidInteractions("reading Parquet needs pyarrow (the extra 'files')") from absent
    try:
        names = _renamed(pq.read_schema(file).names, named)
        when = _day_column(names)
        wanted = [*_REQUIRED, when, *(["quantity"] if "quantity" in names else [])]
        table = pq.read_table(file, columns=[named.get(name, name) for name in wanted])
        table = table.rename_columns(wanted)
        empty = [name for name in wanted if table[name].null_count]
        if empty:
            raise InvalidInteractions(f"{empty[0]} is missing in {table[empty[0]].null_count} rows")
        day = table[when]
        if when == "date" and (pa.types.is_string(day.type) or pa.types.is_large_string(day.type)):
            day = _days_of(day)
        elif when == "date":
            day = day.cast(pa.date32()).cast(pa.int32())
    except pa.ArrowException as broken:
        raise InvalidInteractions(f"cannot be read as Parquet: {broken}") from broken
    return Interactions.from_columns(
        user_id=table["user_id"],
        item_id=table["item_id"],
        day=day.to_numpy(),
        quantity=table["quantity"].to_numpy() if "quantity" in names else None,
    )


def _days_of(column: Any) -> Any:
    """Give the day of each text; each distinct one is read once."""
    import pyarrow as pa

    texts = column.combine_chunks().dictionary_encode()
    days = []
    for text in texts.dictionary.to_pylist():
        try:
            days.append(_day_of(text))
        except ValueError as wrong:
            raise InvalidInteractions(f"date {text!r} cannot be read") from wrong
    return pa.array(days, pa.int32()).take(texts.indices)


def _renamed(names: list[str], named: dict[str, str]) -> list[str]:
    """Give the names of the columns as they are known here."""
    absent = [name for name in named.values() if name not in names]
    if absent:
        raise InvalidInteractions(f"there is no column {absent[0]}")
    known = {own: name for name, own in named.items()}
    # A column that has such a name already, and is not the one meant, is another one.
    return [known.get(name, f"({name})" if name in named else name) for name in names]


def _day_column(names: list[str]) -> str:
    """Say which column tells the day, after checking that the others are there."""
    twice = [name for name in (*_REQUIRED, "day", "date", "quantity") if names.count(name) > 1]
    if twice:
        raise InvalidInteractions(f"there are {names.count(twice[0])} columns {twice[0]}")
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise InvalidInteractions(f"there is no column {missing[0]}")
    for name in ("day", "date"):
        if name in names:
            return name
    raise InvalidInteractions("there is no column day or date")
