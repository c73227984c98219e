"""The examples of docs/bring-your-own-data.md can be imported as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.intake.bulk.csv_files import COLUMNS
from service.programme.operations import Programme
from tests.integration.intake.business import assert_lawful, bring_in, dump

PAGE = Path(__file__).resolve().parents[3] / "docs" / "bring-your-own-data.md"
KINDS = ("items", "members", "orders", "refunds", "events")


def section(kind: str) -> str:
    return PAGE.read_text("utf-8").split(f"### {kind.capitalize()}\n")[1].split("\n#")[0]


@pytest.mark.parametrize(("fmt", "fence"), [("ndjson", "json"), ("csv", "csv")])
def test_the_examples_of_every_kind_go_in(
    fmt: str, fence: str, engine: Engine, programme: Programme, tmp_path: Path
) -> None:
    for kind in KINDS:
        (example,) = re.findall(rf"```{fence}\n(.*?)```", section(kind), flags=re.DOTALL)
        path = tmp_path / f"{kind}.{fmt}"
        path.write_text(example, "utf-8")
        report = bring_in(engine, programme, kind, path)
        assert (report.lines_rejected, report.records_parked) == (0, 0)
        assert report.records_new > 0
    assert_lawful(engine)
    assert len(dump(engine)["order lines"]) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_columns_are_the_ones_the_page_names(kind: str) -> None:
    (needed, _, others), *_ = re.findall(r"`([a-z_,]+)(\[,([a-z_,]+)\])`", section(kind))
    assert set(needed.split(",")) == COLUMNS[kind].required
    assert set(others.split(",")) == COLUMNS[kind].optional
