"""Voucher codes of our own: every single fault is found, and none that is none."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rewards.codes import ALPHABET, RANDOM_BITS, looks_ours, make_code, read_code

randoms = st.integers(min_value=0, max_value=2**RANDOM_BITS - 1)
PLACES = [place for place, sign in enumerate("TM-xxxxxx-xxxxxx-xxxxxx") if sign == "x"]


@given(randoms)
def test_a_code_is_read_however_it_was_typed(random: int) -> None:
    code = make_code(random)
    assert len(code) == len("TM-000000-000000-000000")
    for typed in (code, code.lower(), code.replace("-", ""), code.replace("-", " "), f" {code} "):
        assert looks_ours(typed)
        assert read_code(typed) == code
    assert read_code(code.replace("0", "O").replace("1", "l")) == code


@given(randoms)
def test_every_single_wrong_character_is_found(random: int) -> None:
    code = make_code(random)
    for place in PLACES:
        for sign in ALPHABET:
            if sign != code[place]:
                assert read_code(code[:place] + sign + code[place + 1 :]) is None


@given(randoms)
def test_every_two_characters_that_were_exchanged_are_found(random: int) -> None:
    code = make_code(random)
    for first, second in combinations(PLACES, 2):
        signs = list(code)
        signs[first], signs[second] = signs[second], signs[first]
        swapped = "".join(signs)
        assert (read_code(swapped) is None) == (swapped != code)


@given(randoms)
def test_a_missing_or_doubled_character_is_found(random: int) -> None:
    code = make_code(random)
    for place in PLACES:
        for wrong in (code[:place] + code[place + 1 :], code[:place] + code[place] + code[place:]):
            assert looks_ours(wrong)
            assert read_code(wrong) is None


@given(randoms, randoms)
def test_different_numbers_make_different_codes(one: int, other: int) -> None:
    assert (make_code(one) == make_code(other)) == (one == other)


@pytest.mark.parametrize("code", ["SPRING20", "TMALL-50", "tm", "ABCDEF-ABCDEF-ABCDEF", ""])
def test_the_code_of_somebody_else_is_left_alone(code: str) -> None:
    assert not looks_ours(code)


@pytest.mark.parametrize("random", [-1, 2**RANDOM_BITS])
def test_a_number_out_of_range_makes_no_code(random: int) -> None:
    with pytest.raises(ValueError, match="85 bits"):
        make_code(random)


def test_at_least_eighty_bits_are_drawn() -> None:
    assert RANDOM_BITS >= 80
