"""What a member had at the time, and what an item may be expected to earn at a place. Pure.

The model of rewards is a smoothed rate: of each item, drawn towards that of its place, drawn towards that of
all; a place is a rank in the list and an index among its candidates. It is fitted for each fifth of the
members on the other four (V. Chernozhukov et al., 2018, Double/debiased machine learning, The Econometrics
Journal 21, C1-C68, definition 3.1): a member's own outcome never enters what is expected of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.recommendations.exploration import MOST_CANDIDATES
from service.recommendations.rules import Bought, Purchase, Returned, net_purchases

FOLDS = 5
SMOOTHING = 20.0
"""How many rows of the wider group a rate is mixed with."""

Whole = NDArray[np.int64]
Array = NDArray[np.float64]


class Fact(NamedTuple):
    """A line of an order, or one given back: when it happened, when it was known, until when it stood."""

    bought: bool
    sku: str
    day: int
    quantity: int
    order_key: int | None
    at: datetime
    known_at: datetime
    undone_at: datetime | None


def purchases_before(facts: Iterable[Fact], moment: datetime, *, most: int) -> list[Purchase]:
    """Return what a member had of what they bought, as an answer given at `moment` would have read it.

    Nothing later enters: not an order placed or told of later, not a later return or cancellation. `most`
    is how many lines of either kind an answer looks at, the latest first.
    """
    then = [one for one in facts if one.at < moment and one.known_at <= moment]
    then.sort(key=lambda one: (one.at, one.order_key or 0), reverse=True)
    standing = [one for one in then if one.bought and (one.undone_at is None or one.undone_at >= moment)]
    returned = [one for one in then if not one.bought]
    return net_purchases(
        [Bought(one.sku, one.day, one.quantity, one.order_key or 0) for one in standing[:most]],
        [Returned(one.sku, one.day, one.quantity, one.order_key) for one in returned[:most]],
    )


def place_of(position: int, index: int) -> int:
    """Return one number for a rank in the list and an index among its candidates."""
    return position * MOST_CANDIDATES + index


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What was shown at each explored place, (n,) each: member, item, place, and whether it paid."""

    member: Whole
    item: Whole
    place: Whole
    reward: Array

    @property
    def fold(self) -> Whole:
        """Return the fifth that each row's member belongs to."""
        return self.member % FOLDS


def expect(shown: Shown, items: Whole, places: Whole) -> Array:
    """Return what each of `items` (n,) may be expected to earn at its of `places` (n,) in its row, (n,).

    Learned from the members of the other folds alone: the rate of the place, and by how much the item does
    better or worse than its places.
    """
    rows = len(shown.item)
    names, index = np.unique(np.concatenate([shown.item, items]), return_inverse=True)
    item, wanted = index[:rows], index[rows:]
    all_places, index = np.unique(np.concatenate([shown.place, places]), return_inverse=True)
    place, wanted_place = index[:rows], index[rows:]
    expected = np.zeros(len(items))
    for fold in range(FOLDS):
        held = shown.fold == fold
        counts = (~held).astype(np.float64)
        won = counts * shown.reward
        overall = won.sum() / max(1.0, counts.sum())
        of_place = (np.bincount(place, won, len(all_places)) + SMOOTHING * overall) / (
            np.bincount(place, counts, len(all_places)) + SMOOTHING
        )
        beyond = np.bincount(item, won - counts * of_place[place], len(names))
        lift = beyond / (np.bincount(item, counts, len(names)) + SMOOTHING)
        expected[held] = (of_place[wanted_place] + lift[wanted])[held]
    return np.clip(expected, 0.0, 1.0)
