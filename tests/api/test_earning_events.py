"""Points for custom events: once each, within their limits, and never for what a browser makes up."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from service.intake.bulk.operations import run_import
from service.kit.db import transaction
from service.kit.sealing import Sealer
from service.ledger.operations import check_laws
from service.programme.operations import get_programme
from tests.api.conftest import Client, enrol
from tests.api.test_earning_rules import get, publish
from tests.integration.intake.business import write_ndjson

EVENTS: dict[str, Any] = {
    "currency": "TWD",
    "events": [
        {"type": "custom:review", "points": 50, "once_per_sku": True, "per_member_day": 2},
        {"type": "custom:profile-completed", "points": 100, "per_member": 1},
        {"type": "custom:quiz", "points": 7, "per_member_day": 1, "from_storefront": True},
    ],
}


def an_event(event_id: str, kind: str = "custom:review", **fields: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "type": kind,
        "member_id": "m1",
        "sku": "tea",
        "occurred_at": datetime.now(UTC).isoformat(),
    } | fields


def send(client: Client, *events: dict[str, Any], **options: Any) -> list[Any]:
    """Send events and return what each earned, or its refusal."""
    response = client.post("/v1/events", json={"events": list(events)}, **options)
    assert response.status_code == 200, response.data
    return [verdict["code"] or verdict["points"] for verdict in (response.json or {})["data"]]


def points(client: Client, member_id: str = "m1") -> int:
    return int(get(client, f"/v1/members/{member_id}/points")["available"])


def assert_lawful(client: Client) -> None:
    with client.engine.connect() as conn:
        assert check_laws(conn) == []


@pytest.fixture
def rewarding(client: Client) -> Client:
    """A member, and rules that reward events."""
    enrol(client)
    publish(client, EVENTS)
    return client


def test_a_review_earns_at_once_and_is_told_and_shown(rewarding: Client) -> None:
    assert send(rewarding, an_event("e1")) == [50]
    assert points(rewarding) == 50
    (entry,) = get(rewarding, "/v1/members/m1/points/transactions")["data"]
    assert (entry["kind"], entry["reason"], entry["order_id"], entry["rule"]) == (
        "earn", "custom:review", None, None,
    )  # fmt: skip
    (told,) = get(rewarding, "/v1/changes?topics=points.rewarded")["data"]
    assert told["payload"] == {"event_id": "e1", "type": "custom:review", "points": 50}
    assert_lawful(rewarding)


def test_replaying_an_event_pays_once_and_answers_what_it_paid(rewarding: Client) -> None:
    """Complaint 24: replaying the order event pays again."""
    event = an_event("e1")
    assert send(rewarding, event) == [50]
    for _ in range(3):
        assert send(rewarding, event, event) == [50, 50]
    assert send(rewarding, event | {"sku": "cup"}) == ["order-conflict"]
    assert points(rewarding) == 50


def test_many_deliveries_of_one_event_at_once_pay_once(rewarding: Client) -> None:
    """Complaint 26: two deliveries of one webhook both pass the check before either records the id."""
    event = an_event("e1")
    answers: list[list[Any]] = []

    def deliver() -> None:
        own = Client(rewarding.app, rewarding.engine, rewarding.keys)
        answers.append(send(own, event))

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [[50]] * 8
    assert points(rewarding) == 50
    assert_lawful(rewarding)


def test_limits_hold_per_sku_per_day_and_for_good(rewarding: Client) -> None:
    assert send(
        rewarding,
        an_event("e1"),
        an_event("e2"),
        an_event("e3", sku="cup"),
        an_event("e4", sku="pot"),
        an_event("e5", sku=None),
    ) == [50, 0, 50, 0, 0]
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    # Before the rules came into force nothing was rewarded.
    assert send(rewarding, an_event("e6", sku="pan", occurred_at=yesterday)) == [0]
    assert send(
        rewarding,
        an_event("p1", "custom:profile-completed"),
        an_event("p2", "custom:profile-completed"),
    ) == [100, 0]
    assert points(rewarding) == 200


def test_limits_hold_when_events_come_at_once(rewarding: Client) -> None:
    def deliver(number: int) -> None:
        own = Client(rewarding.app, rewarding.engine, rewarding.keys)
        send(own, an_event(f"p{number}", "custom:profile-completed"))

    threads = [threading.Thread(target=deliver, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert points(rewarding) == 100


def test_what_a_browser_sends_earns_only_where_the_rules_say_so(rewarding: Client) -> None:
    token = rewarding.post("/v1/member-tokens", json={"member_id": "m1"}, role="server")
    assert token.status_code in {200, 201}, token.data
    bearer = {"Authorization": f"Bearer {(token.json or {})['token']}"}
    sent = rewarding.post(
        "/v1/events",
        json={"events": [an_event("e1"), an_event("q1", "custom:quiz")]},
        role=None,
        headers=bearer,
    )
    assert [verdict["points"] for verdict in (sent.json or {})["data"]] == [0, 7]
    # It is recorded, so the shop's own server cannot have it paid under the same id either.
    assert points(rewarding) == 7


def test_events_of_visitors_and_of_types_without_a_rule_earn_nothing(rewarding: Client) -> None:
    visitor = an_event("e1", member_id=None, anonymous_id="somebody")
    assert send(rewarding, visitor, an_event("e2", "custom:share"), an_event("e3", "view_item")) == [0, 0, 0]
    assert points(rewarding) == 0


def test_imported_events_earn_what_sent_ones_do_and_once(rewarding: Client, tmp_path: Path) -> None:
    records = [an_event("e1"), an_event("e2"), an_event("e3", sku="cup"), an_event("e4", "custom:quiz")]
    path = write_ndjson(tmp_path / "events.ndjson", records)
    with transaction(rewarding.engine) as conn:
        programme = get_programme(conn, fresh=True)
    for _ in range(2):
        run_import(
            rewarding.engine,
            kind="events",
            source=path,
            programme=programme,
            sealer=Sealer(b"a key of the tests, 32 bytes long"),
            now=datetime.now(UTC),
        )
        assert points(rewarding) == 107
    assert send(rewarding, records[0]) == [50]
    assert_lawful(rewarding)


def test_the_database_itself_refuses_a_second_award_for_an_event(rewarding: Client) -> None:
    send(rewarding, an_event("e1"))
    again = text(
        "INSERT INTO ledger_transactions (member_key, kind, occurred_at, recorded_at, event_key) "
        "SELECT member_key, 'earn', now(), now(), event_key FROM ledger_transactions "
        "WHERE event_key IS NOT NULL"
    )
    with rewarding.engine.connect() as conn, pytest.raises(IntegrityError, match="event_once"):
        conn.execute(again)


def test_points_of_events_sent_under_a_merged_id_go_back_with_it_when_the_merge_is_undone(
    rewarding: Client,
) -> None:
    def change(path: str, body: dict[str, str]) -> None:
        headers = {"Idempotency-Key": path.replace("/", "-")}
        given = body | {"reason": "one person"}
        answer = rewarding.post(f"/v1/members/m1/{path}", json=given, role="admin", headers=headers)
        assert answer.status_code in {200, 201}, answer.data

    enrol(rewarding, "m2")
    assert send(rewarding, an_event("before"), an_event("theirs", member_id="m2")) == [50, 50]
    change("merge", {"into": "m2"})
    # Two of a day's two are taken; another kind is not.
    assert send(rewarding, an_event("since", sku="cup"), an_event("quiz", "custom:quiz")) == [0, 7]
    assert points(rewarding) == 107
    change("merge/undo", {})
    assert (points(rewarding), points(rewarding, "m2")) == (57, 50)
    assert_lawful(rewarding)
