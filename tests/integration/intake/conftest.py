"""A shop on an empty database, and the files of a shop where a lot is given back."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from service.intake.demo.shop import generate
from service.programme.operations import Programme
from tests.integration.intake.business import NOW, TODAY, start, write_ndjson

Shop = dict[str, list[dict[str, Any]]]


@pytest.fixture
def programme(engine: Engine) -> Programme:
    """An open shop in Taiwan."""
    return start(engine)


@pytest.fixture(scope="session")
def shop() -> Shop:
    """The demo shop's records by kind, with foreign currencies and many more refunds, linked and unlinked."""
    stream = random.Random(3)
    demo = generate(today=TODAY, seed=22, members=60, months=20)
    refunded = {refund.get("order_id") for refund in demo.refunds}
    demo_orders: list[Any] = demo.orders
    orders: list[Any] = []
    refunds: list[Any] = list(demo.refunds)
    for number, order in enumerate(demo_orders):
        lines = order["lines"]
        foreign = {"currency": "USD", "exchange_rate": "31.277"} if number % 7 == 0 else {}
        orders.append(order | foreign)
        if order["order_id"] in refunded:
            continue
        goods = sum(int(line["amount"]) for line in lines) - int(order.get("discount", 0))
        if number % 3 == 0:
            # In parts, so that rounding has something to do; the last part leaves a little or nothing.
            part = max(1, goods // 3)
            for turn in range(1, 3 + number % 2):
                refunds.append(_refund(stream, order, f"P{number}-{turn}", str(part), linked=True))
        elif number % 3 == 1:
            back = stream.choice(lines)
            refund = _refund(stream, order, f"U{number}", str(int(back["amount"]) + number % 5), linked=False)
            if number % 2:
                refund["lines"] = [{"sku": back["sku"], "quantity": 1, "amount": back["amount"]}]
            refunds.append(refund)
    refunds = [refund for refund in refunds if datetime.fromisoformat(refund["refunded_at"]) < NOW]
    stream.shuffle(refunds)
    return {"items": demo.items, "members": demo.members, "orders": orders, "refunds": refunds}


def _refund(
    stream: random.Random, order: dict[str, Any], refund_id: str, amount: str, *, linked: bool
) -> dict[str, Any]:
    at = datetime.fromisoformat(order["placed_at"]) + timedelta(minutes=stream.randint(1, 60 * 24 * 60))
    refund = {
        "refund_id": refund_id,
        "member_id": order["member_id"],
        "refunded_at": at.isoformat(),
        "kind": "return" if linked else "goodwill",
        "amount": amount,
    }
    return refund | {"order_id": order["order_id"]} if linked else refund


@pytest.fixture(scope="session")
def files(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The shop's files, by kind."""
    folder = tmp_path_factory.mktemp("shop")
    return {kind: write_ndjson(folder / f"{kind}.ndjson", records) for kind, records in shop.items()}
