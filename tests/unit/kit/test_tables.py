"""Tables: what a spreadsheet is given."""

from __future__ import annotations

import csv
import io

import pytest

from service.kit.tables import Table


def read(table: Table) -> list[list[str]]:
    return list(csv.reader(io.StringIO(table.to_csv().decode())))


def test_a_table_has_a_header_and_lines_of_rfc_4180() -> None:
    table = Table("t", ("name", "members"), [("銀卡, 會員", 3), ('say "hi"', None)])
    assert table.to_csv().decode() == 'name,members\r\n"銀卡, 會員",3\r\n"say ""hi""",\r\n'
    assert read(table)[1] == ["銀卡, 會員", "3"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_text_that_a_spreadsheet_would_run_is_defused(text: str) -> None:
    assert read(Table("t", ("id",), [(text,)]))[1] == [f"'{text}"]


def test_numbers_and_plain_text_stay_as_they_are() -> None:
    assert read(Table("t", ("a", "b", "c"), [(-5, "a-b", "m=1")]))[1] == ["-5", "a-b", "m=1"]
