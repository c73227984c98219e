"""Migrating is safe from several processes at once, and tells where it stands."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from service.kit import migrate
from service.kit.db import open_engine
from tests.conftest import create_database, drop_database


@pytest.fixture
def empty(server_url: str) -> Iterator[str]:
    """Address of a database with nothing in it."""
    url = create_database(server_url)
    yield url
    drop_database(server_url, url)


def test_an_empty_database_stands_nowhere(empty: str) -> None:
    engine = open_engine(empty, pool_size=1)
    with engine.connect() as conn:
        assert migrate.current_revision(conn) is None
    engine.dispose()


def test_processes_that_start_together_migrate_once(empty: str) -> None:
    failed: list[Exception] = []

    def start() -> None:
        engine = open_engine(empty, pool_size=2)
        try:
            migrate.upgrade(engine)
        except Exception as error:
            failed.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    engine = open_engine(empty, pool_size=1)
    with engine.connect() as conn:
        assert migrate.current_revision(conn) == migrate.head_revision()
        assert conn.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")) == 0
    engine.dispose()


def test_a_migration_that_fails_leaves_nothing_behind(empty: str) -> None:
    engine: Engine = open_engine(empty, pool_size=2)
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE items (in_the_way integer)"))
    with pytest.raises(Exception, match="already exists"):
        migrate.upgrade(engine)
    with engine.begin() as conn:
        tables = conn.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        assert set(tables) <= {"items", "alembic_version"}
        conn.execute(text("DROP TABLE items"))
    migrate.upgrade(engine)
    with engine.connect() as conn:
        assert migrate.current_revision(conn) == migrate.head_revision()
    engine.dispose()
