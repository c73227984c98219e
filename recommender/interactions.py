"""Who took what, when and how much: the only input of training.

Net of whatever was given back; the caller decides what that means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender.errors import EmptyInteractions, InvalidInteractions
from recommender.idmap import IdMap

_INT32 = np.iinfo(np.int32)
_Number = TypeVar("_Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Csr:
    """Hold a sparse matrix by rows: indptr (rows + 1,), indices and data (nnz,), columns ascending."""

    indptr: NDArray[np.int32]
    indices: NDArray[np.int32]
    data: NDArray[np.float32]
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """Hold distinct (user, item, day) rows, sorted in that order, so that row order never matters.

    `users` and `items` hold only ids that occur. Arrays are (n,): `user_index` and `item_index` int32,
    `day` int32 in days since 1970-01-01, `quantity` float32 and above zero. They are read-only.
    """

    users: IdMap
    items: IdMap
    user_index: NDArray[np.int32]
    item_index: NDArray[np.int32]
    day: NDArray[np.int32]
    quantity: NDArray[np.float32]

    @classmethod
    def from_columns(
        cls, *, user_id: Any, item_id: Any, day: ArrayLike, quantity: ArrayLike | None = None
    ) -> Self:
        """Build from four columns of equal length: lists, numpy arrays or Arrow columns.

        Ids are non-empty strings or whole numbers; `quantity` is 1 everywhere when left out. Rows of the
        same user, item and day are added up. InvalidInteractions names the first row that is wrong.
        """
        users, user_index = _factorise("user_id", user_id)
        items, item_index = _factorise("item_id", item_id)
        return cls.from_indices(
            users=users, items=items, user_index=user_index, item_index=item_index, day=day, quantity=quantity
        )

    @classmethod
    def from_indices(
        cls,
        *,
        users: Sequence[str],
        items: Sequence[str],
        user_index: ArrayLike,
        item_index: ArrayLike,
        day: ArrayLike,
        quantity: ArrayLike | None = None,
    ) -> Self:
        """Build from positions in `users` and `items` (any order, distinct) instead of ids per row."""
        user_at = _whole_numbers("user_index", user_index)
        item_at = _whole_numbers("item_index", item_index)
        days = _whole_numbers("day", day)
        amounts = np.ones(len(days)) if quantity is None else _numbers("quantity", quantity)
        if not len(user_at) == len(item_at) == len(days) == len(amounts):
            raise InvalidInteractions(
                "columns differ in length: "
                f"user {len(user_at)}, item {len(item_at)}, day {len(days)}, quantity {len(amounts)}"
            )
        if not len(days):
            raise EmptyInteractions("no rows")
        _refuse_where(~np.isfinite(amounts), "quantity", amounts, "is not a finite number")
        _refuse_where(amounts <= 0, "quantity", amounts, "is not above zero")
        _refuse_where((days < _INT32.min) | (days > _INT32.max), "day", days, "is out of range")
        _refuse_where((user_at < 0) | (user_at >= len(users)), "user_index", user_at, "is not in users")
        _refuse_where((item_at < 0) | (item_at >= len(items)), "item_index", item_at, "is not in items")
        user_map, user_rows = _compact("users", users, user_at)
        item_map, item_rows = _compact("items", items, item_at)
        return cls(user_map, item_map, *_canonical(user_rows, item_rows, days, amounts))

    def __len__(self) -> int:
        return len(self.day)

    @property
    def first_day(self) -> int:
        """Give the first day on which anything happened."""
        return int(self.day.min())

    @property
    def last_day(self) -> int:
        """Give the last day on which anything happened."""
        return int(self.day.max())

    def between(self, *, after_day: int | None = None, through_day: int | None = None) -> Interactions:
        """Keep the rows with after_day < day <= through_day, and only the ids that still occur.

        Raises EmptyInteractions when nothing is left.
        """
        keep = np.ones(len(self), dtype=bool)
        if after_day is not None:
            keep &= self.day > after_day
        if through_day is not None:
            keep &= self.day <= through_day
        if not keep.any():
            raise EmptyInteractions(f"no rows with {after_day} < day <= {through_day}")
        return Interactions.from_indices(
            users=self.users.ids,
            items=self.items.ids,
            user_index=self.user_index[keep],
            item_index=self.item_index[keep],
            day=self.day[keep],
            quantity=self.quantity[keep],
        )

    def pair_starts(self) -> NDArray[np.int64]:
        """Give the row at which each distinct (user, item) pair begins, (pairs,)."""
        changed = np.ones(len(self), dtype=bool)
        changed[1:] = (np.diff(self.user_index) != 0) | (np.diff(self.item_index) != 0)
        return np.flatnonzero(changed)

    def weighted(
        self,
        *,
        half_life_days: float | None,
        reference_day: int | None = None,
        quantity_exponent: float = 0.0,
    ) -> Csr:
        """Add up 0.5^(age ÷ half-life) × quantity^exponent per user and item, as users × items.

        Age is counted in days back from `reference_day` (the last day when left out); with no half-life
        nothing fades. Exponent 0 counts days with a purchase, 1 counts pieces.
        """
        reference = self.last_day if reference_day is None else reference_day
        weight = self.quantity.astype(np.float64) ** quantity_exponent
        if half_life_days is not None:
            weight *= 0.5 ** (np.maximum(reference - self.day, 0) / half_life_days)
        starts = self.pair_starts()
        indptr = np.zeros(len(self.users) + 1, dtype=np.int32)
        np.cumsum(np.bincount(self.user_index[starts], minlength=len(self.users)), out=indptr[1:])
        return Csr(
            indptr=indptr,
            indices=self.item_index[starts],
            data=np.add.reduceat(weight, starts).astype(np.float32),
            shape=(len(self.users), len(self.items)),
        )


def _factorise(name: str, column: Any) -> tuple[list[str], NDArray[np.int64]]:
    """Give distinct ids and, per row, the position of its id."""
    if hasattr(column, "dictionary_encode"):
        return _factorise_arrow(name, column)
    values = column.tolist() if isinstance(column, np.ndarray) else list(column)
    seen: dict[Any, int] = {}
    index = np.fromiter(
        (seen.setdefault(value, len(seen)) for value in values), dtype=np.int64, count=len(values)
    )
    return _texts(name, list(seen)), index


def _factorise_arrow(name: str, column: Any) -> tuple[list[str], NDArray[np.int64]]:
    """Do the same for an Arrow array or chunked array without touching rows in Python."""
    whole = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    if whole.null_count:
        raise InvalidInteractions(f"{name} is missing in {whole.null_count} rows")
    encoded = whole if hasattr(whole, "dictionary") else whole.dictionary_encode()
    rows = encoded.indices.to_numpy(zero_copy_only=False)
    return _texts(name, encoded.dictionary.to_pylist()), rows.astype(np.int64)


def _texts(name: str, values: list[Any]) -> list[str]:
    texts = []
    for value in values:
        if isinstance(value, int) and not isinstance(value, bool):
            texts.append(str(value))
        elif isinstance(value, str) and value and "\0" not in value:
            texts.append(value)
        else:
            raise InvalidInteractions(
                f"{name} holds {value!r}; an id is a non-empty string or a whole number"
            )
    return texts


def _numbers(name: str, column: ArrayLike) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError) as wrong:
        raise InvalidInteractions(f"{name} holds something that is not a number") from wrong
    return _flat(name, numbers)


def _whole_numbers(name: str, column: ArrayLike) -> NDArray[np.int64]:
    raw = np.asarray(column)
    if raw.size and raw.dtype.kind not in "iu":
        numbers = _numbers(name, column)
        _refuse_where(~np.isfinite(numbers), name, numbers, "is not a finite number")
        _refuse_where(numbers != np.floor(numbers), name, numbers, "is not a whole number")
        raw = numbers
    return _flat(name, raw.astype(np.int64))


def _flat(name: str, values: NDArray[_Number]) -> NDArray[_Number]:
    if values.ndim != 1:
        raise InvalidInteractions(f"{name} has {values.ndim} dimensions, not one")
    return values


def _refuse_where(wrong: NDArray[np.bool_], name: str, values: NDArray[Any], what: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        more = f" (and {int(wrong.sum()) - 1} more)" if wrong.sum() > 1 else ""
        raise InvalidInteractions(f"{name} {values[row]} in row {row} {what}{more}")


def _compact(name: str, ids: Sequence[str], index: NDArray[np.int64]) -> tuple[IdMap, NDArray[np.int32]]:
    """Keep the ids that occur, sort them, and renumber the rows.

    Two spellings of one id (the number 7 and the text "7") become one.
    """
    used = np.flatnonzero(np.bincount(index, minlength=len(ids)))
    try:
        kept = IdMap.from_ids(ids[position] for position in used.tolist())
    except ValueError as wrong:
        raise InvalidInteractions(f"{name}: {wrong}") from wrong
    renumber = np.full(len(ids), -1, dtype=np.int32)
    renumber[used] = kept.positions([ids[position] for position in used.tolist()])
    return kept, renumber[index]


def _canonical(
    user_at: NDArray[np.int32],
    item_at: NDArray[np.int32],
    days: NDArray[np.int64],
    amounts: NDArray[np.float64],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Sort rows and add up those of the same user, item and day; the order of the input changes nothing."""
    packed = _sort_packed(user_at, item_at, days, amounts)
    if packed is None:
        order = np.lexsort((amounts, days, item_at, user_at))
        packed = user_at[order], item_at[order], days[order], amounts[order]
    user_at, item_at, days, amounts = packed
    first = np.ones(len(days), dtype=bool)
    first[1:] = (np.diff(user_at) != 0) | (np.diff(item_at) != 0) | (np.diff(days) != 0)
    starts = np.flatnonzero(first)
    summed = np.add.reduceat(amounts, starts).astype(np.float32)
    columns = (user_at[starts], item_at[starts], days[starts].astype(np.int32), summed)
    for column in columns:
        column.setflags(write=False)
    return columns


def _sort_packed(
    user_at: NDArray[np.int32],
    item_at: NDArray[np.int32],
    days: NDArray[np.int64],
    amounts: NDArray[np.float64],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]] | None:
    """Sort rows packed into one whole number each; None where amounts are not whole or 63 bits too few.

    Many times faster than sorting by four columns.
    """
    whole = amounts.astype(np.int64, copy=False) if amounts.max() < 2**31 else None
    if whole is None or not np.array_equal(whole, amounts):
        return None
    first_day = int(days.min())
    bits = [int(top).bit_length() for top in (item_at.max(), days.max() - first_day, whole.max())]
    if int(user_at.max()).bit_length() + sum(bits) > 63:
        return None
    key = user_at.astype(np.int64)
    columns: tuple[NDArray[Any], ...] = (item_at, days - first_day, whole)
    for width, column in zip(bits, columns, strict=True):
        key <<= width
        key |= column
    key.sort()
    back = []
    for width in reversed(bits):
        back.append(key & ((1 << width) - 1))
        key >>= width
    amount, day, item = back
    return key.astype(np.int32), item.astype(np.int32), day + first_day, amount.astype(np.float64)
