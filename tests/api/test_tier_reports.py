"""Reports on what tiers are worth, through HTTP: asked for, computed by the worker's task, fetched."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.kit.db import transaction
from service.programme.operations import get_programme
from service.tiers.reports import compute_report
from service.worker import TIER_ANSWERS
from tests.api.conftest import Client, an_order, enrol


def ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def ask(client: Client, body: dict[str, Any], *, key: str = "k1", role: Any = "marketing") -> Any:
    return client.post("/v1/tier-reports", json=body, role=role, headers={"Idempotency-Key": key})


def work(client: Client, report_id: str) -> None:
    """Do what the worker does with the job."""
    with transaction(client.engine) as conn:
        programme = get_programme(conn)
    compute_report(
        client.engine,
        report_id=report_id,
        answers=TIER_ANSWERS,
        programme=programme,
        now=datetime.now(UTC),
    )


def fetch(client: Client, report_id: str, query: str = "") -> Any:
    return client.get(f"/v1/tier-reports/{report_id}{query}", role="marketing")


@pytest.fixture
def shop(client: Client) -> Client:
    """One who is Silver half a year ago and bought again, one who is Member and did not."""
    for member_id in ("loyal", "lost"):
        enrol(client, member_id, joined_at=ago(400).isoformat())
    for number, (member_id, days, amount) in enumerate(
        [("loyal", 300, "2000"), ("loyal", 250, "1500"), ("lost", 260, "900"), ("loyal", 150, "700")]
    ):
        body = an_order(f"o{number}", member_id, amount, placed_at=ago(days).isoformat())
        assert client.post("/v1/orders", json=body).status_code == 201
    return client


def test_marketing_asks_and_the_worker_answers(shop: Client) -> None:
    as_of = ago(200).date().isoformat()
    asked = ask(shop, {"kind": "worth", "as_of": as_of})
    assert asked.status_code == 202
    assert (asked.json["state"], asked.json["version"], asked.json["months"]) == ("queued", 1, 3)
    assert asked.json["worth"] is None
    work(shop, asked.json["report_id"])
    done = fetch(shop, asked.json["report_id"]).json
    assert (done["state"], done["histogram"], done["failure"]) == ("done", None, None)
    silver = next(tier for tier in done["worth"]["tiers"] if tier["tier"] == "silver")
    assert silver["by_tier"]["repurchase"]["numerator"] == 1
    assert silver["by_tier"]["net_spend"]["total"] == "700.00"
    assert done["worth"]["everyone"]["members"] == 2
    assert "made anybody come back" in done["worth"]["above_base"]["explanation"]["en"]


def test_the_same_question_of_the_same_day_is_the_same_report(shop: Client) -> None:
    first = ask(shop, {"kind": "histogram"}).json
    assert ask(shop, {"kind": "histogram", "version": 1}, key="k2").json["report_id"] == first["report_id"]
    assert ask(shop, {"kind": "worth"}, key="k3").json["report_id"] != first["report_id"]


def test_a_histogram_comes_with_thresholds_and_as_rows_for_a_spreadsheet(shop: Client) -> None:
    report_id = ask(shop, {"kind": "histogram"}).json["report_id"]
    early = fetch(shop, report_id, "?format=csv")
    assert (early.status_code, early.json["code"]) == (409, "tier-report-not-ready")
    work(shop, report_id)
    spread = fetch(shop, report_id).json["histogram"]
    spend = next(metric for metric in spread["metrics"] if metric["metric"] == "net_spend")
    assert [line["value"] for line in spend["thresholds"] if line["part"] == "enter"] == [
        "3000.00", "12000.00", "36000.00"
    ]  # fmt: skip
    assert [line["members_meeting"] for line in spend["thresholds"] if line["tier"] == "silver"] == [1, 1]
    sheet = fetch(shop, report_id, "?format=csv")
    assert sheet.mimetype == "text/csv"
    rows = list(csv.DictReader(io.StringIO(sheet.text)))
    bins = [row for row in rows if row["metric"] == "net_spend" and row["kind"] == "bin"]
    assert sum(int(row["members"]) for row in bins) == spread["members"] == 2


def test_worth_comes_as_rows_for_a_spreadsheet(shop: Client) -> None:
    report_id = ask(shop, {"kind": "worth", "as_of": ago(200).date().isoformat()}).json["report_id"]
    work(shop, report_id)
    rows = list(csv.DictReader(io.StringIO(fetch(shop, report_id, "?format=csv").text)))
    assert [row["tier"] for row in rows] == ["member", "silver", "gold", "platinum", "above_base"]
    assert rows[1]["by_tier_repurchase_rate"] == "1.0"
    assert rows[2]["by_tier_net_spend_mean"] == ""


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"kind": "worth", "as_of": "2999-01-01"}, 422, "as-of-in-future"),
        ({"kind": "histogram", "as_of": "2999-01-01"}, 422, "as-of-in-future"),
        ({"kind": "worth", "version": 77}, 404, "unknown-ruleset"),
        ({"kind": "histogram", "version": 77}, 404, "unknown-ruleset"),
        ({"kind": "forecast"}, 422, "invalid"),
        ({"kind": "histogram", "months": 3}, 422, "invalid"),
        ({"kind": "worth", "months": 0}, 422, "invalid"),
        ({"kind": "worth", "as_of": "1066-10-14"}, 422, "invalid"),
        ({"kind": "worth", "as_of": "soon"}, 422, "invalid"),
        ({"kind": "worth", "tier": "gold"}, 422, "invalid"),
        ({}, 422, "invalid"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(
    client: Client, body: dict[str, Any], status: int, code: str
) -> None:
    response = ask(client, body)
    assert (response.status_code, response.json["code"]) == (status, code)


def test_months_that_are_not_over_are_refused_with_the_latest_day_that_will_do(client: Client) -> None:
    response = ask(client, {"kind": "worth", "as_of": ago(30).date().isoformat()})
    assert (response.status_code, response.json["code"]) == (422, "months-not-over")
    assert "is the latest day" in response.json["detail"]


def test_reports_are_for_staff_and_have_to_exist(client: Client) -> None:
    assert ask(client, {"kind": "histogram"}, role="storefront").status_code == 403
    assert fetch(client, "trep_none").status_code == 404
