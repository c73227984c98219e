"""Bring a database from nothing to ready: migrated, started, with a first key.

Every command and the web process come through here, so that none depends on another having run first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from service.earning import operations as earning
from service.experiments import operations as experiments
from service.kit import migrate
from service.kit.auth import register_key
from service.kit.clock import read_clock
from service.kit.db import open_engine, transaction
from service.kit.embedded import start_embedded
from service.kit.outbox import adopt_events
from service.kit.settings import Settings, SettingsError
from service.programme.operations import Programme, fix_programme
from service.tiers import operations as tiers

_DATABASE = "tidemark"


@dataclass(frozen=True)
class Database:
    """A database that is reachable, and whether this process started its server."""

    url: str
    embedded: bool


@contextmanager
def reach_database(settings: Settings) -> Iterator[Database]:
    """Yield the database of DATABASE_URL, or else the embedded server's, running for as long as needed."""
    if settings.database_url is not None:
        yield Database(settings.database_url, embedded=False)
        return
    try:
        server = start_embedded(settings.var)
    except ModuleNotFoundError as error:
        raise SettingsError(
            "DATABASE_URL is not set, and the embedded PostgreSQL is not installed "
            "(pip install tidemark[embedded])"
        ) from error
    try:
        yield Database(_own_database(server.url), embedded=True)
    finally:
        server.stop()


def _own_database(server_url: str) -> str:
    engine = open_engine(server_url, pool_size=1)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            exists = conn.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": _DATABASE})
            if not exists:
                conn.execute(text(f"CREATE DATABASE {_DATABASE}"))
    finally:
        engine.dispose()
    return make_url(server_url).set(database=_DATABASE).render_as_string(hide_password=False)


def make_ready(engine: Engine, settings: Settings, *, now: datetime) -> Programme:
    """Migrate the database and start the programme on it; nothing is done twice.

    Raises:
        ProgrammeMismatch: the database was started with another currency or zone.
    """
    migrate.upgrade(engine)
    with transaction(engine) as conn:
        programme = fix_programme(conn, currency=settings.currency, timezone=settings.timezone, now=now)
        tiers.ensure_default_ruleset(conn, currency=programme.currency, now=now)
        earning.ensure_default_rules(conn, currency=programme.currency, now=now)
        experiments.ensure_global_holdout(conn, now=now)
        adopt_events(conn)
        if settings.admin_key is not None:
            register_key(conn, token=settings.admin_key, role="admin", label="TIDEMARK_ADMIN_KEY", now=now)
    return programme


@contextmanager
def ready_engine(settings: Settings, *, pool_size: int = 4) -> Iterator[tuple[Engine, Programme]]:
    """Yield an engine on a ready database, for one command."""
    with reach_database(settings) as database:
        engine = open_engine(database.url, pool_size=pool_size)
        try:
            yield engine, make_ready(engine, settings, now=read_clock())
        finally:
            engine.dispose()
