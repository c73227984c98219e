"""Connections speak UTC, psycopg 3 and JSON, and give up a stuck statement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from service.kit.db import open_engine, transaction


def test_an_address_without_a_driver_means_psycopg_3(engine: Engine, database_url: str) -> None:
    plain = database_url.replace("postgresql+psycopg://", "postgresql://")
    for address in (plain, plain.replace("postgresql://", "postgres://", 1)):
        other = open_engine(address, pool_size=1)
        assert other.driver == "psycopg"
        with other.connect() as conn:
            assert conn.scalar(text("SELECT 1")) == 1
        other.dispose()


def test_times_come_back_in_utc(engine: Engine) -> None:
    with engine.connect() as conn:
        value = conn.execute(text("SELECT TIMESTAMPTZ '2026-11-21 19:03:11+08'")).scalar_one()
    assert value == datetime(2026, 11, 21, 11, 3, 11, tzinfo=UTC)
    assert value.utcoffset() == timedelta(0)


def test_a_stuck_statement_is_given_up(database_url: str) -> None:
    engine = open_engine(database_url, pool_size=1, statement_timeout_ms=50)
    with pytest.raises(OperationalError), engine.connect() as conn:
        conn.execute(text("SELECT pg_sleep(5)"))
    engine.dispose()


def test_an_exception_rolls_the_transaction_back(engine: Engine) -> None:
    insert = text("INSERT INTO stores (store_id, created_at) VALUES ('s1', now())")
    with pytest.raises(RuntimeError), transaction(engine) as conn:
        conn.execute(insert)
        raise RuntimeError("refused")
    with transaction(engine) as conn:
        assert conn.scalar(text("SELECT count(*) FROM stores")) == 0
        conn.execute(insert)
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM stores")) == 1
