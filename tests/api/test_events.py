"""Events of the storefront, through HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from tests.api.conftest import Client, enrol


def an_event(event_id: str = "e1", **fields: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "type": "view_item",
        "member_id": "m1",
        "sku": "tea",
        "occurred_at": datetime.now(UTC).isoformat(),
    } | fields


def verdicts(client: Client, *events: dict[str, Any]) -> list[str]:
    response = client.post("/v1/events", json={"events": list(events)})
    assert response.status_code == 200, response.data
    return [verdict["code"] or verdict["status"] for verdict in (response.json or {})["data"]]


def test_each_event_gets_its_own_verdict(client: Client) -> None:
    enrol(client)
    far = (datetime.now(UTC) + timedelta(minutes=6)).isoformat()
    good = an_event("e1")
    assert verdicts(
        client,
        good,
        good,
        an_event("e2", member_id="nobody"),
        an_event("e3", occurred_at=far),
        an_event("e4", member_id=None, anonymous_id="visitor"),
        an_event("e1", type="search", occurred_at=good["occurred_at"]),
    ) == ["accepted", "duplicate", "member-not-enrolled", "future-time", "accepted", "order-conflict"]


def test_sending_events_again_changes_nothing(client: Client) -> None:
    enrol(client)
    events = [an_event(f"e{number}") for number in range(1000)]
    assert set(verdicts(client, *events)) == {"accepted"}
    assert set(verdicts(client, *events)) == {"duplicate"}
    with client.engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM events")).scalar_one() == 1000


def test_an_event_of_nobody_and_an_unknown_type_are_refused(client: Client) -> None:
    for event in (an_event(member_id=None), an_event(type="nonsense"), an_event(type="custom:")):
        assert client.post("/v1/events", json={"events": [event]}).status_code == 422
    assert client.post("/v1/events", json={"events": [an_event()] * 1001}).status_code == 422
