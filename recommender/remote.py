"""Artefacts in an object store, by any URL that `fsspec` knows.

Arrays are mapped, so what is served is a copy on disk. The manifest is written last there too: what has none
is not there yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recommender.artifact import MANIFEST_NAME, beside, read_manifest
from recommender.errors import ArtifactError, ArtifactExists, ArtifactMissing


def is_url(place: str | os.PathLike[str]) -> bool:
    """Tell whether a place is in an object store."""
    return "://" in str(place)


def put_artifact(folder: str | os.PathLike[str], url: str) -> None:
    """Copy an artefact, with its card, to a URL that is free; ArtifactExists when it is not."""
    with _store(url) as (files, path):
        if files.exists(f"{path}/{MANIFEST_NAME}"):
            raise ArtifactExists(url)
        files.makedirs(path, exist_ok=True)
        names = sorted(one.name for one in Path(folder).iterdir() if one.name != MANIFEST_NAME)
        for name in (*names, MANIFEST_NAME):
            files.put_file(str(Path(folder) / name), f"{path}/{name}")


def fetch_artifact(url: str, folder: str | os.PathLike[str]) -> None:
    """Copy an artefact from a URL to a new place on disk, all of it or nothing.

    ArtifactMissing when it is not there; whoever opens the copy checks what it holds. A copy that somebody
    else makes at the same time is as good.
    """
    target = Path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    with beside(target) as fresh, _store(url) as (files, path):
        if not files.exists(f"{path}/{MANIFEST_NAME}"):
            raise ArtifactMissing(url)
        files.get_file(f"{path}/{MANIFEST_NAME}", str(fresh / MANIFEST_NAME))
        for name in read_manifest(fresh).files:
            files.get_file(f"{path}/{name}.npy", str(fresh / f"{name}.npy"))
        try:
            os.rename(fresh, target)
        except OSError:
            if not target.exists():
                raise


def list_artifacts(url: str) -> list[str]:
    """Give the names of the artefacts below a URL."""
    with _store(url) as (files, path):
        if not files.exists(path):
            return []
        found = files.find(path)
        return sorted(Path(one).parent.name for one in found if Path(one).name == MANIFEST_NAME)


def drop_artifact(url: str) -> None:
    """Delete an artefact, its manifest first, so that nobody takes half of it for the whole."""
    with _store(url) as (files, path):
        files.rm_file(f"{path}/{MANIFEST_NAME}")
        files.rm(path, recursive=True)


@contextmanager
def local_copy(place: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an artefact as a directory: where it is, or copied from a URL for as long as it takes."""
    if not is_url(place):
        yield Path(place)
        return
    with TemporaryDirectory(prefix="recommender-") as folder:
        copy = Path(folder) / "model"
        fetch_artifact(str(place), copy)
        yield copy


@contextmanager
def _store(url: str) -> Iterator[tuple[Any, str]]:
    """Open what a URL names, and the path in it; whatever goes wrong there is an ArtifactError."""
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        files, path = url_to_fs(url)
        yield files, path.rstrip("/")
    except ArtifactError:
        raise
    # Each store has errors of its own kind, and they have nothing in common.
    except Exception as error:
        raise ArtifactError(f"{url}: {type(error).__name__}: {error}") from error
