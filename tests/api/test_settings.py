"""Settings through HTTP: what is in force, changes with who, when and why, and what they do to orders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.api.conftest import Client, an_order, enrol


def change(client: Client, values: dict[str, Any], *, role: Any = "marketing", **fields: Any) -> Any:
    """Send a change of settings."""
    return client.put("/v1/settings", json={"values": values, "reason": "a test"} | fields, role=role)


def settings_of(client: Client) -> dict[str, Any]:
    """Return what is in force."""
    response = client.get("/v1/settings")
    assert response.status_code == 200
    return response.json or {}


def points_rule(client: Client, order_id: str) -> dict[str, Any]:
    """Return the rule that an order's points were earned by."""
    page = client.get("/v1/members/m1/points/transactions").json or {}
    rules = [entry["rule"] for entry in page["data"] if entry["order_id"] == order_id and entry["rule"]]
    assert len(rules) == 1
    return dict(rules[0])


def soon(**delta: float) -> str:
    """Return a time from now."""
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


def test_the_first_start_sets_the_defaults_of_the_currency(client: Client) -> None:
    settings = settings_of(client)
    assert (settings["currency"], settings["timezone"]) == ("TWD", "Asia/Taipei")
    assert settings["values"] == {
        "return_period_days": 7,
        "points_expiry": {
            "model": "none",
            "months": None,
            "period": None,
            "periods": None,
            "notice_days": 30,
        },
        "earning": {"points": 1, "per": "30.00"},
        "point_value": "0.30",
        "shortfall_policy": "clamp",
        "spend_counts": {"tax": True},
    }
    assert (settings["status"], settings["created_by"], settings["upcoming"]) == ("in_force", "tidemark", [])


def test_a_change_adds_a_version_that_says_who_when_why_and_what(client: Client) -> None:
    first = settings_of(client)["version"]
    response = change(client, {"return_period_days": 14, "point_value": "0.5"}, reason="more generous")
    assert response.status_code == 200
    version = response.json
    assert version["version"] > first
    assert version["status"] == "in_force"
    assert version["reason"] == "more generous"
    assert version["created_by"].startswith("marketing:key_")
    assert version["changes"] == [
        {"field": "return_period_days", "before": 7, "after": 14},
        {"field": "point_value", "before": "0.30", "after": "0.50"},
    ]
    assert settings_of(client)["values"]["return_period_days"] == 14
    assert settings_of(client)["values"]["earning"] == {"points": 1, "per": "30.00"}


def test_the_same_change_again_adds_no_version(client: Client) -> None:
    first = change(client, {"return_period_days": 14}).json
    again = change(client, {"return_period_days": 14}).json
    assert again["version"] == first["version"]


def test_a_scheduled_change_waits_and_keeps_to_what_it_was_to_change(client: Client) -> None:
    later = change(client, {"return_period_days": 30}, effective_from=soon(days=10))
    assert later.json["status"] == "upcoming"
    assert settings_of(client)["values"]["return_period_days"] == 7
    # A change made meanwhile is not undone when the scheduled one comes into force.
    assert change(client, {"point_value": "1"}).status_code == 200
    settings = settings_of(client)
    assert settings["values"]["point_value"] == "1.00"
    (upcoming,) = settings["upcoming"]
    assert upcoming["values"]["return_period_days"] == 30
    assert upcoming["values"]["point_value"] == "1.00"
    versions = (client.get("/v1/settings/versions").json or {})["data"]
    assert [version["status"] for version in versions] == ["upcoming", "in_force", "replaced", "past"]


def test_a_scheduled_change_is_called_off_by_the_old_value_at_its_own_moment(client: Client) -> None:
    at = soon(days=10)
    change(client, {"return_period_days": 30}, effective_from=at)
    change(client, {"return_period_days": 7}, effective_from=at)
    (upcoming,) = settings_of(client)["upcoming"]
    assert upcoming["values"]["return_period_days"] == 7


