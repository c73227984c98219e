"""A message in two wordings, sent to many members at once: who gets which, and what must not get worse."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from service.experiments.laws import check_laws
from tests.api.conftest import Client, an_order, enrol
from tests.api.test_checkout import refund, with_voucher
from tests.api.test_uplift import PLAN, expose, post, start

CROWD = "/v1/experiments/text/exposures/crowd"


def send(client: Client, *member_ids: str) -> list[dict[str, Any]]:
    body = {"member_ids": member_ids, "placement": "newsletter-47", "channel": "email"}
    response = client.post(CROWD, json=body, role="marketing")
    assert response.status_code == 200, response.data
    data: list[dict[str, Any]] = (response.json or {})["data"]
    return data


def count_statements(client: Client, *member_ids: str) -> int:
    seen: list[str] = []

    def note(*given: Any) -> None:
        seen.append(given[2])

    event.listen(client.engine, "before_cursor_execute", note)
    send(client, *member_ids)
    event.remove(client.engine, "before_cursor_execute", note)
    return len(seen)


def test_a_crowd_is_drawn_as_each_of_its_members_would_be(client: Client) -> None:
    start(client, surface="message", nested=True, eligibility={"consent": "marketing"})
    for number in range(40):
        enrol(client, f"m{number}", consent={"marketing": number != 7})
    alone = {f"m{number}": expose(client, member_id=f"m{number}") for number in range(10)}
    named = [f"m{number}" for number in reversed(range(40))]
    answers = send(client, *named, "nobody", "m3")
    assert [one["member_id"] for one in answers] == [*named, "nobody"], "in order, and each once"
    together = {one["member_id"]: one for one in answers}
    for member_id, one in alone.items():
        same = together[member_id]
        for name in ("arm", "reason", "assigned_at", "version"):
            assert same[name] == one[name]
        assert same["measurement"].keys() == one["measurement"].keys()
    reasons = Counter(one["reason"] for one in answers)
    assert (reasons["not_eligible"], reasons["not_a_member"]) == (1, 1)
    assert reasons["held_out"] > 0
    assert {one["arm"] for one in answers if one["reason"] == "split"} == {"control", "new"}
    assert {one["measurement"]["policy"]["name"] for one in answers} == {"message"}
    again = send(client, *named)
    assert [one["arm"] for one in again] == [one["arm"] for one in answers[:-1]]
    with client.engine.connect() as conn:
        assert check_laws(conn) == []
    told = client.get("/v1/experiments/text/uplift?anchor=first_exposure").json or {}
    left = {one["reason"]: one["members"] for one in told["comparisons"][0]["left_out"] if not one["arm"]}
    assert left == {name: reasons[name] for name in ("held_out", "not_a_member", "not_eligible")}


def test_a_thousand_members_take_no_more_statements_than_two(client: Client) -> None:
    start(client, surface="message")
    with client.engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO members (member_id, joined_at, created_at, updated_at) "
                "SELECT 'm' || n, now(), now(), now() FROM generate_series(1, 1000) AS n"
            )
        )
    few = count_statements(client, "m1", "m2")
    assert count_statements(client, *(f"m{number}" for number in range(3, 1_001))) == few
    refused = client.post(CROWD, json={"member_ids": [f"m{number}" for number in range(1_001)]})
    assert refused.status_code == 422


def test_a_message_is_not_drawn_where_its_arms_are_somebody_elses(client: Client) -> None:
    start(client, surface="campaigns")
    enrol(client)
    refused = client.post(CROWD, json={"member_ids": ["m1"]})
    assert (refused.status_code, (refused.json or {})["code"]) == (422, "surface-not-served")
    assert client.post(CROWD, json={"member_ids": ["m1"], "arm": "new"}).status_code == 422


def move_back(client: Client) -> None:
    """Let everything so far have happened two days ago, against every rule that facts stay as they are."""
    columns = {
        "experiments": "started_at",
        "assignments": "assigned_at",
        "consent_changes": "changed_at",
        "orders": "placed_at",
        "refund_keys": "refunded_at",
    }
    with client.engine.begin() as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        for table, column in columns.items():
            conn.execute(text(f"UPDATE {table} SET {column} = {column} - interval '2 days'"))


@pytest.mark.parametrize(
    ("guardrails", "pointer"),
    [
        ([{"metric": "unsubscribed", "margin": "5"}], "/guardrails/0/margin_bp"),
        ([{"metric": "reward_cost", "margin_bp": 5}], "/guardrails/0/margin"),
        ([{"metric": "reward_cost", "margin": "5", "margin_bp": 5}], "/guardrails/0/margin"),
        ([{"metric": "unsubscribed", "margin_bp": 5}] * 2, "/guardrails/1/metric"),
    ],
    ids=["a share by an amount", "an amount by a share", "both", "twice"],
)
def test_each_metric_is_guarded_once_and_by_its_own_kind_of_margin(
    client: Client, guardrails: list[dict[str, Any]], pointer: str
) -> None:
    refused = post(client, "", PLAN | {"key": "guarded", "guardrails": guardrails})
    assert (refused.status_code, refused.json["code"]) == (422, "invalid")
    assert [one["pointer"] for one in refused.json["errors"]] == [pointer]


def test_unsubscribing_refunds_and_vouchers_reach_the_guardrails(client: Client) -> None:
    """What members do over HTTP after a message is what its guardrails say."""
    guardrails = [
        {"metric": "unsubscribed", "margin_bp": 100},
        {"metric": "returned_value", "margin": "50"},
        {"metric": "reward_cost", "margin": "50"},
    ]
    start(client, surface="message", window_days=1, refund_grace_days=0, guardrails=guardrails)
    told = client.get("/v1/experiments/text").json or {}
    assert [(one["margin"], one["margin_bp"]) for one in told["guardrails"]] == [
        (None, 100),
        ("50.00", None),
        ("50.00", None),
    ]
    members = [f"m{number}" for number in range(60)]
    for member_id in members:
        enrol(client, member_id, consent={"marketing": True})
    arms = {one["member_id"]: one["arm"] for one in send(client, *members)}
    tried = [one for one in members if arms[one] == "new"]
    for member_id in tried[:3]:
        enrol(client, member_id, consent={"marketing": False})
    later = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    code = with_voucher(client, member=tried[0], value="10")
    for number, given in ((0, {"voucher_code": code}), (1, {})):
        order = an_order(f"o{number}", tried[number], placed_at=later, **given)
        assert client.post("/v1/orders", json=order).status_code == 201
    assert refund(client, "r1", "300", "o1", at=later).status_code == 201
    move_back(client)
    results = (client.get("/v1/experiments/text/uplift").json or {})["comparisons"][0]["results"]
    harm = {one["metric"]: one["harm"]["value"] for one in results["guardrails"]}
    assert harm["unsubscribed"] == pytest.approx(3 / len(tried))
    assert harm["returned_value"] == pytest.approx(300_00 / len(tried))
    assert harm["reward_cost"] == pytest.approx(10_00 / len(tried))
