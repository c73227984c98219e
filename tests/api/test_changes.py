"""The change feed through HTTP: ordered, without gaps, read on from any point."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from typing import Any

import pytest

from service.chronicle.rules import TOPICS
from tests.api.conftest import Client, an_order, enrol
from tests.house.sources import list_sources


def read(client: Client, query: str = "") -> dict[str, Any]:
    """Return a stretch of the feed."""
    response = client.get(f"/v1/changes{query}")
    assert response.status_code == 200, response.data
    return dict(response.json or {})


def topics_of(stretch: dict[str, Any]) -> list[str]:
    """Return the topics of a stretch, in order."""
    return [change["topic"] for change in stretch["data"]]


def test_an_empty_feed_has_nothing_to_read_on_from(client: Client) -> None:
    assert read(client) == {"data": [], "next_cursor": None, "resume_from": None}


def test_a_members_story_comes_in_its_order(client: Client) -> None:
    enrol(client)
    client.post("/v1/orders", json=an_order(amount="3000"))
    refund = {"refund_id": "r1", "order_id": "o1", "refunded_at": datetime.now(UTC).isoformat()}
    client.post("/v1/refunds", json=refund | {"amount": "600"})
    client.post(
        "/v1/orders/o1/cancel", json={"cancelled_at": datetime.now(UTC).isoformat(), "reason": "called off"}
    )
    client.post(
        "/v1/members/m1/points/adjustments",
        json={"points": 5, "reason": "goodwill"},
        headers={"Idempotency-Key": "k1"},
    )
    client.put("/v1/items/tea", json={"name": {"en": "Tea"}})
    feed = read(client)
    assert topics_of(feed) == [
        "member.enrolled",
        "order.placed",
        "points.earned",
        "refund.taken",
        "points.reversed",
        "order.cancelled",
        "points.reversed",
        "points.adjusted",
        "item.changed",
    ]
    placed = feed["data"][1]
    assert placed["member_id"] == "m1"
    assert placed["payload"] == {
        "order_id": "o1",
        "store_id": None,
        "net_spend": "3000.00",
        "currency": "TWD",
    }
    assert feed["data"][3]["payload"]["amount"] == "600.00"
    assert feed["data"][4]["payload"] == {"order_id": "o1", "refund_id": "r1", "points": 20, "shortfall": 0}
    assert feed["data"][-1]["member_id"] is None


def test_reading_on_meets_every_change_exactly_once(client: Client) -> None:
    for number in range(7):
        enrol(client, f"m{number}")
    met, since = [], ""
    while True:
        stretch = read(client, f"?limit=3{since}")
        met += [change["member_id"] for change in stretch["data"]]
        since = f"&since={stretch['resume_from']}"
        if stretch["next_cursor"] is None:
            break
        assert stretch["next_cursor"] == stretch["resume_from"]
    assert met == [f"m{number}" for number in range(7)]
    assert read(client, f"?{since[1:]}")["data"] == []
    enrol(client, "m7")
    assert [change["member_id"] for change in read(client, f"?{since[1:]}")["data"]] == ["m7"]


def test_a_page_of_exactly_what_is_left_says_that_it_is_the_end(client: Client) -> None:
    enrol(client)
    stretch = read(client, "?limit=1")
    assert (len(stretch["data"]), stretch["next_cursor"]) == (1, None)
    assert stretch["resume_from"] is not None


def test_topics_narrow_the_feed_and_reading_on_passes_over_the_others(client: Client) -> None:
    enrol(client)
    client.post("/v1/orders", json=an_order(amount="3000"))
    stretch = read(client, "?topics=order.placed,item.changed")
    assert topics_of(stretch) == ["order.placed"]
    assert stretch["resume_from"] == read(client)["resume_from"]


def test_an_order_sent_again_is_told_once(client: Client) -> None:
    enrol(client)
    order = an_order(amount="3000")
    client.post("/v1/orders", json=order)
    client.post("/v1/orders", json=order)
    assert topics_of(read(client)).count("order.placed") == 1


def test_a_refused_request_tells_nothing(client: Client) -> None:
    enrol(client)
    client.post("/v1/orders", json=an_order(discount="99999"))
    assert topics_of(read(client)) == ["member.enrolled"]


def test_the_feed_tells_the_names_of_a_members_fields_and_never_their_values(client: Client) -> None:
    enrol(client, name="林美玲", email="mei@example.com")
    enrol(client, email="other@example.com")
    response = client.get("/v1/changes")
    assert b"example.com" not in response.data
    assert (response.json or {})["data"][1]["payload"] == {"fields": ["email"]}


def test_a_change_that_is_not_here_cannot_be_read_on_from(client: Client) -> None:
    enrol(client)
    response = client.get("/v1/changes?since=Wzk5OTk5OTk5OV0")
    assert (response.status_code, (response.json or {})["code"]) == (409, "change-cursor-unknown")
    assert [error["parameter"] for error in (response.json or {})["errors"]] == ["since"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("since=nonsense", "since"),
        ("since=WyJhIl0", "since"),
        ("topics=order.lost", "topics"),
        ("topics=,", "topics"),
        ("limit=501", "limit"),
        ("cursor=x", "cursor"),
    ],
)
def test_what_the_feed_does_not_understand_is_refused(client: Client, query: str, parameter: str) -> None:
    response = client.get(f"/v1/changes?{query}")
    assert response.status_code in {400, 422}
    assert [error["parameter"] for error in (response.json or {})["errors"]] == [parameter]


@pytest.mark.parametrize("role", ["storefront", "marketing"])
def test_the_feed_is_for_machines_and_operations(client: Client, role: Any) -> None:
    assert client.get("/v1/changes", role=role).status_code == 403
    assert client.get("/v1/changes", role="operations").status_code == 200


def test_every_topic_that_is_told_is_documented() -> None:
    told = set()
    for source in list_sources("service"):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.keyword) and node.arg == "topic" and isinstance(node.value, ast.Constant):
                told.add(node.value.value)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Event" and node.args:
                told |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)}
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Topics":
                told |= {
                    given.value.value for given in node.keywords if isinstance(given.value, ast.Constant)
                }
    assert told <= set(TOPICS)
    assert {"order.placed", "model.promoted", "member.tier.changed", "tier.ruleset.published"} <= told