def test_versions_come_in_pages_the_newest_first(client: Client) -> None:
    for days in (10, 11, 12):
        change(client, {"return_period_days": days})
    first = client.get("/v1/settings/versions?limit=3").json or {}
    assert [one["values"]["return_period_days"] for one in first["data"]] == [12, 11, 10]
    second = client.get(f"/v1/settings/versions?limit=3&cursor={first['next_cursor']}").json or {}
    assert [one["values"]["return_period_days"] for one in second["data"]] == [7]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ({}, "/values"),
        ({"return_period_days": -1}, "/values/return_period_days"),
        ({"return_period_days": 366}, "/values/return_period_days"),
        ({"return_period_days": "7"}, "/values/return_period_days"),
        ({"return_period_days": None}, "/values/return_period_days"),
        ({"points_expiry": {"model": "rolling_months"}}, "/values/points_expiry/months"),
        ({"points_expiry": {"model": "none", "months": 12}}, "/values/points_expiry/months"),
        ({"points_expiry": {"model": "rolling_months", "months": 121}}, "/values/points_expiry/months"),
        ({"points_expiry": {"model": "calendar"}}, "/values/points_expiry/model"),
        ({"points_expiry": {"model": "end_of_period", "period": "year"}}, "/values/points_expiry/periods"),
        ({"points_expiry": {"model": "end_of_period", "periods": 1}}, "/values/points_expiry/period"),
        (
            {"points_expiry": {"model": "end_of_period", "period": "year", "periods": 0}},
            "/values/points_expiry/periods",
        ),
        (
            {"points_expiry": {"model": "end_of_period", "period": "week", "periods": 1}},
            "/values/points_expiry/period",
        ),
        ({"points_expiry": {"model": "after_inactivity"}}, "/values/points_expiry/months"),
        ({"points_expiry": {"model": "none", "notice_days": 400}}, "/values/points_expiry/notice_days"),
        ({"earning": {"points": 1}}, "/values/earning/per"),
        ({"earning": {"points": 1, "per": 0}}, "/values/earning/per"),
        ({"earning": {"points": 1, "per": "1.005"}}, "/values/earning/per"),
        ({"point_value": "0.001"}, "/values/point_value"),
        ({"point_value": "99999999999"}, "/values/point_value"),
        ({"shortfall_policy": "forgive"}, "/values/shortfall_policy"),
        ({"spend_counts": {"shipping": True, "tax": True}}, "/values/spend_counts/shipping"),
        ({"currency": "JPY"}, "/values/currency"),
        ({"timezone": "Asia/Tokyo"}, "/values/timezone"),
        ({"colour": "red"}, "/values/colour"),
    ],
)
def test_values_that_are_not_acceptable_are_refused_at_their_place(
    client: Client, values: dict[str, Any], pointer: str
) -> None:
    before = settings_of(client)["version"]
    response = change(client, values)
    assert response.status_code == 422, response.data
    assert pointer in [error["pointer"] for error in response.json["errors"]]
    assert settings_of(client)["version"] == before


def test_settings_need_a_reason_and_do_not_begin_in_the_past(client: Client) -> None:
    nameless = client.put("/v1/settings", json={"values": {"return_period_days": 9}}, role="admin")
    assert [error["pointer"] for error in (nameless.json or {})["errors"]] == ["/reason"]
    past = change(client, {"return_period_days": 9}, effective_from=soon(minutes=-1))
    assert (past.status_code, past.json["code"]) == (422, "effective-in-past")
    assert settings_of(client)["values"]["return_period_days"] == 7


@pytest.mark.parametrize("role", ["storefront", "server", "operations"])
def test_only_marketing_and_admin_change_settings(client: Client, role: Any) -> None:
    assert change(client, {"return_period_days": 9}, role=role).status_code == 403
    assert settings_of(client)["values"]["return_period_days"] == 7


def test_versions_are_never_rewritten_even_by_hand(client: Client) -> None:
    with client.engine.connect() as conn, pytest.raises(Exception, match="append-only"):
        conn.execute(text("UPDATE programme_settings SET reason = 'another'"))


