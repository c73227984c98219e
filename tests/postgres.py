"""A PostgreSQL of the system's own, in a folder of its own, for one test run."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def system_server(binaries: Path, folder: Path) -> Iterator[str]:
    """Yield the address of a server run from `binaries`; it listens on a socket in `folder` alone.

    PostgreSQL refuses to be root: its processes are then another user's.
    """
    folder.mkdir(parents=True)
    identity = _identity(folder)
    data = folder / "data"
    _run(
        [
            str(binaries / "initdb"), "--pgdata", str(data), "--username", "postgres", "--auth", "trust",
            "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync",
        ],
        folder,
        identity,
    )  # fmt: skip
    options = f"-k {folder} -c listen_addresses='' -c max_connections=200"
    control = [str(binaries / "pg_ctl"), "--pgdata", str(data), "--wait", "--silent"]
    _run([*control, "--log", str(folder / "log"), "--options", options, "start"], folder, identity)
    try:
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        _run([*control, "--mode", "fast", "stop"], folder, identity)
        shutil.rmtree(folder)


def _identity(folder: Path) -> dict[str, Any]:
    """Return as whom to run, and give the folder to that user."""
    folder.chmod(0o755)
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = known.get("postgres") or known["nobody"]
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _run(command: list[str], folder: Path, identity: dict[str, Any]) -> None:
    # Not through pipes: the server would inherit them and never close them.
    with (folder / "commands.log").open("ab") as log:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, **identity
        )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {(folder / 'commands.log').read_text()[-2000:]}")
