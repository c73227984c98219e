"""The documentation is complete: what can be set, refused or run has its heading."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Iterator

import click
import pytest

from service.cli.main import tidemark
from service.kit.errors import Problem, list_problems
from service.kit.problems import status_of
from service.kit.settings import KNOWN
from tests.house.sources import ROOT, WIRING, list_rooms

DOCS = ROOT / "docs"
READ_BESIDES = ("DATABASE_URL", "PORT", "WEB_CONCURRENCY")
FRAMEWORK_CODES = {"no-such-path": 404, "method-not-allowed": 405, "internal-error": 500, "bad-request": 400}


def read_sections(page: str) -> dict[str, str]:
    """Return heading → text of a page, for headings of any level below the title."""
    found: dict[str, str] = {}
    heading = None
    for line in (DOCS / page).read_text().splitlines():
        match = re.match(r"#{2,4} (.+?)\s*$", line)
        if match:
            heading = match[1].strip("`")
            assert heading not in found, f"{page} has two headings {heading}"
            found[heading] = ""
        elif heading is not None:
            found[heading] += line + "\n"
    return found


def list_kinds() -> list[type[Problem]]:
    """Return every kind of problem of every room."""
    for room in list_rooms():
        if (ROOT / "service" / room / "errors.py").exists():
            importlib.import_module(f"service.{room}.errors")
    # Private ones never leave their file as problems: they are rejects of an import.
    return [
        kind
        for kind in list_problems()
        if kind is not Problem
        and kind.__module__.startswith("service.")
        and not kind.__name__.startswith("_")
    ]


def list_commands(
    command: click.Command = tidemark, path: str = "tidemark"
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with its full name."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from list_commands(inner, f"{path} {name}")
    else:
        yield path, command


COMMANDS = dict(list_commands())


@pytest.mark.parametrize("name", [*KNOWN, *READ_BESIDES])
def test_every_setting_has_its_heading(name: str) -> None:
    assert name in read_sections("settings.md")


def test_no_setting_is_documented_that_does_not_exist() -> None:
    documented = {name for name in read_sections("settings.md") if re.fullmatch(r"[A-Z_]+", name)}
    assert documented == {*KNOWN, *READ_BESIDES}


@pytest.mark.parametrize("kind", list_kinds(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_problem_has_its_heading_with_cause_and_remedy(kind: type[Problem]) -> None:
    section = read_sections("problems.md").get(kind.code)
    assert section is not None, f"docs/problems.md has no heading {kind.code}"
    assert f"**{status_of(kind)}**" in section
    assert "**Cause.**" in section
    assert "**What to do.**" in section


@pytest.mark.parametrize("code", FRAMEWORK_CODES)
def test_every_refusal_by_the_framework_has_its_heading(code: str) -> None:
    section = read_sections("problems.md")[code]
    assert f"**{FRAMEWORK_CODES[code]}**" in section
    assert "**What to do.**" in section


def test_no_problem_is_documented_that_does_not_exist() -> None:
    documented = {name for name in read_sections("problems.md") if re.fullmatch(r"[a-z]+(-[a-z]+)*", name)}
    assert documented == {kind.code for kind in list_kinds()} | set(FRAMEWORK_CODES)


def test_every_problem_has_a_code_of_its_own_and_a_title() -> None:
    kinds = list_kinds()
    codes = [kind.code for kind in kinds]
    assert sorted(set(codes)) == sorted(codes)
    for kind in kinds:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.code)
        assert "code" in vars(kind), f"{kind.__name__} inherits its code"
        assert vars(kind).get("__doc__"), f"{kind.__name__} has no title"
        assert status_of(kind) < 500 or status_of(kind) == 503


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_heading_and_its_options_are_named(name: str) -> None:
    section = read_sections("commands.md").get(name)
    assert section is not None, f"docs/commands.md has no heading {name}"
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            assert f"`{parameter.opts[0]}" in section, f"{name} {parameter.opts[0]}"
        elif isinstance(parameter, click.Argument):
            assert parameter.human_readable_name in section, f"{name} {parameter.human_readable_name}"


def test_no_command_is_documented_that_does_not_exist() -> None:
    assert {name for name in read_sections("commands.md") if name.startswith("tidemark ")} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name: str) -> None:
    assert (COMMANDS[name].help or "").strip().endswith(".")


def test_every_room_and_every_folder_has_its_caption() -> None:
    page = (DOCS / "rooms.md").read_text()
    wiring = [f"{name}.py" if (ROOT / "service" / f"{name}.py").exists() else name for name in WIRING]
    folders = [
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and (any(path.glob("*.py")) or path.name in {"docs", "docker"})
    ]
    for name in (*list_rooms(), *wiring, *folders):
        assert f"`{name}`" in page or f"`{name}/`" in page, f"docs/rooms.md says nothing of {name}"


@pytest.mark.parametrize(
    "term",
    [
        "member", "order", "cancellation", "refund", "net spend", "active day", "visit interval",
        "days since last visit", "window", "tier", "rule set", "tier change", "at risk", "grace", "fall",
        "points", "lot", "hold", "exposure", "impression", "arm", "hold-out", "repurchase", "uplift",
    ],
)  # fmt: skip
def test_every_word_of_the_domain_stands_in_the_glossary_in_both_languages(term: str) -> None:
    line = re.search(rf"^\| \*\*{term}\*\* \|([^|]+)\|", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    assert line is not None
    assert re.search(r"[\u4e00-\u9fff]", line[1])


def test_decisions_are_numbered_and_say_context_decision_and_consequences() -> None:
    pages = sorted((DOCS / "decisions").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", page.name)
        text = page.read_text()
        assert text.startswith(f"# {int(page.name[:4])}. "), page.name
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings[:1] == ["Context"], page.name
        assert {"Decision", "Consequences"} <= set(headings), page.name


def test_every_direct_dependency_is_explained() -> None:
    page = (DOCS / "decisions" / "0002-dependencies.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ]
    listed = [
        re.split(r"[\[~>=<]", entry)[0].lower()
        for group in groups
        for entry in group
        if isinstance(entry, str)
    ]
    assert "flask" in listed
    assert "implicit" in listed
    missing = [name for name in listed if f"`{name}`" not in page]
    assert missing == []


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)} → {target}")
    assert broken == []
