"""What docs/recommender.md tells people to type works as it stands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from recommender.cli import main
from tests.unit.recommender import shop

PAGE = shop.repository_root() / "docs" / "recommender.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_every_command_and_the_program_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"{row.user_id},{row.item_id},{row.day},{row.quantity}" for row in shop.rows()]
    Path("orders.csv").write_text("\n".join(["user_id,item_id,day,quantity", *lines]) + "\n")
    commands = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 4
    Path("quick.json").write_text(json.dumps(shop.QUICK.as_dict()))
    sparing = ["--max-users", "40", "--config", "quick.json", "--search-origins", "2"]
    for command in commands:
        assert command[:3] == ["python", "-m", "recommender"]
        assert main([*command[3:], *([] if "recommend" in command else sparing)]) == 0
    assert (tmp_path / "model" / "card.md").exists()
    assert (tmp_path / "page.svg").exists()
    assert len((tmp_path / "lists.csv").read_text().splitlines()) == 1_601
    assert "## Ours" in (tmp_path / "page.md").read_text()
    (program,) = blocks("python")
    capsys.readouterr()
    exec(compile(program, str(PAGE), "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 5
