"""Settings in several processes and under concurrency."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, text

from service.kit.db import transaction
from service.kit.settings import Settings
from service.programme.operations import get_programme, list_versions, revise_settings
from service.startup import make_ready

# Another process: prints the return period whenever it sees another one, until it is told to stop.
WATCHER = """
import sys, time
from service.kit.db import open_engine
from service.programme.operations import get_programme
engine = open_engine(sys.argv[1], pool_size=1)
seen, end = None, time.monotonic() + 30
while seen != 99 and time.monotonic() < end:
    with engine.connect() as conn:
        days = get_programme(conn).settings.return_period_days
    if days != seen:
        seen = days
        print(days, flush=True)
    time.sleep(0.05)
"""


def start(engine: Engine, tmp_path: Path) -> None:
    """Start the programme on an empty database."""
    make_ready(engine, Settings.from_environment({"TIDEMARK_VAR": str(tmp_path)}), now=datetime.now(UTC))


def revise(engine: Engine, **changes: int) -> int:
    """Change settings now and return the version."""
    with transaction(engine) as conn:
        version = revise_settings(
            conn,
            changes=changes,
            effective_from=None,
            reason="a test",
            actor="test",
            now=datetime.now(UTC),
        )
    return version.row.version


def test_a_change_reaches_another_process_within_the_time_of_its_memory(
    engine: Engine, tmp_path: Path
) -> None:
    start(engine, tmp_path)
    url = engine.url.render_as_string(hide_password=False)
    with subprocess.Popen([sys.executable, "-c", WATCHER, url], stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == "7\n"
        revise(engine, return_period_days=99)
        changed = time.monotonic()
        with engine.connect() as conn:
            assert get_programme(conn).settings.return_period_days == 99, "at once where it was made"
        assert watcher.stdout.readline() == "99\n"
        assert time.monotonic() - changed < 8


def test_changes_at_the_same_moment_all_hold(engine: Engine, tmp_path: Path) -> None:
    start(engine, tmp_path)
    changes = [
        {"return_period_days": 21},
        {"earn_points": 3},
        {"point_value_minor": 77},
        {"earn_per_minor": 5},
    ]
    threads = [threading.Thread(target=revise, args=(engine,), kwargs=change) for change in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.connect() as conn:
        settings = get_programme(conn, fresh=True).settings
        versions = list_versions(conn, now=datetime.now(UTC))
    assert (settings.return_period_days, settings.earn_points) == (21, 3)
    assert (settings.point_value_minor, settings.earn_per_minor) == (77, 5)
    assert len(versions) == 5


def test_a_change_that_is_rolled_back_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    start(engine, tmp_path)
    with engine.connect() as conn:
        revise_settings(
            conn,
            changes={"earn_points": 9},
            effective_from=None,
            reason="a test",
            actor="test",
            now=datetime.now(UTC),
        )
        conn.rollback()
    with engine.connect() as conn:
        assert get_programme(conn).settings.earn_points == 1
        assert conn.execute(text("SELECT count(*) FROM audit_log")).scalar_one() == 0
