"""The whole UCI data set, brought in once for all tests that look at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from sqlalchemy import Engine

from service.intake.bulk.operations import ImportReport
from service.programme.operations import Programme
from tests.integration.intake.business import bring_in, start
from tests.unit.intake.uci_slice import Row

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "uci_online_retail.parquet"


@dataclass(frozen=True)
class UciShop:
    """A file that was brought in, with its raw rows."""

    engine: Engine
    programme: Programme
    path: Path
    rows: list[Row]
    report: ImportReport


def read_rows(path: Path) -> list[Row]:
    """Return the lines of a file of the data set."""
    columns = pq.read_table(path).to_pydict()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def open_shop(engine: Engine, path: Path, rows: list[Row]) -> UciShop:
    """Bring a file into an empty database."""
    programme = start(engine, currency="GBP", timezone="Europe/London")
    return UciShop(engine, programme, path, rows, bring_in(engine, programme, "uci-online-retail", path))
