"""Expiry through HTTP and on the command line: the models, extension by staff, notices ahead."""

from __future__ import annotations

import json
from datetime import date, timedelta
from itertools import count
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from service.cli.main import tidemark
from service.programme.operations import get_programme
from tests.api.conftest import Client, an_order, enrol
from tests.api.test_points import adjust, points_of
from tests.days import today

_keys = count()


def expire(client: Client, **expiry: Any) -> Any:
    """Set when points expire."""
    response = client.put(
        "/v1/settings", role="admin", json={"values": {"points_expiry": expiry}, "reason": "accounts"}
    )
    with client.engine.connect() as conn:
        get_programme(conn, fresh=True)
    return response


def extend(client: Client, lot_id: str, until: str | None, **fields: Any) -> Any:
    """Extend a lot of m1."""
    return client.post(
        f"/v1/members/m1/points/lots/{lot_id}/extend",
        json={"expires_on": until, "reason": "the shop was closed"} | fields,
        headers={"Idempotency-Key": f"extend-{next(_keys)}"},
    )


def lots_of(client: Client) -> list[str]:
    page = client.get("/v1/members/m1/points/transactions").json or {}
    return list(
        dict.fromkeys(
            posting["lot"]["lot_id"]
            for entry in page["data"]
            for posting in entry["postings"]
            if posting["lot"]
        )
    )


def test_points_expire_with_the_end_of_the_next_calendar_year(client: Client) -> None:
    enrol(client)
    response = expire(client, model="end_of_period", period="year", periods=1)
    assert response.json["values"]["points_expiry"] == {
        "model": "end_of_period",
        "months": None,
        "period": "year",
        "periods": 1,
        "notice_days": 30,
    }
    client.post("/v1/orders", json=an_order())
    assert points_of(client)["expiring"] == [{"points": 33, "on": f"{today().year + 2}-01-01"}]


def test_what_is_bought_keeps_points_that_expire_after_inactivity(client: Client) -> None:
    enrol(client, joined_at="2026-01-01T00:00:00Z")
    expire(client, model="after_inactivity", months=2)
    adjust(client, 30)
    with client.engine.begin() as conn:
        conn.execute(text("UPDATE lots SET expires_at = expires_at - interval '20 days'"))
    early = points_of(client)["expiring"][0]["on"]
    client.post("/v1/orders", json=an_order())
    (kept,) = points_of(client)["expiring"]
    assert kept["points"] == 63
    assert date.fromisoformat(kept["on"]) == date.fromisoformat(early) + timedelta(days=20)


def test_the_same_expiry_set_again_adds_no_version(client: Client) -> None:
    first = expire(client, model="rolling_months", months=12).json["version"]
    assert expire(client, model="rolling_months", months=12, notice_days=30).json["version"] == first
    assert expire(client, model="rolling_months", months=12, notice_days=14).json["version"] > first


def test_staff_extend_a_lot_and_the_audit_log_says_so(client: Client) -> None:
    enrol(client)
    adjust(client, 30, expires_on=(today() + timedelta(days=3)).isoformat())
    (lot_id,) = lots_of(client)
    later = (today() + timedelta(days=60)).isoformat()
    response = extend(client, lot_id, later)
    assert response.status_code == 200
    body = response.json
    assert (body["points"], body["expired_on"], body["expires_on"]) == (
        30,
        (today() + timedelta(days=3)).isoformat(),
        later,
    )
    assert points_of(client)["expiring"] == [{"points": 30, "on": later}]
    log = client.get("/v1/audit-log", role="admin").json or {}
    assert log["data"][0]["action"] == "points.extended"
    assert extend(client, lot_id, None).json["expires_on"] is None


@pytest.mark.parametrize(
    ("lot_id", "fields", "status", "code"),
    [
        ("lot_999999", {}, 404, "lot-not-found"),
        ("lot_", {}, 404, "lot-not-found"),
        ("lot_-1", {}, 404, "lot-not-found"),
        ("lot_" + "9" * 40, {}, 404, "lot-not-found"),
        ("txn_1", {}, 404, "lot-not-found"),
        (None, {"expires_on": today().isoformat()}, 422, "expiry-not-acceptable"),
        (None, {"expires_on": "soon"}, 422, "invalid"),
        (None, {"reason": ""}, 422, "invalid"),
    ],
)
def test_an_extension_that_is_not_acceptable_is_refused(
    client: Client, lot_id: str | None, fields: dict[str, Any], status: int, code: str
) -> None:
    enrol(client)
    on = (today() + timedelta(days=3)).isoformat()
    adjust(client, 30, expires_on=on)
    refused = extend(
        client, lot_id or lots_of(client)[0], (today() + timedelta(days=9)).isoformat(), **fields
    )
    assert (refused.status_code, refused.json["code"]) == (status, code)
    assert points_of(client)["expiring"] == [{"points": 30, "on": on}]


def test_the_command_line_announces_each_expiry_once(client: Client, tmp_path: Any) -> None:
    enrol(client)
    adjust(client, 30, expires_on=(today() + timedelta(days=20)).isoformat())
    adjust(client, 12, expires_on=(today() + timedelta(days=90)).isoformat())
    environment = {
        "DATABASE_URL": client.engine.url.render_as_string(hide_password=False),
        "TIDEMARK_VAR": str(tmp_path),
        "TIDEMARK_SECRET_KEY": "a test's own",
    }
    told = []
    for _ in range(2):
        result = CliRunner().invoke(tidemark, ["points", "announce"], env=environment)
        assert result.exit_code == 0, result.output
        told.append(json.loads(result.output.splitlines()[-1])["members"])
    assert told == [1, 0]
    changes = client.get("/v1/changes?topics=points.expiring", role="admin").json or {}
    (event,) = changes["data"]
    assert event["payload"] == {"points": 30, "on": (today() + timedelta(days=20)).isoformat()}
