"""What `POST /orders` shows of an order is what was recorded."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Client, an_order, enrol

FIELDS = {
    "lines": [
        {"sku": "b", "quantity": 3, "amount": "100.01", "category": "cups"},
        {"sku": "a", "quantity": 1, "amount": "0.02"},
        {"sku": "b", "quantity": 1, "amount": "33.33"},
    ],
    "shipping": "60",
    "tax": "5.5",
    "discount": "10.01",
    "store_id": "taipei",
    "channel": "web",
}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        FIELDS,
        FIELDS | {"currency": "JPY", "exchange_rate": "0.2150", "discount": "10", "tax": "5", "lines": [
            {"sku": "a", "quantity": 1, "amount": "990"}, {"sku": "c", "quantity": 2, "amount": "15"},
        ]},
    ],
    ids=["plain", "everything", "another currency"],
)  # fmt: skip
def test_the_answer_shows_the_order_as_it_is_recorded(client: Client, fields: dict[str, Any]) -> None:
    enrol(client)
    body = an_order(**fields)
    answer = client.post("/v1/orders", json=body)
    assert answer.status_code == 201
    shown = (answer.json or {})["order"]
    recorded = (client.get("/v1/orders/o1").json or {})["order"]
    assert recorded.pop("refunds") == []
    assert recorded.pop("shipments") == []
    assert shown == recorded
