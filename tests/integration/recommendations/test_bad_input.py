"""Shops that go to extremes: they are learned from and answered, or nothing is put in force."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from recommender.config import TrainingConfig
from recommender.models.als import AlsConfig
from service.recommendations import operations
from service.recommendations.judging import Measuring
from service.recommendations.training import train_model
from tests.integration.recommendations.conftest import PROGRAMME, fill, open_serving
from tests.integration.recommendations.shop import NOON, Shop, days_before

QUICK = TrainingConfig(als=AlsConfig(factors=8, iterations=4))
UNSEARCHED = Measuring(search=False, origins=1)

# An order of one thing a minute, each with its line, in one statement per table.
_MANY = """
WITH keys AS (
    INSERT INTO order_keys (order_id, member_key, placed_at, content_hash)
    SELECT 'many-' || number, :member, CAST(:at AS timestamptz) - number * interval '1 minute', ''
    FROM generate_series(1, :count) AS number RETURNING order_key, placed_at
), whole AS (
    INSERT INTO orders (order_key, placed_at, received_at, member_key, day, currency, order_goods_minor,
                        goods_minor, spend_minor)
    SELECT order_key, placed_at, placed_at, :member, placed_at::date, 'TWD', 100, 100, 100 FROM keys
)
INSERT INTO order_lines (order_key, placed_at, line_no, item_key, quantity, order_amount_minor, amount_minor)
SELECT keys.order_key, keys.placed_at, 1, items.item_key, 1, 100, 100
FROM keys JOIN items ON items.sku = 'sku-' || lpad((keys.order_key % 30)::text, 2, '0')
"""


def ask(engine: Engine, folder: Path, member: str) -> Mapping[str, Any]:
    asked = operations.Asked(member, placement="home", channel="web", limit=10)
    with engine.begin() as conn:
        return operations.recommend(conn, serving=open_serving(folder), asked=asked, now=NOON)


def skus(answer: Mapping[str, Any]) -> list[str]:
    return [item["sku"] for item in answer["items"]]


def go_to_extremes(conn: Connection) -> None:
    """One with fifty thousand orders, a bag that all take, and one who gave back more than was bought."""
    shop = Shop(conn)
    fill(shop)
    whale = shop.member("whale")
    conn.execute(text(_MANY), {"member": whale, "at": days_before(2), "count": 50_000})
    for number in range(40):
        key = conn.execute(
            text("SELECT member_key FROM members WHERE member_id = :id"), {"id": f"member-{number:03}"}
        ).scalar_one()
        shop.order(key, {"bag": 1}, at=days_before(35))
    returner = shop.member("returner")
    shop.order(returner, {"sku-01": 1}, at=days_before(9))
    shop.refund(returner, {"sku-01": 5}, at=days_before(8))


def test_extremes_are_learned_from_and_answered(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as conn:
        go_to_extremes(conn)
    model = train_model(
        engine, models_folder=tmp_path, programme=PROGRAMME, now=NOON, config=QUICK, measuring=UNSEARCHED
    )
    assert model.to_json()["counts"]["users"] == 41
    for member in ("whale", "member-003", "returner"):
        found = skus(ask(engine, tmp_path, member))
        assert len(found) == len(set(found)) == 10
    assert ask(engine, tmp_path, "whale")["measurement"]["policy"]["fallback"] is None
    assert ask(engine, tmp_path, "returner")["measurement"]["policy"]["fallback"] == "popular"


@pytest.mark.parametrize("measuring", [UNSEARCHED, Measuring(origins=1, search_origins=2)])
def test_a_shop_of_one_item_is_trained_and_answered(
    engine: Engine, tmp_path: Path, measuring: Measuring
) -> None:
    with engine.begin() as conn:
        shop = Shop(conn)
        for number in range(35):
            key = shop.member(f"m{number}")
            for day in (5, 40, 70):
                shop.order(key, {"only": 1}, at=days_before(day + number % 20))
    model = train_model(
        engine, models_folder=tmp_path, programme=PROGRAMME, now=NOON, config=QUICK, measuring=measuring
    )
    assert model.summary()["status"] == "active"
    assert skus(ask(engine, tmp_path, "m3")) == ["only"]
