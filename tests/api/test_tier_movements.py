"""Movement, distribution, outlook, through HTTP: as JSON and as tables, for keys of all stores and of one."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from service.kit.auth import new_secret, register_key
from service.kit.db import transaction
from service.tiers.movement import forecast
from tests.api.conftest import Client, an_order, enrol
from tests.days import today


def ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def day(days_ago: int) -> str:
    return (today() - timedelta(days=days_ago)).isoformat()


def buy(client: Client, order_id: str, member_id: str, days_ago: float, amount: str) -> None:
    body = an_order(order_id, member_id, amount, placed_at=ago(days_ago))
    assert client.post("/v1/orders", json=body).status_code == 201


@pytest.fixture
def shop(client: Client) -> Client:
    """Three who joined long ago, one of them Silver and about to fall; one who came last week."""
    client.put("/v1/stores/north", json={"name": "North"}, role="operations")
    for member_id in ("riser", "sinker", "quiet"):
        enrol(client, member_id, joined_at=ago(600), store_id="north" if member_id == "riser" else None)
    # Silver since 430 days ago; nothing is left of that year since 60 days ago but one small order.
    buy(client, "s1", "sinker", 440, "2000")
    buy(client, "s2", "sinker", 430, "2500")
    buy(client, "r1", "riser", 100, "2000")
    buy(client, "r2", "riser", 50, "2500")
    enrol(client, "=newcomer", joined_at=ago(6))
    review(client)
    return client


def review(client: Client) -> None:
    headers = {"Idempotency-Key": "review"}
    assert client.post("/v1/tier-reviews", json={}, role="operations", headers=headers).status_code == 200


def told(client: Client, path: str, **options: Any) -> Any:
    response = client.get(f"/v1/{path}", **({"role": "marketing"} | options))
    assert response.status_code == 200, response.text
    return response.json


def rows_of(client: Client, path: str, **options: Any) -> list[dict[str, str]]:
    response = client.get(f"/v1/{path}", **({"role": "marketing"} | options))
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert response.headers["Content-Disposition"].startswith('attachment; filename="tier-')
    return list(csv.DictReader(io.StringIO(response.text)))


def cells(report: Any) -> dict[tuple[str | None, str | None], int]:
    return {(cell["from"], cell["to"]): cell["count"] for cell in report["matrix"]}


def test_the_matrix_tells_who_rose_fell_and_joined_and_adds_up(shop: Client) -> None:
    report = told(shop, f"tier-movements?from={day(200)}&to={day(0)}")
    assert cells(report) == {
        ("member", "member"): 1,
        ("member", "silver"): 1,
        ("silver", "member"): 1,
        (None, "member"): 1,
    }
    assert report["members"] == {"opening": 3, "joined": 1, "left": 0, "closing": 4, "difference": 0}
    silver = next(total for total in report["totals"] if total["tier"] == "silver")
    assert (silver["opening"], silver["rose_in"], silver["fell_out"], silver["closing"]) == (1, 1, 1, 1)
    assert report["rates"]["churn"] == {"numerator": 1, "denominator": 1, "value": "1.0000"}
    assert report["rates"]["upgrade"] == {"numerator": 1, "denominator": 3, "value": "0.3333"}
    assert [tier["name"] for tier in report["tiers"]] == ["Member", "Silver", "Gold", "Platinum"]


@pytest.mark.parametrize("view", ["cohort", "event"])
@pytest.mark.parametrize("by", ["cause", "cohort", "store"])
def test_split_by_anything_the_parts_are_the_whole(shop: Client, view: str, by: str) -> None:
    path = f"tier-movements?from={day(200)}&to={day(0)}&view={view}&by={by}"
    report = told(shop, path)
    parts: dict[tuple[str | None, str | None], int] = {}
    for group in report["groups"]:
        for ends, count in cells(group).items():
            parts[ends] = parts.get(ends, 0) + count
    assert parts == cells(report)
    rows = rows_of(shop, f"{path}&format=csv")
    assert {row["by"] for row in rows} == {by}
    assert sum(int(row["count"]) for row in rows) == sum(parts.values())


def test_a_cause_groups_the_last_move_of_each_member(shop: Client) -> None:
    report = told(shop, f"tier-movements?from={day(200)}&to={day(0)}&by=cause")
    found = {group["group"]: cells(group) for group in report["groups"]}
    assert found == {
        "order": {("member", "silver"): 1},
        "roll_off": {("silver", "member"): 1},
        "enrol": {(None, "member"): 1},
        None: {("member", "member"): 1},
    }


def test_a_cause_that_moved_nobody_is_not_listed(shop: Client) -> None:
    """The stays of the opening have causes of their own, from before."""
    report = told(shop, f"tier-movements?from={day(20)}&to={day(0)}&view=event&by=cause")
    assert {group["group"]: cells(group) for group in report["groups"]} == {"enrol": {(None, "member"): 1}}
    assert report["members"] == {"opening": 3, "joined": 1, "left": 0, "closing": 4, "difference": 0}


def test_the_same_report_comes_as_a_table_when_that_is_accepted(shop: Client) -> None:
    path = f"tier-movements?from={day(200)}&to={day(0)}"
    rows = rows_of(shop, path, headers={"Accept": "text/csv"})
    assert {(row["from"], row["to"]): row["count"] for row in rows} == {
        ("member", "member"): "1",
        ("member", "silver"): "1",
        ("silver", "member"): "1",
        ("", "member"): "1",
    }
    for accepted in ("text/csv;q=0.5, application/json", "*/*", "text/html"):
        assert told(shop, path, headers={"Accept": accepted})
    assert told(shop, f"{path}&format=json", headers={"Accept": "text/csv"})
    refused = shop.get("/v1/tier-movements?format=csv", role="marketing")
    assert (refused.status_code, refused.mimetype) == (422, "application/problem+json")


def test_the_distribution_is_told_of_a_moment_and_over_time(shop: Client) -> None:
    now = told(shop, "tier-distribution")["points"]
    assert [(tier["tier"], tier["members"]) for tier in now[0]["tiers"]] == [
        ("member", 3), ("silver", 1), ("gold", 0), ("platinum", 0),
    ]  # fmt: skip
    assert now[0]["tiers"][1]["share"] == {"numerator": 1, "denominator": 4, "value": "0.2500"}
    then = told(shop, f"tier-distribution?as_of={day(200)}", headers={"Accept-Language": "zh-TW"})
    assert then["points"][0]["members"] == 3
    assert then["tiers"][1]["name"] == "銀卡會員"
    series = told(shop, f"tier-distribution?from={day(28)}&to={day(0)}&step=week")
    assert [point["members"] for point in series["points"]] == [3, 3, 3, 3, 4]
    rows = rows_of(shop, f"tier-distribution?from={day(28)}&to={day(0)}&step=week&format=csv")
    assert len(rows) == 5 * 4
    assert list(rows[0]) == ["at", "tier", "members", "share_numerator", "share_denominator"]


@pytest.mark.parametrize(
    # `{n}`: the day n days ago.
    ("path", "code"),
    [
        ("tier-movements?from={5}&to={5}", "invalid"),
        ("tier-movements?from={5}&to={-2}", "as-of-in-future"),
        ("tier-movements?from=1999-01-01&to=2020-01-01", "invalid"),
        ("tier-movements?from={5}", "invalid"),
        ("tier-movements?from={5}&to={0}&by=weather", "invalid"),
        ("tier-movements?from={5}&to={0}&format=xlsx", "invalid"),
        ("tier-distribution?as_of={-1}", "as-of-in-future"),
        ("tier-distribution?as_of={1}&step=day", "invalid"),
        ("tier-distribution?from={1}", "invalid"),
        ("tier-distribution?from={1000}&to={0}", "invalid"),
        ("tier-distribution?from={1}&to={-1}", "as-of-in-future"),
        ("tier-movements?from=0001-01-01&to=0001-02-01", "invalid"),
        ("tier-distribution?as_of=0001-01-01", "invalid"),
        ("tier-distribution?from=0001-01-01&to=0001-02-01", "invalid"),
        ("tier-forecast?days=0", "invalid"),
        ("tier-forecast?days=367", "invalid"),
        ("tier-at-risk?within_days=-1", "invalid"),
        ("tier-at-risk?tier=glod", "unknown-tier"),
    ],
)
def test_what_cannot_be_told_is_refused_with_a_reason(shop: Client, path: str, code: str) -> None:
    path = re.sub(r"\{(-?\d+)\}", lambda days: day(int(days[1])), path)
    response = shop.get(f"/v1/{path}", role="marketing")
    problem = response.json or {}
    assert (response.status_code, problem["code"]) == (422, code)
    assert all(error["parameter"] and error["detail"] for error in problem["errors"])
    assert problem["errors"]


def test_who_falls_when_is_told_at_once_for_a_small_shop(shop: Client) -> None:
    report = told(shop, "tier-forecast?days=366")
    assert report["as_of"] == today().isoformat()
    assert [(move["from"], move["to"], move["cause"], move["members"]) for move in report["moves"]] == [
        ("silver", "member", "roll_off", 1)
    ]
    assert (report["falls"], report["rises"]) == (1, 0)
    # The first order leaves after 365 days, the grace of 30 follows.
    on = datetime.fromisoformat(ago(100)).astimezone(ZoneInfo("Asia/Taipei")).date() + timedelta(
        days=365 + 30
    )
    assert report["moves"][0]["on"] == on.isoformat()
    assert told(shop, "tier-forecast?days=30")["moves"] == []
    rows = rows_of(shop, "tier-forecast?days=366&format=csv")
    assert rows == [
        {"on": on.isoformat(), "from": "silver", "to": "member", "direction": "down", "cause": "roll_off",
         "members": "1"}
    ]  # fmt: skip


def test_a_forecast_can_be_asked_for(shop: Client) -> None:
    def ask(key: str, body: dict[str, Any], role: Any = "marketing") -> Any:
        return shop.post("/v1/tier-forecast", json=body, role=role, headers={"Idempotency-Key": key})

    first = ask("k1", {"days": 120})
    assert first.status_code == 202
    assert (first.json["state"], first.json["days"], first.json["as_of"]) == (
        "queued",
        120,
        today().isoformat(),
    )
    assert ask("k2", {"days": 120}).json == first.json
    assert ask("k3", {}).json["days"] == 92
    assert ask("k4", {"days": 0}).status_code == 422
    assert ask("k5", {}, role="server").status_code == 403


def slip(client: Client, member_id: str, *, store_id: str | None = None) -> None:
    """Make a Silver member whose first of two days left the year a week ago, so that the grace is running."""
    enrol(client, member_id, joined_at=ago(600), store_id=store_id)
    buy(client, f"{member_id}-1", member_id, 372, "2000")
    buy(client, f"{member_id}-2", member_id, 371.5, "100")
    buy(client, f"{member_id}-3", member_id, 340, "2500")


def test_those_at_risk_are_listed_with_what_they_lack(shop: Client) -> None:
    assert told(shop, "tier-at-risk") == {"data": [], "next_cursor": None}
    slip(shop, "=slipping")
    row = told(shop, "tier-at-risk?tier=silver&within_days=40")["data"][0]
    assert (row["member_id"], row["tier"]) == ("=slipping", "silver")
    lost = (datetime.now(UTC) - timedelta(days=371.5)).astimezone(ZoneInfo("Asia/Taipei")).date() + timedelta(
        days=365
    )
    assert (row["at_risk_since"], row["falls_on"]) == (str(lost), str(lost + timedelta(days=30)))
    assert [(need["metric"], need["have"], need["need"]) for need in row["to_stay"] if not need["met"]] == [
        ("active_days", 1, 2)
    ]
    rows = rows_of(shop, "tier-at-risk?format=csv")
    assert [(row["member_id"], row["lacking"]) for row in rows] == [
        ("'=slipping", "active_days 1, needs >= 2")
    ], "no spreadsheet runs an id as a formula"
    for elsewhere in ("tier=gold", "within_days=5"):
        assert told(shop, f"tier-at-risk?{elsewhere}")["data"] == []


def test_more_pages_of_those_at_risk_are_named_in_body_or_header(shop: Client) -> None:
    for number in range(3):
        slip(shop, f"slipping-{number}")
    first = told(shop, "tier-at-risk?limit=2")
    rest = told(shop, f"tier-at-risk?limit=2&cursor={first['next_cursor']}")
    assert [len(first["data"]), len(rest["data"]), rest["next_cursor"]] == [2, 1, None]
    table = shop.get("/v1/tier-at-risk?limit=2&format=csv", role="marketing")
    assert table.headers["X-Next-Cursor"] == first["next_cursor"]
    last = shop.get(f"/v1/tier-at-risk?format=csv&cursor={first['next_cursor']}", role="marketing")
    assert "X-Next-Cursor" not in last.headers
    assert shop.get("/v1/tier-at-risk?cursor=x", role="marketing").status_code == 400


def test_a_key_held_to_a_store_sees_that_stores_members_alone(shop: Client) -> None:
    for member_id, store_id in (("slipping-north", "north"), ("slipping-nowhere", None)):
        slip(shop, member_id, store_id=store_id)
    token = new_secret("marketing")
    with transaction(shop.engine) as conn:
        register_key(
            conn, token=token, role="marketing", label="north", now=datetime.now(UTC), store_ids=["north"]
        )
    shop.keys = {**shop.keys, "marketing": token}
    report = told(shop, f"tier-movements?from={day(200)}&to={day(0)}&by=store")
    assert cells(report) == {("member", "silver"): 1, ("silver", "silver"): 1}
    assert [group["group"] for group in report["groups"]] == ["north"]
    assert told(shop, "tier-distribution")["points"][0]["members"] == 2
    assert told(shop, "tier-forecast?days=366")["falls"] == 2
    assert [row["member_id"] for row in told(shop, "tier-at-risk")["data"]] == ["slipping-north"]


READS = (
    f"tier-movements?from={day(200)}&to={day(0)}",
    "tier-distribution",
    "tier-forecast",
    "tier-at-risk",
)


@pytest.mark.parametrize("path", READS)
def test_storefronts_see_none_of_it(client: Client, path: str) -> None:
    assert client.get(f"/v1/{path}", role="storefront").status_code == 403


def test_reading_movement_writes_nothing(shop: Client) -> None:
    def state() -> list[Any]:
        with shop.engine.connect() as conn:
            return [
                conn.execute(text(f"SELECT *, xmin FROM {table} ORDER BY 1")).all()
                for table in ("tier_states", "tier_changes", "tier_reports", "outbox")
            ]

    before = state()
    for path in READS:
        told(shop, path)
    assert state() == before


def test_a_forecast_too_large_to_make_at_once_and_never_asked_for_is_not_there(
    shop: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "FOLDED_AT_ONCE", 0)
    refused: Any = shop.get("/v1/tier-forecast?days=30", role="marketing")
    assert (refused.status_code, refused.json["code"]) == (404, "no-forecast")
