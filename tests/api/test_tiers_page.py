"""The walkthrough of docs/tiers.md, played against the demo shop."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from service.intake.bulk.operations import run_import
from service.intake.demo.shop import generate, write_files
from service.kit.db import transaction
from service.kit.sealing import Sealer
from service.kit.settings import Settings
from service.programme.operations import get_programme
from service.tiers.population.operations import run_simulation
from tests.api.ladders import Ladder
from tests.api.test_tier_reports import work

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tiers.md"
WRITTEN_ON = date(2026, 11, 22)
KEPT = {"report_id": "REPORT", "version": "VERSION", "simulation_id": "SIMULATION"}
"""What the page tells to keep of an answer, and as which variable."""


@pytest.fixture
def demo(engine: Engine, settings: Settings, tmp_path: Path) -> Ladder:
    """The shop that `make serve` brings in."""
    shop = Ladder(engine, settings, None)
    with transaction(engine) as conn:
        programme = get_programme(conn)
    monday = shop.today - timedelta(days=shop.today.weekday())
    for kind, path in write_files(generate(today=monday, seed=20), tmp_path).items():
        run_import(
            engine,
            kind=kind,
            source=path,
            programme=programme,
            sealer=Sealer(settings.secret_key),
            now=datetime.now(UTC),
        )
    shop.review()
    return shop


def commands() -> Iterator[str]:
    """Yield each command between the page's markers, as if it had been written today."""
    session = PAGE.read_text().split("<!-- session:start -->")[1].split("<!-- session:end -->")[0]
    since = datetime.now(UTC).date() - WRITTEN_ON
    for block in re.findall(r"```sh\n(.*?)```", session, re.DOTALL):
        yield re.sub(r"\d{4}-\d\d-\d\d", lambda day: (date.fromisoformat(day[0]) + since).isoformat(), block)


def words_of(command: str, kept: dict[str, str]) -> list[str]:
    """Return what the shell makes of a command: quotes gone, variables in their places."""
    script = f"tm() {{ printf '%s\\0' \"$@\"; }}\n{command}"
    shell = subprocess.run(["sh", "-euc", script], env=kept, capture_output=True, text=True, check=True)
    return shell.stdout.split("\0")[:-1]


def play(shop: Ladder, command: str, kept: dict[str, str]) -> Any:
    """Send one command as curl would."""
    options: dict[str, str] = {}
    address, rest = "", words_of(command, {"URL": "/v1", **kept})
    while rest:
        word = rest.pop(0)
        if word in {"-X", "-d", "-H"}:
            options[word] = rest.pop(0)
        else:
            address = word
    data = options.get("-d", "")
    if data.startswith("@"):
        data = (ROOT / data[1:]).read_text()
    headers = {"Content-Type": "application/json"}
    if "-H" in options:
        name, value = options["-H"].split(": ")
        headers[name] = value
    method = options.get("-X", "POST" if "-d" in options else "GET")
    return shop.client.call(method, address, role="marketing", headers=headers, data=data)


def do_jobs(shop: Ladder, told: dict[str, Any]) -> None:
    """Do what the worker does meanwhile."""
    if told.get("state") == "queued" and "report_id" in told:
        work(shop.client, told["report_id"])
    elif told.get("state") == "queued":
        with transaction(shop.client.engine) as conn:
            programme = get_programme(conn)
        run_simulation(
            shop.client.engine,
            simulation_id=told["simulation_id"],
            programme=programme,
            now=datetime.now(UTC),
        )


def test_gold_is_made_harder_as_the_page_says(demo: Ladder) -> None:
    kept: dict[str, str] = {}
    played: list[Any] = []
    for command in commands():
        response = play(demo, command, kept)
        told = response.json if response.is_json else {}
        played.append(response)
        if response.status_code < 300:
            kept |= {variable: str(told[name]) for name, variable in KEPT.items() if told.get(name)}
            do_jobs(demo, told)
    refused = [place for place, response in enumerate(played) if response.status_code >= 300]
    assert len(played) == 19
    assert [played[place].json["code"] for place in refused] == ["too-many-demotions"]
    look_at_what_was_found(played)
    look_at_what_was_published(demo, played)


def look_at_what_was_found(played: list[Any]) -> None:
    """The page's sentences hold, whatever week the shop was made for."""
    spread = next(one for one in played[1].json["histogram"]["metrics"] if one["metric"] == "net_spend")
    lines = {(line["tier"], line["part"]): line["members_meeting"] for line in spread["thresholds"]}
    assert lines["platinum", "enter"] < lines["gold", "enter"] < lines["gold", "keep"]
    assert played[2].mimetype == "text/csv"
    rates = [tier["by_tier"]["repurchase"]["rate"] for tier in played[4].json["worth"]["tiers"]]
    assert rates == sorted(rates)
    hard, soft = (played[place].json["result"] for place in (8, 12))
    assert hard["demoted"] > 0.05 * hard["members"]
    assert soft["demoted"] == soft["demoted_anyway"] == hard["demoted_anyway"]
    by_now, by_draft = (
        {tier["tier"]: tier["by_tier"]["members"] for tier in played[place].json["worth"]["tiers"]}
        for place in (4, 14)
    )
    assert by_draft["gold"] < by_now["gold"]
    assert by_draft["platinum"] == by_now["platinum"]


def look_at_what_was_published(demo: Ladder, played: list[Any]) -> None:
    """The draft is in force with its reason, and took Gold from nobody."""
    published, movement, distribution, at_risk = (response.json for response in played[15:])
    assert (published["state"], published["version"]) == ("active", 2)
    assert "nobody who has it loses it" in published["reason"]
    groups = {group["group"] for group in movement["groups"]}
    assert "rule_change" not in groups
    holding = {tier["tier"]: tier["members"] for tier in distribution["points"][0]["tiers"]}
    assert holding["gold"] > 0
    assert all(member["tier"] == "gold" for member in at_risk["data"])
    demo.review()
    after = demo.client.get("/v1/tier-distribution", role="marketing").json or {}
    assert {tier["tier"]: tier["members"] for tier in after["points"][0]["tiers"]} == holding
