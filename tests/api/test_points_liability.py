"""What outstanding points stand for, through HTTP: by age, by tier, now and then, as JSON and as a table."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from service.cli.main import tidemark
from service.kit.db import transaction
from service.programme.operations import get_programme
from service.tiers.reports import compute_report, forget_reports
from service.worker import TIER_ANSWERS
from tests.api.conftest import Client, an_order, enrol
from tests.api.test_points import adjust
from tests.api.test_points_paid import refund
from tests.days import today

TAIPEI = ZoneInfo("Asia/Taipei")


def months_ago(months: int) -> datetime:
    """The middle of the tenth day of a past calendar month of the shop."""
    here = datetime.now(TAIPEI)
    year, month = divmod(here.year * 12 + here.month - 1 - months, 12)
    return datetime(year, month + 1, 10, 12, tzinfo=TAIPEI)


def month_name(months: int) -> str:
    return months_ago(months).strftime("%Y-%m")


def buy(client: Client, order_id: str, *, months: int, amount: str = "3000", member: str = "m1") -> None:
    placed_at = months_ago(months).isoformat()
    body = an_order(order_id, member, amount, placed_at=placed_at)
    assert client.post("/v1/orders", json=body).status_code == 201


def told(client: Client, query: str = "") -> Any:
    response = client.get(f"/v1/points/liability{query}", role="marketing")
    assert response.status_code == 200, response.text
    return response.json


def by_age(report: Any) -> dict[int, int]:
    return {band["from_months"]: band["points"] for band in report["by_age"] if band["points"]}


@pytest.fixture
def shop(client: Client) -> Client:
    """Two members with points of five months; one of them returned a third of an order."""
    for member in ("m1", "m2"):
        enrol(client, member, joined_at=months_ago(30).isoformat())
    buy(client, "o1", months=26)
    buy(client, "o2", months=13, member="m2")
    buy(client, "o3", months=4)
    buy(client, "o4", months=1)
    refund(client, "1000", "r4", "o4")
    adjust(client, 40)
    return client


def test_outstanding_points_are_told_by_age_and_tier_with_their_cost(shop: Client) -> None:
    report = told(shop)
    assert by_age(report) == {0: 66 + 40, 3: 100, 12: 100, 24: 100}
    assert report["outstanding"] == {
        "pending": 0,
        "available": 406,
        "held": 0,
        "points": 406,
        "cost": "121.80",
        "expected_breakage": 0,
        "expected_cost": "121.80",
        "owed": 0,
    }
    tiers = {tier["tier"]: (tier["name"], tier["points"]) for tier in report["by_tier"]}
    assert (tiers["member"], tiers["silver"]) == (("Member", 100), ("Silver", 306))
    assert (report["currency"], report["point_value"]) == ("TWD", "0.30")
    assert report["breakage"]["vintages"] == 4
    assert (report["breakage"]["points"], report["breakage"]["low"]) == (0, None)


def test_the_books_of_each_month_add_up(shop: Client) -> None:
    vintages = {one["month"]: one for one in told(shop)["vintages"]}
    last = vintages[month_name(1)]
    assert (last["issued"], last["taken_back"], last["open"]) == (100, 34, 66)
    for one in vintages.values():
        assert one["issued"] == one["taken_back"] + one["used"] + one["expired"] + one["open"]
    assert set(vintages) == {month_name(months) for months in (26, 13, 4, 1, 0)}


def test_the_past_is_told_as_it_was(shop: Client) -> None:
    then = months_ago(4) + timedelta(days=1)
    report = told(shop, f"?as_of={then.date().isoformat()}")
    assert by_age(report) == {0: 100, 6: 100, 18: 100}
    assert report["outstanding"]["pending"] == 100
    assert told(shop, f"?as_of={months_ago(28).date().isoformat()}")["outstanding"]["points"] == 0


def test_the_kept_report_of_a_day_is_what_is_told_of_it_in_both_languages_and_as_a_table(
    shop: Client,
) -> None:
    def ask(body: Any, key: str) -> Any:
        headers = {"Idempotency-Key": key}
        return shop.post("/v1/points/liability-reports", json=body, role="marketing", headers=headers)

    day = (today() - timedelta(days=1)).isoformat()
    asked = ask({"allocated_bp": 9_000}, "k1")
    assert (asked.status_code, asked.json["state"], asked.json["as_of"]) == (202, "queued", day)
    assert ask({"as_of": day, "allocated_bp": 9_000}, "k2").json["report_id"] == asked.json["report_id"]
    path = f"/v1/points/liability-reports/{asked.json['report_id']}"
    assert shop.get(f"{path}?format=csv", role="marketing").status_code == 409
    with transaction(shop.engine) as conn:
        programme = get_programme(conn)
    compute_report(
        shop.engine,
        report_id=asked.json["report_id"],
        answers=TIER_ANSWERS,
        programme=programme,
        now=datetime.now(UTC),
    )
    query = f"?as_of={day}&allocated_bp=9000"
    for language in ("en", "zh-Hant"):
        headers = {"Accept-Language": language}
        kept = shop.get(path, role="marketing", headers=headers).json or {}
        direct = shop.get(f"/v1/points/liability{query}", role="marketing", headers=headers).json
        assert (kept["state"], kept["liability"]) == ("done", direct)
    table = shop.get(f"{path}?format=csv", role="marketing")
    assert table.data == shop.get(f"/v1/points/liability{query}&format=csv", role="marketing").data
    assert ask({"as_of": today().isoformat()}, "k3").json["code"] == "as-of-in-future"
    # Another kind of report is none of these.
    assert shop.get(path.replace("points/liability", "tier"), role="marketing").status_code == 404
    with transaction(shop.engine) as conn:
        assert forget_reports(conn, before=datetime.now(UTC) - timedelta(days=1)) == 0
        assert forget_reports(conn, before=datetime.now(UTC)) == 1


def test_revenue_is_deferred_until_points_are_used(client: Client) -> None:
    enrol(client)
    adjust(client, 10_000)
    headers = {"Idempotency-Key": "hold"}
    held = client.post(
        "/v1/members/m1/points/holds", json={"points": 4_500, "ttl_seconds": 60}, headers=headers
    ).json
    assert held is not None
    client.post(f"/v1/points/holds/{held['hold_id']}/capture", json={"order_id": "x"})
    revenue = told(client, "?allocated_bp=9000")["revenue"]
    # 10,000 points at 0.30, of which 90 % were put aside; 45 % of them used, and none expected to lapse.
    assert revenue == {
        "allocated_bp": 9_000,
        "allocated": "2700.00",
        "recognised": "1215.00",
        "deferred": "1485.00",
    }
    assert told(client, "?allocated_bp=0")["revenue"]["deferred"] == "0.00"


def test_the_table_has_the_figures_of_each_tier_and_age(shop: Client) -> None:
    response = shop.get("/v1/points/liability?format=csv", role="marketing")
    assert response.headers["Content-Disposition"] == 'attachment; filename="points-liability.csv"'
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [
        (row["tier"], row["from_months"], row["to_months"], row["points"], row["cost"]) for row in rows
    ] == [
        ("member", "12", "17", "100", "30.00"),
        ("silver", "0", "2", "106", "31.80"),
        ("silver", "3", "5", "100", "30.00"),
        ("silver", "24", "", "100", "30.00"),
    ]


def test_what_members_owe_stands_apart_and_lowers_nothing(client: Client) -> None:
    body = {"values": {"return_period_days": 0, "shortfall_policy": "allow_negative"}, "reason": "a test"}
    assert client.put("/v1/settings", role="admin", json=body).status_code == 200
    enrol(client, joined_at=months_ago(3).isoformat())
    buy(client, "o1", months=2)
    adjust(client, -100)
    refund(client, "3000", "r1", "o1")
    report = told(client)
    assert (report["outstanding"]["points"], report["outstanding"]["owed"]) == (0, 100)
    rows = list(csv.DictReader(io.StringIO(client.get("/v1/points/liability?format=csv").text)))
    assert [(row["tier"], row["owed"]) for row in rows] == [("member", "100")]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("as_of=2999-01-01", 422, "as-of-in-future"),
        ("as_of=soon", 422, "invalid"),
        ("allocated_bp=10001", 422, "invalid"),
        ("allocated_bp=-1", 422, "invalid"),
    ],
)
def test_a_question_that_is_none_is_refused(client: Client, query: str, status: int, code: str) -> None:
    refused = client.get(f"/v1/points/liability?{query}", role="marketing")
    assert (refused.status_code, (refused.json or {})["code"]) == (status, code)


def test_the_command_line_tells_the_same(shop: Client, tmp_path: Path) -> None:
    environment = {
        "DATABASE_URL": shop.engine.url.render_as_string(hide_password=False),
        "TIDEMARK_VAR": str(tmp_path),
        "TIDEMARK_SECRET_KEY": "a test's own",
    }
    day = months_ago(4).date().isoformat()
    asked = ["points", "liability", "--as-of", day, "--allocated-bp", "5000"]
    result = CliRunner().invoke(tidemark, asked, env=environment)
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]
    report = told(shop, f"?as_of={day}&allocated_bp=5000")
    assert lines[-1] == {name: report[name] for name in lines[-1]}
    assert sum(line["points"] for line in lines[:-1]) == report["outstanding"]["points"] == 300
    ahead = CliRunner().invoke(tidemark, ["points", "liability", "--as-of", "2999-01-01"], env=environment)
    assert (ahead.exit_code, "lies ahead" in ahead.output) == (1, True)


def test_a_storefront_key_does_not_see_it(client: Client) -> None:
    assert client.get("/v1/points/liability", role="storefront").status_code == 403
