"""Rule sets through HTTP: drafted, looked through, compared, exported, published, withdrawn."""

from __future__ import annotations

import copy
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from service.kit.auth import Role
from service.kit.clock import local_day, local_midnight
from service.kit.db import transaction
from service.programme.operations import get_programme
from service.tiers.defaults import default_ruleset
from service.tiers.population.operations import run_simulation
from service.tiers.reviews import review_members
from tests.api.conftest import Client, an_order, enrol
from tests.integration.tiers.evidence import leave_simulation

ZONE = "Asia/Taipei"


def ladder(gold: str = "15000.00") -> Any:
    """The default ladder with another spend for Gold."""
    changed: Any = copy.deepcopy(default_ruleset(currency="TWD"))
    changed["tiers"][2]["enter"]["all"][0]["value"] = gold
    return changed


def post(client: Client, path: str, body: Any, *, role: Any = "marketing", **headers: str) -> Any:
    """Send a POST with a key of its own."""
    key = {"Idempotency-Key": str(uuid.uuid4())} | headers
    # The standard library's, because it writes what a careless client can send.
    return client.post(path, data=json.dumps(body), content_type="application/json", role=role, headers=key)


def draft(client: Client, definition: Any = None, **fields: Any) -> Any:
    """Make a draft and return it."""
    body = {"title": "Harder Gold", "definition": definition or ladder()} | fields
    response = post(client, "/v1/tier-rulesets", body)
    assert response.status_code == 201, response.data
    return response.json


def simulate(client: Client, version: int, **fields: Any) -> str:
    """Leave a simulation of a draft as its job would."""
    with transaction(client.engine) as conn:
        now = datetime.now(UTC)
        return leave_simulation(conn, version=version, now=now, as_of=local_day(now, timezone=ZONE), **fields)


def publish(client: Client, version: int, **fields: Any) -> Any:
    """Ask for publishing on the evidence given."""
    return post(client, f"/v1/tier-rulesets/{version}/publish", {"reason": "spring"} | fields)


def get(client: Client, path: str, **options: Any) -> Any:
    response = client.get(path, **options)
    assert response.status_code == 200, response.data
    return response.json


def in_days(days: int) -> str:
    """Return a day from today in the programme's zone."""
    return (local_day(datetime.now(UTC), timezone=ZONE) + timedelta(days=days)).isoformat()


def test_the_first_start_s_set_is_there_and_in_force(client: Client) -> None:
    (only,) = get(client, "/v1/tier-rulesets")["data"]
    assert (only["version"], only["state"], only["published_by"]) == (1, "active", "tidemark")
    whole = get(client, "/v1/tier-rulesets/1", role="server")
    assert whole["definition"] == default_ruleset(currency="TWD")
    assert whole["findings"] == []
    assert whole["simulation"] is None


def test_a_draft_says_who_made_it_and_what_is_found_in_it(client: Client) -> None:
    definition = ladder()
    definition["tiers"][3]["benefits"] = []
    made = draft(client, definition)
    assert (made["version"], made["state"], made["title"]) == (2, "draft", "Harder Gold")
    assert made["created_by"].startswith("marketing:key_")
    (finding,) = made["findings"]
    assert (finding["name"], finding["severity"]) == ("multiplier-falls", "warning")
    assert finding["pointers"] == ["/tiers/3/benefits", "/tiers/2/benefits"]
    assert set(finding["text"]) == {"en", "zh-Hant"}
    assert get(client, "/v1/tier-rulesets/2") == made


def test_a_draft_can_begin_as_a_copy_and_be_changed_until_it_is_published(client: Client) -> None:
    made = post(client, "/v1/tier-rulesets", {"title": "Copy", "copy_of": 1}, role="admin").json
    assert made["definition"] == default_ruleset(currency="TWD")
    changed = client.put(
        "/v1/tier-rulesets/2", json={"title": "T", "definition": ladder("9000")}, role="admin"
    )
    assert changed.status_code == 200
    assert (changed.json or {})["definition"]["tiers"][2]["enter"]["all"][0]["value"] == "9000"
    simulation_id = simulate(client, 2)
    assert publish(client, 2, simulation_id=simulation_id).status_code == 200
    late = client.put("/v1/tier-rulesets/2", json={"title": "T", "definition": ladder()}, role="admin")
    assert (late.status_code, (late.json or {})["code"]) == (409, "ruleset-not-a-draft")
    gone = client.call("DELETE", "/v1/tier-rulesets/2", role="admin")
    assert (gone.status_code, (gone.json or {})["code"]) == (409, "ruleset-not-a-draft")


