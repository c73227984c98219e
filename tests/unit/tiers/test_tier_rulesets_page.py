"""docs/tier-rulesets.md shows rule sets that can be published, and names everything that can be found."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from service.cli.main import tidemark
from service.kit.exact_json import parse_json
from service.tiers.benefits import KINDS
from service.tiers.conditions import METRICS, leaves_of
from service.tiers.periods import CalendarYear, MembershipYear, RollingWindow
from service.tiers.publishing import faults, findings
from service.tiers.publishing.faults import read_definition
from service.tiers.publishing.findings import look_through
from tests.house.sources import ROOT

PAGE = (ROOT / "docs" / "tier-rulesets.md").read_text()
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("tier-ruleset-*.json"))


def read_example(path: Path) -> Any:
    return parse_json(path.read_bytes())


def test_there_is_an_example_of_each_kind_of_window_and_the_page_links_to_it() -> None:
    windows = []
    for path in EXAMPLES:
        rules, _ = read_definition(read_example(path), version=1, currency="TWD")
        assert rules is not None
        windows.append(rules.window)
        assert f"(examples/{path.name})" in PAGE
    expected = {RollingWindow(180), CalendarYear(), MembershipYear("joining"), MembershipYear("tier")}
    assert set(windows) == expected


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_could_be_published_as_it_is(path: Path) -> None:
    definition = read_example(path)
    rules, wrong = read_definition(definition, version=1, currency="TWD")
    assert wrong == []
    assert rules is not None
    assert look_through(rules, definition=definition) == []


def test_the_examples_show_every_metric_and_every_kind_of_benefit() -> None:
    metrics, kinds = set(), set()
    for path in EXAMPLES:
        rules, _ = read_definition(read_example(path), version=1, currency="TWD")
        assert rules is not None
        for tier in rules.tiers:
            conditions = [part for part in (tier.enter, tier.keep) if part is not None]
            metrics |= {leaf.metric for part in conditions for leaf in leaves_of(part)}
            kinds |= {benefit.kind for benefit in tier.benefits}
    assert metrics == set(METRICS)
    assert kinds == set(KINDS)


def test_the_tier_on_the_page_is_one() -> None:
    (written,) = [block for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) if '"code"' in block]
    definition = read_example(EXAMPLES[0])
    definition["tiers"] = [definition["tiers"][0], json.loads(written)]
    assert read_definition(definition, version=1, currency="TWD")[1] == []


@pytest.mark.parametrize(("module", "kind"), [(findings, "Finding"), (faults, "Fault")])
def test_the_page_names_everything_that_can_be_found_and_nothing_else(module: Any, kind: str) -> None:
    source = Path(module.__file__).read_text()
    names = set(re.findall(rf'{kind}\(\s*"([a-z-]+)"', source))
    heading = "| finding |" if kind == "Finding" else "| fault |"
    table = PAGE[PAGE.index(heading) :].split("\n\n", 1)[0]
    assert names == set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE))


def validate(tmp_path: Path, text: str, *options: str) -> tuple[int, list[dict[str, Any]]]:
    file = tmp_path / "rules.json"
    file.write_text(text)
    done = CliRunner().invoke(tidemark, ["tiers", "rulesets", "validate", str(file), *options])
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return done.exit_code, [json.loads(line) for line in lines]


def test_a_file_is_validated_without_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_SECRET_KEY", "a test's own")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    definition = read_example(EXAMPLES[-1])
    assert validate(tmp_path, json.dumps(definition)) == (0, [{"errors": 0, "warnings": 0}])
    definition["tiers"][2]["enter"] = definition["tiers"][1]["enter"]
    code, rows = validate(tmp_path, json.dumps(definition), "--language", "zh-Hant")
    assert (code, rows[0]["name"], rows[0]["pointer"]) == (1, "easier-than-below", "/tiers/2/enter")
    assert "並不比" in rows[0]["text"]
    definition["tiers"][1]["names"] = {"en": "x"}
    code, rows = validate(tmp_path, json.dumps(definition))
    assert (code, [row["name"] for row in rows[:-1]]) == (1, ["missing-locale"])
    for broken in ("{", "[]", '{"a": NaN}'):
        assert validate(tmp_path, broken) == (1, [])
