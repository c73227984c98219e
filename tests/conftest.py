"""What every test may ask for: a real PostgreSQL, a database of its own, a transaction of its own."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Connection, Engine, text

from service.kit import migrate
from service.kit.db import open_engine
from service.kit.embedded import start_embedded
from tests.postgres import system_server

# `make test` runs each law at a tenth of the counts that `make test-all` runs.
SCALE = int(os.environ.get("TIDEMARK_TEST_SCALE", "1"))
COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": SCALE == 1}
settings.register_profile("tidemark", max_examples=50 * SCALE, **COMMON)  # type: ignore[arg-type]
settings.load_profile("tidemark")

KEPT_TABLES = {"alembic_version"}

LONGEST = (
    "tests/contract/test_document.py",
    "tests/container/test_steps.py",
    "tests/integration/intake/test_import_uci.py",
    "tests/integration/intake/test_import_order_of_arrival.py",
    "tests/integration/intake/test_import_earning.py",
    "tests/integration/recommender/test_uci.py",
    "tests/integration/recommender/test_spark.py",
)
"""What shares a file shares a process: these begin, so that at the end no process waits for one of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, each in its own order."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.nodeid.split("::", 1)[0], len(place)))


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a PostgreSQL: the one given, one run from TIDEMARK_TEST_POSTGRES, or an embedded one."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    # A short path: PostgreSQL's socket must fit 107 bytes. Not under the build tree, which root may own.
    folder = Path(os.environ.get("TIDEMARK_TEST_VAR", "/tmp")) / f"tidemark-test-{os.getpid()}"
    binaries = os.environ.get("TIDEMARK_TEST_POSTGRES")
    if binaries:
        with system_server(Path(binaries), folder) as url:
            _hurry(url)
            yield url
        return
    server = start_embedded(folder)
    _hurry(server.url)
    yield server.url
    server.stop()
    shutil.rmtree(folder)


def _hurry(server_url: str) -> None:
    """Spare a server that lives for one run the waiting for its disk."""
    admin = open_engine(server_url, pool_size=1)
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        for setting in ("fsync", "full_page_writes"):
            conn.execute(text(f"ALTER SYSTEM SET {setting} = off"))
        conn.execute(text("SELECT pg_reload_conf()"))
    admin.dispose()


def create_database(server_url: str) -> str:
    """Create an empty database and return its address."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = open_engine(server_url, pool_size=1)
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text(f'CREATE DATABASE "{name}"'))
    url = admin.url.set(database=name)
    admin.dispose()
    return url.render_as_string(hide_password=False)


def drop_database(server_url: str, database_url: str) -> None:
    """Drop a database that `create_database` made."""
    admin = open_engine(server_url, pool_size=1)
    name = open_engine(database_url).url.database
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    admin.dispose()


@pytest.fixture(scope="session")
def database_url(server_url: str) -> Iterator[str]:
    """Address of a migrated database that the whole run shares."""
    url = create_database(server_url)
    engine = open_engine(url, pool_size=1)
    migrate.upgrade(engine)
    engine.dispose()
    yield url
    drop_database(server_url, url)


@pytest.fixture(scope="session")
def shared_engine(database_url: str) -> Iterator[Engine]:
    """Engine of the shared database; ask for `conn` or `engine` instead."""
    engine = open_engine(database_url, pool_size=64)
    yield engine
    engine.dispose()


@pytest.fixture
def conn(shared_engine: Engine) -> Iterator[Connection]:
    """One transaction on an empty database, rolled back after the test."""
    with shared_engine.connect() as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def engine(shared_engine: Engine) -> Iterator[Engine]:
    """An empty committed database: what the test commits is wiped afterwards."""
    yield shared_engine
    wipe(shared_engine)


def wipe(engine: Engine) -> None:
    """Empty every table, the append-only ones too, keeping the schema."""
    with engine.begin() as connection:
        tables = connection.scalars(
            text(
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
                "AND relnamespace = 'public'::regnamespace"
            )
        ).all()
        # Triggers that refuse it do not fire for a replica; deleting a few rows beats making new files.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in tables:
            if table not in KEPT_TABLES:
                connection.execute(text(f'DELETE FROM "{table}"'))
