"""A trained model as a directory: one `.npy` per array and a `manifest.json` written last.

The content hash covers what was learned and from what (format, parameters, seed, span, counts, metrics,
library versions, every file), not when it was written or what it was called: two identical trainings have
the same one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.errors import (
    ArtifactCorrupt,
    ArtifactExists,
    ArtifactForeign,
    ArtifactIncomplete,
    ArtifactMissing,
    UnsupportedArtifactFormat,
)

EPOCH = date(1970, 1, 1)
"""Days are counted from here."""
FORMAT = "recommender-artifact"
FORMAT_VERSION = 4
MANIFEST_NAME = "manifest.json"
_HASHED = (
    "format",
    "format_version",
    "parameters",
    "seed",
    "trained_from",
    "trained_through",
    "counts",
    "metrics",
    "libraries",
    "files",
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Say what an artefact is; days are counted since 1970-01-01.

    `files` maps an array's name to its sha256, size_bytes, dtype and shape. `version` and `notes` are the
    caller's and stand outside the content hash.
    """

    version: str
    content_hash: str
    parameters: Mapping[str, Any]
    seed: int
    trained_from: int
    trained_through: int
    counts: Mapping[str, int]
    metrics: Mapping[str, Any]
    libraries: Mapping[str, str]
    files: Mapping[str, Mapping[str, Any]]
    notes: Mapping[str, Any]
    format: str = FORMAT
    format_version: int = FORMAT_VERSION

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


def write_artifact(
    path: str | os.PathLike[str],
    arrays: Mapping[str, NDArray[Any]],
    *,
    version: str,
    parameters: Mapping[str, Any],
    seed: int,
    trained_from: int,
    trained_through: int,
    counts: Mapping[str, int],
    metrics: Mapping[str, Any],
    libraries: Mapping[str, str],
    notes: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write a new artefact at `path`, all of it or nothing, and give its manifest.

    Everything goes to a directory beside it first and is renamed when it is safely on disk. ArtifactExists
    when `path` is taken; the artefact in force is never written over.
    """
    target = Path(path)
    if target.exists():
        raise ArtifactExists(str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    with beside(target) as folder:
        files = {name: _write_array(folder, name, array) for name, array in sorted(arrays.items())}
        body: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "parameters": dict(parameters),
            "seed": seed,
            "trained_from": trained_from,
            "trained_through": trained_through,
            "counts": dict(counts),
            "metrics": dict(metrics),
            "libraries": dict(libraries),
            "files": files,
        }
        manifest = Manifest(
            **{**body, "version": version, "content_hash": content_hash(body), "notes": dict(notes or {})}
        )
        text = json.dumps(manifest.as_dict(), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        _write_bytes(folder / MANIFEST_NAME, (text + "\n").encode("utf-8"))
        _sync_folder(folder)
        try:
            os.rename(folder, target)
        except OSError as taken:
            if target.exists():
                raise ArtifactExists(str(target)) from taken
            raise
    _sync_folder(target.parent)
    return manifest


def content_hash(body: Mapping[str, Any]) -> str:
    """Give the SHA-256 (hex) of the hashed part of a manifest in its canonical JSON form."""
    hashed = {name: body[name] for name in _HASHED}
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read and check the manifest alone; raises the ArtifactError that says what is wrong with it."""
    folder = Path(path)
    if not folder.is_dir():
        raise ArtifactMissing(str(folder))
    try:
        raw = json.loads((folder / MANIFEST_NAME).read_text("utf-8"))
    except FileNotFoundError as absent:
        if any(folder.glob("*.npy")):
            raise ArtifactIncomplete(f"{folder} has arrays but no {MANIFEST_NAME}") from absent
        raise ArtifactForeign(f"{folder} has no {MANIFEST_NAME}") from absent
    except (ValueError, UnicodeDecodeError) as broken:
        raise ArtifactCorrupt(f"{folder / MANIFEST_NAME} is not JSON") from broken
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ArtifactForeign(f"{folder / MANIFEST_NAME} is not a {FORMAT} manifest")
    if raw.get("format_version") != FORMAT_VERSION:
        raise UnsupportedArtifactFormat(f"{folder} has format version {raw.get('format_version')!r}")
    try:
        manifest = Manifest(**raw)
        expected = content_hash(raw)
        entries = manifest.files.items()
    except (AttributeError, KeyError, TypeError) as wrong:
        raise ArtifactCorrupt(f"{folder / MANIFEST_NAME} lacks or adds fields") from wrong
    if not all(_is_file_entry(name, facts) for name, facts in entries):
        raise ArtifactCorrupt(f"{folder / MANIFEST_NAME} lists files in a way that cannot be read")
    if manifest.content_hash != expected:
        raise ArtifactCorrupt(f"{folder / MANIFEST_NAME} does not match its content hash")
    return manifest


def open_artifact(
    path: str | os.PathLike[str], *, verify: bool = True
) -> tuple[Manifest, dict[str, NDArray[Any]]]:
    """Open an artefact read-only: its manifest and its arrays, mapped from disk and shared between processes.

    With `verify` every file is hashed first. Raises the ArtifactError that says what is wrong.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    return manifest, {
        name: _open_array(folder / f"{name}.npy", facts, verify=verify)
        for name, facts in manifest.files.items()
    }


def _is_file_entry(name: str, facts: Any) -> bool:
    # A name is part of a path: nothing that could lead out of the directory.
    return (
        name.isidentifier()
        and isinstance(facts, Mapping)
        and isinstance(facts.get("sha256"), str)
        and isinstance(facts.get("size_bytes"), int)
        and isinstance(facts.get("dtype"), str)
        and isinstance(facts.get("shape"), list)
    )


def _open_array(file: Path, facts: Mapping[str, Any], *, verify: bool) -> NDArray[Any]:
    try:
        size = file.stat().st_size
    except FileNotFoundError as absent:
        raise ArtifactIncomplete(f"{file} is missing") from absent
    if size != facts["size_bytes"]:
        raise ArtifactCorrupt(f"{file} has {size} bytes, not {facts['size_bytes']}")
    if verify and _sha256(file) != facts["sha256"]:
        raise ArtifactCorrupt(f"{file} does not match its hash")
    try:
        array = np.load(file, mmap_mode=None if 0 in facts["shape"] else "r", allow_pickle=False)
    except (ValueError, OSError) as broken:
        raise ArtifactCorrupt(f"{file} is not a readable array") from broken
    if str(array.dtype) != facts["dtype"] or list(array.shape) != list(facts["shape"]):
        raise ArtifactCorrupt(f"{file} holds {array.dtype} {array.shape}")
    plain = np.asarray(array)
    plain.setflags(write=False)
    return plain


def _write_array(folder: Path, name: str, array: NDArray[Any]) -> dict[str, Any]:
    file = folder / f"{name}.npy"
    contiguous = np.ascontiguousarray(array)
    with file.open("xb") as sink:
        np.save(sink, contiguous, allow_pickle=False)
        sink.flush()
        os.fsync(sink.fileno())
    return {
        "sha256": _sha256(file),
        "size_bytes": file.stat().st_size,
        "dtype": str(contiguous.dtype),
        "shape": list(contiguous.shape),
    }


def _write_bytes(file: Path, data: bytes) -> None:
    with file.open("xb") as sink:
        sink.write(data)
        sink.flush()
        os.fsync(sink.fileno())


def _sha256(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Give a fresh hidden directory next to `target`, gone again unless it was renamed away."""
    folder = target.parent / f".{target.name}.{uuid.uuid4().hex}.partial"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
