"""Connections rest between reads, and are there for whoever needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import Connection, Engine, QueuePool, text
from sqlalchemy.exc import DBAPIError, OperationalError

from service.kit.db import open_engine
from service.kit.readers import Readers

_PID = text("SELECT pg_backend_pid()")


@pytest.fixture
def reads(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url, pool_size=2, pool_timeout_ms=200, autocommit=True)
    yield engine
    engine.dispose()


def checked_out(engine: Engine) -> int:
    assert isinstance(engine.pool, QueuePool)
    return engine.pool.checkedout()


def read_pid(conn: Connection) -> int:
    return int(conn.execute(_PID).scalar_one())


def test_the_next_read_gets_the_same_connection(reads: Engine) -> None:
    readers = Readers(reads, most=1)
    pids = set()
    for _ in range(3):
        with readers.lend() as conn:
            pids.add(read_pid(conn))
        assert not conn.in_transaction()
        assert not conn.closed
    assert len(pids) == 1
    readers.release_all()
    assert checked_out(reads) == 0


def test_no_more_rest_than_may(reads: Engine) -> None:
    readers = Readers(reads, most=1)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(readers.lend())
    assert checked_out(reads) == 1
    readers.release_all()


def test_a_write_finds_a_connection_where_reads_rest_on_all(reads: Engine) -> None:
    readers = Readers(reads, most=2)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(readers.lend())
    writes = reads.execution_options(isolation_level="READ COMMITTED")
    with pytest.raises(Exception, match="QueuePool limit"), writes.begin():
        pass
    readers.make_room()
    with writes.begin() as conn:
        assert read_pid(conn)
    readers.release_all()


def test_a_failed_read_gives_everything_back(reads: Engine) -> None:
    readers = Readers(reads, most=2)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(readers.lend())
    with pytest.raises(DBAPIError), readers.lend() as conn:
        conn.execute(text("SELECT 1 / 0"))
    assert checked_out(reads) == 0


def test_after_a_lost_connection_the_next_read_succeeds(reads: Engine, engine: Engine) -> None:
    readers = Readers(reads, most=2)
    with readers.lend() as conn:
        pid = read_pid(conn)
    with engine.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    with pytest.raises(OperationalError), readers.lend() as conn:
        read_pid(conn)
    with readers.lend() as conn:
        assert read_pid(conn) != pid
    readers.release_all()


def test_one_that_was_out_for_long_goes_back(reads: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.kit.readers.LONGEST_SECONDS", 0.0)
    with Readers(reads, most=2).lend() as conn:
        read_pid(conn)
    assert conn.closed
    assert checked_out(reads) == 0
