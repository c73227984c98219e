"""Connect to PostgreSQL and run one transaction at a time."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import orjson
import psycopg
from psycopg import pq
from sqlalchemy import BindParameter, Connection, Engine, Executable, MetaData, Result, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import ClauseElement

from service.kit import prepared

log = logging.getLogger(__name__)

T = TypeVar("T")

BROKEN_OFF = frozenset({"40001", "40P01", prepared.MISSING})
"""What PostgreSQL says of a transaction that did no wrong: serialisation failure, deadlock, and a prepared
statement that somebody deallocated."""

_TRIES = 6

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""Every table of every room; migrations are compared with it."""


def dumps(value: object) -> str:
    """Return `value` as JSON text for a jsonb parameter."""
    return orjson.dumps(value).decode()


def open_engine(
    database_url: str,
    *,
    pool_size: int = 10,
    pool_timeout_ms: int = 10_000,
    statement_timeout_ms: int = 0,
    lock_timeout_ms: int = 0,
    autocommit: bool = False,
) -> Engine:
    """Return an engine whose connections speak UTC and prepare repeated statements.

    With `autocommit` each statement stands by itself, unless an option says otherwise. A timeout of 0 means
    no limit (batch jobs); web workers set them so that a stuck statement frees its thread, and
    `pool_timeout_ms` so that nobody waits long for a connection.
    """
    url = make_url(database_url)
    if url.drivername in {"postgresql", "postgres"}:
        url = url.set(drivername="postgresql+psycopg")
    options = "-c timezone=UTC -c jit=off"
    options += f" -c statement_timeout={statement_timeout_ms} -c lock_timeout={lock_timeout_ms}"
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout_ms / 1000,
        pool_pre_ping=False,
        **({"isolation_level": "AUTOCOMMIT"} if autocommit else {}),
        skip_autocommit_rollback=True,
        pool_recycle=1800,
        json_serializer=dumps,
        json_deserializer=orjson.loads,
        connect_args={"options": options, "prepare_threshold": 3, "connect_timeout": 10},
    )


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in one transaction: committed at the end, rolled back on any exception."""
    with engine.begin() as conn:
        yield conn


def try_again(work: Callable[[], T]) -> T:
    """Do work that opens a transaction of its own, again when PostgreSQL breaks that off for another's sake.

    At most six times in all, after waits of random length that double, so that the same ones do not meet
    again. Whatever else is raised goes to the caller.
    """
    for attempt in range(_TRIES):
        try:
            return work()
        except DBAPIError as error:
            sqlstate = getattr(error.orig, "sqlstate", None)
            if sqlstate not in BROKEN_OFF:
                raise
            if attempt + 1 == _TRIES:
                log.error("transaction given up", extra={"sqlstate": sqlstate, "tries": _TRIES})
                raise
            log.warning("transaction broken off by PostgreSQL, again", extra={"sqlstate": sqlstate})
            time.sleep(random.uniform(0.005, 0.02) * 2**attempt)
    raise AssertionError("the last try returns or raises")


@dataclass(slots=True, eq=False)
class _Ready:
    """A statement as the driver takes it, its own constants written into it.

    `raw` has `$1` in the order of `names`, `sql` the names themselves, for listeners and for errors.
    `columns` is known after its first run, None without rows.
    """

    raw: bytes
    sql: str
    names: tuple[str, ...]
    fixed: Mapping[str, Any]
    columns: SimpleResultMetaData | None = None


_ready: dict[int, tuple[Executable, _Ready | None]] = {}
"""Statements by identity, kept so that no identity comes twice; None where SQLAlchemy has to convert."""

_MOST_STATEMENTS = 2_000
_IDLE = pq.TransactionStatus.IDLE
_NO_COLUMNS = SimpleResultMetaData(())


def run(conn: Connection, statement: Executable, parameters: Mapping[str, Any]) -> Result[Any]:
    """Execute a statement that was built once at import: `conn.execute` for hot routes.

    The same statement on the same connection in the same transaction with the same exceptions, without what
    SQLAlchemy and the driver do anew on every call: that costs more than the round trip itself.
    Rows are read whole. Where SQLAlchemy would have to convert values, it executes the statement itself.
    """
    known = _ready.get(id(statement))
    if known is None:
        if len(_ready) >= _MOST_STATEMENTS:
            raise RuntimeError("run() is for statements built once at import, not for each call")
        known = _ready[id(statement)] = (statement, _make_ready(conn, statement))
    ready = known[1]
    if ready is None:
        return conn.execute(statement, parameters)
    link = conn.connection
    driver: Any = link.driver_connection
    if driver.pgconn.transaction_status == _IDLE and not driver.autocommit:
        _begin(conn, driver)
    statement_here = prepared.shelf_of(link.info, driver).find(ready, ready.raw, values=len(ready.names))
    values = {**ready.fixed, **parameters} if ready.fixed else parameters
    for listener in conn.dispatch.before_cursor_execute:
        listener(conn, None, ready.sql, values, None, False)
    try:
        rows = statement_here.execute(driver, [values[name] for name in ready.names])
    except psycopg.Error as error:
        raise _translate(conn, error, ready.sql, values) from error
    if ready.columns is None:
        names = statement_here.columns
        if names is None:
            return IteratorResult(_NO_COLUMNS, iter(()))
        ready.columns = SimpleResultMetaData(names)
    return IteratorResult(ready.columns, iter(rows))


def _begin(conn: Connection, driver: psycopg.Connection[Any]) -> None:
    """Begin the transaction that SQLAlchemy leaves to the driver, and the driver to its own cursors."""
    if not conn.in_transaction():
        conn.begin()
    level = driver.isolation_level
    how = b"BEGIN" if level is None else f"BEGIN ISOLATION LEVEL {level.name.replace('_', ' ')}".encode()
    result = driver.pgconn.exec_(how)
    if result.status != pq.ExecStatus.COMMAND_OK:
        raise _translate(conn, prepared.error_of(driver, result), how.decode(), {})


def _make_ready(conn: Connection, statement: Executable) -> _Ready | None:
    """Compile a statement, or return None when its parameters or columns are not the driver's own."""
    dialect = conn.dialect
    written: Any = visitors.cloned_traverse(cast(ClauseElement, statement), {}, {"bindparam": _write_in})
    compiled: Any = written.compile(dialect=dialect)
    unknown: dict[str, None] = {}
    fixed: dict[str, Any] = {}
    for bind, name in compiled.bind_names.items():
        convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
        if bind.required:
            if bind.expanding or convert is not None:
                return None
            unknown[name] = None
        elif not bind.expanding and not bind.literal_execute:
            fixed[name] = bind.effective_value if convert is None else convert(bind.effective_value)
    for column in getattr(statement, "exported_columns", ()):
        if column.type.dialect_impl(dialect).result_processor(dialect, None) is not None:
            return None
    by_number: Any = type(dialect)
    numbered: Any = written.compile(dialect=by_number(paramstyle="numeric_dollar"))
    whole = numbered.construct_expanded_state(unknown)
    fixed |= {name: value for name, value in whole.parameters.items() if name not in {*unknown, *fixed}}
    sql = compiled.construct_expanded_state(unknown).statement
    return _Ready(whole.statement.encode(), sql, tuple(whole.positiontup), fixed)


def _write_in(bind: BindParameter[Any]) -> None:
    """Have a constant written into the statement: it then needs not be sent with each call."""
    if not bind.required and isinstance(bind.value, str | int):
        bind.literal_execute = True


def _translate(conn: Connection, error: psycopg.Error, sql: str, values: Mapping[str, Any]) -> Exception:
    """Return what SQLAlchemy raises for an error of the driver, having given up a broken connection."""
    as_any: Any = error
    broken = bool(conn.dialect.is_disconnect(as_any, conn.connection.driver_connection, None))
    if broken:
        conn.invalidate(error)
    return DBAPIError.instance(
        sql, values, error, psycopg.Error, connection_invalidated=broken, dialect=conn.dialect
    )
