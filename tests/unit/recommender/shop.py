"""A small invented shop whose customers have habits, for tests of the recommender."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recommender.interactions import Interactions
from recommender.models.als import AlsConfig
from recommender.training import TrainedModel, TrainingConfig, train

FIRST_DAY = 20_000
DAYS = 240
QUICK = TrainingConfig(als=AlsConfig(factors=16, iterations=8))


class Row(NamedTuple):
    """One line of the shop's books."""

    user_id: str
    item_id: str
    day: int
    quantity: float


@cache
def rows(users: int = 160, items: int = 80, seed: int = 7) -> tuple[Row, ...]:
    """Give purchases: staples bought again at each customer's own pace, and durables bought once.

    Customers belong to one of four tastes, each with its own quarter of the items; the last quarter of
    every taste's items is durable.
    """
    rng = np.random.default_rng(seed)
    per_taste = items // 4
    lines: list[Row] = []
    for user in range(users):
        own = np.arange(per_taste) + per_taste * (user % 4)
        staples, durables = own[: per_taste * 3 // 4], own[per_taste * 3 // 4 :]
        for item in rng.choice(staples, size=4, replace=False):
            every = int(rng.integers(14, 45))
            for day in range(int(rng.integers(0, every)), DAYS, every):
                lines.append(Row(f"u{user:03d}", f"sku-{item:03d}", FIRST_DAY + day, 1.0))
        for item in rng.choice(own, size=3, replace=False):
            lines.append(Row(f"u{user:03d}", f"sku-{item:03d}", FIRST_DAY + int(rng.integers(0, DAYS)), 2.0))
        for item in rng.choice(durables, size=2, replace=False):
            lines.append(Row(f"u{user:03d}", f"sku-{item:03d}", FIRST_DAY + int(rng.integers(0, DAYS)), 1.0))
    return tuple(lines)


def interactions_of(lines: tuple[Row, ...] | list[Row]) -> Interactions:
    """Give the same purchases as interactions."""
    user_id, item_id, day, quantity = zip(*lines, strict=True)
    return Interactions.from_columns(user_id=user_id, item_id=item_id, day=day, quantity=quantity)


@cache
def interactions() -> Interactions:
    """Give the whole shop as interactions."""
    return interactions_of(rows())


@cache
def trained() -> TrainedModel:
    """Give one quick training of the whole shop."""
    return train(interactions(), QUICK, seed=3)


def history_of(user_id: str) -> list[tuple[str, int, float]]:
    """Give one customer's purchases as they are asked with."""
    return [(row.item_id, row.day, row.quantity) for row in rows() if row.user_id == user_id]


def repository_root() -> Path:
    """Give the folder that holds the project file."""
    return next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
