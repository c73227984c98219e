"""Hot statements are prepared once for each connection, whatever becomes of the driver's own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from service.kit import prepared
from service.kit.db import open_engine, run, transaction, try_again

_PREPARED = text("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'tidemark%'")
_ECHO = text("SELECT :value AS value")
_ANY = text("SELECT :value")
_KEYED = text("INSERT INTO job_runs (run_key, job, started_at) VALUES (:key, 'keyed', :at)")
_COUNT = text("SELECT count(*) FROM job_runs WHERE job = :job")
_SHAPE = text("SELECT * FROM shapes WHERE :always")
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def alone(engine: Engine) -> Iterator[Engine]:
    """One connection of one's own: others' would be at other numbers, and would miss what is deallocated."""
    own = open_engine(engine.url.render_as_string(hide_password=False), pool_size=1)
    yield own
    own.dispose()


def count_prepared(conn: Connection) -> int:
    return int(conn.execute(_PREPARED).scalar_one())


def deallocate(conn: Connection) -> None:
    """Do what a pooler does behind our back."""
    driver: Any = conn.connection.driver_connection
    driver.pgconn.exec_(b"DEALLOCATE ALL")


def test_a_statement_is_prepared_once_and_once_more_for_values_of_another_type(engine: Engine) -> None:
    with engine.connect() as conn:
        before = count_prepared(conn)
        assert [run(conn, _ECHO, {"value": value}).scalar_one() for value in (1, 2, 2**40, 3)] == [
            1,
            2,
            2**40,
            3,
        ]
        assert count_prepared(conn) - before == 2


def test_of_many_types_the_first_make_room(engine: Engine) -> None:
    values = [1, 2**20, 2**40, 2**70, "a", b"b", 0.5, True, AT, AT.date(), Decimal("1.5"), UUID(int=7)]
    with engine.connect() as conn:
        before = count_prepared(conn)
        for _ in range(2):
            assert [run(conn, _ANY, {"value": value}).scalar_one() for value in values] == values
        assert count_prepared(conn) - before == 8


@pytest.mark.parametrize(
    ("repeated", "left"),
    [(4, [0, 0, 0, 0]), (2, [0, 2, 2, 2])],
    ids=["the driver prepared its own", "the driver prepared nothing"],
)
def test_rollbacks_neither_lose_statements_nor_leave_any_behind(
    alone: Engine, repeated: int, left: list[int]
) -> None:
    counts = []
    for round_no in range(4):
        with pytest.raises(IntegrityError), transaction(alone) as conn:
            for _ in range(repeated):  # the driver prepares its own after three
                found = count_prepared(conn)
            counts.append(found)
            run(conn, _COUNT, {"job": "x"})
            run(conn, _KEYED, {"key": round_no, "at": AT})
            run(conn, _KEYED, {"key": round_no, "at": AT})
    assert counts == left


def test_a_savepoint_rolled_back_and_ddl_lose_nothing(engine: Engine) -> None:
    with transaction(engine) as conn:
        for _ in range(4):
            conn.execute(_PREPARED)
        assert run(conn, _COUNT, {"job": "x"}).scalar_one() == 0
        with pytest.raises(IntegrityError), conn.begin_nested():
            run(conn, _KEYED, {"key": 1, "at": AT})
            run(conn, _KEYED, {"key": 1, "at": AT})
        assert run(conn, _COUNT, {"job": "x"}).scalar_one() == 0
        conn.execute(text("CREATE TEMP TABLE passing (n int) ON COMMIT DROP"))
        conn.execute(text("ALTER TABLE passing ADD COLUMN m int"))
        assert run(conn, _COUNT, {"job": "x"}).scalar_one() == 0


def test_one_that_somebody_deallocated_is_prepared_again(alone: Engine) -> None:
    reads = alone.execution_options(isolation_level="AUTOCOMMIT")
    with reads.connect() as conn:
        assert run(conn, _ECHO, {"value": 7}).scalar_one() == 7
        deallocate(conn)
        assert run(conn, _ECHO, {"value": 8}).scalar_one() == 8


def test_in_a_transaction_it_is_one_of_the_errors_that_are_tried_again(alone: Engine) -> None:
    seen: list[str] = []

    def count() -> int:
        with transaction(alone) as conn:
            run(conn, _KEYED, {"key": 77, "at": AT})
            run(conn, _COUNT, {"job": "keyed"})
            if not seen:
                deallocate(conn)
            try:
                return int(run(conn, _COUNT, {"job": "keyed"}).scalar_one())
            except DBAPIError as error:
                seen.append(getattr(error.orig, "sqlstate", ""))
                raise

    assert try_again(count) == 1
    assert seen == [prepared.MISSING]


def test_a_table_that_changed_is_read_as_it_is_now(engine: Engine) -> None:
    reads = engine.execution_options(isolation_level="AUTOCOMMIT")
    with reads.connect() as conn, reads.connect() as other:
        other.execute(text("CREATE TABLE shapes AS SELECT 1 AS corners"))
        try:
            assert run(conn, _SHAPE, {"always": True}).one().corners == 1
            other.execute(text("ALTER TABLE shapes ALTER COLUMN corners TYPE text"))
            assert run(conn, _SHAPE, {"always": True}).one().corners == "1"
        finally:
            other.execute(text("DROP TABLE shapes"))
