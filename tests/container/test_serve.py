"""`tidemark serve` when things go wrong around it."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.conftest import create_database, drop_database
from tests.killing import kill
from tests.serving import ROOT, answers, clean_environment, free_port, stop, wait_for_family, wait_until_ready

GUNICORN_AND_ITS_WORKERS = 3
JOBS = 1


@pytest.fixture
def environment(server_url: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Settings of a service on an empty database of the test's own."""
    url = create_database(server_url)
    yield clean_environment(
        DATABASE_URL=url,
        PORT=str(free_port()),
        TIDEMARK_VAR=str(tmp_path / "var"),
        TIDEMARK_DEMO="0",
        TIDEMARK_LOG_LEVEL="WARNING",
    )
    drop_database(server_url, url)


@contextmanager
def started(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run `tidemark serve` until the block ends; `printed` and `complained` have its output."""
    with printed(environment).open("wb") as out, complained(environment).open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve"],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process)


def printed(environment: dict[str, str]) -> Path:
    """Where its standard output goes."""
    return Path(environment["TIDEMARK_VAR"]).with_name("serve.out")


def complained(environment: dict[str, str]) -> Path:
    """Where its standard error goes."""
    return Path(environment["TIDEMARK_VAR"]).with_name("serve.err")


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux can be asked to end children with their parent"
)
def test_killing_serve_ends_its_web_service_and_its_worker(environment: dict[str, str]) -> None:
    port = int(environment["PORT"])
    with started(environment) as process:
        wait_until_ready(port, process)
        family = wait_for_family(process.pid, size=GUNICORN_AND_ITS_WORKERS + JOBS)
        kill(process.pid)
        _, alive = psutil.wait_procs(family, timeout=30)
        for one in alive:
            one.kill()
    assert alive == []
    assert answers(port, "/livez") is None


def test_a_port_that_is_taken_is_said_in_one_line(environment: dict[str, str]) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", int(environment["PORT"])))
        other.listen()
        with started(environment) as process:
            assert process.wait(timeout=60) == 1
    assert printed(environment).read_text() == ""
    complaint = complained(environment).read_text()
    assert complaint.count("\n") == 1
    assert f"port {environment['PORT']}" in complaint


def test_a_programme_in_another_currency_starts_without_the_demo_shop(environment: dict[str, str]) -> None:
    given = environment | {"TIDEMARK_CURRENCY": "GBP", "TIDEMARK_TIMEZONE": "Europe/London"}
    with started({name: value for name, value in given.items() if name != "TIDEMARK_DEMO"}) as process:
        wait_until_ready(int(environment["PORT"]), process)
        assert stop(process) == 0
    assert "the demo shop counts in TWD" in printed(environment).read_text()


def test_serve_ends_when_its_web_service_dies(environment: dict[str, str]) -> None:
    with started(environment) as process:
        wait_until_ready(int(environment["PORT"]), process)
        (web,) = [
            child
            for child in psutil.Process(process.pid).children()
            if "gunicorn" in " ".join(child.cmdline())
        ]
        kill(web.pid)
        assert process.wait(timeout=45) == 1
