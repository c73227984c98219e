"""Hot statements run past SQLAlchemy, and nobody can tell."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import TEXT, BigInteger, Connection, Engine, bindparam, event, literal, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from service.kit.db import run, transaction

_ROWS = text("SELECT n, 'a:' || n AS name, 5 % 3 AS rest FROM generate_series(1, :most) AS n ORDER BY n")
_ADD = text("INSERT INTO job_runs (job, started_at) VALUES (:job, :at)")
_COUNT = text("SELECT count(*) FROM job_runs WHERE job = :job")
_KEYED = text("INSERT INTO job_runs (run_key, job, started_at) VALUES (:key, 'keyed', :at)")
_SLOW = text("SELECT pg_sleep(:seconds)")
_WRONG = text("SELECT no_such_column FROM job_runs WHERE job = :job")
_CORE = select(literal(True).label("yes"), literal(7, BigInteger).label("seven"))
_LISTED = select(
    bindparam("letter", type_=TEXT).in_(("a", "b")).label("found"),
    bindparam("n", type_=BigInteger).label("n"),
)
_CONVERTED = select(literal({"a": [1]}, JSONB).label("tree"))
AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_rows_are_the_same_as_those_of_execute(conn: Connection) -> None:
    for _ in range(5):  # also once the driver has prepared it
        ours = run(conn, _ROWS, {"most": 3}).all()
        theirs = conn.execute(_ROWS, {"most": 3}).all()
        assert [tuple(row) for row in ours] == [tuple(row) for row in theirs]
        assert ours[2].name == "a:3"
        assert ours[2].rest == 2


def test_one_none_and_scalars_are_told_apart(conn: Connection) -> None:
    assert run(conn, _ROWS, {"most": 0}).one_or_none() is None
    assert run(conn, _ROWS, {"most": 1}).scalar_one() == 1
    assert list(run(conn, _ROWS, {"most": 3}).scalars()) == [1, 2, 3]


def test_a_statement_built_from_columns_keeps_its_own_values(conn: Connection) -> None:
    assert tuple(run(conn, _CORE, {}).one()) == (True, 7)


def test_constants_are_written_into_the_statement_lists_of_them_too(engine: Engine) -> None:
    seen: list[tuple[str, object]] = []

    def note(_conn: object, _cursor: object, statement: str, given: object, *_: object) -> None:
        seen.append((statement, given))

    event.listen(engine, "before_cursor_execute", note)
    try:
        with engine.connect() as conn:
            assert tuple(run(conn, _LISTED, {"letter": "b", "n": 3}).one()) == (True, 3)
            run(conn, _CORE, {})
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert "'b'" in seen[0][0]
    assert [given for _, given in seen] == [{"letter": "b", "n": 3}, {}]


def test_what_sqlalchemy_must_convert_is_left_to_it(conn: Connection) -> None:
    assert run(conn, _CONVERTED, {}).scalar_one() == {"a": [1]}


def test_it_writes_in_the_callers_transaction(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), transaction(engine) as conn:
        run(conn, _ADD, {"job": "undone", "at": AT})
        assert run(conn, _COUNT, {"job": "undone"}).scalar_one() == 1
        raise ZeroDivisionError
    with transaction(engine) as conn:
        assert run(conn, _COUNT, {"job": "undone"}).scalar_one() == 0
        run(conn, _ADD, {"job": "done", "at": AT})
    with transaction(engine) as conn:
        assert run(conn, _COUNT, {"job": "done"}).scalar_one() == 1


def test_a_connection_without_a_transaction_begins_one(engine: Engine) -> None:
    with engine.connect() as conn:
        run(conn, _ADD, {"job": "begun", "at": AT})
        assert conn.in_transaction()
        conn.rollback()
        assert run(conn, _COUNT, {"job": "begun"}).scalar_one() == 0


def test_errors_are_those_of_execute(engine: Engine) -> None:
    with pytest.raises(ProgrammingError), engine.connect() as conn:
        run(conn, _WRONG, {"job": "x"})
    with pytest.raises(IntegrityError) as twice, engine.connect() as conn:
        run(conn, _KEYED, {"key": 1, "at": AT})
        run(conn, _KEYED, {"key": 1, "at": AT})
    assert getattr(twice.value.orig, "sqlstate", None) == "23505"
    with engine.connect() as conn:
        conn.execute(text("SET LOCAL statement_timeout = 20"))
        with pytest.raises(OperationalError) as late:
            run(conn, _SLOW, {"seconds": 5})
    assert getattr(late.value.orig, "sqlstate", None) == "57014"


def test_a_savepoint_is_rolled_back_after_an_error(conn: Connection) -> None:
    run(conn, _KEYED, {"key": 1, "at": AT})
    with pytest.raises(IntegrityError), conn.begin_nested():
        run(conn, _KEYED, {"key": 1, "at": AT})
    assert run(conn, _COUNT, {"job": "keyed"}).scalar_one() == 1


def test_a_lost_connection_is_given_up(engine: Engine) -> None:
    with engine.connect() as conn:
        pid = conn.scalar(text("SELECT pg_backend_pid()"))
        with engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(OperationalError) as lost:
            run(conn, _COUNT, {"job": "x"})
        assert lost.value.connection_invalidated
        assert conn.invalidated


def test_statements_can_still_be_counted(engine: Engine) -> None:
    seen: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        with engine.connect() as conn:
            run(conn, _COUNT, {"job": "x"})
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert len(seen) == 1
    assert "job_runs" in seen[0]
