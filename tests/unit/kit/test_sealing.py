"""What is sealed opens only under the same key, whole; equal contacts are found without opening."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kit.sealing import Sealer

SEALER = Sealer(b"one application key")
OTHER = Sealer(b"another application key")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)


@given(text=texts)
def test_what_was_sealed_opens_again(text: str) -> None:
    assert SEALER.open(SEALER.seal(text)) == text


def test_nothing_stays_nothing() -> None:
    assert SEALER.seal(None) is None
    assert SEALER.open(None) is None
    assert SEALER.blind_index(None) is None


def test_the_same_text_is_sealed_differently_each_time() -> None:
    assert SEALER.seal("王小明") != SEALER.seal("王小明")


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(ValueError, match="another application key"):
        OTHER.open(SEALER.seal("王小明"))


def test_one_changed_bit_anywhere_is_noticed() -> None:
    sealed = SEALER.seal("wang@example.com")
    assert sealed is not None
    for index in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[index] ^= 1
        with pytest.raises(ValueError, match="damaged"):
            SEALER.open(bytes(damaged))


def test_a_cut_text_is_noticed() -> None:
    sealed = SEALER.seal("wang@example.com")
    assert sealed is not None
    for length in range(len(sealed)):
        with pytest.raises(ValueError, match="damaged"):
            SEALER.open(sealed[:length])


def test_equal_contacts_have_equal_indexes_whatever_their_letter_case() -> None:
    assert SEALER.blind_index(" Wang@Example.com ") == SEALER.blind_index("wang@example.com")
    assert SEALER.blind_index("wang@example.com") != SEALER.blind_index("wong@example.com")


def test_an_index_tells_nothing_without_the_key() -> None:
    assert SEALER.blind_index("wang@example.com") != OTHER.blind_index("wang@example.com")
