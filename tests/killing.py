"""Processes that tests kill: started, waited for until they are where it hurts, and ended without a word."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
from sqlalchemy import Engine, text

from tests.serving import ROOT, WebServer

PATIENCE_SECONDS = 30


@contextmanager
def process_at(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run Python with these arguments; the block begins once it says where it is, and has what it said.

    Who is still there when the block ends is killed.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=None if environment is None else dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def kill(pid: int) -> None:
    """Kill a process and wait until nothing of it runs."""
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)


def is_alive(pid: int) -> bool:
    """Tell whether a process still runs."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(pid: int) -> None:
    """Wait until a process has ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} does not end"
        time.sleep(0.05)


def kill_workers_during(
    clients: Sequence[Callable[[], object]],
    *,
    server: WebServer,
    engine: Engine,
    share_done: Callable[[], float],
    kills: int,
    seed: int,
    beside: Sequence[Callable[[threading.Event], object]] = (),
) -> int:
    """Run clients to their end while workers die, one whenever another share of the work is done.

    `share_done` goes from 0 to about 1; `beside` run along and are told when the clients are through. Returns
    how many workers were killed, once no transaction is left open.
    """
    done = threading.Event()

    def kill_some() -> int:
        chance = random.Random(seed)
        killed = 0
        while killed < kills and not done.is_set():
            due = (killed + 0.5 + 0.4 * chance.random()) / (kills + 1)
            while share_done() < due and not done.wait(0.002):
                pass
            workers = server.list_workers()
            if workers and not done.is_set():
                os.kill(chance.choice(workers), signal.SIGKILL)
                killed += 1
        return killed

    with ThreadPoolExecutor(len(clients) + len(beside) + 1) as pool:
        calling = [pool.submit(client) for client in clients]
        killing, *others = [pool.submit(kill_some), *(pool.submit(one, done) for one in beside)]
        try:
            for call in calling:
                call.result()
        finally:
            done.set()
        for other in others:
            other.result()
        killed = killing.result()
    # A connection of a killed worker may still end its statement; nothing is counted before it is gone.
    wait_for_quiet(engine)
    return killed


def wait_for_quiet(engine: Engine) -> None:
    """Wait until no transaction but ours is open, and nobody but us holds a lock that outlasts one."""
    others = text(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL) + (SELECT count(*) FROM pg_locks l "
        "JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database() "
        "AND l.locktype = 'advisory' AND l.pid <> pg_backend_pid())"
    )
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with engine.connect() as conn:
            if conn.scalar(others) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("what killed processes had open does not end")
