"""Tiers, through HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from tests.api.conftest import Client, an_order, enrol


def ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


def tier(client: Client, query: str = "", **options: Any) -> dict[str, Any]:
    return client.get(f"/v1/members/m1/tier{query}", **options).json or {}


def buy(client: Client, order_id: str, days_ago: float, amount: str) -> dict[str, Any]:
    body = an_order(order_id, amount=amount, placed_at=ago(days=days_ago))
    return client.post("/v1/orders", json=body).json or {}


@pytest.fixture
def member(client: Client) -> Client:
    """A member of a year and a half who bought twice, long ago and lately."""
    enrol(client, joined_at=ago(days=500))
    buy(client, "o1", 450, "2000")
    buy(client, "o2", 430, "2500")
    buy(client, "o3", 3, "800")
    return client


def test_a_tier_is_told_with_its_reasons_in_the_callers_language(member: Client) -> None:
    told = tier(member)
    assert told["tier"] == "member"
    assert told["metrics"]["net_spend"] == "800.00"
    assert told["to_rise"]["tier"] == "silver"
    assert told["to_rise"]["one_order_is_enough"] is True
    assert "Your tier is Member" in told["explanation"]
    chinese = tier(member, headers={"Accept-Language": "zh-TW,zh;q=0.9"})
    assert chinese["name"] == "一般會員"
    assert "您目前的會員等級是「一般會員」" in chinese["explanation"]


def test_what_time_has_done_meanwhile_is_in_the_answer_of_the_order(client: Client) -> None:
    enrol(client, joined_at=ago(days=500))
    buy(client, "o1", 450, "2000")
    risen = buy(client, "o2", 430, "2500")
    assert (risen["tier"]["before"]["tier"], risen["tier"]["after"]["tier"]) == ("member", "silver")


def test_the_past_is_told_as_of_a_day_or_a_time(member: Client) -> None:
    then = datetime.now(UTC) - timedelta(days=400)
    assert tier(member, f"?as_of={then.date().isoformat()}")["tier"] == "silver"
    assert tier(member, f"?as_of={then.strftime('%Y-%m-%dT%H:%M:%SZ')}")["tier"] == "silver"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?as_of=2999-01-01", 422, "as-of-in-future"),
        ("?as_of=2999-01-01T00:00:00Z", 422, "as-of-in-future"),
        ("?as_of=2001-01-01", 404, "no-membership"),
        ("?as_of=yesterday", 422, "invalid"),
        ("?as_of=2024-02-30", 422, "invalid"),
        ("?as_of=2024-01-01T00:00:00", 422, "invalid"),
        ("?when=now", 400, "malformed-request"),
    ],
)
def test_a_moment_that_cannot_be_told_is_refused(member: Client, query: str, status: int, code: str) -> None:
    response = member.get(f"/v1/members/m1/tier{query}")
    assert (response.status_code, (response.json or {})["code"]) == (status, code)


def test_an_unknown_member_has_no_tier(client: Client) -> None:
    assert client.get("/v1/members/nobody/tier").status_code == 404
    assert client.get("/v1/members/nobody/tier/changes").status_code == 404


def test_reading_a_tier_writes_nothing(member: Client) -> None:
    with member.engine.connect() as conn:
        before = conn.execute(text("SELECT *, xmin FROM tier_states")).all()
    tier(member)
    with member.engine.connect() as conn:
        assert conn.execute(text("SELECT *, xmin FROM tier_states")).all() == before


def test_every_change_names_its_cause_its_order_and_its_numbers(member: Client) -> None:
    page = member.get("/v1/members/m1/tier/changes").json or {}
    assert [
        (change["from"], change["to"], change["cause"], change["order_id"]) for change in page["data"]
    ] == [
        ("silver", "member", "roll_off", None),
        ("member", "silver", "order", "o2"),
        (None, "member", "enrol", None),
    ]
    assert page["data"][1]["metrics"]["net_spend"] == "4500.00"
    assert page["next_cursor"] is None


def test_the_replay_is_the_same_list_when_nothing_came_late(member: Client) -> None:
    believed = (member.get("/v1/members/m1/tier/changes").json or {})["data"]
    replay = (member.get("/v1/members/m1/tier/changes?basis=replay").json or {})["data"]
    kept = ("from", "to", "effective_at", "cause", "metrics", "order_id", "refund_id")
    assert [[row[name] for name in kept] for row in replay] == [
        [row[name] for name in kept] for row in believed
    ]


def test_changes_come_in_pages(member: Client) -> None:
    first = member.get("/v1/members/m1/tier/changes?limit=2").json or {}
    rest = member.get(f"/v1/members/m1/tier/changes?limit=2&cursor={first['next_cursor']}").json or {}
    assert (len(first["data"]), len(rest["data"]), rest["next_cursor"]) == (2, 1, None)
    assert member.get("/v1/members/m1/tier/changes?cursor=x").status_code == 400
    assert member.get("/v1/members/m1/tier/changes?basis=hope").status_code == 422


def review(client: Client, key: str, body: dict[str, Any], role: Any = "operations") -> Any:
    return client.post("/v1/tier-reviews", json=body, role=role, headers={"Idempotency-Key": key})


def test_a_review_can_be_asked_for(client: Client) -> None:
    enrol(client, joined_at=ago(days=500))
    buy(client, "o1", 450, "2000")
    buy(client, "o2", 430, "2500")
    with client.engine.begin() as conn:
        conn.execute(text("UPDATE tier_states SET next_review_on = current_date - 1"))
    answer = review(client, "k1", {}).json
    assert (answer["scope"], answer["reviewed"], answer["next_cursor"]) == ("due", 1, None)
    assert review(client, "k2", {}).json["reviewed"] == 0
    assert review(client, "k3", {"scope": "all"}).json["reviewed"] == 1


def test_a_review_is_for_operations_and_for_no_future_day(client: Client) -> None:
    assert review(client, "k1", {}, role="marketing").status_code == 403
    assert review(client, "k2", {"as_of": "2999-01-01"}).status_code == 422
    assert review(client, "k3", {"scope": "some"}).status_code == 422
    assert client.post("/v1/tier-reviews", json={}, role="operations").status_code == 400


def override(client: Client, **changes: Any) -> Any:
    body = {"tier": "gold", "until": ahead(30), "reason": "a complaint made good"} | changes
    return client.put("/v1/members/m1/tier/override", json=body, role="marketing")


def ahead(days: int) -> str:
    return (datetime.now(ZoneInfo("Asia/Taipei")) + timedelta(days=days)).date().isoformat()


def test_staff_hold_a_member_at_a_tier_until_a_day(member: Client) -> None:
    answer = override(member)
    assert answer.status_code == 200
    expected = {
        "tier": "gold",
        "until": ahead(30),
        "reason": "a complaint made good",
        "rated_tier": "member",
    }
    assert (answer.json["tier"], answer.json["override"]) == ("gold", expected)
    assert answer.json["stands_until"] == ahead(30)
    assert tier(member)["override"] == expected
    change = (member.get("/v1/members/m1/tier/changes").json or {})["data"][0]
    assert (change["from"], change["to"], change["cause"]) == ("member", "gold", "manual")


def test_points_earn_at_the_tier_that_staff_hold_a_member_at(member: Client) -> None:
    plain = buy(member, "o4", 0, "1000")["points"]["earned"]
    override(member)
    held = buy(member, "o5", 0, "1000")
    assert held["points"]["earned"] == plain * 125 // 100
    assert held["tier"]["after"]["tier"] == "gold"


def test_the_card_tells_of_a_tier_what_the_tier_itself_tells(member: Client) -> None:
    for locale in ("en", "zh-Hant"):
        seen = []
        for arrange in (lambda: None, lambda: override(member)):
            arrange()
            headers = {"Accept-Language": locale}
            whole: Any = member.get("/v1/members/m1/tier", headers=headers).json
            card: Any = member.get("/v1/members/m1/card", headers=headers).json
            assert card["tier"] == {name: whole[name] for name in card["tier"]}
            assert card["progress"] == {name: whole[name] for name in ("to_stay", "to_rise")}
            assert card["explanation"] == whole["explanation"]
            seen.append(card["tier"]["tier"])
        assert seen == ["member", "gold"]
        member.call("DELETE", "/v1/members/m1/tier/override", role="marketing")


def test_an_override_is_ended_by_deleting_it(member: Client) -> None:
    override(member)
    path = "/v1/members/m1/tier/override"
    told = member.call("DELETE", path, role="marketing").json or {}
    assert (told["tier"], told["override"]) == ("member", None)
    again = member.call("DELETE", path, role="marketing")
    assert (again.status_code, (again.json or {})["code"]) == (404, "no-override")


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"tier": "diamond"}, "unknown-tier", "/tier"),
        ({"until": "2020-01-01"}, "override-in-past", "/until"),
        ({"until": "soon"}, "invalid", "/until"),
        ({"reason": ""}, "invalid", "/reason"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused_with_its_place(
    member: Client, changes: dict[str, str], code: str, pointer: str
) -> None:
    answer = override(member, **changes)
    assert (answer.status_code, answer.json["code"]) == (422, code)
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert tier(member)["override"] is None


def test_an_override_names_the_tiers_there_are_and_needs_a_reason(member: Client) -> None:
    detail = override(member, tier="diamond").json["detail"]
    assert "member, silver, gold, platinum" in detail
    body = {"tier": "gold", "until": ahead(30)}
    missing = member.put("/v1/members/m1/tier/override", json=body, role="marketing")
    assert [error["pointer"] for error in (missing.json or {})["errors"]] == ["/reason"]


def test_an_override_is_a_matter_of_marketing(member: Client) -> None:
    body = {"tier": "gold", "until": ahead(30), "reason": "because"}
    for role in ("server", "storefront", "operations"):
        assert member.put("/v1/members/m1/tier/override", json=body, role=role).status_code == 403


def test_the_tier_says_until_when_it_stands(client: Client) -> None:
    enrol(client, joined_at=ago(days=500))
    buy(client, "o1", 30, "2000")
    buy(client, "o2", 10, "2500")
    told = tier(client)
    assert told["tier"] == "silver"
    # With nothing more bought: a year after the first order, and thirty days of grace.
    assert told["stands_until"] == ahead(-30 + 365 + 30)
