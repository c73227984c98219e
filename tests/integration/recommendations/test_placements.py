"""What a placement is set to holds for whoever leaves it open, and costs no statement of its own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError

from service.recommendations import operations
from service.recommendations.operations import Asked
from tests.integration.recommendations.conftest import Running
from tests.integration.recommendations.shop import NOON

OPEN = frozenset({"mode", "limit"})


def put(engine: Engine, *, placement: str = "home", **values: Any) -> dict[str, Any]:
    plain = {"mode": "mixed", "diversity_bp": 0, "category_cap": None, "limit": 10}
    with engine.begin() as conn:
        return operations.set_placement(
            conn, placement=placement, values=plain | values, actor="test", request_id=None, now=NOON
        )


def ask(standing: Running, *, placement: str = "home", **wishes: Any) -> list[dict[str, Any]]:
    with standing.engine.begin() as conn:
        asked = Asked("member-003", placement=placement, channel="web", **wishes)
        answer = operations.recommend(conn, serving=standing.serving, asked=asked, now=NOON)
    items: list[dict[str, Any]] = answer["items"]
    return items


def test_what_is_left_open_comes_from_the_placement_and_what_is_said_stands(standing: Running) -> None:
    put(standing.engine, mode="discover", limit=4)
    open_ = ask(standing, left_open=OPEN)
    assert len(open_) == 4
    assert "buy_again" not in {item["source"] for item in open_}
    assert len(ask(standing, limit=6, mode="mixed")) == 6


def test_no_more_of_one_category_than_the_cap_and_no_diversity_is_the_order_of_scores(
    standing: Running,
) -> None:
    """Every item of this shop has `tea` as its first category, but for those that we move."""
    before = ask(standing, placement="not set", limit=8)
    put(standing.engine)
    assert [item["sku"] for item in ask(standing, limit=8)] == [item["sku"] for item in before]
    put(standing.engine, category_cap=3)
    capped = ask(standing, limit=8)
    assert [item["sku"] for item in capped] == [item["sku"] for item in before][:3]
    put(standing.engine, diversity_bp=10_000)
    varied = ask(standing, limit=8)
    assert Counter(item["sku"] for item in varied).most_common(1)[0][1] == 1
    assert [item["sku"] for item in varied] != [item["sku"] for item in before]
    # A reason belongs to its item, wherever that stands.
    known = {item["sku"]: item["reason"] for item in ask(standing, limit=30)}
    put(standing.engine)
    plain = {item["sku"]: item["reason"] for item in ask(standing, limit=30)}
    assert known == plain


def test_versions_stay_and_the_same_again_makes_none(standing: Running) -> None:
    assert put(standing.engine, placement="basket", limit=3)["version"] == 1
    assert put(standing.engine, placement="basket", limit=3)["version"] == 1
    assert put(standing.engine, placement="basket", limit=5)["version"] == 2
    with standing.engine.connect() as conn:
        found = operations.list_placements(conn)
    assert [one["limit"] for one in found if one["placement"] == "basket"] == [5]
    with pytest.raises(DBAPIError, match="append-only"), standing.engine.begin() as conn:
        conn.execute(text("UPDATE placement_settings SET item_limit = 1"))


def test_a_placement_costs_no_statement(standing: Running) -> None:
    ask(standing, placement="not set")
    counted: list[str] = []

    def count(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        counted.append(statement)

    event.listen(standing.engine, "before_cursor_execute", count)
    ask(standing, placement="not set")
    plain = len(counted)
    event.remove(standing.engine, "before_cursor_execute", count)
    put(standing.engine, category_cap=2, diversity_bp=3_000)
    counted.clear()
    event.listen(standing.engine, "before_cursor_execute", count)
    ask(standing)
    event.remove(standing.engine, "before_cursor_execute", count)
    assert len(counted) == plain
