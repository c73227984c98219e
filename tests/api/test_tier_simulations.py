"""Simulations through HTTP: asked for, run by the job, looked at, called off."""

from __future__ import annotations

import copy
import csv
import io
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from service.cli.main import tidemark
from service.kit.auth import ROLES
from service.kit.clock import local_day
from service.programme.operations import get_programme
from service.tiers.defaults import default_ruleset
from service.tiers.population.operations import run_simulation
from tests.api.conftest import Client, an_order, enrol


def post(client: Client, path: str, body: Any = None, *, role: Any = "marketing", key: str = "") -> Any:
    headers = {"Idempotency-Key": key or str(uuid.uuid4())}
    return client.post(path, json=body if body is not None else {}, role=role, headers=headers)


def get(client: Client, path: str) -> Any:
    return client.get(path, role="marketing").json


def harder_silver() -> dict[str, Any]:
    definition: dict[str, Any] = copy.deepcopy(default_ruleset(currency="TWD"))
    for part in ("enter", "keep"):
        definition["tiers"][1][part]["all"][0]["value"] = "9000"
    return definition


@pytest.fixture
def draft(client: Client) -> str:
    """A silver member, one that never bought, and a draft that asks silver for three times as much."""
    enrol(client, "buyer", joined_at="2025-01-01T00:00:00Z")
    enrol(client, "looker", joined_at="2025-02-01T00:00:00Z")
    for number, days_ago in ((1, 20), (2, 10)):
        placed_at = (datetime.now(UTC) - timedelta(days=days_ago)).isoformat()
        response = post(
            client, "/v1/orders", an_order(f"o{number}", "buyer", "2000", placed_at=placed_at), role="server"
        )
        assert response.status_code == 201, response.data
    made = post(client, "/v1/tier-rulesets", {"title": "Harder silver", "definition": harder_silver()})
    assert made.status_code == 201, made.data
    return f"/v1/tier-rulesets/{made.json['version']}/simulations"


def run(client: Client, simulation_id: str) -> None:
    with client.engine.connect() as conn:
        programme = get_programme(conn)
    assert run_simulation(
        client.engine, simulation_id=simulation_id, programme=programme, now=datetime.now(UTC)
    )


def test_a_simulation_is_asked_for_run_and_looked_at(client: Client, draft: str) -> None:
    asked = post(client, draft)
    assert asked.status_code == 202
    told = asked.json
    assert (told["state"], told["result"], told["against"]) == ("queued", None, 1)
    assert told["requested_by"].startswith("marketing:")
    run(client, told["simulation_id"])
    done = get(client, f"{draft}/{told['simulation_id']}")
    assert (done["state"], done["members_done"], done["members_total"]) == ("done", 2, 2)
    result = done["result"]
    assert result["matrix"] == [
        {"from": "member", "to": "member", "members": 1},
        {"from": "silver", "to": "member", "members": 1},
    ]
    assert result["demoted_share"] == {"numerator": 1, "denominator": 2, "share": "0.5000"}
    (sample,) = result["samples"]
    assert sample["members"][0]["member_id"] == "buyer"
    assert sample["members"][0]["needs"][0] == {
        "metric": "net_spend", "op": ">=", "have": "4000.00", "need": "9000.00", "met": False
    }  # fmt: skip
    assert result["evidence"]["definition_hash"] == done["definition_hash"]
    listed = get(client, draft)
    assert [row["simulation_id"] for row in listed["data"]] == [told["simulation_id"]]
    assert listed["data"][0]["result"] is None


def test_a_simulation_comes_as_rows_for_a_spreadsheet(client: Client, draft: str) -> None:
    simulation_id = post(client, draft).json["simulation_id"]
    path = f"{draft}/{simulation_id}?format=csv"
    early = client.get(path, role="marketing")
    assert (early.status_code, (early.json or {})["code"]) == (409, "simulation-not-done")
    run(client, simulation_id)
    sheet = client.get(path, role="marketing", headers={"Accept-Language": "zh-Hant"})
    assert sheet.mimetype == "text/csv"
    rows = list(csv.DictReader(io.StringIO(sheet.text)))
    assert [(row["from"], row["to"], row["members"]) for row in rows if row["part"] == "matrix"] == [
        ("member", "member", "1"),
        ("silver", "member", "1"),
    ]
    for part in ("cohort", "store"):
        groups = [row for row in rows if row["part"] == part]
        assert sum(int(row["members"]) for row in groups) == 2
        assert sum(int(row["demoted"]) for row in groups) == 1
    (sample,) = [row for row in rows if row["part"] == "sample"]
    assert (sample["group"], sample["from"], sample["to"]) == ("buyer", "silver", "member")
    assert "還差 5,000 元" in sample["reason"]