def test_a_discarded_draft_is_gone_for_good(client: Client) -> None:
    draft(client)
    gone = client.call("DELETE", "/v1/tier-rulesets/2", role="marketing")
    assert (gone.status_code, (gone.json or {})["state"]) == (200, "discarded")
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/diff"), ("GET", "/export")):
        response = client.call(method, f"/v1/tier-rulesets/2{path}", role="marketing")
        assert (response.status_code, (response.json or {})["code"]) == (404, "unknown-ruleset")
    for path, body in (
        ("/v1/tier-rulesets/2/simulations", {}),
        ("/v1/tier-rulesets/1/simulations", {"against": 2}),
        ("/v1/tier-reports", {"kind": "worth", "version": 2}),
        ("/v1/tier-reports", {"kind": "histogram", "version": 2}),
    ):
        response = client.post(path, json=body, role="marketing", headers={"Idempotency-Key": path})
        assert (response.status_code, (response.json or {})["code"]) == (404, "unknown-ruleset")
    assert [one["version"] for one in get(client, "/v1/tier-rulesets")["data"]] == [1]
    assert draft(client)["version"] == 3


def test_lists_come_in_pages_the_newest_first_and_by_state(client: Client) -> None:
    for _ in range(3):
        draft(client)
    first = get(client, "/v1/tier-rulesets?limit=3")
    assert [one["version"] for one in first["data"]] == [4, 3, 2]
    second = get(client, f"/v1/tier-rulesets?limit=3&cursor={first['next_cursor']}")
    assert ([one["version"] for one in second["data"]], second["next_cursor"]) == ([1], None)
    assert [one["version"] for one in get(client, "/v1/tier-rulesets?state=active")["data"]] == [1]
    assert len(get(client, "/v1/tier-rulesets?state=draft")["data"]) == 3
    assert client.get("/v1/tier-rulesets?state=wild").status_code == 422


def test_what_is_exported_comes_back_the_same(client: Client) -> None:
    exported = get(client, "/v1/tier-rulesets/1/export")
    assert exported == default_ruleset(currency="TWD")
    again = draft(client, exported)
    assert get(client, f"/v1/tier-rulesets/{again['version']}/export") == exported
    assert get(client, f"/v1/tier-rulesets/{again['version']}/diff")["changes"] == []
    assert again["definition_hash"] == get(client, "/v1/tier-rulesets/1")["definition_hash"]


def test_numbers_stay_exact_however_they_are_written(client: Client) -> None:
    body = '{"title": "t", "definition": %s}' % (  # noqa: UP031
        '{"currency": "TWD", "window": {"kind": "rolling", "days": 90}, '
        '"downgrade": {"policy": "one_step", "grace_days": 0, "min_hold_days": 0}, '
        '"tiers": [{"code": "a", "names": {"en": "A", "zh-Hant": "甲"}}, '
        '{"code": "b", "names": {"en": "B", "zh-Hant": "乙"}, "enter": {"all": ['
        '{"metric": "net_spend", "op": ">=", "value": 1234.10}, '
        '{"metric": "visit_interval_days", "op": "<=", "value": 7.5}, '
        '{"metric": "days_since_last_visit", "op": "<=", "value": 3e1}]}}]}'
    )
    headers = {"Idempotency-Key": "n1", "Content-Type": "application/json"}
    response = client.post("/v1/tier-rulesets", data=body, role="marketing", headers=headers)
    assert response.status_code == 201, response.data
    values = [one["value"] for one in (response.json or {})["definition"]["tiers"][1]["enter"]["all"]]
    assert values == ["1234.10", "7.5", 30]


