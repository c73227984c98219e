"""Artefacts in an object store: whole or not at all, and what goes wrong there is told as what it is."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import fsspec  # type: ignore[import-untyped]
import pytest

from recommender.cli import main
from recommender.errors import ArtifactCorrupt, ArtifactError, ArtifactExists, ArtifactMissing
from recommender.remote import drop_artifact, fetch_artifact, list_artifacts, put_artifact
from recommender.serving import ServedModel
from tests.unit.recommender import shop


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    shop.trained().write(tmp_path / "made", version="v1")
    return tmp_path / "made"


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{uuid4().hex}" if request.param == "memory" else f"file://{tmp_path}/store"


def test_an_artefact_comes_back_from_the_store_as_it_was(artefact: Path, url: str, tmp_path: Path) -> None:
    assert list_artifacts(url) == []
    put_artifact(artefact, f"{url}/v1")
    with pytest.raises(ArtifactExists):
        put_artifact(artefact, f"{url}/v1")
    assert list_artifacts(url) == ["v1"]
    for _ in range(2):
        # Whoever comes second finds the copy there, and is content.
        fetch_artifact(f"{url}/v1", tmp_path / "copy")
    assert ServedModel.open(tmp_path / "copy").content_hash == ServedModel.open(artefact).content_hash
    drop_artifact(f"{url}/v1")
    assert list_artifacts(url) == []
    with pytest.raises(ArtifactMissing):
        fetch_artifact(f"{url}/v1", tmp_path / "again")
    assert {one.name for one in tmp_path.iterdir()} - {"store"} == {"made", "copy"}


def test_half_an_artefact_in_the_store_is_none(artefact: Path, tmp_path: Path) -> None:
    url = f"memory://{uuid4().hex}"
    put_artifact(artefact, f"{url}/v1")
    files = fsspec.filesystem("memory")
    path = url.removeprefix("memory:/")
    files.rm_file(f"{path}/v1/als_gram.npy")
    with pytest.raises(ArtifactError, match="als_gram"):
        fetch_artifact(f"{url}/v1", tmp_path / "copy")
    files.pipe_file(f"{path}/v1/als_gram.npy", b"torn")
    fetch_artifact(f"{url}/v1", tmp_path / "torn")
    with pytest.raises(ArtifactCorrupt):
        ServedModel.open(tmp_path / "torn")
    files.rm_file(f"{path}/v1/manifest.json")
    with pytest.raises(ArtifactMissing):
        fetch_artifact(f"{url}/v1", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_store_that_nobody_knows_is_named(artefact: Path) -> None:
    with pytest.raises(ArtifactError, match="nonsense"):
        put_artifact(artefact, "nonsense://bucket/v1")


def test_the_command_line_writes_to_a_store_and_reads_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "orders.csv"
    lines = [f"{row.user_id},{row.item_id},{row.day}" for row in shop.rows()[::9]]
    file.write_text("\n".join(["user_id,item_id,day", *lines]) + "\n")
    settings = tmp_path / "quick.json"
    settings.write_text(json.dumps({"als": {"factors": 4, "iterations": 2}}))
    url = f"memory://{uuid4().hex}/model"
    training = ["train", str(file), "--out", url, "--no-evaluation", "--config", str(settings)]
    assert main(training) == 0
    assert main(["recommend", str(file), url, "--out", str(tmp_path / "lists.csv"), "--limit", "3"]) == 0
    assert (tmp_path / "lists.csv").read_text().startswith("user_id,rank,item_id")
    assert main(training) == 2
    assert "already something" in capsys.readouterr().err
