"""Rate limits counted in PostgreSQL."""

from __future__ import annotations

import threading

import pytest
from limits.errors import ConfigurationError
from sqlalchemy import Engine, text

from service.kit.db import open_engine
from service.kit.rate_limits import (
    PostgresStorage,
    RateLimiter,
    forget_ended_windows,
    open_storage,
)


def test_a_count_grows_and_starts_anew_when_its_window_ends(engine: Engine) -> None:
    storage = PostgresStorage(engine)
    assert storage.incr("key:a", 60) == 1
    total, seconds_left = storage.take("key:a", amount=5, seconds=60)
    assert total == 6
    assert 55 < seconds_left <= 60
    assert storage.get("key:a") == 6
    with engine.begin() as conn:
        conn.execute(text("UPDATE rate_windows SET ends_at = now() - interval '1 second'"))
    assert storage.get("key:a") == 0
    assert storage.take("key:a", amount=2, seconds=60)[0] == 2


def test_counts_are_forgotten_one_by_one_or_all(engine: Engine) -> None:
    storage = PostgresStorage(engine)
    for key in ("a", "b"):
        storage.incr(key, 60)
    assert storage.check()
    assert storage.get_expiry("a") > 0
    storage.clear("a")
    assert (storage.get("a"), storage.get("b")) == (0, 1)
    assert storage.reset() == 1


def test_counts_whose_window_has_ended_are_swept_away(engine: Engine) -> None:
    storage = PostgresStorage(engine)
    storage.take("ended", amount=1, seconds=0)
    storage.take("running", amount=1, seconds=60)
    with engine.begin() as conn:
        assert forget_ended_windows(conn) == 1
    assert storage.get("running") == 1


def test_the_count_is_outside_any_log(engine: Engine) -> None:
    with engine.connect() as conn:
        kept = conn.scalar(text("SELECT relpersistence FROM pg_class WHERE relname = 'rate_windows'"))
    assert kept == "u"


def test_processes_that_share_a_database_share_the_limit(engine: Engine) -> None:
    limiters = [RateLimiter(PostgresStorage(engine)) for _ in range(4)]
    granted: list[bool] = []

    def spend(limiter: RateLimiter) -> None:
        for _ in range(100):
            granted.append(limiter.spend("key:a", limit=150, seconds=1_000.0).granted)

    threads = [threading.Thread(target=spend, args=(limiter,)) for limiter in limiters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(granted) == 150


def test_a_database_that_is_gone_limits_nobody(caplog: pytest.LogCaptureFixture) -> None:
    engine = open_engine("postgresql://nobody@127.0.0.1:9/none", pool_size=1)
    limiter = RateLimiter(PostgresStorage(engine))
    assert limiter.spend("key:a", limit=1, seconds=1_000.0).granted
    assert limiter.spend("key:a", limit=1, seconds=1_000.0).granted
    assert not PostgresStorage(engine).check()
    assert "nobody is limited" in caplog.text
    engine.dispose()


def test_a_redis_that_is_gone_limits_nobody(engine: Engine) -> None:
    limiter = RateLimiter(open_storage("redis://127.0.0.1:9/0", engine))
    assert limiter.spend("key:a", limit=1, seconds=1_000.0).granted
    assert limiter.spend("key:a", limit=1, seconds=1_000.0).granted


def test_an_unknown_store_is_refused_at_start(engine: Engine) -> None:
    with pytest.raises(ConfigurationError):
        open_storage("carrier-pigeon://coop", engine)
