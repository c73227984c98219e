"""What one person has taken so far, in the form every model scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
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
        # In Python: some tens of purchases are sorted and added up sooner than numpy is asked to.
        found = sorted(
            (position, day - today if day < today else 0, float(quantity))
            for item_id, day, quantity in purchases
            if quantity > 0 and (position := find(item_id)) is not None
        )
        distinct: list[int] = []
        times: list[int] = []
        age: list[int] = []
        quantities: list[float] = []
        for position, since, quantity in found:
            if not distinct or position != distinct[-1]:
                distinct.append(position)
                times.append(0)
            elif -since == age[-1]:
                quantities[-1] += quantity
                continue
            times[-1] += 1
            age.append(-since)
            quantities.append(quantity)
        ends = np.array(list(accumulate(times)), np.int64)
        counted = np.array(times, np.int64)
        return cls(
            items=np.array(distinct, np.int32),
            starts=ends - counted,
            times=counted,
            age_days=np.array(age, np.float64),
            quantity=np.array(quantities, np.float64),
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

    def among(self, count: int) -> History:
        """Give what is of the first `count` items: itself where all is."""
        if not len(self) or self.items[-1] < count:
            return self
        kept = int(np.searchsorted(self.items, count))
        rows = int(self.starts[kept])
        return History(
            self.items[:kept],
            self.starts[:kept],
            self.times[:kept],
            self.age_days[:rows],
            self.quantity[:rows],
        )

    def weights(self, *, half_life_days: float | None, quantity_exponent: float = 0.0) -> NDArray[np.float64]:
        """Add up 0.5^(age ÷ half-life) × quantity^exponent per item, (m,); the same sum as in training."""
        if not len(self):
            return np.zeros(0, np.float64)
        weight: NDArray[np.float64]
        if half_life_days is None:
            weight = np.ones(len(self.age_days))
        else:
            weight = np.exp2(self.age_days / -half_life_days)
        if quantity_exponent:
            weight *= self.quantity**quantity_exponent
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