def test_an_order_earns_by_the_settings_of_when_it_was_placed_and_says_which(client: Client) -> None:
    enrol(client)
    before = settings_of(client)["version"]
    placed_before = soon(seconds=-1)
    after = change(client, {"earning": {"points": 2, "per": "10"}, "return_period_days": 0}).json["version"]
    late = client.post("/v1/orders", json=an_order("late", amount="300", placed_at=placed_before))
    assert (late.json or {})["points"]["earned"] == 10
    assert (late.json or {})["points"]["pending_until"] is not None
    new = client.post("/v1/orders", json=an_order("new", amount="300"))
    assert (new.json or {})["points"] == {
        "earned": 60,
        "reversed": 0,
        "spent": 0,
        "returned": 0,
        "pending_until": None,
    }
    assert points_rule(client, "late")["settings_version"] == before
    assert points_rule(client, "new")["settings_version"] == after


def test_a_scheduled_change_leaves_todays_orders_alone(client: Client) -> None:
    enrol(client)
    change(client, {"earning": {"points": 5, "per": "1"}}, effective_from=soon(days=1))
    answer = client.post("/v1/orders", json=an_order(amount="300")).json or {}
    assert answer["points"]["earned"] == 10


def test_turning_expiry_on_never_touches_points_that_were_earned_without(client: Client) -> None:
    enrol(client)
    client.post("/v1/orders", json=an_order("old", amount="3000", placed_at=soon(days=-200)))
    placed_before = soon(days=-40)
    change(client, {"points_expiry": {"model": "rolling_months", "months": 1}})
    # An order from before that arrives late is one of before, too: by today's rule it would be gone at once.
    client.post("/v1/orders", json=an_order("late", amount="300", placed_at=placed_before))
    new = client.post("/v1/orders", json=an_order("new", amount="600")).json or {}
    points = client.get("/v1/members/m1/points").json or {}
    assert points["available"] == 110
    (expiring,) = points["expiring"]
    assert expiring["points"] == new["points"]["earned"]
    assert expiring["on"] > soon(days=26)[:10]


def test_turning_expiry_off_leaves_the_dates_that_points_were_given(client: Client) -> None:
    enrol(client)
    change(client, {"points_expiry": {"model": "rolling_months", "months": 12}})
    client.post("/v1/orders", json=an_order("dated", amount="600"))
    change(client, {"points_expiry": {"model": "none"}})
    client.post("/v1/orders", json=an_order("undated", amount="300"))
    points = client.get("/v1/members/m1/points").json or {}
    assert [one["points"] for one in points["expiring"]] == [20]


def test_tax_counts_as_spend_until_the_settings_say_that_it_does_not(client: Client) -> None:
    enrol(client)
    with_tax = client.post("/v1/orders", json=an_order("o1", amount="300", tax="30")).json or {}
    assert with_tax["points"]["earned"] == 11
    change(client, {"spend_counts": {"tax": False}})
    without = client.post("/v1/orders", json=an_order("o2", amount="300", tax="30")).json or {}
    assert without["points"]["earned"] == 10
    tier = client.get("/v1/members/m1/tier").json or {}
    assert tier["metrics"]["net_spend"] == "630.00"


def test_the_change_is_in_the_audit_log_and_in_the_feed(client: Client) -> None:
    version = change(client, {"return_period_days": 14}, reason="trial").json["version"]
    page = client.get("/v1/audit-log?action=settings.changed", role="admin").json or {}
    (entry,) = page["data"]
    assert entry["subject"] == {"kind": "settings", "id": str(version)}
    assert entry["reason"] == "trial"
    assert entry["changes"] == [{"field": "return_period_days", "sealed": False, "before": 7, "after": 14}]
    (told,) = (client.get("/v1/changes?topics=settings.changed").json or {})["data"]
    assert told["payload"]["version"] == version
    assert told["payload"]["fields"] == ["return_period_days"]
