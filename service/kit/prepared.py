"""Statements prepared once per connection and executed straight through libpq.

The driver's cursor asks anew on every call whether a statement is prepared, sends and waits in steps of a
generator, and finds out how to read each column: 70 µs of CPU for a statement that costs libpq 25. Here the
call is one of libpq's own, and what was found out stays.

The driver deallocates every prepared statement of a connection, ours too, when it forgets its own: after a
rollback, after DDL. Ours are forgotten with them. Should one be missing all the same (a pooler between), it
is prepared again where it stands by itself, and inside a transaction the error is one of those after which
`db.try_again` repeats it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import count
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result

MISSING = "26000"
"""What PostgreSQL says of a prepared statement that is not there (any more)."""
_OUTDATED = frozenset({MISSING, "0A000"})
"""… and of one whose tables were changed since: either has to be prepared again."""

_NAMES = count(1)
# Each takes memory of the server; more types of values than this are a rarity.
_MOST_NAMES = 8
_KEY = "tidemark.prepared"
_IDLE = pq.TransactionStatus.IDLE


class Statement:
    """One statement on one connection: how its values are sent and its columns read.

    `columns` are the names of its columns, None before its first run and where it returns no rows.
    """

    def __init__(self, shelf: Shelf, driver: psycopg.Connection[Any], sql: bytes, *, values: int) -> None:
        self._shelf = shelf
        self._sql = sql
        self._formats = [PyFormat.AUTO] * values
        self._adapt: Any = Transformer.from_context(driver)
        self._names: dict[Any, bytes] = {}
        # Under which name it was read last: values of other types may give columns of other types.
        self._last_read: bytes | None = None
        self.columns: list[str] | None = None

    def forget(self) -> None:
        """Take it as not prepared."""
        self._names.clear()

    def execute(self, driver: psycopg.Connection[Any], values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Execute it and return its rows.

        Raises:
            psycopg.Error: what the driver's own cursor would raise, or `MISSING` inside a transaction.
        """
        adapt, link = self._adapt, driver.pgconn
        sent = adapt.dump_sequence(values, self._formats)
        # Values of one place may differ in type (a small number, a large one): each has its own statement.
        name = self._names.get(adapt.types)
        if name is None:
            name = self._prepare(driver)
        result = link.exec_prepared(name, sent, adapt.formats)
        if result.status == pq.ExecStatus.FATAL_ERROR:
            error = error_of(driver, result)
            if error.sqlstate not in _OUTDATED:
                raise error
            # Where one is gone, all of them are.
            self._shelf.forget()
            if link.transaction_status != _IDLE:
                raise error
            name = self._prepare(driver)
            result = link.exec_prepared(name, sent, adapt.formats)
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise error_of(driver, result)
        return self._read(result, name)

    def _prepare(self, driver: psycopg.Connection[Any]) -> bytes:
        if len(self._names) >= _MOST_NAMES:
            oldest = self._names.pop(next(iter(self._names)))
            driver.pgconn.exec_(b"DEALLOCATE " + oldest)
        name = b"tidemark_%d" % next(_NAMES)
        types = self._adapt.types
        result = driver.pgconn.prepare(name, self._sql, types)
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise error_of(driver, result)
        self._names[types] = name
        return name

    def _read(self, result: pq.abc.PGresult, name: bytes) -> list[tuple[Any, ...]]:
        if result.status != pq.ExecStatus.TUPLES_OK:
            return []
        self._adapt.set_pgresult(result, set_loaders=name != self._last_read)
        if self.columns is None:
            self.columns = [(result.fname(place) or b"").decode() for place in range(result.nfields)]
        self._last_read = name
        rows: list[tuple[Any, ...]] = self._adapt.load_rows(0, result.ntuples, tuple)
        return rows


def error_of(driver: psycopg.Connection[Any], result: pq.abc.PGresult) -> psycopg.Error:
    """Return the driver's own exception for a refusal, or for a connection that is gone."""
    link = driver.pgconn
    if link.status == pq.ConnStatus.BAD:
        return psycopg.OperationalError(link.get_error_message())
    return error_from_result(result, encoding=driver.info.encoding)


class Shelf:
    """The statements of one connection."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._known: dict[Hashable, Statement] = {}
        self._forget_with_driver()

    def find(self, key: Hashable, sql: bytes, *, values: int) -> Statement:
        """Return the statement of a key."""
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Statement(self, self._driver, sql, values=values)
        return found

    def forget(self) -> None:
        """Take all of them as not prepared."""
        for statement in self._known.values():
            statement.forget()

    def _forget_with_driver(self) -> None:
        """Forget them whenever the driver is about to deallocate all of the connection's."""
        manager = self._driver._prepared
        clear = manager.clear

        def clear_all() -> bool:
            deallocates: bool = clear()
            if deallocates:
                self.forget()
            return deallocates

        manager.clear = clear_all


def shelf_of(info: dict[Any, Any], driver: psycopg.Connection[Any]) -> Shelf:
    """Return the statements of a connection, whose `info` SQLAlchemy keeps."""
    shelf: Shelf | None = info.get(_KEY)
    if shelf is None:
        shelf = info[_KEY] = Shelf(driver)
    return shelf
