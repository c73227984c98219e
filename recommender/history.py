"""What one person has taken so far, in the form every model scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from recommender.idmap import IdMap


class Purchase(NamedTuple):
    """Say that something was taken on a day (days since 1970-01-01)."""

    item_id: str
    day: int
    quantity: float = 1.0


@dataclass(frozen=True, slots=True)
class History:
    """Hold distinct (item, day) purchases of one person, sorted, and where each item begins.

    `items` (m,) int32 distinct positions ascending; `starts` (m,) int64 where each begins among the
    purchases, `times` (m,) int64 on how many days it was taken. `age_days` (n,) float64 counts back from
    the day of asking, oldest first within an item; `quantity` (n,) float64.
    """

    items: NDArray[np.int32]
    starts: NDArray[np.int64]
    times: NDArray[np.int64]
    age_days: NDArray[np.float64]
    quantity: NDArray[np.float64]

    @classmethod
    def encode(cls, purchases: Sequence[tuple[str, int, float]], *, items: IdMap, today: int) -> Self:
        """Translate purchases; unknown items and quantities that are not above zero are left out.

        Days after `today` count as today. Purchases of one item on one day are added up.
        """
        find = items.find
        known = [
            (position, today - day if day < today else 0, quantity)
            for item_id, day, quantity in purchases
            if (position := find(item_id)) is not None and quantity > 0
        ]
        if not known:
            return cls.empty()
        table = np.array(known, dtype=np.float64)
        table = table[np.lexsort((-table[:, 1], table[:, 0]))]
        item_at, age = table[:, 0], table[:, 1]
        new_item = np.ones(len(table), dtype=bool)
        new_item[1:] = item_at[1:] != item_at[:-1]
        new_day = new_item.copy()
        new_day[1:] |= age[1:] != age[:-1]
        rows = np.flatnonzero(new_day)
        return cls(
            items=item_at[new_item].astype(np.int32),
            **_runs(new_item[rows]),
            age_days=age[rows],
            quantity=np.add.reduceat(table[:, 2], rows),
        )

    @classmethod
    def from_sorted(
        cls, item_index: NDArray[np.int32], age_days: NDArray[np.int32], quantity: NDArray[np.float32]
    ) -> Self:
        """Take over rows that are distinct and sorted by item and then from oldest to newest."""
        first = np.ones(len(item_index), dtype=bool)
        first[1:] = item_index[1:] != item_index[:-1]
        return cls(
            items=item_index[first],
            **_runs(first),
            age_days=age_days.astype(np.float64),
            quantity=quantity.astype(np.float64),
        )

    @classmethod
    def empty(cls) -> Self:
        """Give the history of somebody who has taken nothing."""
        return cls.from_sorted(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.items)

    def weights(self, *, half_life_days: float | None, quantity_exponent: float = 0.0) -> NDArray[np.float64]:
        """Add up 0.5^(age ÷ half-life) × quantity^exponent per item, (m,); the same sum as in training."""
        if not len(self):
            return np.zeros(0, np.float64)
        weight: NDArray[np.float64] = np.ones(len(self.age_days))
        if quantity_exponent:
            weight *= self.quantity**quantity_exponent
        if half_life_days is not None:
            weight *= 0.5 ** (self.age_days / half_life_days)
        summed: NDArray[np.float64] = np.add.reduceat(weight, self.starts)
        return summed

    def last_age_days(self) -> NDArray[np.float64]:
        """Give the days since each item was last taken, (m,)."""
        last: NDArray[np.float64] = self.age_days[self.starts + self.times - 1]
        return last

    def median_gap_days(self, index: int) -> float:
        """Give the median days between takings of one item (position in `items`); it has at least two."""
        start = int(self.starts[index])
        ages: list[float] = self.age_days[start : start + int(self.times[index])].tolist()
        return median(older - newer for older, newer in pairwise(ages))


def _runs(first: NDArray[np.bool_]) -> dict[str, NDArray[np.int64]]:
    """Give where each run begins and how long it is, from the marks of first rows."""
    starts = np.flatnonzero(first)
    ends = np.empty_like(starts)
    if len(starts):
        ends[:-1], ends[-1] = starts[1:], len(first)
    return {"starts": starts, "times": ends - starts}
