"""Run the web service as an operator would: gunicorn, its own processes, a real port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class WebServer:
    """A running gunicorn: its port and its first process."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}"

    def list_workers(self) -> list[int]:
        """Return its worker processes."""
        return list_children(self.process.pid)


def list_children(pid: int) -> list[int]:
    """Return the living children of a process."""
    try:
        children = psutil.Process(pid).children()
        return [child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:
        return []


def wait_for_family(pid: int, *, size: int) -> list[psutil.Process]:
    """Return all processes below one, once there are `size`: the first worker answers before the last is."""
    deadline = time.monotonic() + _START_SECONDS
    while len(family := psutil.Process(pid).children(recursive=True)) < size:
        assert time.monotonic() < deadline, family
        time.sleep(0.05)
    return family


def clean_environment(**given: str) -> dict[str, str]:
    """Return this process's environment without settings of the service, with those given."""
    ours = {"DATABASE_URL", "WEB_CONCURRENCY", "PORT", "PROMETHEUS_MULTIPROC_DIR"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TIDEMARK_") and name not in ours
    }
    return kept | {"OPENBLAS_NUM_THREADS": "1"} | given


def free_port() -> int:
    """Return a port that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def serve_web(
    *, database_url: str, var: Path, workers: int = 2, environment: Mapping[str, str] | None = None
) -> Iterator[WebServer]:
    """Run gunicorn on a database that was made ready, until the block ends; it is up when /readyz says so."""
    port = free_port()
    metrics = var / "metrics"
    metrics.mkdir(parents=True, exist_ok=True)
    given = {
        "DATABASE_URL": database_url,
        "PORT": str(port),
        "WEB_CONCURRENCY": str(workers),
        "TIDEMARK_VAR": str(var),
        "TIDEMARK_LOG_LEVEL": "WARNING",
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        **(environment or {}),
    }
    log = var / "web.log"
    command = [sys.executable, "-m", "gunicorn", "-c", "python:service.gunicorn_conf", "service.wsgi:app"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=clean_environment(**given), stderr=output, start_new_session=True
        )
    try:
        wait_until_ready(port, process, log=log)
        yield WebServer(port, process, log)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], *, patience_seconds: float = 40) -> int:
    """Ask a process to end, insist after a while, and return its exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=patience_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def wait_until_ready(
    port: int,
    process: subprocess.Popen[bytes],
    *,
    probe: str = "/readyz",
    log: Path | None = None,
    patience_seconds: float = _START_SECONDS,
) -> None:
    """Return once `probe` answers 200; a server that ends instead is shown by its `log`."""
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = log.read_text(errors="replace")[-3000:] if log else ""
            raise AssertionError(f"the server ended by itself with {process.returncode}\n{said}")
        if answers(port, probe) == 200:
            return
        time.sleep(0.05)
    raise AssertionError(f"{probe} did not answer within {patience_seconds:g} s")


def answers(port: int, path: str, *, timeout_seconds: float = 5) -> int | None:
    """Return the status of an answer, or None where nobody answers."""
    line = HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
    try:
        line.request("GET", path)
        return line.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        line.close()
