from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recommender import artifact
from recommender.artifact import open_artifact, read_manifest
from recommender.errors import (
    ArtifactCorrupt,
    ArtifactError,
    ArtifactExists,
    ArtifactForeign,
    ArtifactIncomplete,
    ArtifactMissing,
    UnsupportedArtifactFormat,
)
from recommender.serving import ServedModel
from tests.unit.recommender import shop


@pytest.fixture
def written(tmp_path: Path) -> Path:
    place = tmp_path / "models" / "v1"
    shop.trained().write(place, version="v1", metrics={"recall": 0.5}, notes={"when": "today"})
    return place


def edit(place: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change the manifest and make its content hash fit again, as somebody who means it would."""
    file = place / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    manifest["content_hash"] = artifact.content_hash(manifest)
    file.write_text(json.dumps(manifest))


def test_what_is_written_is_what_is_opened(written: Path) -> None:
    manifest, arrays = open_artifact(written)
    assert manifest.version == "v1"
    assert manifest.seed == 3
    assert (manifest.trained_from, manifest.trained_through) == (
        shop.FIRST_DAY,
        shop.FIRST_DAY + shop.DAYS - 1,
    )
    assert manifest.counts == {"users": 160, "items": 80, "interactions": len(shop.interactions())}
    assert manifest.metrics == {"recall": 0.5}
    assert manifest.notes == {"when": "today"}
    assert set(manifest.libraries) == {"python", "numpy", "scipy", "implicit"}
    assert manifest.parameters == shop.QUICK.as_dict()
    for name, array in shop.trained().arrays.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_only_plain_arrays_and_a_manifest_are_on_disk(written: Path) -> None:
    assert {file.suffix for file in written.iterdir()} == {".npy", ".json"}
    assert [entry.name for entry in written.parent.iterdir()] == ["v1"]


def test_opened_arrays_are_mapped_and_cannot_be_written(written: Path) -> None:
    _, arrays = open_artifact(written)
    base = arrays["als_item_factors"].base
    assert isinstance(base, np.memmap)
    for array in arrays.values():
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_the_name_and_the_notes_do_not_change_the_hash_but_the_metrics_do(tmp_path: Path) -> None:
    trained = shop.trained()
    one = trained.write(tmp_path / "a", version="monday", notes={"by": "cron"})
    other = trained.write(tmp_path / "b", version="tuesday")
    third = trained.write(tmp_path / "c", version="tuesday", metrics={"recall": 0.1})
    assert one == other
    assert third != one


def test_the_model_in_force_is_never_written_over(written: Path) -> None:
    before = (written / "manifest.json").read_bytes()
    with pytest.raises(ArtifactExists):
        shop.trained().write(written, version="v2")
    assert (written / "manifest.json").read_bytes() == before


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(artifact, "_write_bytes", full_disk)
    with pytest.raises(OSError, match="no space"):
        shop.trained().write(tmp_path / "v1", version="v1")
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_rename_in_between_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def late(source: Path, target: Path) -> None:
        shutil.copytree(source, target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    with pytest.raises(ArtifactExists):
        shop.trained().write(tmp_path / "v1", version="v1")
    assert [entry.name for entry in tmp_path.iterdir()] == ["v1"]


def test_an_artifact_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match="nowhere"):
        ServedModel.open(tmp_path / "nowhere")


def test_a_folder_of_something_else_is_foreign(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ArtifactForeign):
        ServedModel.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "something-else"}')
    with pytest.raises(ArtifactForeign):
        ServedModel.open(tmp_path)
    (tmp_path / "manifest.json").write_text("[1]")
    with pytest.raises(ArtifactForeign):
        ServedModel.open(tmp_path)


def test_half_written_artifacts_are_refused(written: Path) -> None:
    (written / "als_gram.npy").unlink()
    with pytest.raises(ArtifactIncomplete, match="als_gram"):
        ServedModel.open(written)
    (written / "manifest.json").unlink()
    with pytest.raises(ArtifactIncomplete, match=r"manifest\.json"):
        ServedModel.open(written)


@pytest.mark.parametrize("name", sorted(shop.trained().arrays))
def test_one_flipped_bit_in_any_file_is_found(written: Path, name: str) -> None:
    file = written / f"{name}.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactCorrupt, match="does not match its hash"):
        ServedModel.open(written)


def test_a_truncated_file_is_found_even_without_hashing(written: Path) -> None:
    file = written / "item_neighbours.npy"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ArtifactCorrupt, match="bytes, not"):
        ServedModel.open(written, verify=False)


@pytest.mark.parametrize(
    "text", ["", "{", '{"format": "recommender-artifact", "format_version": 4}', "\x00\xff"]
)
def test_a_broken_manifest_is_corrupt(written: Path, text: str) -> None:
    (written / "manifest.json").write_text(text, "latin-1")
    with pytest.raises(ArtifactCorrupt):
        ServedModel.open(written)


def test_a_manifest_that_was_touched_is_corrupt(written: Path) -> None:
    file = written / "manifest.json"
    file.write_text(file.read_text().replace('"seed": 3', '"seed": 4'))
    with pytest.raises(ArtifactCorrupt, match="content hash"):
        read_manifest(written)


def test_a_newer_format_is_refused_by_name(written: Path) -> None:
    edit(written, lambda manifest: manifest.update(format_version=5))
    with pytest.raises(UnsupportedArtifactFormat, match="format version 5"):
        ServedModel.open(written)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["files"].update({"../escape": manifest["files"]["als_gram"]}),
        lambda manifest: manifest["files"]["als_gram"].pop("sha256"),
        lambda manifest: manifest.update(files=[1]),
        lambda manifest: manifest["files"]["als_gram"].update(shape=[1, 256]),
        lambda manifest: manifest["files"].pop("als_gram"),
        lambda manifest: manifest["parameters"].update(als={"factors": -1}),
        lambda manifest: manifest["parameters"].update(unheard_of={}),
    ],
)
def test_a_manifest_that_does_not_fit_the_arrays_is_corrupt(
    written: Path, change: Callable[[dict[str, object]], object]
) -> None:
    edit(written, change)
    with pytest.raises(ArtifactCorrupt):
        ServedModel.open(written)


def test_arrays_of_two_models_do_not_mix(written: Path, tmp_path: Path) -> None:
    manifest, arrays = open_artifact(written)
    with pytest.raises(ArtifactCorrupt, match="popularity_scores"):
        ServedModel(manifest, {**arrays, "popularity_scores": arrays["popularity_scores"][:-1]})


def test_every_artifact_problem_has_a_title_and_a_code_of_its_own() -> None:
    def below(kind: type[ArtifactError]) -> list[type[ArtifactError]]:
        return [kind, *(one for child in kind.__subclasses__() for one in below(child))]

    kinds = below(ArtifactError)
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert all(kind.__doc__ for kind in kinds)