def test_asking_twice_with_one_key_enqueues_one_simulation(client: Client, draft: str) -> None:
    first, second = (post(client, draft, {}, key="once") for _ in range(2))
    assert first.json == second.json
    assert second.headers["Idempotent-Replayed"] == "true"
    with client.engine.connect() as conn:
        jobs = text("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'tiers.simulate'")
        assert conn.scalar(jobs) == 1


def test_a_simulation_can_be_called_off_until_it_is_over(client: Client, draft: str) -> None:
    simulation_id = post(client, draft).json["simulation_id"]
    cancelled = post(client, f"{draft}/{simulation_id}/cancel")
    assert (cancelled.status_code, cancelled.json["state"]) == (200, "cancelled")
    other = post(client, draft).json["simulation_id"]
    run(client, other)
    refused = post(client, f"{draft}/{other}/cancel")
    assert (refused.status_code, refused.json["code"]) == (409, "simulation-is-over")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"as_of": "2999-01-01"}, 422, "as-of-in-future"),
        ({"as_of": "yesterday"}, 422, "invalid"),
        ({"against": 99}, 404, "unknown-ruleset"),
        ({"against": "1"}, 422, "invalid"),
        ({"draft": {}}, 422, "invalid"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_its_reason(
    client: Client, draft: str, body: dict[str, Any], status: int, code: str
) -> None:
    response = post(client, draft, body)
    assert (response.status_code, response.json["code"]) == (status, code)
    assert get(client, draft)["data"] == []


@pytest.mark.parametrize("version", ["99", "0", "latest", "99999999999999999999"])
def test_a_rule_set_that_is_not_there_has_no_simulations(client: Client, version: str) -> None:
    path = f"/v1/tier-rulesets/{version}/simulations"
    assert get(client, path)["code"] == "unknown-ruleset"
    refused = post(client, path)
    assert (refused.status_code, refused.json["code"]) == (404, "unknown-ruleset")


def test_a_simulation_belongs_to_its_own_rule_set(client: Client, draft: str) -> None:
    simulation_id = post(client, draft).json["simulation_id"]
    assert get(client, f"/v1/tier-rulesets/1/simulations/{simulation_id}")["code"] == "unknown-simulation"


def test_only_those_who_answer_for_the_rules_may_try_them(client: Client, draft: str) -> None:
    allowed = {role for role in ROLES if post(client, draft, role=role).status_code == 202}
    assert allowed == {"marketing", "operations", "admin"}


def test_a_definition_in_a_file_is_tried_from_the_command_line_and_not_kept(
    client: Client, draft: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "draft.json"
    file.write_text(json.dumps(harder_silver()))
    url = client.engine.url.render_as_string(hide_password=False)
    for name, value in {"DATABASE_URL": url, "TIDEMARK_VAR": str(tmp_path), "TIDEMARK_DEMO": "0"}.items():
        monkeypatch.setenv(name, value)
    today = local_day(datetime.now(UTC), timezone="Asia/Taipei").isoformat()
    done = CliRunner().invoke(tidemark, ["tiers", "simulate", str(file), "--as-of", today, "--against", "1"])
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"from": "silver", "to": "member", "members": 1} in lines
    assert lines[-1]["demoted"] == 1
    assert any(line.get("members") == "buyer" for line in lines)
    assert get(client, draft)["data"] == []
    broken = tmp_path / "broken.json"
    broken.write_text('{"currency": "TWD"')
    assert CliRunner().invoke(tidemark, ["tiers", "simulate", str(broken)]).exit_code != 0
    broken.write_text('{"currency": "TWD"}')
    assert CliRunner().invoke(tidemark, ["tiers", "simulate", str(broken)]).exit_code != 0
