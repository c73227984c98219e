"""Cut the past from what came after it: global time cuts, a fixed horizon, the catalogue as of the cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.history import History
from recommender.interactions import Interactions


class Case(NamedTuple):
    """One user at one origin: the day of asking, what came before it, and positions of what came after."""

    user_id: str
    today: int
    history: History
    purchases: list[tuple[str, int, float]]
    truth: NDArray[np.int32]

    @property
    def days(self) -> int:
        """Give on how many days anything was taken before the cut."""
        return len(np.unique(self.history.age_days))


def list_cuts(first_day: int, last_day: int, *, horizon_days: int, origins: int, skip: int = 0) -> list[int]:
    """Give the days after which is looked: the last day minus 1, 2, … horizons, the latest first."""
    cuts = [last_day - horizon_days * (number + 1) for number in range(skip, skip + origins)]
    return [cut for cut in cuts if cut >= first_day]


def list_cases(
    whole: Interactions,
    past: Interactions,
    *,
    cut: int,
    horizon_days: int,
    max_users: int | None,
    seed: int,
) -> Iterator[Case]:
    """Give the users, or a seeded sample, with a history at the cut who take something known after it."""
    users, items = _after(whole, past, cut, horizon_days)
    known = past.users.positions(whole.users.ids)[users]
    users, items = known[known >= 0], items[known >= 0]
    chosen = _sample(np.unique(users), max_users, seed)
    truth_from, truth_to = np.searchsorted(users, chosen, "left"), np.searchsorted(users, chosen, "right")
    rows_from = np.searchsorted(past.user_index, chosen, "left")
    rows_to = np.searchsorted(past.user_index, chosen, "right")
    ids = past.items.ids
    for number, user in enumerate(chosen.tolist()):
        rows = slice(int(rows_from[number]), int(rows_to[number]))
        item_at, day, quantity = past.item_index[rows], past.day[rows], past.quantity[rows]
        yield Case(
            user_id=past.users.ids[user],
            today=cut,
            history=History.from_sorted(item_at, cut - day, quantity),
            purchases=[
                (ids[item], when, amount)
                for item, when, amount in zip(item_at.tolist(), day.tolist(), quantity.tolist(), strict=True)
            ],
            truth=np.unique(items[truth_from[number] : truth_to[number]]),
        )


def list_newcomers(
    whole: Interactions,
    past: Interactions,
    *,
    cut: int,
    horizon_days: int,
    max_users: int | None,
    seed: int,
) -> Iterator[Case]:
    """Give those who take something known within the horizon and had taken nothing before it."""
    users, items = _after(whole, past, cut, horizon_days)
    new = past.users.positions(whole.users.ids)[users] < 0
    users, items = users[new], items[new]
    for user in _sample(np.unique(users), max_users, seed).tolist():
        rows = slice(*np.searchsorted(users, [user, user + 1]).tolist())
        yield Case(whole.users.ids[user], cut, History.empty(), [], np.unique(items[rows]))


def _after(
    whole: Interactions, past: Interactions, cut: int, horizon_days: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Give rows of the horizon whose item was in the catalogue: users of `whole`, items of `past`."""
    within = (whole.day > cut) & (whole.day <= cut + horizon_days)
    users = whole.user_index[within]
    items = past.items.positions(whole.items.ids)[whole.item_index[within]]
    return users[items >= 0], items[items >= 0]


def _sample(users: NDArray[np.int32], max_users: int | None, seed: int) -> NDArray[np.int32]:
    if max_users is None or len(users) <= max_users:
        return users
    return np.sort(np.random.default_rng(seed).choice(users, size=max_users, replace=False))
