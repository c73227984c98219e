"""The page about experiments can be followed: its own commands, in order, do what it says."""

from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise
from typing import Any

from tests.api.conftest import Client, enrol
from tests.house.sources import ROOT

PAGE = ROOT / "docs" / "experiments.md"


def list_commands() -> list[list[str]]:
    """Return every command of the page, taken apart as a shell would."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [shlex.split(block.replace("\\\n", " ")) for block in blocks]


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


def test_the_pages_commands_take_a_text_from_draft_to_stop(client: Client) -> None:
    enrol(client, "mei-lin")
    answers = [follow(client, command) for command in list_commands()]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200]
    drafted, started, shown, read, stopped = (answer.json for answer in answers)
    assert (drafted["status"], started["status"], stopped["status"]) == ("draft", "running", "analysis")
    assert shown["arm"] in {"control", "free-shipping"}
    assert read["comparisons"][0]["verdict"] == "insufficient"
