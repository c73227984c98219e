"""Invented shops whose rhythm is known, one for each way that people come back or do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from recommender.interactions import Interactions

DAYS = 280
Taken = tuple[int, int, int]
"""A user, an item and a day, counted from 0."""


def constant_favourites(rng: np.random.Generator, *, users: int, items: int) -> Iterator[Taken]:
    """Everybody draws from the same favourites from the first day to the last: lateness says nothing."""
    for user in range(users):
        own = rng.choice(items, size=30, replace=False, p=_popular(items))
        liking = rng.dirichlet(np.full(30, 0.6))
        for day in _visits(rng, every=float(rng.uniform(5, 30))):
            for item in rng.choice(own, size=int(rng.integers(1, 5)), p=liking):
                yield user, int(item), day


def drifting_tastes(rng: np.random.Generator, *, users: int, items: int) -> Iterator[Taken]:
    """Favourites last about five weeks, and what the shop sells most turns with the seasons."""
    phase = rng.uniform(0, 2 * np.pi, items)
    for user in range(users):
        own: list[int] = []
        for day in _visits(rng, every=float(rng.uniform(5, 20))):
            season = _popular(items) * np.exp(2 * np.cos(2 * np.pi * day / 180 + phase))
            season /= season.sum()
            own = [item for item in own if rng.random() > 0.25]
            own += rng.choice(items, size=max(0, 6 - len(own)), p=season).tolist()
            for item in rng.choice(own, size=int(rng.integers(1, 5))):
                yield user, int(item), day


def durable_goods(rng: np.random.Generator, *, users: int, items: int) -> Iterator[Taken]:
    """Nobody takes a thing twice; tastes of four kinds decide what comes next."""
    kinds = np.arange(items) % 4
    for user in range(users):
        odds = _popular(items) * np.where(kinds == user % 4, 1.0, 0.08)
        days = _visits(rng, every=float(rng.uniform(15, 40)))[: items // 2]
        yield from zip(
            [user] * len(days),
            rng.choice(items, size=len(days), replace=False, p=odds / odds.sum()).tolist(),
            days,
            strict=True,
        )


def one_time_buyers(rng: np.random.Generator, *, users: int, items: int) -> Iterator[Taken]:
    """Four in five come once or twice and take what is popular; the rest have long histories."""
    for user in range(users):
        if user % 5:
            for day in rng.integers(0, DAYS, size=int(rng.integers(1, 3))).tolist():
                for item in rng.choice(items, size=int(rng.integers(1, 4)), p=_popular(items)):
                    yield user, int(item), day
            continue
        own = rng.choice(items, size=25, replace=False)
        for day in _visits(rng, every=6.0):
            for item in rng.choice(own, size=3, p=_popular(25)):
                yield user, int(item), day


def replenishment(rng: np.random.Generator, *, users: int, items: int) -> Iterator[Taken]:
    """Everybody has a dozen staples, each taken again when it is used up: after its own number of days."""
    lasts = rng.integers(10, 70, items)
    for user in range(users):
        for item in rng.choice(items, size=12, replace=False, p=_popular(items)).tolist():
            every = lasts[item] * rng.uniform(0.8, 1.25)
            day = float(rng.uniform(0, every))
            while day < DAYS:
                yield user, item, int(day)
                day += every * rng.uniform(0.85, 1.15)


def full_baskets(rng: np.random.Generator, *, users: int, items: int) -> Iterator[Taken]:
    """Households shop often and much: most of what they take they take again and again."""
    for user in range(users):
        own = rng.choice(items, size=min(40, items // 2), replace=False, p=_popular(items))
        liking = rng.gamma(0.5, 1.0, len(own))
        for day in _visits(rng, every=float(rng.uniform(2, 9))):
            liking *= np.exp(rng.normal(scale=0.08, size=len(own)))
            size = int(rng.integers(4, 13))
            for item in rng.choice(own, size=min(size, len(own)), replace=False, p=liking / liking.sum()):
                yield user, int(item), day


SHOPS: dict[str, Callable[..., Iterator[Taken]]] = {
    one.__name__: one
    for one in (
        constant_favourites,
        drifting_tastes,
        durable_goods,
        full_baskets,
        one_time_buyers,
        replenishment,
    )
}


def interactions(name: str, *, users: int, items: int, seed: int = 1) -> Interactions:
    """Give one shop's purchases, each item once per user and day."""
    taken = sorted(set(SHOPS[name](np.random.default_rng(seed), users=users, items=items)))
    return Interactions.from_columns(
        user_id=[f"u{user:05d}" for user, _, _ in taken],
        item_id=[f"i{item:04d}" for _, item, _ in taken],
        day=[20_000 + day for _, _, day in taken],
    )


def _visits(rng: np.random.Generator, *, every: float) -> list[int]:
    gaps = rng.exponential(every, size=int(3 * DAYS / every) + 5)
    return [int(day) for day in np.cumsum(gaps) if day < DAYS]


def _popular(items: int) -> NDArray[np.float64]:
    """Give the chances of items by rank: 1 ÷ (rank + 5)."""
    odds = 1 / (np.arange(items) + 5.0)
    return np.asarray(odds / odds.sum())
