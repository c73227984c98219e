"""The audit log through HTTP: who changed what, found by actor, action, subject and time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from service.kit import audit
from service.kit.db import transaction
from service.kit.sealing import Sealer
from service.kit.settings import Settings
from tests.api.conftest import Client, enrol

PERSONAL = {
    "name": "林美玲",
    "email": "mei@example.com",
    "phone": "+886 912 345 678",
    "birthday": "1990-02-28",
}


def log_of(client: Client, query: str = "") -> list[dict[str, Any]]:
    """Return a page of the log."""
    response = client.get(f"/v1/audit-log{query}", role="admin")
    assert response.status_code == 200, response.data
    return list((response.json or {})["data"])


def adjust(client: Client, points: int) -> Any:
    """Adjust the points of m1."""
    return client.post(
        "/v1/members/m1/points/adjustments",
        json={"points": points, "reason": "goodwill"},
        headers={"Idempotency-Key": f"k{points}"},
    )


def test_a_members_record_is_logged_by_the_names_of_its_fields_with_sealed_values(client: Client) -> None:
    enrol(client, **PERSONAL)
    enrol(client, phone="+886 987 654 321", locale="en")
    updated, enrolled = log_of(client, "?subject=member:m1")
    assert (enrolled["action"], updated["action"]) == ("member.enrolled", "member.updated")
    assert {one["field"] for one in enrolled["changes"]} == {"joined_at", *PERSONAL}
    assert updated["changes"] == [
        {"field": "locale", "sealed": True, "before": None, "after": None},
        {"field": "phone", "sealed": True, "before": None, "after": None},
    ]
    assert updated["actor"].startswith("server:key_")
    assert updated["request_id"].startswith("req_")


def test_nothing_personal_stands_readable_in_the_log(client: Client, settings: Settings) -> None:
    enrol(client, **PERSONAL)
    with client.engine.connect() as conn:
        log = conn.execute(text("SELECT string_agg(CAST(l AS text), '') FROM audit_log l")).scalar_one()
        sealed = conn.execute(text("SELECT sealed FROM audit_sealed")).scalar_one()
    assert not [value for value in PERSONAL.values() if value in log]
    opened = json.loads(Sealer(settings.secret_key).open(bytes(sealed)) or "")
    assert opened["after"]["email"] == PERSONAL["email"]


def test_what_is_sealed_about_a_person_can_be_forgotten_and_the_log_stays(client: Client) -> None:
    enrol(client, **PERSONAL)
    with transaction(client.engine) as conn:
        key = conn.execute(text("SELECT member_key FROM members")).scalar_one()
        assert audit.forget_sealed(conn, member_key=key) == 1
    (entry,) = log_of(client, "?subject=member:m1")
    assert {one["field"] for one in entry["changes"]} == {"joined_at", *PERSONAL}


def test_a_record_sent_again_unchanged_is_not_a_change(client: Client) -> None:
    enrol(client, **PERSONAL, consent={"marketing": True, "text_version": "v1"})
    enrol(client, **PERSONAL, consent={"marketing": True, "text_version": "v1"})
    assert [entry["action"] for entry in log_of(client, "?subject=member:m1")] == ["member.enrolled"]


def test_points_by_hand_are_logged_with_their_reason(client: Client) -> None:
    enrol(client)
    transaction_id = adjust(client, 50).json["transaction_id"]
    (entry,) = log_of(client, "?action=points.adjusted")
    assert entry["subject"] == {"kind": "member", "id": "m1"}
    assert entry["reason"] == "goodwill"
    assert entry["changes"] == [
        {"field": "points", "sealed": False, "before": None, "after": 50},
        {"field": "transaction_id", "sealed": False, "before": None, "after": transaction_id},
    ]


def test_a_refused_change_leaves_no_entry(client: Client) -> None:
    enrol(client)
    assert adjust(client, -50).status_code == 409
    assert log_of(client, "?action=points.adjusted") == []


def test_a_change_that_is_answered_again_is_logged_once(client: Client) -> None:
    enrol(client)
    first, again = adjust(client, 50), adjust(client, 50)
    assert again.data == first.data
    assert len(log_of(client, "?action=points.adjusted")) == 1


def test_the_log_is_found_by_actor_action_subject_and_time(client: Client) -> None:
    enrol(client)
    enrol(client, "m2")
    client.put("/v1/stores/s1", json={}, role="operations")
    actor = log_of(client, "?subject=store")[0]["actor"]
    assert actor.startswith("operations:key_")
    assert [entry["action"] for entry in log_of(client, f"?actor={actor}")] == ["store.added"]
    assert len(log_of(client, "?action=member.enrolled")) == 2
    assert len(log_of(client, "?subject=member")) == 2
    assert len(log_of(client, "?subject=member:m2&action=member.enrolled")) == 1
    assert log_of(client, "?subject=member:nobody") == []
    assert log_of(client, "?subject=store:s2") == []
    ahead = (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert log_of(client, f"?since={ahead}") == []
    behind = (datetime.now(UTC) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert len(log_of(client, f"?since={behind}")) == 3


def test_pages_of_the_log_meet_every_entry_once_while_more_are_written(client: Client) -> None:
    for number in range(5):
        enrol(client, f"m{number}")
    first = client.get("/v1/audit-log?limit=2", role="admin").json or {}
    enrol(client, "m9")
    second = client.get(f"/v1/audit-log?limit=9&cursor={first['next_cursor']}", role="admin").json or {}
    ids = [entry["subject"]["id"] for entry in first["data"] + second["data"]]
    assert ids == ["m4", "m3", "m2", "m1", "m0"]
    assert second["next_cursor"] is None


@pytest.mark.parametrize("role", ["storefront", "server", "marketing"])
def test_only_operations_and_admin_read_the_log(client: Client, role: Any) -> None:
    assert client.get("/v1/audit-log", role=role).status_code == 403
    assert client.get("/v1/audit-log", role="operations").status_code == 200


@pytest.mark.parametrize("query", ["?since=yesterday", "?cursor=x", "?colour=red", "?actor=", "?limit=0"])
def test_what_the_log_does_not_understand_is_refused(client: Client, query: str) -> None:
    response = client.get(f"/v1/audit-log{query}", role="admin")
    assert response.status_code in {400, 422}
    assert (response.json or {})["errors"]


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log", "TRUNCATE audit_log CASCADE"],
)
def test_entries_are_never_changed_even_by_hand(client: Client, statement: str) -> None:
    enrol(client)
    with client.engine.connect() as conn, pytest.raises(Exception, match="append-only"):
        conn.execute(text(statement))
    assert len(log_of(client)) == 1
