"""The container's own steps, run without a container: installed into a clean folder, started from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import ROOT, clean_environment

INSTALLED = Path(os.environ.get("TIDEMARK_TEST_VAR", "/tmp")) / f"tidemark-container-{os.getpid()}"
SENT = (
    "docker",
    "docs",
    "service",
    "recommender",
    "migrations",
    "requirements.lock",
    "pyproject.toml",
    "README.md",
)


def python_for_everybody(folder: Path) -> Path:
    """Return an interpreter that another user may run, as an image has one: ours may lie in root's home.

    Nothing is copied: files are linked into a folder that is open to all.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = Path(sys.base_prefix)

    def leave_out(_folder: str, names: list[str]) -> set[str]:
        return {name for name in names if name in {"site-packages", "test", "__pycache__"}}

    shutil.copytree(
        base / "lib" / version,
        folder / "lib" / version,
        ignore=leave_out,
        copy_function=_link,
        symlinks=True,
    )
    for library in base.glob("lib/libpython*"):
        _link(library, folder / "lib" / library.name)
    (folder / "bin").mkdir()
    _link(base / "bin" / version, folder / "bin" / version)
    return folder / "bin" / version


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """What the image holds at /opt/tidemark, made by docker/install from what the build is sent."""
    source = INSTALLED / "src"
    source.mkdir(parents=True)
    for name in SENT:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy2(ROOT / name, source / name)
    target = INSTALLED / "opt"
    done = subprocess.run(
        ["docker/install", str(target)],
        cwd=source,
        env=clean_environment(PYTHON=str(python_for_everybody(INSTALLED / "python"))),
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # As in the second stage of the image: the sources stay behind.
    shutil.rmtree(source)
    INSTALLED.chmod(0o755)
    yield target
    shutil.rmtree(INSTALLED)
