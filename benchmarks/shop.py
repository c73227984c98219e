"""A shop made for measuring: its files of members, items and orders, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

LINES_PER_ORDER = 3
REWARDS = 20
ORDERS_PER_MEMBER = 5
_HISTORY_DAYS = 380


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the shop is, and how many times over the grown one."""

    members: int
    items: int
    growth: int
    learned_members: int
    learned_lines: int
    population: int

    @classmethod
    def of_scale(cls, scale: float) -> Sizes:
        """Return the sizes at a scale; 1 is what `make bench` runs."""

        def scaled(count: int, least: int) -> int:
            return max(least, round(count * scale))

        return cls(
            members=scaled(10_000, 200),
            items=scaled(20_000, 500),
            growth=20,
            learned_members=scaled(100_000, 400),
            learned_lines=scaled(5_000_000, 20_000),
            population=scaled(100_000, 2_000),
        )


def member_id(number: int) -> str:
    """Return a member's id."""
    return f"m{number:07d}"


def sku(number: int) -> str:
    """Return an item's id."""
    return f"sku-{number:06d}"


def reward(number: int) -> dict[str, Any]:
    """Return the body of a reward; every other one is for goods of one category."""
    goods = {"applies_to": {"categories": [f"category-{number}"]}} if number % 2 else {}
    return {
        "name": {"en": f"Reward {number}", "zh-Hant": f"獎勵 {number}"},
        "kind": "voucher_amount",
        "points": 10 * (number + 1),
        "value": Decimal(10 * (number + 1)),
        **goods,
    }


def write_members(path: Path, *, count: int, now: datetime) -> None:
    """Write members who joined before their first order."""
    joined_at = (now - timedelta(days=_HISTORY_DAYS + 20)).isoformat()
    _write(
        path,
        ({"member_id": member_id(number), "joined_at": joined_at, "locale": "en"} for number in range(count)),
    )


def write_items(path: Path, *, count: int) -> None:
    """Write items in forty categories."""
    _write(
        path,
        (
            {
                "sku": sku(number),
                "name": {"en": f"Item {number}", "zh-Hant": f"商品 {number}"},
                "category": [f"category-{number % 40}"],
                "price": str(30 + number % 970),
                "currency": "TWD",
                "available": True,
            }
            for number in range(count)
        ),
    )


def write_orders(path: Path, *, members: int, items: int, now: datetime, seed: int = 1) -> int:
    """Write a year of orders, every item bought at least once if they suffice; return the number of lines."""
    chance = random.Random(seed)
    orders = members * ORDERS_PER_MEMBER
    _write(
        path,
        (
            order(
                f"h{number:08d}",
                member=number % members,
                skus=_basket(number, items, chance),
                placed_at=now - timedelta(days=1, minutes=chance.randrange(_HISTORY_DAYS * 1440)),
                chance=chance,
            )
            for number in range(orders)
        ),
    )
    return orders * LINES_PER_ORDER


def _basket(number: int, items: int, chance: random.Random) -> list[int]:
    basket = [chosen(items, chance) for _ in range(LINES_PER_ORDER)]
    # Once through the whole catalogue, so that a model knows every item.
    for place in range(LINES_PER_ORDER):
        swept = number * LINES_PER_ORDER + place
        if swept < items:
            basket[place] = swept
    return basket


def chosen(items: int, chance: random.Random) -> int:
    """Return an item as buyers choose: few of them often, most of them rarely."""
    return int(items * chance.random() ** 3)


def order(
    order_id: str, *, member: int, skus: list[int], placed_at: datetime, chance: random.Random
) -> dict[str, Any]:
    """Return the body of an order with one line for each of `skus`."""
    return {
        "order_id": order_id,
        "member_id": member_id(member),
        "placed_at": placed_at.isoformat(),
        "currency": "TWD",
        "lines": [
            {"sku": sku(item), "quantity": 1, "amount": str(30 + chance.randrange(1200))} for item in skus
        ],
        "shipping": "60",
        "channel": "web",
    }


def _write(path: Path, records: Iterator[dict[str, Any]]) -> None:
    with path.open("wb") as file:
        for record in records:
            file.write(orjson.dumps(record) + b"\n")
