"""What is never shown: to whom it is closed, what came back with a fault, and what nobody may look at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from service.kit.db import dumps
from service.recommendations import operations
from service.recommendations.operations import Asked
from service.recommendations.rules import was_at_fault
from service.tiers.operations import ensure_default_ruleset
from tests.integration.recommendations.conftest import Running
from tests.integration.recommendations.shop import NOON, Shop, days_before

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(running: Running) -> Ask:
    def answer(member_id: str, **wishes: Any) -> dict[str, Any]:
        asked = Asked(member_id, placement="home", channel="web", **wishes)
        with running.engine.begin() as conn:
            return operations.recommend(conn, serving=running.serving, asked=asked, now=NOON)

    return answer


def skus(answer: dict[str, Any]) -> list[str]:
    return [item["sku"] for item in answer["items"]]


def shop_of(conn: Connection, number: int) -> Shop:
    shop = Shop(conn)
    shop._numbers = number
    return shop


def reserve(conn: Connection, *, tier: str, sku: str, version: int) -> None:
    """Put a rule set in force whose tier has an exclusive item."""
    conn.execute(
        text(
            "INSERT INTO tier_rulesets (version, state, definition, effective_from, created_at, "
            "published_at, published_by, reason) "
            "SELECT :version, 'active', jsonb_set(definition, ARRAY['tiers', place, 'benefits'], "
            "(definition #> ARRAY['tiers', place, 'benefits']) || CAST(:benefit AS jsonb)), :at, :at, :at, "
            "'test', 'test' FROM tier_rulesets, "
            "(SELECT CAST(ordinality - 1 AS text) AS place FROM tier_rulesets, "
            "jsonb_array_elements(definition -> 'tiers') WITH ORDINALITY AS t (tier, ordinality) "
            "WHERE tier ->> 'code' = :tier AND version = 1) AS found WHERE version = 1"
        ),
        {
            "version": version,
            "tier": tier,
            "at": NOON - timedelta(hours=1),
            "benefit": dumps(
                [{"kind": "exclusive_skus", "skus": [sku], "text": {"en": "Only you", "zh-Hant": "專屬"}}]
            ),
        },
    )


def test_what_is_for_one_tier_is_shown_to_that_tier_alone(ask: Ask, running: Running) -> None:
    with running.engine.begin() as conn:
        ensure_default_ruleset(conn, currency="TWD", now=days_before(500))
        codes = (
            conn.execute(
                text(
                    "SELECT tier ->> 'code' FROM tier_rulesets, "
                    "jsonb_array_elements(definition -> 'tiers') tier"
                )
            )
            .scalars()
            .all()
        )
        shop = shop_of(conn, 5_000)
        for code in codes:
            shop.member(f"of-{code}", tier=code)
        shop.member("of-none")
    assert all("sku-03" in skus(ask(f"of-{code}", limit=30)) for code in codes)
    with running.engine.begin() as conn:
        reserve(conn, tier=codes[-1], sku="sku-03", version=2)
    assert "sku-03" in skus(ask(f"of-{codes[-1]}", limit=30))
    for code in (*codes[:-1], "none"):
        answer = ask(f"of-{code}", limit=30)
        assert "sku-03" not in skus(answer)
        assert len(answer["items"]) == 29
    assert "sku-03" not in skus(ask("nobody-at-all", limit=30))


@pytest.mark.parametrize(("reason", "gone"), [("Defective on arrival", True), ("changed my mind", False)])
def test_what_came_back_with_a_fault_is_not_pressed_again(
    ask: Ask, running: Running, reason: str, gone: bool
) -> None:
    with running.engine.begin() as conn:
        shop = shop_of(conn, 6_000)
        key = shop.member("returner")
        order = shop.order(key, {"sku-05": 1, "sku-06": 1}, at=days_before(9))
        shop.refund(key, {"sku-05": 1}, at=days_before(2), order_key=order)
        conn.execute(
            text(
                "INSERT INTO refunds (refund_key, refunded_at, received_at, member_key, order_key, day, "
                "kind, reason, currency, order_amount_minor, amount_minor) "
                "SELECT refund_key, refunded_at, refunded_at, member_key, order_key, "
                "CAST(refunded_at AS date), 'return', :reason, 'TWD', 100, 100 FROM refund_keys "
                "WHERE member_key = :key"
            ),
            {"reason": reason, "key": key},
        )
    assert ("sku-05" not in skus(ask("returner", limit=30))) is gone
    assert "sku-06" in skus(ask("returner", limit=30))


def test_a_fault_is_read_from_the_reason_in_either_language() -> None:
    assert was_at_fault("DAMAGED in transit")
    assert was_at_fault("商品有瑕疵")
    assert not was_at_fault("too large")
    assert not was_at_fault(None)


def test_who_objects_to_profiling_is_shown_what_is_popular(ask: Ask, running: Running) -> None:
    member = "member-001"
    assert any(item["source"] != "popular" for item in ask(member)["items"])
    with running.engine.begin() as conn:
        conn.execute(
            text("UPDATE members SET consent_profiling = '{\"granted\": false}' WHERE member_id = :id"),
            {"id": member},
        )
    answer = ask(member)
    assert {item["source"] for item in answer["items"]} == {"popular"}
    assert answer["measurement"]["assignment"]["arm"] is not None


def test_where_ranking_fails_the_last_basket_leads(
    ask: Ask, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ask("member-002")
    shelf = running.serving.last()
    assert shelf is not None

    def fail(*arguments: Any, **wishes: Any) -> None:
        if wishes.get("policy") == "model":
            raise RuntimeError("nothing personal today")

    monkeypatch.setattr(type(shelf.model), "recommend", fail)
    answer = ask("member-002")
    assert whole["measurement"]["policy"]["fallback"] is None
    if answer["measurement"]["assignment"]["is_holdout"]:
        pytest.skip("the hold-out gets the baseline")
    assert answer["measurement"]["policy"]["fallback"] == "last_basket"
    assert answer["items"][0]["reason"]["code"] == "often_bought_with"
