"""The tools around the code: locks, make, the container's steps."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest

from tests.house.sources import ROOT, list_sources

LOCKS = ("requirements.lock", "requirements-dev.lock")
TARGETS = ("help", "serve", "test", "test-all", "check", "bench", "openapi", "lock", "clean")
SCRIPTS = (".ci/run", "docker/install", "docker/start")

OPTIONAL_ENGINES = {"pyspark"}
"""Training engines of one's own choosing, which the lock for serving leaves out."""


def read_pins(lock: str) -> set[str]:
    """Return `name==version ; markers` of every package in a lock."""
    lines = (ROOT / lock).read_text().splitlines()
    return {line.removesuffix("\\").strip() for line in lines if re.match(r"[a-z0-9]", line)}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_in_a_lock_is_pinned_and_hashed(lock: str) -> None:
    packages = re.split(r"\n(?=[a-z0-9])", (ROOT / lock).read_text().strip())
    assert len(packages) > 30
    for package in packages:
        assert re.match(r"[a-z0-9.-]+==\S+", package)
        assert "--hash=sha256:" in package, package.split("\n", 1)[0]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_place_to_fetch_from(lock: str) -> None:
    assert not re.search(r"https?:|file:|--index-url|--find-links|--extra-index", (ROOT / lock).read_text())


def test_what_runs_is_what_was_tested() -> None:
    runtime = {pin.split(" ; ")[0] for pin in read_pins("requirements.lock")}
    tested = {pin.split(" ; ")[0] for pin in read_pins("requirements-dev.lock")}
    assert runtime <= tested


def test_the_runtime_lock_can_install_the_project_without_build_isolation() -> None:
    assert any(pin.startswith("setuptools==") for pin in read_pins("requirements.lock"))


def test_the_runtime_lock_holds_no_tools_of_development() -> None:
    names = {pin.split("==")[0] for pin in read_pins("requirements.lock")}
    assert not names & {"pytest", "ruff", "mypy", "hypothesis", "import-linter", "duckdb"}


def test_everything_that_is_imported_at_run_time_is_in_the_runtime_lock() -> None:
    locked = {pin.split("==")[0] for pin in read_pins("requirements.lock")}
    distributions = packages_distributions()
    ours = {"service", "recommender", "migrations"}
    missing = set()
    for source in list_sources("service", "recommender", "migrations"):
        for name in source.list_imports():
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in ours or top in OPTIONAL_ENGINES:
                continue
            names = {re.sub(r"[-_.]+", "-", name).lower() for name in distributions[top]}
            if not names & locked:
                missing.add(f"{source.path}: {top}")
    assert missing == set()


@pytest.mark.parametrize("target", TARGETS)
def test_make_help_names_every_target(target: str) -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True)
    assert re.search(rf"^\s+make {target}\s+\S", shown.stdout, re.MULTILINE)


def test_make_says_clearly_that_python_is_missing(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bare")
    for name in ("Makefile", *LOCKS, "pyproject.toml"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    refused = subprocess.run(
        ["make", "serve", "PYTHON="], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    assert "Python 3.11 or newer" in refused.stderr
    assert not (folder / ".venv").exists()


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_can_be_run_and_stop_at_the_first_error(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    text = path.read_text()
    assert text.startswith("#!")
    assert re.search(r"^set -eu", text, re.MULTILINE)
    shell = "bash" if "bash" in text.split("\n", 1)[0] else "sh"
    subprocess.run([shell, "-n", str(path)], check=True)


def test_the_dockerfile_only_calls_the_steps() -> None:
    text = (ROOT / "Dockerfile").read_text()
    steps = re.findall(r"^RUN (?:--\S+ )*(.+)$", text, re.MULTILINE)
    assert all("docker/install" in step or step.startswith(("useradd", "groupadd")) for step in steps)
    assert "docker/start" in text
    assert re.search(r"^USER (?!root)", text, re.MULTILINE)
