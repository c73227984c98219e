"""Lines of every kind become records or numbered rejects, and nothing stops the rest."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.intake.bulk.adapters.source import Reject, SourceUnreadable
from service.intake.bulk.csv_files import read_csv
from service.intake.bulk.files import LONGEST_LINE_BYTES, Kind, Lines, Record, guess_format, read_ndjson

ORDER = (
    b'{"order_id":"T1","member_id":"M1","placed_at":"2024-03-24T14:02:11+08:00","currency":"TWD",'
    b'"lines":[{"sku":"TEA","quantity":1,"amount":"680"}]}\n'
)
HEADER = b"order_id,member_id,placed_at,currency,sku,quantity,amount,discount\n"


def row(order_id: str = "T1", *, sku: str = "TEA", quantity: str = "1", amount: str = "680") -> bytes:
    return f"{order_id},M1,2024-03-24T14:02:11+08:00,TWD,{sku},{quantity},{amount},100\n".encode()


def ndjson(data: bytes, kind: Kind = "orders") -> list[Record | Reject]:
    return list(read_ndjson(Lines(io.BytesIO(data)), kind=kind))


def from_csv(data: bytes, kind: Kind = "orders") -> list[Record | Reject]:
    return list(read_csv(Lines(io.BytesIO(data)), kind=kind))


def codes(found: list[Record | Reject]) -> list[tuple[int, str]]:
    return [(one.line_no, one.code) for one in found if isinstance(one, Reject)]


def bodies(found: list[Record | Reject]) -> list[dict[str, Any]]:
    return [one.body for one in found if isinstance(one, Record)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{\n", "not JSON"),
        (b"[1]\n", "not a JSON object"),
        (b"7\n", "not a JSON object"),
        (b'"\xff"\n', "not UTF-8"),
        (b'{"a":NaN}\n', "NaN"),
        (b'{"a":1,"a":2}\n', "twice"),
        (b"[" * 100_000 + b"\n", "nested too deep"),
        (b'{"a":' * 40 + b"1" + b"}" * 40 + b"\n", "nested too deep"),
        (b'{"a":"' + b"x" * LONGEST_LINE_BYTES + b'"}\n', "longer than 1 MiB"),
        (b"{}\x00\n", "not JSON"),
        (b'{"n":' + b"9" * 5000 + b"}\n", "not JSON"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_and_the_rest_goes_on(line: bytes, said: str) -> None:
    found = ndjson(ORDER + line + ORDER)
    assert [type(one) for one in found] == [Record, Reject, Record]
    assert codes(found) == [(2, "malformed-request")]
    assert said in found[1].detail  # type: ignore[union-attr]


def test_a_file_cut_in_the_middle_of_a_line_says_so() -> None:
    found = ndjson(ORDER + ORDER[:60])
    assert len(bodies(found)) == 1
    assert codes(found) == [(2, "malformed-request")]
    assert "ends in the middle of this line" in found[1].detail  # type: ignore[union-attr]


def test_blank_lines_a_byte_order_mark_and_a_missing_last_line_end_are_no_faults() -> None:
    found = ndjson(b"\xef\xbb\xbf" + ORDER + b"\n  \n" + ORDER.rstrip())
    assert len(bodies(found)) == 2
    assert [one.line_nos for one in found if isinstance(one, Record)] == [(1,), (4,)]


def test_a_detail_can_always_be_stored_and_stays_one_line() -> None:
    (found,) = ndjson(ORDER.replace(b'"currency"', b'"a\\u0000\\ud800\\nb":1,"currency"'))
    assert isinstance(found, Reject)
    assert found.code == "invalid"
    assert found.detail.isprintable()


def test_numbers_are_read_exactly() -> None:
    (body,) = bodies(ndjson(ORDER.replace(b'"680"', b"680.10000000000000001"))) or [{}]
    assert body == {}
    (body,) = bodies(ndjson(ORDER.replace(b'"680"', b"0.1")))
    assert body["lines"][0]["amount"] == Decimal("0.1")


def test_what_has_been_read_is_counted_and_hashed() -> None:
    lines = Lines(io.BytesIO(ORDER * 3))
    assert len(list(read_ndjson(lines, kind="orders"))) == 3
    assert (lines.count, lines.bytes, len(lines.sha256)) == (3, 3 * len(ORDER), 64)


def test_the_rows_of_an_order_become_one_record() -> None:
    data = HEADER + row(sku="A") + row(sku="B", quantity="2") + row("T2")
    first, second = bodies(from_csv(data))
    assert [line["sku"] for line in first["lines"]] == ["A", "B"]
    assert first["lines"][1]["quantity"] == 2
    assert first["discount"] == Decimal(100)
    assert first["placed_at"] == datetime(2024, 3, 24, 6, 2, 11, tzinfo=UTC)
    assert second["order_id"] == "T2"
    records = [one for one in from_csv(data) if isinstance(one, Record)]
    assert [record.line_nos for record in records] == [(2, 3), (4,)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (row() + row(quantity="x") + row("T2"), [(2, "invalid"), (3, "invalid")]),
        (row() + row(amount=""), [(2, "invalid"), (3, "invalid")]),
        (
            row() + b"T1,M1\n" + row() + row("T2"),
            [(2, "record-incomplete"), (3, "malformed-request"), (4, "record-incomplete")],
        ),
        (row() + row()[:-5], [(2, "record-incomplete"), (3, "malformed-request")]),
        (
            row("T2") + row().replace(b",100\n", b",90\n") + row(),
            [(3, "record-incomplete"), (4, "rows-differ")],
        ),
        (row().replace(b"TEA", b"T\xff") + row(), [(2, "malformed-request"), (3, "record-incomplete")]),
        (row().replace(b"TEA", b"T\x00") + row("T2"), [(2, "invalid")]),
        (
            row("T0") + row() + b"x" * (LONGEST_LINE_BYTES + 9) + b"\n" + row("T2") + row("T3"),
            [(3, "record-incomplete"), (4, "malformed-request"), (5, "record-incomplete")],
        ),
        (row("") + row(""), [(2, "invalid"), (3, "invalid")]),
        (row("T2") + b'"T1,M1\n' + b"never closed\n", [(2, "record-incomplete"), (3, "malformed-request"),
                                                        (4, "malformed-request")]),
    ],
)  # fmt: skip
def test_one_bad_row_refuses_its_whole_order_and_no_other(
    rows: bytes, expected: list[tuple[int, str]]
) -> None:
    assert codes(from_csv(HEADER + rows)) == expected


def test_an_order_that_never_ends_is_refused_without_being_remembered() -> None:
    found = from_csv(HEADER + row() * 2500 + row("T2"))
    assert [body["order_id"] for body in bodies(found)] == ["T2"]
    assert sorted(codes(found)) == [(line_no, "invalid") for line_no in range(2, 2502)]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"", "empty"),
        (b"order_id,sku\n", "lacks amount, currency"),
        (HEADER.replace(b"discount", b"colour"), "unknown columns 'colour'"),
        (HEADER.replace(b"discount", b"sku"), "names a column twice"),
        (b'"order_id\n', "not CSV"),
        (b"\xff\n", "not UTF-8"),
    ],
)
def test_a_header_that_does_not_fit_refuses_the_file(header: bytes, said: str) -> None:
    with pytest.raises(SourceUnreadable, match=said):
        from_csv(header)


def test_columns_may_stand_in_any_order_and_cells_hold_commas_quotes_and_line_breaks() -> None:
    data = 'name_zh_hant,sku,name_en,category,available\n茶,TEA,"Tea, ""black""\nloose",tea | black,TRUE\n'
    found = from_csv(f"{data},X,,,no\n".encode(), "items")
    assert bodies(found) == [
        {"sku": "TEA", "name": {"en": 'Tea, "black"\nloose', "zh-Hant": "茶"}, "category": ["tea", "black"],
         "available": True}
    ]  # fmt: skip
    assert codes(found) == [(4, "invalid")]


def test_a_members_consents_are_given_only_where_the_cell_says_something() -> None:
    data = b"member_id,joined_at,marketing,profiling\nM1,,true,\nM2,2024-01-01T00:00:00Z,,\n"
    first, second = bodies(from_csv(data, "members"))
    assert first == {"member_id": "M1", "consent": {"marketing": True}}
    assert set(second) == {"member_id", "joined_at"}


def test_a_refund_row_is_linked_where_it_names_its_order() -> None:
    data = (
        b"refund_id,order_id,member_id,refunded_at,kind,reason,amount\n"
        b"R1,T1,M1,2024-03-30T16:20:00+08:00,return,damaged,420\n"
        b"R2,,M1,2024-04-02T10:00:00+08:00,goodwill,apology,50\n"
        b"R3,,,2024-04-02T10:00:00+08:00,goodwill,apology,50\n"
        b"R4,,M1,2024-04-02T10:00:00+08:00,gift,apology,50\n"
    )
    found = from_csv(data, "refunds")
    first, second = bodies(found)
    assert first["order_id"] == "T1"
    assert "order_id" not in second
    assert codes(found) == [(4, "invalid"), (5, "invalid")]


def test_the_ending_tells_the_format() -> None:
    assert guess_format(Path("a.CSV")) == "csv"
    assert guess_format(Path("a.jsonl")) == guess_format(Path("a.ndjson")) == "ndjson"
    with pytest.raises(SourceUnreadable, match=r"\.ndjson"):
        guess_format(Path("a.xlsx"))


@given(st.binary(max_size=400), st.sampled_from(["items", "members", "orders", "refunds"]))
def test_no_bytes_break_the_readers(data: bytes, kind: Kind) -> None:
    header = {
        "items": b"sku,price\n",
        "members": b"member_id,email\n",
        "orders": HEADER,
        "refunds": b"refund_id,refunded_at,amount\n",
    }[kind]
    for one in (*ndjson(data, kind), *from_csv(header + data, kind)):
        assert isinstance(one, Record | Reject)
