"""Cursors are opaque, and a forged one is a clear problem."""

from __future__ import annotations

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kit.errors import Malformed
from service.kit.pagination import decode_cursor, encode_cursor, page

whole = st.integers(-(2**63) + 1, 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


@given(number=whole, text=texts)
def test_a_cursor_returns_the_key_it_was_made_of(number: int, text: str) -> None:
    cursor = encode_cursor(text, number)
    assert decode_cursor(cursor, types=(str, int)) == [text, number]
    assert "=" not in cursor


def test_no_cursor_means_the_first_page() -> None:
    assert decode_cursor(None, types=(str,)) is None


def forge(value: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "not a cursor",
        "漢",
        "%%%",
        forge({"a": 1}),
        forge(["text"]),
        forge([1, "text"]),
        forge(["text", True]),
        forge(["text", 1.5]),
        forge(["text", 2**63]),
        forge(["nul\x00", 1]),
        forge(["text", 1, 2]),
        forge(None),
    ],
)
def test_a_cursor_of_another_list_or_a_forged_one_is_refused(cursor: str) -> None:
    with pytest.raises(Malformed) as refused:
        decode_cursor(cursor, types=(str, int))
    assert refused.value.errors[0].parameter == "cursor"


@given(text=st.text(max_size=200))
def test_any_text_at_all_is_a_cursor_or_refused(text: str) -> None:
    try:
        decoded = decode_cursor(text, types=(int,))
    except Malformed:
        return
    assert decoded is not None
    assert isinstance(decoded[0], int)


def test_the_last_page_has_no_next_cursor() -> None:
    assert page(["a", "b"], limit=2, cursors=["1", "2"]) == {"data": ["a", "b"], "next_cursor": None}
    assert page([], limit=2, cursors=[]) == {"data": [], "next_cursor": None}


def test_one_row_more_than_asked_makes_a_next_cursor() -> None:
    assert page(["a", "b", "c"], limit=2, cursors=["1", "2", "3"]) == {"data": ["a", "b"], "next_cursor": "2"}