def test_a_diff_has_pointers_values_and_sentences(client: Client) -> None:
    version = draft(client)["version"]
    found = get(client, f"/v1/tier-rulesets/{version}/diff")
    assert (found["from_version"], found["to_version"]) == (1, 2)
    assert found["tiers"] == {"added": [], "removed": [], "renamed": [], "moved": []}
    (change,) = found["changes"]
    assert (change["what"], change["tier"]) == ("threshold", "gold")
    assert change["to_pointer"] == "/tiers/2/enter/all/0/value"
    assert (change["from"], change["to"]) == ("12000.00", "15000.00")
    assert "NT$15,000" in change["text"]["en"]
    back = get(client, f"/v1/tier-rulesets/1/diff?against={version}")
    assert (back["changes"][0]["from"], back["changes"][0]["to"]) == ("15000.00", "12000.00")
    missing = client.get(f"/v1/tier-rulesets/{version}/diff?against=77")
    assert (missing.json or {})["code"] == "unknown-ruleset"


def test_publishing_now_puts_it_in_force_with_its_evidence(client: Client) -> None:
    version = draft(client)["version"]
    simulation_id = simulate(client, version, demoted=3)
    seen = get(client, f"/v1/tier-rulesets/{version}")["simulation"]
    assert (seen["simulation_id"], seen["of_this_definition"]) == (simulation_id, True)
    assert seen["demoted_share"] == {"numerator": 3, "denominator": 100}
    done = publish(client, version, simulation_id=simulation_id)
    assert done.status_code == 200, done.data
    assert (done.json["state"], done.json["reason"], done.json["effective_to"]) == ("active", "spring", None)
    assert done.json["published_by"].startswith("marketing:key_")
    assert done.json["simulation"]["simulation_id"] == simulation_id
    assert get(client, "/v1/tier-rulesets/1")["state"] == "retired"
    enrol(client)
    client.post("/v1/orders", json=an_order(amount="3000"))
    assert get(client, "/v1/members/m1/tier")["ruleset_version"] == version
    (told,) = get(client, "/v1/changes?topics=tier.ruleset.published")["data"]
    assert told["payload"]["version"] == version
    page = get(client, "/v1/audit-log?action=ruleset.published", role="admin")
    assert page["data"][0]["subject"] == {"kind": "tier-ruleset", "id": str(version)}


def test_from_draft_over_simulation_to_everybody_s_new_tier(client: Client) -> None:
    for number, amount in enumerate(("500", "2500", "2900")):
        enrol(client, f"m{number}")
        for order in range(2):
            placed_at = (datetime.now(UTC) - timedelta(days=3 * order + 1)).isoformat()
            body = an_order(f"o{number}{order}", f"m{number}", amount, placed_at=placed_at)
            assert client.post("/v1/orders", json=body).status_code == 201
    assert [get(client, f"/v1/members/m{n}/tier")["tier"] for n in range(3)] == ["member", "silver", "silver"]
    definition = ladder()
    for part, least in (("enter", "5500"), ("keep", "5200")):
        definition["tiers"][1][part]["all"][0]["value"] = least
    definition["downgrade"] |= {"grace_days": 0, "min_hold_days": 0}
    version = draft(client, definition)["version"]
    asked = post(client, f"/v1/tier-rulesets/{version}/simulations", {})
    assert asked.status_code == 202, asked.data
    simulation_id = asked.json["simulation_id"]
    with client.engine.connect() as conn:
        programme = get_programme(conn)
    run_simulation(client.engine, simulation_id=simulation_id, programme=programme, now=datetime.now(UTC))
    problem = refused(publish(client, version, simulation_id=simulation_id), 422, "too-many-demotions")
    assert "1 of 3 members (33.3 %)" in problem["detail"]
    done = publish(client, version, simulation_id=simulation_id, confirm_demotions=True)
    assert done.status_code == 200, done.data
    assert done.json["simulation"]["of_this_definition"] is True
    review_members(client.engine, programme=programme, now=datetime.now(UTC))
    standings = [get(client, f"/v1/members/m{n}/tier") for n in range(3)]
    assert [standing["tier"] for standing in standings] == ["member", "member", "silver"]
    assert {standing["ruleset_version"] for standing in standings} == {version}
    (change, *_) = get(client, "/v1/members/m1/tier/changes")["data"]
    assert (change["cause"], change["ruleset_version"]) == ("rule_change", version)


