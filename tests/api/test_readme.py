"""The first session of the README, played against the real service."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, date, datetime
from pathlib import Path

from tests.api.conftest import Client

README = Path(__file__).parents[2] / "README.md"
WRITTEN_ON = date(2026, 11, 21)


def commands() -> list[list[str]]:
    """Return the words of each command between the session's markers."""
    session = README.read_text().split("<!-- session:start -->")[1].split("<!-- session:end -->")[0]
    # As if it had been written today: a visit of years ago would count for nothing.
    since = datetime.now(UTC).date() - WRITTEN_ON
    session = re.sub(
        r"\d{4}-\d\d-\d\d(?=T)", lambda day: (date.fromisoformat(day[0]) + since).isoformat(), session
    )
    blocks = re.findall(r"```sh\n(.*?)```", session, re.DOTALL)
    joined = [re.sub(r"\n(?!tm )", " ", block.strip()) for block in blocks]
    return [shlex.split(line) for block in joined for line in block.split("\n")]


def test_every_command_of_the_first_session_works(client: Client) -> None:
    played = []
    for words in commands():
        assert words[0] == "tm"
        options: dict[str, str] = {}
        address, rest = "", words[1:]
        while rest:
            word = rest.pop(0)
            if word in {"-X", "-d", "-H"}:
                options[word] = rest.pop(0)
            else:
                address = word
        method = options.get("-X", "POST" if "-d" in options else "GET")
        headers = {"Content-Type": "application/json"}
        if "-H" in options:
            name, value = options["-H"].split(": ")
            headers[name] = value
        response = client.call(
            method, address.replace("$URL", "/v1"), headers=headers, data=options.get("-d", "")
        )
        assert response.status_code in {200, 201}, (words, response.data)
        played.append(response.json or {})
    assert played[1]["points"]["earned"] == 91
    assert played[2]["tier"]["after"]["tier"] == "silver"
    assert played[4]["measurement"]["assignment"]["arm"] in {"holdout", "treatment"}
    assert played[5]["points"]["reversed"] == 40
    assert played[5]["tier"]["after"]["tier"] == "member"
    assert len(played) == 8
