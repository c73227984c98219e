"""The laws, checked while the shop goes on selling."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, event

from service.kit.clock import read_clock
from service.kit.settings import Settings
from service.laws import check_laws_now
from tests.api.ladders import Ladder, ladder, spend


@pytest.fixture
def shop(engine: Engine, settings: Settings) -> Ladder:
    """t1 from 1000 within thirty days."""
    return Ladder(engine, settings, ladder({"enter": spend(1000)}))


def test_an_order_that_comes_in_during_a_check_is_no_violation(shop: Ladder) -> None:
    shop.enrol("m1")
    bought: list[dict[str, Any]] = []

    def buy_once(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if "tier_states.stands_until" in statement and not bought:
            # The state has been read, the facts have not: half a check before the order, half after it.
            bought.append({})
            bought[0] = shop.buy(10, 2000, "m1")

    event.listen(shop.client.engine, "after_cursor_execute", buy_once)
    try:
        report = check_laws_now(shop.client.engine, clock=read_clock, progress=lambda *_: None)
    finally:
        event.remove(shop.client.engine, "after_cursor_execute", buy_once)
    assert bought[0]["tier"]["after"]["tier"] == "t1"
    assert report.violations == []
    assert check_laws_now(shop.client.engine, clock=read_clock, progress=lambda *_: None).violations == []
