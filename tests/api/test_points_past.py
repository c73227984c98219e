"""Points of the past and statements through HTTP."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from tests.api.conftest import Client, an_order, enrol
from tests.api.test_points import adjust, points_of
from tests.days import today


def ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def test_points_of_a_past_time_are_told_from_what_had_happened(client: Client) -> None:
    enrol(client, joined_at=ago(90))
    client.post("/v1/orders", json=an_order(placed_at=ago(20)))
    adjust(client, 50)
    assert points_of(client)["available"] == 83

    def at(as_of: str) -> tuple[int, int]:
        body = client.get(f"/v1/members/m1/points?as_of={quote(as_of)}").json or {}
        return body["available"], body["pending"]

    assert at(ago(30)) == (0, 0)
    assert at(ago(19)) == (0, 33)
    assert at((today() - timedelta(days=18)).isoformat()) == (0, 33)
    assert at((today() - timedelta(days=2)).isoformat()) == (33, 0)
    assert at(today().isoformat()) == (83, 0)


@pytest.mark.parametrize("as_of", ["yesterday", "2026-02-30", "2026-01-01T00:00:00", "0000-01-01", "x" * 41])
def test_a_time_that_is_none_is_refused(client: Client, as_of: str) -> None:
    enrol(client)
    response = client.get(f"/v1/members/m1/points?as_of={as_of}")
    assert (response.status_code, (response.json or {})["code"]) == (422, "invalid")
    assert (response.json or {})["errors"][0]["parameter"] == "as_of"


@pytest.mark.parametrize("as_of", ["2999-01-01", "2999-01-01T00:00:00Z"])
def test_points_of_the_future_are_not_told(client: Client, as_of: str) -> None:
    enrol(client)
    response = client.get(f"/v1/members/m1/points?as_of={as_of}")
    assert (response.status_code, (response.json or {})["code"]) == (422, "future-time")


def test_a_statement_has_a_running_balance_from_opening_to_closing(client: Client) -> None:
    enrol(client, joined_at=ago(90))
    client.post("/v1/orders", json=an_order(placed_at=ago(20)))
    adjust(client, 50)
    adjust(client, -20)
    body = client.get("/v1/members/m1/points/statement").json or {}
    assert [(line["kind"], line["order_id"]) for line in body["data"]] == [
        ("earn", "o1"),
        ("release", "o1"),
        ("adjust", None),
        ("adjust", None),
    ]
    assert [line["balance"]["available"] for line in body["data"]] == [0, 33, 83, 63]
    assert body["opening"] == {"available": 0, "pending": 0, "held": 0}
    assert body["closing"] == {"available": 63, "pending": 0, "held": 0}
    day = today()
    path = f"/v1/members/m1/points/statement?from={day}&to={day + timedelta(days=1)}"
    of_day = client.get(path).json or {}
    assert of_day["opening"]["available"] == 33
    assert len(of_day["data"]) == 2
    first = client.get("/v1/members/m1/points/statement?limit=3").json or {}
    rest = client.get(f"/v1/members/m1/points/statement?limit=3&cursor={first['next_cursor']}").json or {}
    assert first["data"] + rest["data"] == body["data"]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "status"),
    [("from=soon", 422), ("to=2026-13-01", 422), ("until=2026-01-01", 400), ("cursor=x", 400)],
)
def test_a_stretch_that_is_none_is_refused(client: Client, query: str, status: int) -> None:
    enrol(client)
    assert client.get(f"/v1/members/m1/points/statement?{query}").status_code == status


def test_a_statement_is_a_table_too_from_opening_to_closing(client: Client) -> None:
    enrol(client)
    for points in (100, -30, 5):
        adjust(client, points, reason="=cmd()")
    path = "/v1/members/m1/points/statement?format=csv"
    whole = client.get(path)
    assert whole.headers["Content-Disposition"] == 'attachment; filename="points-statement.csv"'
    rows = list(csv.DictReader(io.StringIO(whole.text)))
    assert [(row["kind"], row["available_change"], row["available"]) for row in rows] == [
        ("opening", "", "0"),
        ("adjust", "100", "100"),
        ("adjust", "-30", "70"),
        ("adjust", "5", "75"),
        ("closing", "", "75"),
    ]
    assert {row["reason"] for row in rows} == {"", "'=cmd()"}, "no spreadsheet runs what somebody typed"
    paged: list[dict[str, str]] = []
    cursor = ""
    while True:
        page = client.get(f"{path}&limit=2{cursor}")
        paged += csv.DictReader(io.StringIO(page.text))
        if "X-Next-Cursor" not in page.headers:
            break
        cursor = f"&cursor={page.headers['X-Next-Cursor']}"
    assert paged == rows
