"""Orders paid with points, through HTTP: what they earn, and what refunds give back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from tests.api.conftest import Client, an_order, enrol
from tests.api.test_points import points_of
from tests.api.test_points_holds import hold, let_time_pass, with_points


def pay(client: Client, points: int = 1000, order_id: str = "o1", **fields: Any) -> Any:
    """Place an order of m1 that points pay for; a point is worth 0.30."""
    hold_id = hold(client, points).json["hold_id"]
    return client.post("/v1/orders", json=an_order(order_id, **{"points_hold_id": hold_id} | fields))


def a_refund(amount: str, refund_id: str = "r1", order_id: str = "o1") -> dict[str, Any]:
    """Return the body of a refund of a part of an order."""
    return {
        "refund_id": refund_id,
        "order_id": order_id,
        "refunded_at": datetime.now(UTC).isoformat(),
        "amount": amount,
    }


def refund(client: Client, amount: str, refund_id: str = "r1", order_id: str = "o1") -> Any:
    """Refund a part of an order."""
    return client.post("/v1/refunds", json=a_refund(amount, refund_id, order_id))


def test_an_order_that_points_pay_for_spends_the_hold_and_says_so(client: Client) -> None:
    with_points(client, 1000)
    response = pay(client)
    assert response.status_code == 201
    body = response.json
    assert body["order"]["points_paid"] == "300.00"
    assert body["points"]["spent"] == 1000
    assert body["points"]["earned"] == 700 // 30
    assert body["explanation"][0] == (
        "1000 points paid NT$300 of it, which earns nothing and is no net spend."
    )
    points = points_of(client)
    assert (points["available"], points["held"]) == (0, 0)
    page = client.get("/v1/members/m1/points/transactions").json or {}
    assert [entry["order_id"] for entry in page["data"] if entry["kind"] == "capture"] == ["o1"]


def test_spending_points_lowers_net_spend_and_costs_no_active_day(client: Client) -> None:
    with_points(client, 4000)
    assert pay(client, 4000).json["points"]["earned"] == 0
    metrics = (client.get("/v1/members/m1/tier").json or {})["metrics"]
    assert (metrics["net_spend"], metrics["active_days"], metrics["orders"]) == ("0.00", 1, 1)


def test_replaying_the_order_changes_nothing(client: Client) -> None:
    with_points(client, 1000)
    hold_id = hold(client, 400).json["hold_id"]
    body = an_order(points_hold_id=hold_id)
    first: Any = client.post("/v1/orders", json=body)
    again: Any = client.post("/v1/orders", json=body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json["points"] == first.json["points"]
    assert again.json["explanation"] == first.json["explanation"]
    assert points_of(client)["available"] == 600
    without: Any = client.post("/v1/orders", json={**body, "points_hold_id": None})
    assert (without.status_code, without.json["code"]) == (409, "order-conflict")


def test_a_hold_that_cannot_pay_is_refused_and_nothing_of_the_order_is_kept(client: Client) -> None:
    with_points(client, 1000)
    with_points(client, 1000, member="m2")
    foreign = hold(client, 10, member="m2").json["hold_id"]
    released = hold(client, 10).json["hold_id"]
    client.post(f"/v1/points/holds/{released}/release")
    expired = hold(client, 10).json["hold_id"]
    let_time_pass(client, expired)
    captured = hold(client, 10).json["hold_id"]
    client.post(f"/v1/points/holds/{captured}/capture", json={"order_id": "another"})
    for hold_id, status, code in (
        (foreign, 422, "hold-not-known"),
        ("hold_1", 422, "hold-not-known"),
        (released, 409, "hold-ended"),
        (expired, 409, "hold-ended"),
        (captured, 409, "hold-ended"),
    ):
        refused: Any = client.post("/v1/orders", json=an_order(points_hold_id=hold_id))
        assert (refused.status_code, refused.json["code"]) == (status, code), hold_id
    with client.engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM orders")) == 0
    assert points_of(client)["available"] == 990


def test_a_hold_captured_for_the_order_before_it_is_recorded_pays_for_it(client: Client) -> None:
    with_points(client, 1000)
    hold_id = hold(client, 1000).json["hold_id"]
    client.post(f"/v1/points/holds/{hold_id}/capture", json={"order_id": "o1", "points": 500})
    response: Any = client.post("/v1/orders", json=an_order(points_hold_id=hold_id))
    assert response.status_code == 201
    assert (response.json["order"]["points_paid"], response.json["points"]["spent"]) == ("150.00", 500)
    assert refund(client, "1000").json["points"]["returned"] == 500
    assert points_of(client)["available"] == 1000


def test_partial_refunds_give_spent_points_back_in_proportion_and_exactly(client: Client) -> None:
    with_points(client, 1000)
    pay(client, 1000)
    bodies = [a_refund(amount, f"r{number}") for number, amount in enumerate(("333.33", "333.33", "333.34"))]
    answers = [(client.post("/v1/refunds", json=body).json or {})["points"] for body in bodies]
    assert [answer["returned"] for answer in answers] == [333, 334, 333]
    assert sum(answer["reversed"] for answer in answers) == 23
    points = points_of(client)
    assert (points["available"], points["pending"]) == (1000, 0)
    assert (client.post("/v1/refunds", json=bodies[0]).json or {})["points"] == answers[0]
    order = (client.get("/v1/orders/o1").json or {})["points"]
    assert (order["spent"], order["returned"], order["earned"], order["reversed"]) == (1000, 1000, 23, 23)


def test_a_cancelled_order_gives_its_points_back_once(client: Client) -> None:
    with_points(client, 1000)
    pay(client, 700)
    body = {"cancelled_at": datetime.now(UTC).isoformat(), "reason": "changed their mind"}
    first: Any = client.post("/v1/orders/o1/cancel", json=body)
    again: Any = client.post("/v1/orders/o1/cancel", json=body)
    assert first.json["points"] == again.json["points"]
    assert first.json["points"]["returned"] == 700
    assert "700 points spent on the order given back." in first.json["explanation"]
    assert points_of(client)["available"] == 1000


def test_points_pay_an_order_in_another_currency_at_its_own_rate(client: Client) -> None:
    with_points(client, 1000)
    response = pay(
        client,
        1000,
        currency="USD",
        exchange_rate="30",
        lines=[{"sku": "tea", "quantity": 1, "amount": "40"}],
    )
    assert response.json["order"]["points_paid"] == "10.00"
    assert response.json["points"]["earned"] == 30


def test_an_order_placed_late_with_points_has_them_at_the_value_of_then(client: Client) -> None:
    enrol(client, joined_at=(datetime.now(UTC) - timedelta(days=9)).isoformat())
    with_points(client, 100)
    client.put("/v1/settings", role="admin", json={"values": {"point_value": "1"}, "reason": "dearer"})
    placed_at = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    assert pay(client, 100, placed_at=placed_at).json["order"]["points_paid"] == "30.00"
