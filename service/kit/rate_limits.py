"""How often a caller may ask: so many requests a minute, counted together by every process.

Asking the shared count once per request would cost a round trip each time. So a process takes a hundredth
of the minute's allowance at once (a lease) and spends it by itself: at most a hundred statements per minute
for one caller, however busy, and none at all on most requests. Leases never add up to more than the limit;
what a process has leased and does not spend is lost to the others until the window ends: with p processes
at most (p - 1) hundredths of the limit.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

from limits.storage import Storage, storage_from_string
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)

WINDOW_SECONDS = 60
_LEASES_PER_WINDOW = 100
_MOST_BUCKETS = 20_000
_PATIENCE_SECONDS = 0.25
_REST_SECONDS = 5.0


class Allowance(NamedTuple):
    """What a caller may still do: `remaining` requests (as far as this process knows) until the reset."""

    granted: bool
    limit: int
    remaining: int
    reset_seconds: float
    policy: str = "requests"


@dataclass(slots=True)
class _Window:
    """This process's share: `leased` to spend, `left` for everybody after that, until `ends` (seconds)."""

    leased: int
    left: int
    ends: float


class PostgresStorage(Storage):
    """Counts in one unlogged table, by the database's clock, outside any request's transaction."""

    STORAGE_SCHEME = None

    _INCREMENT = text(
        """
        INSERT INTO rate_windows AS w (bucket, spent, ends_at)
        VALUES (:bucket, :amount, statement_timestamp() + make_interval(secs => :seconds))
        ON CONFLICT (bucket) DO UPDATE SET
            spent = CASE WHEN w.ends_at <= statement_timestamp() THEN EXCLUDED.spent
                         ELSE w.spent + EXCLUDED.spent END,
            ends_at = CASE WHEN w.ends_at <= statement_timestamp() THEN EXCLUDED.ends_at ELSE w.ends_at END
        RETURNING spent, CAST(extract(epoch FROM ends_at) AS double precision) AS ends,
            CAST(extract(epoch FROM ends_at - statement_timestamp()) AS double precision) AS seconds_left
        """
    )
    _GET = text("SELECT spent FROM rate_windows WHERE bucket = :bucket AND ends_at > statement_timestamp()")
    _GET_END = text(
        "SELECT CAST(extract(epoch FROM ends_at) AS double precision) FROM rate_windows "
        "WHERE bucket = :bucket"
    )
    _CLEAR = text("DELETE FROM rate_windows WHERE bucket = :bucket")
    _RESET = text("DELETE FROM rate_windows")

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def _connect(self) -> Connection:
        # Said of the connection: of an engine that was told otherwise before, the first word would stand.
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    @property
    def base_exceptions(self) -> type[Exception]:
        """What goes wrong when the store is down."""
        return SQLAlchemyError

    def take(self, key: str, *, amount: int, seconds: int) -> tuple[int, float]:
        """Add to a count and return it with the seconds until it starts anew."""
        values = {"bucket": key, "amount": amount, "seconds": seconds}
        with self._connect() as conn:
            row = conn.execute(self._INCREMENT, values).one()
        return row.spent, row.seconds_left

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to a count and return it."""
        return self.take(key, amount=amount, seconds=expiry)[0]

    def get(self, key: str) -> int:
        """Return a count."""
        with self._connect() as conn:
            return conn.scalar(self._GET, {"bucket": key}) or 0

    def get_expiry(self, key: str) -> float:
        """Return when a count starts anew, in seconds since 1970."""
        with self._connect() as conn:
            return conn.scalar(self._GET_END, {"bucket": key}) or 0.0

    def check(self) -> bool:
        """Tell whether the store answers."""
        try:
            self.get("")
        except SQLAlchemyError:
            return False
        return True

    def reset(self) -> int:
        """Forget every count."""
        with self._connect() as conn:
            return conn.execute(self._RESET).rowcount

    def clear(self, key: str) -> None:
        """Forget one count."""
        with self._connect() as conn:
            conn.execute(self._CLEAR, {"bucket": key})


_FORGET = text("DELETE FROM rate_windows WHERE ends_at < statement_timestamp()")


def forget_ended_windows(conn: Connection) -> int:
    """Delete counts whose window has ended and return how many there were."""
    return conn.execute(_FORGET).rowcount


def open_storage(url: str | None, engine: Engine) -> Storage:
    """Return the store of a URL (`redis://…`), or PostgreSQL's; nothing is connected yet.

    Raises:
        limits.errors.ConfigurationError: an unknown scheme, or its client is not installed.
    """
    if url is None:
        return PostgresStorage(engine)
    options: dict[str, Any] = {}
    if "redis" in url.split(":", 1)[0] or "valkey" in url.split(":", 1)[0]:
        options = {"socket_timeout": _PATIENCE_SECONDS, "socket_connect_timeout": _PATIENCE_SECONDS}
    return storage_from_string(url, **options)  # type: ignore[return-value]


class RateLimiter:
    """Spends allowances, leasing them from the shared store. Lets everybody pass while the store is down."""

    def __init__(self, storage: Storage, *, window_seconds: int = WINDOW_SECONDS) -> None:
        self._storage = storage
        self._window_seconds = window_seconds
        self._lock = threading.Lock()
        self._windows: dict[str, _Window] = {}
        self._resting_until = 0.0

    def spend(self, bucket: str, *, limit: int, seconds: float) -> Allowance:
        """Spend one request of a bucket's allowance; `seconds` is the present since 1970."""
        with self._lock:
            window = self._windows.get(bucket)
            if window is not None and seconds < window.ends:
                if window.leased > 0:
                    window.leased -= 1
                    return self._allow(window, limit, seconds)
                if window.left <= 0:
                    return Allowance(False, limit, 0, window.ends - seconds)
            if seconds < self._resting_until:
                return Allowance(True, limit, limit, float(self._window_seconds))
        return self._lease(bucket, limit, seconds)

    def _lease(self, bucket: str, limit: int, seconds: float) -> Allowance:
        wanted = max(1, limit // _LEASES_PER_WINDOW)
        try:
            total, seconds_left = self._take(bucket, wanted, seconds)
        except Exception:
            # Whatever a store's client raises when it is down: refusing the shop's customers would be worse.
            log.warning("the store of the rate limits does not answer: nobody is limited", exc_info=True)
            with self._lock:
                self._resting_until = seconds + _REST_SECONDS
            return Allowance(True, limit, limit, float(self._window_seconds))
        before = total - wanted
        granted = max(0, min(wanted, limit - before))
        ends = seconds + max(seconds_left, 0.001)
        with self._lock:
            if len(self._windows) >= _MOST_BUCKETS:
                self._windows = {name: one for name, one in self._windows.items() if seconds < one.ends}
                if len(self._windows) >= _MOST_BUCKETS:
                    self._windows.clear()
            known = self._windows.get(bucket)
            # Another thread leased meanwhile: both leases are ours to spend.
            more = known.leased if known is not None and seconds < known.ends else 0
            window = self._windows[bucket] = _Window(granted + more, max(0, limit - total), ends)
            if window.leased <= 0:
                return Allowance(False, limit, 0, ends - seconds)
            window.leased -= 1
            return self._allow(window, limit, seconds)

    def _allow(self, window: _Window, limit: int, seconds: float) -> Allowance:
        return Allowance(True, limit, window.leased + window.left, window.ends - seconds)

    def _take(self, bucket: str, amount: int, seconds: float) -> tuple[int, float]:
        if isinstance(self._storage, PostgresStorage):
            return self._storage.take(bucket, amount=amount, seconds=self._window_seconds)
        total = self._storage.incr(bucket, self._window_seconds, amount)
        return total, self._storage.get_expiry(bucket) - seconds
