"""Input that shops really have, through the command line: trained on, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from recommender.cli import main
from recommender.serving import ServedModel
from tests.unit.recommender import shop
from tests.unit.recommender.shop import Row

LAST = shop.FIRST_DAY + shop.DAYS


def write(place: Path, rows: Iterable[tuple[object, ...]], name: str = "orders.csv") -> Path:
    lines = [",".join(map(str, row)) for row in rows]
    (place / name).write_text("\n".join(["user_id,item_id,day,quantity", *lines]) + "\n")
    return place / name


def train(place: Path, rows: Iterable[tuple[object, ...]], *more: str) -> ServedModel:
    settings = place / "quick.json"
    settings.write_text(json.dumps(shop.QUICK.as_dict()))
    file = write(place, rows)
    assert main(["train", str(file), "--out", str(place / "model"), "--config", str(settings), *more]) == 0
    return ServedModel.open(place / "model")


def listed(place: Path) -> list[list[str]]:
    """Write everybody's list and read it back."""
    out = place / "lists.csv"
    assert main(["recommend", str(place / "orders.csv"), str(place / "model"), "--out", str(out)]) == 0
    return [line.split(",") for line in out.read_text().splitlines()[1:]]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("error: ")
    return told


def test_somebody_with_fifty_thousand_orders_is_learned_from_and_gets_a_list(tmp_path: Path) -> None:
    many = (Row("whale", f"sku-{number % 80:03d}", LAST - number, 1.0) for number in range(50_000))
    model = train(tmp_path, [*shop.rows(), *many], "--no-evaluation")
    assert model.manifest.counts["interactions"] > 50_000
    lists = listed(tmp_path)
    assert len([line for line in lists if line[0] == "whale"]) == 10
    assert all(0 < float(line[3]) <= 1 for line in lists)


def test_what_everybody_takes_crowds_out_nothing_else(tmp_path: Path) -> None:
    bags = [Row(f"u{user:03d}", "bag", LAST - 40 - day, 1.0) for user in range(160) for day in (0, 60)]
    train(tmp_path, [*shop.rows(), *bags], "--origins", "1", "--max-users", "60")
    lists = listed(tmp_path)
    assert len(lists) == 1_600
    assert len({line[2] for line in lists}) > 60


def test_a_catalogue_of_one_is_trained_and_served_though_not_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [Row(f"u{user}", "only", LAST - day, 1.0) for user in range(40) for day in range(user, 150, 13)]
    train(tmp_path, rows, "--origins", "1", "--search", "--search-origins", "2")
    assert {tuple(line[1:3]) for line in listed(tmp_path)} == {("1", "only")}
    assert "gp_topfreq" in capsys.readouterr().out


def test_no_interactions_at_all_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, [])
    told = refused(capsys, "train", str(file), "--out", str(tmp_path / "model"))
    assert "no interactions" in told
    assert not (tmp_path / "model").exists()


def test_a_net_quantity_below_zero_is_refused_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, [("u1", "a", 20_000, 2), ("u1", "a", 20_003, -2)])
    assert "line 3: quantity '-2'" in refused(capsys, "train", str(file), "--out", str(tmp_path / "model"))


def test_a_half_written_artefact_and_one_of_another_catalogue_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, shop.rows(), "--no-evaluation")
    other = write(tmp_path, [("u1", "else-1", 20_000, 1), ("u1", "else-2", 20_001, 1)], "other.csv")
    out = tmp_path / "lists.csv"
    arguments = ("recommend", str(other), str(tmp_path / "model"), "--out", str(out))
    assert "another catalogue" in refused(capsys, *arguments)
    (tmp_path / "model" / "als_gram.npy").unlink()
    assert "als_gram.npy" in refused(capsys, *arguments)
    assert not out.exists()
