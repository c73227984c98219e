"""A placement that explores: one place by lot, logged with its true chance, for the treated alone."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from service.recommendations import operations
from service.recommendations.exploration import Exploration, chances, draw, seed_of
from service.recommendations.operations import Asked
from tests.integration.recommendations.conftest import Running
from tests.integration.recommendations.shop import NOON
from tests.integration.recommendations.test_answers import HELD_OUT, TREATED, skus
from tests.integration.recommendations.test_placements import put

HOW = {"candidates": 5, "share_bp": 8_000}


def ask(standing: Running, member_id: str = TREATED, **wishes: Any) -> dict[str, Any]:
    with standing.engine.begin() as conn:
        asked = Asked(member_id, placement="home", channel="web", **{"limit": 6, **wishes})
        return operations.recommend(conn, serving=standing.serving, asked=asked, now=NOON)


def decided(standing: Running, answer: dict[str, Any]) -> dict[str, Any]:
    with standing.engine.connect() as conn:
        return operations.get_decision(conn, recommendation_id=answer["recommendation_id"])


def test_the_last_place_is_drawn_among_the_next_best_and_logged(standing: Running) -> None:
    put(standing.engine)
    best = skus(ask(standing, limit=30))
    assert decided(standing, ask(standing))["exploration"] is None
    put(standing.engine, exploration=HOW)
    shown = set()
    for _ in range(60):
        answer = ask(standing)
        told = decided(standing, answer)
        items = skus(answer)
        assert items[:5] == best[:5]
        assert len(set(items)) == 6
        explored = told["exploration"]
        assert (explored["position"], explored["share_bp"]) == (6, 8_000)
        assert [one["sku"] for one in explored["candidates"]] == best[5:10]
        likely = [one["propensity"] for one in explored["candidates"]]
        assert likely == pytest.approx(chances(Exploration(5, 8_000), 5))
        # Whoever holds the record can draw again.
        drawn = draw(Exploration(5, 8_000), count=5, seed=seed_of(answer["recommendation_id"]))
        assert told["seed"] == seed_of(answer["recommendation_id"])
        assert items[5] == best[5 + drawn]
        assert told["propensity"] == {"kind": "exploration", "value": pytest.approx(likely[drawn])}
        shown.add(items[5])
    assert len(shown) > 3


def test_who_is_held_out_and_what_falls_back_is_never_explored(standing: Running) -> None:
    put(standing.engine)
    before = skus(ask(standing, HELD_OUT))
    put(standing.engine, exploration=HOW)
    for member_id in (HELD_OUT, "nobody"):
        answer = ask(standing, member_id)
        told = decided(standing, answer)
        assert told["propensity"] == {"kind": "deterministic", "value": None}
        assert (told["exploration"], told["seed"]) == (None, None)
    assert skus(ask(standing, HELD_OUT)) == before
    # Nothing is left to draw among.
    few = decided(standing, ask(standing, exclude=[f"sku-{number:02}" for number in range(24)]))
    assert few["exploration"] is None
    assert len(few["items"]) == 6


def test_masks_and_what_is_on_the_page_bind_the_explored_place_too(standing: Running) -> None:
    put(standing.engine, exploration={"candidates": 50, "share_bp": 10_000})
    kept_out = [f"sku-{number:02}" for number in range(0, 20, 2)]
    for _ in range(20):
        answer = ask(standing, exclude=kept_out, context_sku="sku-01", basket=("sku-03",))
        told = decided(standing, answer)["exploration"]
        assert not {*kept_out, "sku-01", "sku-03"} & {one["sku"] for one in told["candidates"]}
        assert told["steered_by"] == ["sku-01", "sku-03"]
        assert not {*kept_out, "sku-01", "sku-03"} & set(skus(answer))


def test_exploring_costs_no_statement(standing: Running) -> None:
    counted: list[str] = []

    def count(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        counted.append(statement)

    put(standing.engine)
    ask(standing)
    event.listen(standing.engine, "before_cursor_execute", count)
    ask(standing)
    plain = len(counted)
    event.remove(standing.engine, "before_cursor_execute", count)
    put(standing.engine, exploration=HOW)
    counted.clear()
    event.listen(standing.engine, "before_cursor_execute", count)
    ask(standing)
    event.remove(standing.engine, "before_cursor_execute", count)
    assert len(counted) == plain
