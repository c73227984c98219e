"""The story of an order, through HTTP."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.api.conftest import Client, an_order, enrol


def count(client: Client, table: str) -> int:
    with client.engine.connect() as conn:
        return int(conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


def points(client: Client, member_id: str = "m1") -> dict[str, Any]:
    return client.get(f"/v1/members/{member_id}/points").json or {}


def test_an_order_earns_points_that_wait_for_the_return_period(client: Client) -> None:
    enrol(client)
    response = client.post("/v1/orders", json=an_order(amount="1234.50"))
    assert response.status_code == 201
    answer = response.json or {}
    assert answer["points"]["earned"] == 41  # one point per NT$30, rounded down
    assert answer["points"]["pending_until"] is not None
    assert answer["tier"]["before"] == answer["tier"]["after"]
    assert answer["order"]["goods"] == "1234.50"
    held = points(client)
    assert (held["available"], held["pending"]) == (0, 41)


def test_the_same_order_again_is_answered_200_and_changes_nothing(client: Client) -> None:
    enrol(client)
    body = an_order()
    first = client.post("/v1/orders", json=body)
    again = client.post("/v1/orders", json=body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert (again.json or {})["points"] == (first.json or {})["points"]
    assert (again.json or {})["tier"] == (first.json or {})["tier"]
    assert count(client, "orders") == 1
    assert count(client, "ledger_transactions") == 1


def test_the_same_id_with_other_content_is_a_conflict(client: Client) -> None:
    enrol(client)
    body = an_order()
    client.post("/v1/orders", json=body)
    response = client.post("/v1/orders", json={**body, "channel": "app"})
    assert response.status_code == 409
    assert (response.json or {})["code"] == "order-conflict"


def test_fifty_identical_orders_at_once_are_one(client: Client) -> None:
    enrol(client)
    body = an_order()
    statuses: list[int] = []

    def send() -> None:
        statuses.append(client.post("/v1/orders", json=body).status_code)

    threads = [threading.Thread(target=send) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 49 + [201]
    assert count(client, "orders") == count(client, "ledger_transactions") == 1
    assert points(client)["pending"] == 33


def test_a_refund_takes_back_exactly_what_the_order_earned(client: Client) -> None:
    enrol(client)
    earned = (client.post("/v1/orders", json=an_order()).json or {})["points"]["earned"]
    refund = {"refund_id": "r1", "order_id": "o1", "refunded_at": ago(seconds=0), "amount": "1000"}
    response = client.post("/v1/refunds", json=refund)
    assert response.status_code == 201
    assert (response.json or {})["points"] == {
        "reversed": earned,
        "returned": 0,
        "shortfall": 0,
        "unallotted": "0.00",
        "voucher_returned": "0.00",
    }
    assert points(client)["pending"] == 0
    again = client.post("/v1/refunds", json=refund)
    assert again.status_code == 200
    assert (again.json or {})["points"]["reversed"] == earned
    order = client.get("/v1/orders/o1").json or {}
    assert order["points"]["reversed"] == earned
    assert order["order"]["refunded"] == "1000.00"


def test_partial_refunds_take_back_what_one_refund_would(client: Client) -> None:
    enrol(client)
    client.post("/v1/orders", json=an_order(amount="100"))  # 3 points
    taken = []
    for number, amount in enumerate(("33.33", "33.33", "33.34")):
        body = {
            "refund_id": f"r{number}",
            "order_id": "o1",
            "refunded_at": ago(seconds=0),
            "amount": amount,
        }
        taken.append((client.post("/v1/refunds", json=body).json or {})["points"]["reversed"])
    assert sum(taken) == 3
    assert points(client)["pending"] == 0


def test_a_refund_above_what_is_left_is_refused_and_nothing_is_written(client: Client) -> None:
    enrol(client)
    client.post("/v1/orders", json=an_order())
    body = {"refund_id": "r1", "order_id": "o1", "refunded_at": ago(seconds=0), "amount": "1000.01"}
    response = client.post("/v1/refunds", json=body)
    assert response.status_code == 422
    assert (response.json or {})["code"] == "refund-above-left"
    assert count(client, "refunds") == count(client, "refund_keys") == 0
    assert points(client)["pending"] == 33


def test_an_unlinked_refund_takes_points_back_from_the_newest_order_of_its_sku(client: Client) -> None:
    enrol(client)
    client.post("/v1/orders", json=an_order("o1", placed_at=ago(days=2)))
    client.post("/v1/orders", json=an_order("o2", placed_at=ago(days=1)))
    body = {
        "refund_id": "r1",
        "member_id": "m1",
        "refunded_at": ago(seconds=0),
        "amount": "300",
        "lines": [{"sku": "tea", "quantity": 1, "amount": "300"}],
    }
    response = client.post("/v1/refunds", json=body)
    assert response.status_code == 201
    assert (response.json or {})["points"]["reversed"] == 10
    newest = client.get("/v1/orders/o2").json or {}
    oldest = client.get("/v1/orders/o1").json or {}
    assert (newest["points"]["reversed"], oldest["points"]["reversed"]) == (10, 0)


def test_an_unlinked_refund_larger_than_every_order_reports_what_is_left_over(client: Client) -> None:
    enrol(client)
    client.post("/v1/orders", json=an_order(amount="300", placed_at=ago(days=1)))
    body = {"refund_id": "r1", "member_id": "m1", "refunded_at": ago(seconds=0), "amount": "500"}
    answer = client.post("/v1/refunds", json=body).json or {}
    assert answer["points"] == {
        "reversed": 10,
        "returned": 0,
        "shortfall": 0,
        "unallotted": "200.00",
        "voucher_returned": "0.00",
    }
    again = client.post("/v1/refunds", json=body)
    assert again.status_code == 200
    assert (again.json or {})["points"] == answer["points"]


def test_a_cancelled_order_counts_for_nothing(client: Client) -> None:
    enrol(client)
    client.post("/v1/orders", json=an_order())
    body = {"cancelled_at": ago(seconds=0), "reason": "out of stock"}
    response = client.post("/v1/orders/o1/cancel", json=body)
    assert response.status_code == 200
    assert (response.json or {})["points"]["reversed"] == 33
    again = client.post("/v1/orders/o1/cancel", json=body)
    assert again.status_code == 200
    assert (again.json or {})["points"]["reversed"] == 33
    assert points(client)["pending"] == 0
    assert count(client, "order_cancellations") == 1
    tier = client.get("/v1/members/m1/tier").json or {}
    assert tier["metrics"]["net_spend"] == "0.00"
    assert tier["metrics"]["active_days"] == 0


def test_an_order_raises_the_tier_and_the_refund_of_it_undoes_the_rise(client: Client) -> None:
    enrol(client, joined_at=ago(days=30))
    client.post("/v1/orders", json=an_order("o1", amount="1000", placed_at=ago(days=20)))
    rise = client.post("/v1/orders", json=an_order("o2", amount="9000", placed_at=ago(days=10))).json or {}
    assert (rise["tier"]["before"]["tier"], rise["tier"]["after"]["tier"]) == ("member", "silver")
    body = {"refund_id": "r1", "order_id": "o2", "refunded_at": ago(seconds=0), "amount": "9000"}
    fall = client.post("/v1/refunds", json=body).json or {}
    assert (fall["tier"]["before"]["tier"], fall["tier"]["after"]["tier"]) == ("silver", "member")
    changes = (client.get("/v1/members/m1/tier/changes").json or {})["data"]
    assert [change["cause"] for change in changes] == ["refund", "order", "enrol"]


def test_points_are_earned_at_the_tier_held_when_the_order_was_placed(client: Client) -> None:
    enrol(client)
    client.post("/v1/orders", json=an_order("o1", amount="3000", placed_at=ago(days=3)))
    second = client.post("/v1/orders", json=an_order("o2", amount="3000", placed_at=ago(days=2))).json or {}
    third = client.post("/v1/orders", json=an_order("o3", amount="3000", placed_at=ago(days=1))).json or {}
    assert second["tier"]["after"]["tier"] == "silver"
    assert second["points"]["earned"] == 100
    assert third["points"]["earned"] == 110


def test_an_order_that_comes_late_is_rated_where_it_belongs(client: Client) -> None:
    enrol(client, joined_at=ago(days=100))
    client.post("/v1/orders", json=an_order("o2", amount="3000", placed_at=ago(days=10)))
    client.post("/v1/orders", json=an_order("o1", amount="3000", placed_at=ago(days=40)))
    changes = (client.get("/v1/members/m1/tier/changes").json or {})["data"]
    assert changes[0]["to"] == "silver"
    assert changes[0]["cause"] == "late_fact"


def test_an_unknown_sku_is_remembered_as_a_stub(client: Client) -> None:
    enrol(client)
    client.post("/v1/orders", json=an_order(lines=[{"sku": "never seen", "quantity": 1, "amount": "1"}]))
    item = client.get("/v1/items/never%20seen").json or {}
    assert item["stub"] is True


def test_ids_may_hold_slashes_and_percent_signs(client: Client) -> None:
    enrol(client, "a%2Fb%25c")
    response = client.get("/v1/members/a%2Fb%25c")
    assert (response.json or {})["member_id"] == "a/b%c"


def test_order_in_another_currency_needs_its_rate(client: Client) -> None:
    enrol(client)
    body = an_order(currency="USD", amount="10")
    assert (client.post("/v1/orders", json=body).json or {})["code"] == "currency-mismatch"
    answer = client.post("/v1/orders", json={**body, "exchange_rate": "32.10"}).json or {}
    assert answer["order"]["goods"] == "10.00"
    assert (client.get("/v1/members/m1/tier").json or {})["metrics"]["net_spend"] == "321.00"


@pytest.mark.parametrize(
    ("change", "status", "pointer"),
    [
        ({"placed_at": "2026-01-01T10:00:00"}, 422, "/placed_at"),
        ({"placed_at": "2199-01-01T10:00:00Z"}, 422, "/placed_at"),
        ({"placed_at": 5}, 422, "/placed_at"),
        ({"currency": "XYZ"}, 422, "/currency"),
        ({"lines": []}, 422, "/lines"),
        ({"lines": [{"sku": "a", "quantity": 1, "amount": "-1"}]}, 422, "/lines/0/amount"),
        ({"lines": [{"sku": "a", "quantity": 1, "amount": "1.005"}]}, 422, "/lines/0/amount"),
        ({"lines": [{"sku": "a", "quantity": 1, "amount": 1.005}]}, 422, "/lines/0/amount"),
        ({"lines": [{"sku": "a", "quantity": "1", "amount": "1"}]}, 422, "/lines/0/quantity"),
        ({"lines": [{"sku": "a", "quantity": True, "amount": "1"}]}, 422, "/lines/0/quantity"),
        ({"lines": [{"sku": "a", "quantity": 0, "amount": "1"}]}, 422, "/lines/0/quantity"),
        ({"lines": [{"sku": "a\x00", "quantity": 1, "amount": "1"}]}, 422, "/lines/0/sku"),
        ({"order_id": "x" * 129}, 422, "/order_id"),
        ({"order_id": ""}, 422, "/order_id"),
        ({"order_id": None}, 422, "/order_id"),
        ({"colour": "red"}, 422, "/colour"),
        ({"discount": "1000.01"}, 422, "/discount"),
        ({"member_id": "nobody"}, 422, "/member_id"),
        ({"exchange_rate": "2"}, 422, "/exchange_rate"),
    ],
)
def test_bad_orders_are_refused_with_a_pointer_and_nothing_is_written(
    client: Client, change: dict[str, Any], status: int, pointer: str
) -> None:
    enrol(client)
    response = client.post("/v1/orders", json=an_order() | change)
    assert response.status_code == status, response.data
    assert pointer in [error["pointer"] for error in (response.json or {})["errors"]]
    for table in ("orders", "order_keys", "member_days", "ledger_transactions", "items"):
        assert count(client, table) == 0
    assert count(client, "outbox") == 1, "only the enrolment was told"


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (b'{"order_id": ', "application/json", 400, "malformed-request"),
        (b"\xff\xfe", "application/json", 400, "malformed-request"),
        (b'{"order_id": NaN}', "application/json", 400, "malformed-request"),
        (b'{"order_id": "a", "order_id": "b"}', "application/json", 400, "malformed-request"),
        (b"[" * 100_000, "application/json", 400, "malformed-request"),
        (b"order_id=1", "application/x-www-form-urlencoded", 415, "not-json"),
        (b"{}", "text/plain", 415, "not-json"),
        (b"[]", "application/json", 422, "invalid"),
    ],
)
def test_bodies_that_cannot_be_read_are_refused(
    client: Client, data: bytes, content_type: str, status: int, code: str
) -> None:
    response = client.post("/v1/orders", data=data, headers={"Content-Type": content_type})
    assert response.status_code == status
    assert (response.json or {})["code"] == code


def test_unknown_query_parameters_are_refused(client: Client) -> None:
    enrol(client)
    response = client.get("/v1/members/m1/card?colour=red")
    assert response.status_code == 400
    assert (response.json or {})["errors"][0]["parameter"] == "colour"


def test_no_key_and_a_wrong_role_are_refused(client: Client) -> None:
    assert client.post("/v1/orders", json=an_order(), role=None).status_code == 401
    assert client.post("/v1/orders", json=an_order(), role="marketing").status_code == 403
    wrong = client.post(
        "/v1/orders", json=an_order(), role=None, headers={"Authorization": "Bearer nonsense"}
    )
    assert wrong.status_code == 401


def test_a_repeated_idempotency_key_gets_the_first_answer(client: Client) -> None:
    enrol(client)
    headers = {"Idempotency-Key": "k1"}
    body = an_order()
    first = client.post("/v1/orders", json=body, headers=headers)
    again = client.post("/v1/orders", json=body, headers=headers)
    assert again.status_code == 201
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.data == first.data
    other = client.post("/v1/orders", json=body | {"channel": "app"}, headers=headers)
    assert (other.json or {})["code"] == "idempotency-key-reused"


def test_a_refusal_is_not_kept_under_its_key(client: Client) -> None:
    headers = {"Idempotency-Key": "k1"}
    body = an_order()
    assert client.post("/v1/orders", json=body, headers=headers).status_code == 422
    enrol(client)
    assert client.post("/v1/orders", json=body, headers=headers).status_code == 201


def test_shipments_are_recorded_once(client: Client) -> None:
    enrol(client)
    client.post("/v1/orders", json=an_order(placed_at=ago(days=1)))
    body = {"shipment_id": "s1", "status": "shipped", "occurred_at": ago(hours=1)}
    assert client.post("/v1/orders/o1/shipments", json=body).status_code == 201
    assert client.post("/v1/orders/o1/shipments", json=body).status_code == 200
    other = body | {"occurred_at": ago(hours=2)}
    assert client.post("/v1/orders/o1/shipments", json=other).status_code == 409
    assert client.post("/v1/orders/none/shipments", json=body).status_code == 404
    assert len((client.get("/v1/orders/o1").json or {})["order"]["shipments"]) == 1


def test_an_order_too_large_to_count_is_refused(client: Client) -> None:
    enrol(client)
    body = an_order(currency="USD", amount="9999999999999", exchange_rate="100000000")
    assert client.post("/v1/orders", json=body).status_code == 422
    assert count(client, "orders") == 0


def test_an_unlinked_refund_in_another_currency_is_refused(client: Client) -> None:
    enrol(client)
    body = {
        "refund_id": "r1",
        "member_id": "m1",
        "refunded_at": ago(seconds=0),
        "amount": "5",
        "currency": "USD",
    }
    assert (client.post("/v1/refunds", json=body).json or {})["code"] == "currency-mismatch"
    assert count(client, "refunds") == 0


def test_a_refund_is_allotted_alike_whatever_the_order_of_its_lines(client: Client) -> None:
    lines = [{"sku": "tea", "quantity": 1, "amount": "300"}, {"sku": "cup", "quantity": 1, "amount": "300"}]
    left = []
    for member_id, given in (("m1", lines), ("m2", lines[::-1])):
        enrol(client, member_id)
        for number, sku in enumerate(("tea", "cup")):
            order = an_order(
                f"{member_id}-{number}",
                member_id,
                placed_at=ago(days=3 - number),
                lines=[{"sku": sku, "quantity": 1, "amount": "400"}],
            )
            client.post("/v1/orders", json=order)
        body = {
            "refund_id": f"{member_id}-r",
            "member_id": member_id,
            "refunded_at": ago(seconds=0),
            "amount": "450",
            "lines": given,
        }
        client.post("/v1/refunds", json=body)
        left.append(
            [(client.get(f"/v1/orders/{member_id}-{n}").json or {})["points"]["reversed"] for n in (0, 1)]
        )
    assert left[0] == left[1]
