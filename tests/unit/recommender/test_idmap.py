from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.idmap import IdMap

IDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), max_size=30)


@given(IDS)
def test_the_order_of_the_ids_changes_nothing(ids: list[str]) -> None:
    assert IdMap.from_ids(ids) == IdMap.from_ids(reversed(ids))
    assert IdMap.from_ids(ids).ids == tuple(sorted(set(ids)))


@given(IDS)
def test_ids_survive_being_written_as_arrays(ids: list[str]) -> None:
    written = IdMap.from_ids(ids)
    assert IdMap.from_arrays(*written.to_arrays()) == written


def test_positions_of_unknown_ids_are_minus_one_and_get_raises() -> None:
    ids = IdMap.from_ids(["tea", "茶", "coffee"])
    assert ids.positions(["茶", "cocoa", "coffee"]).tolist() == [2, -1, 0]
    assert ids.positions([]).dtype == np.int32
    assert ids.known(["cocoa", "tea", "tea"]).tolist() == [1]
    assert ids.find("cocoa") is None
    assert "tea" in ids
    assert len(ids) == 3
    with pytest.raises(KeyError):
        ids.get("cocoa")


@pytest.mark.parametrize("wrong", ["", 7, None])
def test_an_id_that_is_not_a_filled_string_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="non-empty string"):
        IdMap.from_ids(["tea", wrong])  # type: ignore[list-item]


def test_arrays_that_are_not_a_sorted_list_of_ids_are_refused() -> None:
    text = np.frombuffer(b"ba", dtype=np.uint8)
    with pytest.raises(ValueError, match="sorted"):
        IdMap.from_arrays(text, np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="span"):
        IdMap.from_arrays(text, np.array([0, 1]))
