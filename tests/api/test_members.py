"""Members and their card, through HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from tests.api.conftest import Client, an_order, enrol

FULL = {
    "joined_at": "2026-01-05T10:00:00+08:00",
    "locale": "zh-Hant",
    "name": "林美玲",
    "birthday": "1990-02-28",
    "email": "Mei.Lin@example.com",
    "phone": "+886 900 000 000",
    "consent": {"marketing": True, "profiling": False, "text_version": "2026-01"},
    "attributes": {"likes": ["tea"], "shoe": 38},
    "referred_by": "m0",
    "acquisition": {"source": "fair", "cost": "120.50"},
    "store_id": "taipei-1",
}


def test_a_member_is_enrolled_in_the_base_tier_with_an_empty_account(client: Client) -> None:
    response = client.put("/v1/members/m1", json=FULL)
    assert response.status_code == 201
    profile = client.get("/v1/members/m1").json or {}
    assert profile["name"] == "林美玲"
    assert profile["email"] == "Mei.Lin@example.com"
    assert profile["birthday"] == "1990-02-28"
    assert profile["joined_at"] == "2026-01-05T02:00:00Z"
    assert profile["store_id"] == "taipei-1"
    assert profile["acquisition"] == {"source": "fair", "cost": "120.50"}
    assert profile["consent"]["profiling"]["granted"] is False
    assert profile["tier"]["tier"] == "member"
    assert profile["points"] == {"available": 0, "pending": 0, "held": 0}


def test_absent_fields_keep_their_value_and_null_empties_them(client: Client) -> None:
    client.put("/v1/members/m1", json=FULL)
    assert client.put("/v1/members/m1", json={"phone": None, "locale": "en"}).status_code == 200
    profile = client.get("/v1/members/m1").json or {}
    assert (profile["phone"], profile["locale"], profile["name"]) == (None, "en", "林美玲")


def test_names_and_contacts_are_sealed_in_the_database(client: Client) -> None:
    client.put("/v1/members/m1", json=FULL)
    with client.engine.connect() as conn:
        row = conn.execute(text("SELECT CAST(m AS text) FROM members m")).scalar_one()
        told = text("SELECT COALESCE(string_agg(CAST(o AS text), ''), '') FROM outbox o")
        outbox = conn.execute(told).scalar_one()
    for secret in ("林美玲", "Mei.Lin", "900 000", "1990-02-28"):
        assert secret not in row
        assert secret not in outbox


def test_members_are_found_by_their_exact_address_in_any_case(client: Client) -> None:
    client.put("/v1/members/m1", json=FULL)
    enrol(client, "m2")
    found = client.get("/v1/members?email=mei.lin@EXAMPLE.com").json or {}
    assert [member["member_id"] for member in found["data"]] == ["m1"]
    assert (client.get("/v1/members?email=mei@example.com").json or {})["data"] == []


def test_members_come_in_pages_that_stay_stable_under_enrolments(client: Client) -> None:
    for number in range(5):
        enrol(client, f"m{number}")
    first = client.get("/v1/members?limit=2").json or {}
    enrol(client, "m00")
    second = client.get(f"/v1/members?limit=500&cursor={first['next_cursor']}").json or {}
    ids = [member["member_id"] for member in first["data"] + second["data"]]
    assert ids == ["m0", "m1", "m2", "m3", "m4"] or ids == ["m0", "m00", "m1", "m2", "m3", "m4"]
    assert len(ids) == len(set(ids))
    assert second["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["nonsense", "WzFd", "%00", "W10"])
def test_a_foreign_cursor_is_refused(client: Client, cursor: str) -> None:
    response = client.get(f"/v1/members?cursor={cursor}")
    assert response.status_code in {400, 422}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("joined_at", "2026-01-05"),
        ("joined_at", "2199-01-05T00:00:00Z"),
        ("birthday", "1990-02-30"),
        ("locale", "not a locale"),
        ("consent", {"marketing": "yes"}),
        ("attributes", {"deep": {"a": {"b": {"c": {"d": 1}}}}}),
        ("email", "a\x00b@example.com"),
        ("acquisition", {"cost": "1"}),
        ("nickname", "x"),
    ],
)
def test_bad_members_are_refused_and_not_enrolled(client: Client, field: str, value: object) -> None:
    response = client.put("/v1/members/m1", json={field: value})
    assert response.status_code == 422
    assert client.get("/v1/members/m1").status_code == 404


def test_the_card_shows_tier_progress_points_and_measurement_in_the_callers_language(client: Client) -> None:
    enrol(client)
    placed = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    client.post("/v1/orders", json=an_order(amount="3000", placed_at=placed))
    card = client.get("/v1/members/m1/card").json or {}
    assert card["points"]["available"] == 100
    assert card["tier"]["tier"] == "member"
    assert card["progress"]["to_rise"]["tier"] == "silver"
    assert card["measurement"]["assignment"]["arm"] is None
    chinese = client.get("/v1/members/m1/card", headers={"Accept-Language": "zh-TW,zh;q=0.9"}).json or {}
    assert chinese["locale"] == "zh-Hant"
    assert chinese["explanation"] != card["explanation"]


def test_the_card_enrols_nobody_and_writes_nothing(client: Client) -> None:
    enrol(client)
    client.post("/v1/orders", json=an_order())
    before = _fingerprint(client)
    client.get("/v1/members/m1/card")
    client.get("/v1/members/m1/tier")
    client.get("/v1/members/m1/points")
    client.get("/v1/members/m1")
    assert _fingerprint(client) == before


def test_the_card_of_an_unknown_member_is_not_found(client: Client) -> None:
    response = client.get("/v1/members/nobody/card")
    assert (response.status_code, (response.json or {})["code"]) == (404, "unknown-member")


def _fingerprint(client: Client) -> dict[str, int]:
    tables = (
        "assignments",
        "exposures",
        "tier_changes",
        "tier_states",
        "postings",
        "balances",
        "outbox",
        "lots",
    )
    with client.engine.connect() as conn:
        return {
            table: conn.execute(
                text(f"SELECT COALESCE(sum(hashtext(CAST(t AS text))), 0) FROM {table} t")
            ).scalar_one()
            for table in tables
        }


def test_a_publishable_key_reads_no_member_until_it_comes_with_a_members_token(client: Client) -> None:
    enrol(client)
    for path in ("", "/card", "/tier", "/points", "/recommendations"):
        assert client.get(f"/v1/members/m1{path}", role="storefront").status_code == 403
    event = {"event_id": "e1", "type": "search", "member_id": "m1", "occurred_at": "2026-01-01T00:00:00Z"}
    assert client.post("/v1/events", json={"events": [event]}, role="storefront").status_code == 403
    assert client.get("/v1/items/none", role="storefront").status_code == 404
