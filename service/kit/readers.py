"""Connections that stay out between reads.

Taking a connection from SQLAlchemy's pool and giving it back costs more CPU than a small statement on it. A
few connections of the web process therefore rest here instead, and go back to the pool when a write finds
none there, when they have rested for long, and all of them when the database failed a read.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, QueuePool
from sqlalchemy.exc import DBAPIError

MOST_RESTING = 3
LONGEST_SECONDS = 60.0


class Readers:
    """Lends connections of an engine whose connections begin nothing. Threads may share it."""

    def __init__(self, engine: Engine, *, most: int = MOST_RESTING) -> None:
        self._engine = engine
        self._most = most
        # The latest first: of more than are needed the oldest go cold. Each with the moment it was taken out.
        self._resting: list[tuple[Connection, float]] = []

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """Yield a connection on which each statement stands by itself."""
        try:
            conn, since = self._resting.pop()
        except IndexError:
            conn, since = self._engine.connect(), time.monotonic()
        try:
            yield conn
        except BaseException as error:
            conn.close()
            if isinstance(error, DBAPIError):
                self.release_all()
            raise
        if conn.in_transaction():
            # What SQLAlchemy counts as begun by a first `execute`: nothing was sent for it, nor is now.
            conn.rollback()
        if len(self._resting) < self._most and time.monotonic() - since < LONGEST_SECONDS:
            self._resting.append((conn, since))
        else:
            conn.close()

    def make_room(self) -> None:
        """Give one back to the pool if a write would have to wait for it."""
        pool = self._engine.pool
        if self._resting and isinstance(pool, QueuePool) and pool.checkedin() == 0:
            self._release()

    def release_all(self) -> None:
        """Give all of them back to the pool, which knows what to do with broken ones."""
        while self._release():
            pass

    def _release(self) -> bool:
        try:
            conn, _ = self._resting.pop()
        except IndexError:
            return False
        conn.close()
        return True
