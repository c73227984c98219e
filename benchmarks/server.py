"""One web server under measurement: gunicorn with the service's own settings."""

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

from benchmarks import cpu

ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its port, its first process, and the seconds until it first answered."""

    port: int
    pid: int
    start_seconds: float

    def workers(self) -> list[int]:
        """Return its worker processes."""
        return [child.pid for child in psutil.Process(self.pid).children()]

    def cpu(self) -> dict[int, float]:
        """Return the CPU seconds of each worker so far."""
        return cpu.read(self.workers())


@contextmanager
def serve(target: str, *, environment: Mapping[str, str], probe: str) -> Iterator[Server]:
    """Run `target` until the block ends; it is up when `probe` answers 200."""
    port = _free_port()
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TIDEMARK_") and name not in {"DATABASE_URL", "WEB_CONCURRENCY"}
    }
    command = [
        sys.executable, "-m", "gunicorn", "-c", "python:service.gunicorn_conf",
        "--bind", f"127.0.0.1:{port}", target,
    ]  # fmt: skip
    fixed = {"PORT": str(port), "TIDEMARK_LOG_LEVEL": "WARNING", "OPENBLAS_NUM_THREADS": "1"}
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, env={**inherited, **fixed, **environment}, start_new_session=True
    )
    try:
        _wait(process, port, probe)
        yield Server(port, process.pid, time.perf_counter() - started)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, probe: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended by itself with {process.returncode}")
        line = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            line.request("GET", probe)
            if line.getresponse().status == 200:
                return
        except (OSError, HTTPException):
            pass
        finally:
            line.close()
        time.sleep(0.01)
    raise RuntimeError(f"{probe} did not answer within {_START_SECONDS} s")