def test_the_first_answer_to_a_publish_comes_again_for_its_key(client: Client) -> None:
    version = draft(client)["version"]
    body = {"reason": "spring", "simulation_id": simulate(client, version)}
    path = f"/v1/tier-rulesets/{version}/publish"
    first, again = (post(client, path, body, **{"Idempotency-Key": "once"}) for _ in range(2))
    assert (first.status_code, again.json) == (200, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_set_is_scheduled_for_a_midnight_and_withdrawn(client: Client) -> None:
    version = draft(client)["version"]
    simulation_id = simulate(client, version)
    day = in_days(7)
    done = publish(client, version, effective_from=day, simulation_id=simulation_id)
    assert done.status_code == 200, done.data
    midnight = local_midnight(datetime.fromisoformat(day).date(), timezone=ZONE)
    assert (done.json["state"], done.json["effective_from"]) == (
        "scheduled",
        midnight.isoformat().replace("+00:00", "Z"),
    )
    assert get(client, "/v1/tier-rulesets/1")["effective_to"] == done.json["effective_from"]
    nameless = post(client, f"/v1/tier-rulesets/{version}/withdraw", {})
    assert nameless.status_code == 422
    back = post(client, f"/v1/tier-rulesets/{version}/withdraw", {"reason": "after the holidays"})
    assert (back.json["state"], back.json["effective_from"]) == ("draft", None)
    twice = post(client, f"/v1/tier-rulesets/{version}/withdraw", {"reason": "again"})
    assert (twice.status_code, twice.json["code"]) == (409, "ruleset-not-scheduled")


# Bad input, each refused with a reason that a marketing person can act on.


def refused(response: Any, status: int, code: str) -> Any:
    assert (response.status_code, response.json["code"]) == (status, code), response.data
    return response.json


def nested(levels: int) -> Any:
    condition: Any = {"metric": "orders", "op": ">=", "value": 1}
    for level in range(levels):
        condition = {"any" if level % 2 else "all": [condition]}
    return condition


def test_a_draft_that_would_demote_everyone_is_refused_with_the_numbers(client: Client) -> None:
    version = draft(client)["version"]
    simulation_id = simulate(client, version, demoted=100)
    problem = refused(publish(client, version, simulation_id=simulation_id), 422, "too-many-demotions")
    assert "100 of 100 members (100.0 %)" in problem["detail"]
    assert problem["errors"][0]["pointer"] == "/confirm_demotions"
    assert get(client, f"/v1/tier-rulesets/{version}")["state"] == "draft"
    done = publish(client, version, simulation_id=simulation_id, confirm_demotions=True, reason="a new start")
    assert done.status_code == 200


@pytest.mark.parametrize(
    ("change", "name", "pointer"),
    [
        (
            lambda one: one["tiers"][1]["enter"]["all"][0].update(metric="loyalty"),
            "unknown-metric",
            "/definition/tiers/1/enter/all/0/metric",
        ),
        (
            lambda one: one["tiers"].extend(one["tiers"][1] | {"code": f"t{n}"} for n in range(9)),
            "too-many-tiers",
            "/definition/tiers",
        ),
        (
            lambda one: one["tiers"][1].update(enter=nested(4)),
            "nested-too-deep",
            "/definition/tiers/1/enter/any/0/all/0/any/0",
        ),
        (
            lambda one: one["tiers"][1]["names"].pop("zh-Hant"),
            "missing-locale",
            "/definition/tiers/1/names/zh-Hant",
        ),
        (lambda one: one.update(currency="EUR"), "another-currency", "/definition/currency"),
        (lambda one: one.update(window={"kind": "lunar"}), "not-readable", "/definition/window/kind"),
    ],
)
def test_what_cannot_be_read_is_refused_at_its_place_in_the_caller_s_language(
    client: Client, change: Any, name: str, pointer: str
) -> None:
    definition = ladder()
    change(definition)
    body = {"title": "Broken", "definition": definition}
    problem = refused(post(client, "/v1/tier-rulesets", body), 422, "ruleset-not-readable")
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert any(error["detail"].startswith(f"{name}: ") for error in problem["errors"])
    chinese = post(client, "/v1/tier-rulesets", body, **{"Accept-Language": "zh-TW"}).json
    assert all(any("\u4e00" <= sign <= "\u9fff" for sign in error["detail"]) for error in chinese["errors"])
    assert len(get(client, "/v1/tier-rulesets")["data"]) == 1


def test_errors_that_were_found_stop_publishing(client: Client) -> None:
    definition = ladder()
    definition["tiers"][3]["enter"] = {"metric": "active_days", "op": ">=", "value": 400}
    made = draft(client, definition)
    assert [finding["name"] for finding in made["findings"] if finding["severity"] == "error"] == [
        "unreachable-tier",
        "threshold-out-of-range",
    ]
    response = publish(client, made["version"], simulation_id=simulate(client, made["version"]))
    problem = refused(response, 422, "ruleset-has-errors")
    assert problem["errors"][0]["pointer"] == "/tiers/3/enter"


def test_overlapping_schedules_are_refused_naming_the_other(client: Client) -> None:
    first, second = draft(client)["version"], draft(client, ladder("16000"))["version"]
    day = in_days(3)
    assert (
        publish(client, first, effective_from=day, simulation_id=simulate(client, first)).status_code == 200
    )
    response = publish(client, second, effective_from=day, simulation_id=simulate(client, second))
    assert f"version {first}" in refused(response, 409, "schedule-taken")["detail"]


def test_a_stale_simulation_is_refused(client: Client) -> None:
    version = draft(client)["version"]
    simulation_id = simulate(client, version)
    client.put(
        f"/v1/tier-rulesets/{version}", json={"title": "T", "definition": ladder("15500")}, role="marketing"
    )
    assert get(client, f"/v1/tier-rulesets/{version}")["simulation"]["of_this_definition"] is False
    problem = refused(publish(client, version, simulation_id=simulation_id), 409, "simulation-stale")
    assert "has changed" in problem["detail"]
    queued = simulate(client, version, state="queued")
    refused(publish(client, version, simulation_id=queued), 409, "simulation-not-done")
    problem = refused(publish(client, version), 422, "simulation-needed")
    assert problem["errors"][0]["pointer"] == "/simulation_id"


def test_a_moment_that_is_no_midnight_to_come_is_refused_and_the_next_one_told(client: Client) -> None:
    version = draft(client)["version"]
    simulation_id = simulate(client, version)
    for effective_from in (in_days(0), in_days(-1), "2999-01-01", "soon"):
        response = publish(client, version, effective_from=effective_from, simulation_id=simulation_id)
        problem = refused(response, 422, "not-a-future-midnight")
        assert in_days(1) in problem["detail"]
        assert problem["errors"][0]["pointer"] == "/effective_from"


def test_a_body_that_is_no_draft_is_refused_at_its_place(client: Client) -> None:
    bodies: list[tuple[Any, str]] = [
        ({"title": "x"}, "/definition"),
        ({"title": "x", "definition": {}, "copy_of": 1}, "/definition"),
        ({"definition": {}}, "/title"),
        ({"title": "", "copy_of": 1}, "/title"),
        ({"title": "x", "copy_of": 99}, "/copy_of"),
        ({"title": "x", "copy_of": "1"}, "/copy_of"),
        ({"title": "x", "definition": []}, "/definition"),
        ({"title": "x", "definition": {"tiers": "\x00"}}, "/definition"),
        ({"title": "x", "definition": {"\ud800": 1}}, "/definition"),
        ({"title": "x", "definition": {"n": 10**30}}, "/definition"),
        ({"title": "x", "definition": {"long": "x" * 300_000}}, "/definition"),
        ({"title": "x", "copy_of": 1, "state": "active"}, "/state"),
    ]
    for body, pointer in bodies:
        problem = refused(post(client, "/v1/tier-rulesets", body), 422, "invalid")
        assert pointer in [error["pointer"] for error in problem["errors"]]


def test_publishing_needs_a_reason_and_an_idempotency_key(client: Client) -> None:
    version = draft(client)["version"]
    path = f"/v1/tier-rulesets/{version}/publish"
    problem = refused(post(client, path, {}), 422, "invalid")
    assert [error["pointer"] for error in problem["errors"]] == ["/reason"]
    keyless = client.post(path, json={"reason": "x"}, role="marketing")
    refused(keyless, 400, "idempotency-key-required")


def test_a_version_that_is_not_there_is_not_found(client: Client) -> None:
    for version in ("0", "99", "-1", "1.0", "abc", "9999999999", "٣"):
        refused(client.get(f"/v1/tier-rulesets/{version}"), 404, "unknown-ruleset")


def test_only_marketing_and_admin_write_rule_sets(client: Client) -> None:
    draft(client)
    writes: list[tuple[str, str, Any]] = [
        ("POST", "", {"title": "x", "copy_of": 1}),
        ("PUT", "/2", {"title": "x", "definition": ladder()}),
        ("DELETE", "/2", None),
        ("POST", "/2/publish", {"reason": "x"}),
        ("POST", "/2/withdraw", {"reason": "x"}),
    ]
    roles: tuple[Role, ...] = ("storefront", "server", "operations")
    for role in roles:
        for method, path, body in writes:
            options = {} if body is None else {"json": body}
            headers = {"Idempotency-Key": str(uuid.uuid4())}
            response = client.call(method, f"/v1/tier-rulesets{path}", role=role, headers=headers, **options)
            assert response.status_code == 403
        assert client.get("/v1/tier-rulesets", role=role).status_code == (
            403 if role == "storefront" else 200
        )


def test_every_change_is_in_the_audit_log_and_published_rows_are_kept_by_the_database(client: Client) -> None:
    version = draft(client)["version"]
    path = f"/v1/tier-rulesets/{version}"
    client.put(path, json={"title": "T", "definition": ladder("15500")}, role="marketing")
    publish(client, version, effective_from=in_days(2), simulation_id=simulate(client, version))
    post(client, f"{path}/withdraw", {"reason": "no"})
    client.call("DELETE", path, role="marketing")
    page = get(client, f"/v1/audit-log?subject=tier-ruleset:{version}", role="admin")
    assert [entry["action"] for entry in page["data"]] == [
        "ruleset.discarded",
        "ruleset.withdrawn",
        "ruleset.published",
        "ruleset.changed",
        "ruleset.drafted",
    ]
    with client.engine.connect() as conn, pytest.raises(Exception, match="never changes"):
        conn.execute(text("UPDATE tier_rulesets SET definition = '{}' WHERE version = 1"))


def test_the_card_shows_what_a_machine_can_honour(client: Client) -> None:
    definition = ladder()
    definition["tiers"][0]["benefits"] = [
        {"kind": "free_shipping", "minimum_spend": "999", "text": {"en": "Free shipping", "zh-Hant": "免運"}},
        {"kind": "early_access", "hours": 24, "text": {"en": "A day earlier", "zh-Hant": "提早一天"}},
    ]
    version = draft(client, definition)["version"]
    assert publish(client, version, simulation_id=simulate(client, version)).status_code == 200
    enrol(client)
    for path in ("/v1/members/m1/card", "/v1/members/m1/tier"):
        answer = get(client, path)
        benefits = answer["benefits"] if path.endswith("/tier") else answer["tier"]["benefits"]
        assert benefits == [
            {"kind": "free_shipping", "value": None, "minimum_spend": "999.00", "text": "Free shipping"},
            {"kind": "early_access", "value": None, "hours": 24, "text": "A day earlier"},
        ]
