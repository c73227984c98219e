from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recommender.cli import main
from recommender.serving import ServedModel
from tests.unit.recommender import shop


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    file = tmp_path / "orders.csv"
    lines = [f"{row.user_id},{row.item_id},{row.day},{row.quantity}" for row in shop.rows()]
    file.write_text("\n".join(["user_id,item_id,day,quantity", *lines]) + "\n")
    return file


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(shop.QUICK.as_dict()))
    return file


def test_train_measures_writes_and_names_the_model(
    orders: Path, quick: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "model"
    assert main(["train", str(orders), "--out", str(place), "--config", str(quick), "--origins", "1"]) == 0
    model = ServedModel.open(place)
    shown = capsys.readouterr()
    assert model.version == "through-2025-05-31"
    assert model.content_hash in shown.out
    assert "gp_topfreq" in shown.out
    assert "ease 5/5" in shown.err
    assert model.manifest.metrics["methods"]["mixed"]["recall"] > 0


def test_train_can_leave_out_the_measuring(orders: Path, quick: Path, tmp_path: Path) -> None:
    place = tmp_path / "model"
    code = main(
        [
            "train",
            str(orders),
            "--out",
            str(place),
            "--config",
            str(quick),
            "--no-evaluation",
            "--version",
            "x",
        ]
    )
    assert code == 0
    assert ServedModel.open(place).manifest.metrics == {}
    assert ServedModel.open(place).version == "x"


def test_evaluate_prints_a_table_or_json(
    orders: Path, quick: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(orders), "--config", str(quick), "--origins", "1", "--max-users", "40"]
    assert main(arguments) == 0
    assert "* mixed" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["origins"][0]["users"] == 40


def test_a_refused_file_is_one_line_and_code_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("user_id,item_id,day\na,x,soon\n")
    assert main(["evaluate", str(file)]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: The interactions cannot be used.")
    assert "line 2: day 'soon' cannot be read" in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("settings", ["{", '{"als": {"factors": 0}}', '{"nothing": {}}'])
def test_settings_that_cannot_be_used_are_refused(
    orders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: str
) -> None:
    file = tmp_path / "settings.json"
    file.write_text(settings)
    assert main(["evaluate", str(orders), "--config", str(file)]) == 2
    assert capsys.readouterr().err.startswith("error: A training setting is out of range.")


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recommender", "--help"],
        cwd=shop.repository_root(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "evaluate" in done.stdout
