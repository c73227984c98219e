"""The embedded server: started once, shared, stopped by the last, recovered after a crash."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from service.kit.db import open_engine
from service.kit.embedded import EmbeddedServerFailed, start_embedded
from tests.killing import is_alive, kill, process_at, wait_until_gone

HOLDER = Path(__file__).with_name("embedded_holder.py")


@pytest.fixture
def var() -> Iterator[Path]:
    """A short folder that the server's own user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="tm-", dir=os.environ.get("TIDEMARK_TEST_VAR", "/tmp")))
    yield folder
    pid = postmaster_of(folder)
    if pid is not None:
        os.kill(pid, signal.SIGQUIT)
        wait_until_gone(pid)
    shutil.rmtree(folder)


@contextmanager
def holder(var: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process with a share of the server, and the address it was given."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with process_at(str(HOLDER), str(var), environment=environment) as (process, url):
        yield process, url
        if process.poll() is None:
            process.communicate("\n", timeout=30)


def postmaster_of(var: Path) -> int | None:
    """Process number of the running server, None when it is down."""
    lock = var / "postgres" / "postmaster.pid"
    if not lock.exists():
        return None
    pid = int(lock.read_text().split("\n", 1)[0])
    return pid if is_alive(pid) else None


def run(url: str, statement: str) -> object:
    engine = open_engine(url, pool_size=1)
    with engine.begin() as conn:
        result = conn.execute(text(statement))
        value = result.scalar() if result.returns_rows else None
    engine.dispose()
    return value


def test_processes_share_one_server_and_the_last_one_stops_it(var: Path) -> None:
    with holder(var) as (first, url):
        pid = postmaster_of(var)
        assert pid is not None
        with holder(var) as (_, same_url):
            assert same_url == url
            assert postmaster_of(var) == pid
            first.communicate("\n", timeout=30)
            assert postmaster_of(var) == pid, "the first to leave must not stop it for the second"
            assert run(url, "SELECT 1") == 1
    wait_until_gone(pid)
    assert not (var / "postgres" / "postmaster.pid").exists(), "stopped cleanly"


def test_what_was_committed_is_there_after_a_stop_and_a_start(var: Path) -> None:
    with holder(var) as (_, url):
        run(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    with holder(var) as (_, url):
        assert run(url, "SELECT answer FROM kept") == 42


def test_a_crashed_server_is_recovered_by_the_next_start(var: Path) -> None:
    with holder(var) as (process, url):
        run(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        pid = postmaster_of(var)
        assert pid is not None
        kill(process.pid)
        kill(pid)
    assert (var / "postgres" / "postmaster.pid").exists()
    with holder(var) as (_, url):
        assert run(url, "SELECT answer FROM kept") == 42
        pid = postmaster_of(var)
        assert pid is not None
    wait_until_gone(pid)


def test_a_process_that_died_holding_a_share_does_not_keep_the_server_up(var: Path) -> None:
    with holder(var) as (survivor, _), holder(var) as (dying, _):
        pid = postmaster_of(var)
        assert pid is not None
        kill(dying.pid)
        survivor.communicate("\n", timeout=30)
    wait_until_gone(pid)


def test_a_stale_lock_that_names_another_process_is_not_believed(var: Path) -> None:
    with holder(var):
        pass
    # As after a restart of the machine: the number in the file now belongs to somebody else.
    stale = f"{os.getpid()}\n{var}/postgres\n1700000000\n5432\n{var}/postgres\n\n  1 1\nready   \n"
    (var / "postgres" / "postmaster.pid").write_text(stale)
    with holder(var) as (_, url):
        assert run(url, "SELECT 1") == 1


def test_a_lock_that_was_cut_short_is_not_believed(var: Path) -> None:
    with holder(var):
        pass
    (var / "postgres" / "postmaster.pid").write_text("12")
    with holder(var) as (_, url):
        assert run(url, "SELECT 1") == 1


def test_one_process_may_stop_and_start_again(var: Path) -> None:
    server = start_embedded(var)
    pid = postmaster_of(var)
    server.stop()
    server.stop()
    assert pid is not None
    wait_until_gone(pid)
    again = start_embedded(var)
    assert run(again.url, "SELECT 1") == 1
    again.stop()


def test_a_process_that_left_and_came_back_has_a_share_again(var: Path) -> None:
    server = start_embedded(var)
    with holder(var) as (other, _):
        server.stop()
        server = start_embedded(var)
        other.communicate("\n", timeout=30)
    assert run(server.url, "SELECT 1") == 1
    server.stop()


@pytest.mark.parametrize("name", ["my shop", "a;b", "a&b", "$HOME", "it's", "a`b", "a,b", "a\\b"])
def test_a_path_that_the_wheel_cannot_use_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(EmbeddedServerFailed, match="TIDEMARK_VAR"):
        start_embedded(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_signs_in_the_path_do_not_break_the_address(var: Path) -> None:
    odd = var / "商店+b%20=c"
    server = start_embedded(odd)
    assert run(server.url, "SELECT 1") == 1
    server.stop()
    assert postmaster_of(odd) is None
