"""The page about experiments can be followed: its own commands, in order, do what it says."""

from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from service.cli.experiments import print_outlook
from service.cli.main import tidemark
from service.experiments.rules import SURFACES
from service.experiments.uplift import GUARDRAILS, LEFT_OUT, METRICS
from tests.api.conftest import Client, enrol
from tests.house.sources import ROOT

PAGE = ROOT / "docs" / "experiments.md"


def list_commands() -> list[list[str]]:
    """Return every command of the page, taken apart as a shell would."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    commands = [one for block in blocks for one in re.split(r"^curl", block, flags=re.MULTILINE)[1:]]
    return [shlex.split(command.replace("\\\n", " ")) for command in commands]


def follow(client: Client, command: list[str]) -> Any:
    """Send what a curl command would."""
    url = next(part for part in command if part.startswith("$URL"))
    options = list(pairwise(command))
    headers = dict(given.split(": ", 1) for name, given in options if name == "-H")
    role = headers.pop("Authorization").removeprefix("Bearer $").lower()
    body = next((given for name, given in options if name == "-d"), None)
    method = "POST" if body is not None or "POST" in command else "GET"
    sent = {} if body is None else {"data": json.dumps(json.loads(body))}
    return client.call(method, url.removeprefix("$URL"), role=role, headers=headers, **sent)  # type: ignore[arg-type]


def test_the_pages_commands_take_a_text_and_a_mailing_from_draft_to_verdict(client: Client) -> None:
    enrol(client, "mei-lin", consent={"marketing": True})
    enrol(client, "chih-hao")
    answers = [follow(client, command) for command in list_commands()]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200, 201, 200, 200, 200]
    drafted, started, shown, read, stopped, _, _, crowd, verdict = (answer.json for answer in answers)
    assert (drafted["status"], started["status"], stopped["status"]) == ("draft", "running", "analysis")
    assert shown["arm"] in {"control", "free-shipping"}
    assert read["comparisons"][0]["verdict"] == "insufficient"
    agreed, never_asked = crowd["data"]
    assert agreed["reason"] in {"split", "held_out"}
    assert (never_asked["arm"], never_asked["reason"]) == (None, "not_eligible")
    left = verdict["comparisons"][0]["left_out"]
    assert {"arm": None, "reason": "not_eligible", "members": 1} in left


def test_the_page_names_every_reason_metric_and_surface() -> None:
    page = PAGE.read_text()
    for name in (*LEFT_OUT, *METRICS, *GUARDRAILS, *SURFACES):
        assert f"`{name}`" in page, name


def test_the_commands_tell_what_the_api_tells(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrol(client, "mei-lin")
    for command in list_commands()[:3]:
        follow(client, command)
    environment = {
        "DATABASE_URL": client.engine.url.render_as_string(hide_password=False),
        "TIDEMARK_VAR": str(tmp_path),
        "TIDEMARK_SECRET_KEY": "a test's own",
    }
    told = {
        name: CliRunner().invoke(tidemark, ["experiments", name, "cart-text"], env=environment)
        for name in ("report", "outlook")
    }
    assert [one.exit_code for one in told.values()] == [0, 0]
    report, outlook = (json.loads(one.stdout.splitlines()[0]) for one in told.values())
    read = client.get("/v1/experiments/cart-text/uplift").json or {}
    assert report["verdict"] == read["comparisons"][0]["verdict"]
    assert read["comparisons"][0]["sentence"]["en"] in told["report"].stderr
    assert (outlook["arm"], outlook["members"]) == ("free-shipping", 1)
    # What the start says of the hold-out: a shop of one member sees nothing, and is told what would help.
    print_outlook(client.engine)
    line = capsys.readouterr().out
    assert "it can show no effect of any size" in line
    assert "a hold-out of 20 % is suggested" in line
