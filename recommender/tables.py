"""Lists for many people at once, as a table: for mailings, notebooks, and looking at what a model gives."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recommender.errors import InvalidConfig
from recommender.interactions import Interactions
from recommender.serving import Mode, ServedModel


class Line(NamedTuple):
    """One item of one person's list; `rank` counts from 1, `score` is in (0, 1]."""

    user_id: str
    rank: int
    item_id: str
    score: float
    source: str
    reason_code: str


def list_for(
    model: ServedModel,
    interactions: Interactions,
    *,
    today: int,
    limit: int,
    mode: Mode = "mixed",
    users: Sequence[str] | None = None,
) -> Iterator[Line]:
    """Rank for everybody in the interactions, or for these users; a stranger gets what is popular."""
    wanted = interactions.users.ids if users is None else users
    items = interactions.items.ids
    for user in wanted:
        position = interactions.users.find(user)
        history: list[tuple[str, int, float]] = []
        if position is not None:
            rows = slice(*np.searchsorted(interactions.user_index, [position, position + 1]).tolist())
            history = [
                (items[item], day, quantity)
                for item, day, quantity in zip(
                    interactions.item_index[rows].tolist(),
                    interactions.day[rows].tolist(),
                    interactions.quantity[rows].tolist(),
                    strict=True,
                )
            ]
        answer = model.recommend(history, today=today, limit=limit, mode=mode)
        for rank, one in enumerate(answer.items, start=1):
            yield Line(user, rank, one.item_id, round(one.score, 6), one.source, one.reason_code)


def write_lists(lines: Iterator[Line], path: str | os.PathLike[str]) -> int:
    """Write a CSV, or Parquet where the name ends so; give how many lines, InvalidConfig when it cannot."""
    file = Path(path)
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            return _write_parquet(list(lines), file)
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(Line._fields)
            count = 0
            for line in lines:
                writer.writerow(line)
                count += 1
    except OSError as unwritable:
        raise InvalidConfig(f"{file}: {unwritable}") from unwritable
    return count


def _write_parquet(lines: list[Line], file: Path) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as absent:
        raise InvalidConfig("writing Parquet needs pyarrow (the extra 'files')") from absent
    kinds: dict[str, Any] = {"rank": pa.int32(), "score": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in Line._fields])
    pq.write_table(pa.Table.from_pylist([line._asdict() for line in lines], schema=schema), file)
    return len(lines)
