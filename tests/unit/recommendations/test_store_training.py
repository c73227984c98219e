"""Binary copies are cut at rows, wherever the blocks end, and anything else is refused."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.recommendations.store_training import cut_arrays, cut_rows, row_of

ROW = row_of(member_key=">i8", item_key=">i8", day=">i4", quantity=">i4")

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"


def copy_of(rows: list[tuple[int, int, int, int]]) -> bytes:
    body = b"".join(
        struct.pack(">hiqiqiiii", 4, 8, member, 8, item, 4, day, 4, pieces)
        for member, item, day, pieces in rows
    )
    return HEADER + body + TRAILER


def in_blocks(raw: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(raw), size):
        yield raw[start : start + size]


whole = st.integers(-(2**31), 2**31 - 1)


@given(st.lists(st.tuples(whole, whole, whole, whole), max_size=20), st.integers(1, 100))
def test_rows_survive_however_the_blocks_are_cut(rows: list[tuple[int, int, int, int]], size: int) -> None:
    blocks = list(cut_rows(in_blocks(copy_of(rows), size), ROW))
    found = [
        (int(row["member_key"]), int(row["item_key"]), int(row["day"]), int(row["quantity"]))
        for block in blocks
        for row in block
    ]
    assert found == rows


def test_many_rows_come_in_several_arrays() -> None:
    raw = copy_of([(1, 2, 3, 4)] * 100_000)
    blocks = list(cut_rows(in_blocks(raw, 65_536), ROW))
    assert len(blocks) > 1
    assert sum(len(block) for block in blocks) == 100_000
    assert np.all(blocks[0]["quantity"] == 4)


@pytest.mark.parametrize(
    "raw",
    [b"", b"rubbish" * 10, copy_of([(1, 2, 3, 4)])[:-2], copy_of([(1, 2, 3, 4)])[:-9], copy_of([])[:-1]],
)
def test_what_is_no_whole_copy_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="copy"):
        list(cut_rows(iter([raw]), ROW))


def test_rows_of_another_width_are_refused() -> None:
    body = struct.pack(">hiqiqi", 3, 8, 1, 8, 2, -1) * 5
    with pytest.raises(ValueError, match="width"):
        list(cut_rows(iter([HEADER + body + TRAILER]), ROW))


def arrays_of(*columns: list[int] | None) -> bytes:
    body = struct.pack(">h", len(columns))
    for values in columns:
        if values is None:
            body += struct.pack(">i", -1)
            continue
        cells = b"".join(struct.pack(">iq", 8, value) for value in values)
        body += struct.pack(">iiiiii", 20 + len(cells), 1, 0, 20, len(values), 1) + cells
    return HEADER + body + TRAILER


@given(st.lists(st.tuples(whole, whole), min_size=1, max_size=20))
def test_a_row_of_arrays_comes_as_columns(rows: list[tuple[int, int]]) -> None:
    one, other = (list(column) for column in zip(*rows, strict=True))
    found = cut_arrays(arrays_of(one, other), (">i8", ">i8"))
    assert found is not None
    assert [column.tolist() for column in found] == [one, other]


def test_no_rows_are_no_columns() -> None:
    assert cut_arrays(arrays_of(None, None), (">i8", ">i8")) is None


@pytest.mark.parametrize("raw", [b"", arrays_of([1])[:-1], arrays_of([1]) + b"x"])
def test_what_is_no_whole_row_of_arrays_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="copy"):
        cut_arrays(raw, (">i8",))


def test_arrays_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="another kind"):
        cut_arrays(arrays_of([1, 2]), (">i4",))
