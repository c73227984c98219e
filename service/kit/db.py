"""Connect to PostgreSQL and run one transaction at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import orjson
from sqlalchemy import Connection, Engine, MetaData, create_engine
from sqlalchemy.engine import make_url

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


def open_engine(database_url: str, *, pool_size: int = 10, statement_timeout_ms: int = 0) -> Engine:
    """Return an engine whose connections speak UTC and prepare repeated statements.

    `statement_timeout_ms` 0 means no limit (batch jobs); web workers set one so that a
    stuck statement frees its thread.
    """
    url = make_url(database_url)
    if url.drivername in {"postgresql", "postgres"}:
        url = url.set(drivername="postgresql+psycopg")
    options = f"-c timezone=UTC -c statement_timeout={statement_timeout_ms} -c jit=off"
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=False,
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
