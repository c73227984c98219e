from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recommender.errors import EmptyInteractions, InvalidInteractions
from recommender.interactions import Interactions
from tests.unit.recommender import shop


def build(**changes: Any) -> Interactions:
    columns: dict[str, Any] = {
        "user_id": ["b", "a", "b"],
        "item_id": ["tea", "tea", "cup"],
        "day": [10, 11, 12],
        "quantity": [1, 2, 3],
    }
    return Interactions.from_columns(**{**columns, **changes})


def test_rows_come_out_sorted_with_sorted_ids() -> None:
    built = build()
    assert built.users.ids == ("a", "b")
    assert built.items.ids == ("cup", "tea")
    assert built.user_index.tolist() == [0, 1, 1]
    assert built.item_index.tolist() == [1, 0, 1]
    assert built.day.tolist() == [11, 12, 10]
    assert built.quantity.tolist() == [2, 3, 1]
    assert (built.first_day, built.last_day) == (10, 12)
    assert [one.dtype.name for one in (built.user_index, built.item_index, built.day, built.quantity)] == [
        "int32",
        "int32",
        "int32",
        "float32",
    ]


def test_arrays_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        build().quantity[0] = 9


def test_rows_of_one_user_item_and_day_are_added_up() -> None:
    built = build(user_id=["a", "a", "a"], item_id=["tea", "tea", "tea"], day=[10, 10, 11])
    assert built.day.tolist() == [10, 11]
    assert built.quantity.tolist() == [3, 3]


def test_the_order_of_rows_changes_nothing() -> None:
    lines = list(shop.rows())
    random.Random(1).shuffle(lines)
    one, other = shop.interactions(), shop.interactions_of(lines)
    assert one.users == other.users
    assert one.items == other.items
    for name in ("user_index", "item_index", "day", "quantity"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize(
    "wrap", [list, np.array, pa.array, lambda column: pa.chunked_array([column[:1], column[1:]])]
)
def test_lists_numpy_and_arrow_columns_give_the_same(wrap: Any) -> None:
    built = build(user_id=wrap(["b", "a", "b"]), item_id=wrap(["tea", "tea", "cup"]))
    assert built.user_index.tolist() == build().user_index.tolist()
    assert built.items == build().items


def test_arrow_dictionary_columns_and_whole_numbers_are_ids_too() -> None:
    built = build(user_id=pa.array([17850, 7, 17850]), item_id=pa.array(["x", "x", "y"]).dictionary_encode())
    assert built.users.ids == ("17850", "7")
    assert built.items.ids == ("x", "y")


def test_whole_and_broken_quantities_are_put_in_the_same_order() -> None:
    """Whole quantities are sorted packed into one number, broken ones column by column."""
    draw = np.random.default_rng(3)
    columns = {name: draw.integers(0, 9, 500) for name in ("user_id", "item_id", "day")}
    amounts = draw.integers(1, 5, 500)
    whole = Interactions.from_columns(**columns, quantity=amounts)
    broken = Interactions.from_columns(**columns, quantity=amounts + 0.25 * (amounts == 4))
    for name in ("user_index", "item_index", "day"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(broken, name))
    far = Interactions.from_columns(**{**columns, "day": columns["day"] - 4}, quantity=amounts)
    np.testing.assert_array_equal(far.day, whole.day - 4)
    np.testing.assert_array_equal(far.quantity, whole.quantity)
    assert float(whole.quantity.sum()) == amounts.sum()


def test_without_quantities_each_row_counts_one() -> None:
    assert build(quantity=None).quantity.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantity": [1, -2, 3]}, r"quantity -2\.0 in row 1 is not above zero"),
        ({"quantity": [1, 0, 0]}, r"row 1 is not above zero \(and 1 more\)"),
        ({"quantity": [1, float("nan"), 3]}, "row 1 is not a finite number"),
        ({"quantity": [1, float("inf"), 3]}, "row 1 is not a finite number"),
        ({"quantity": ["one", 2, 3]}, "quantity holds something that is not a number"),
        ({"quantity": [1, 2]}, "columns differ in length: user 3, item 3, day 3, quantity 2"),
        ({"day": [10, 11]}, "columns differ in length"),
        ({"day": [10, 11.5, 12]}, r"day 11\.5 in row 1 is not a whole number"),
        ({"day": [10, float("nan"), 12]}, "day nan in row 1 is not a finite number"),
        ({"day": [10, 2**40, 12]}, "row 1 is out of range"),
        ({"day": [[10, 11, 12]]}, "day has 2 dimensions"),
        ({"user_id": ["b", "", "b"]}, "user_id holds ''"),
        ({"user_id": ["b", None, "b"]}, "user_id holds None"),
        ({"user_id": ["b", float("nan"), "b"]}, "user_id holds nan"),
        ({"item_id": ["a\0b", "x", "y"]}, "item_id holds"),
        ({"item_id": ["x", True, "y"]}, "item_id holds True"),
        ({"user_id": pa.array(["b", None, "b"])}, "user_id is missing in 1 rows"),
    ],
)
def test_columns_that_make_no_sense_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInteractions, match=message):
        build(**changes)


def test_no_rows_at_all_are_refused() -> None:
    with pytest.raises(EmptyInteractions):
        build(user_id=[], item_id=[], day=[], quantity=[])


def test_positions_outside_the_ids_are_refused() -> None:
    with pytest.raises(InvalidInteractions, match="item_index 1 in row 0 is not in items"):
        Interactions.from_indices(users=["a"], items=["x"], user_index=[0], item_index=[1], day=[1])


def test_ids_that_do_not_occur_are_dropped() -> None:
    built = Interactions.from_indices(
        users=["z", "a"], items=["x", "w", "y"], user_index=[0, 0], item_index=[2, 0], day=[1, 1]
    )
    assert built.users.ids == ("z",)
    assert built.items.ids == ("x", "y")
    assert built.item_index.tolist() == [0, 1]


def test_cutting_by_day_keeps_only_what_occurs_in_it() -> None:
    cut = build().between(after_day=9, through_day=10)
    assert (cut.users.ids, cut.items.ids, len(cut)) == (("b",), ("tea",), 1)
    with pytest.raises(EmptyInteractions):
        build().between(after_day=12)


def test_weights_halve_with_each_half_life() -> None:
    built = build(user_id=["a", "a", "a"], item_id=["tea", "tea", "cup"], day=[0, 10, 10], quantity=[4, 1, 9])
    matrix = built.weighted(half_life_days=10)
    assert matrix.shape == (1, 2)
    assert matrix.indices.tolist() == [0, 1]
    assert matrix.data.tolist() == [1.0, 1.5]
    assert built.weighted(half_life_days=None).data.tolist() == [1, 2]
    assert built.weighted(half_life_days=None, quantity_exponent=0.5).data.tolist() == [3, 3]
    assert built.weighted(half_life_days=10, reference_day=20).data.tolist() == [0.5, 0.75]


def test_the_weighted_matrix_holds_every_pair_once() -> None:
    built = shop.interactions()
    matrix = built.weighted(half_life_days=None)
    pairs = {(row.user_id, row.item_id) for row in shop.rows()}
    assert len(matrix.data) == len(pairs)
    assert matrix.indptr[-1] == len(pairs)
    assert float(matrix.data.sum()) == len({(row.user_id, row.item_id, row.day) for row in shop.rows()})
