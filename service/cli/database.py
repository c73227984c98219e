"""`tidemark db`: the schema."""

from __future__ import annotations

import sys

import click

from service.cli.output import tell
from service.kit import migrate
from service.kit.clock import read_clock
from service.kit.db import open_engine
from service.kit.settings import Settings
from service.startup import make_ready, reach_database


@click.group()
def db() -> None:
    """The database's schema."""


@db.command()
@click.pass_obj
def upgrade(settings: Settings) -> None:
    """Apply every migration, and start the programme on a new database."""
    with reach_database(settings) as database:
        engine = open_engine(database.url, pool_size=2)
        programme = make_ready(engine, settings, now=read_clock())
        engine.dispose()
    tell(
        {
            "revision": migrate.head_revision(),
            "currency": programme.currency,
            "timezone": programme.timezone,
        }
    )


@db.command()
@click.pass_obj
def check(settings: Settings) -> None:
    """Tell whether the schema is the newest this code knows; exit 1 when it is not."""
    with reach_database(settings) as database:
        engine = open_engine(database.url, pool_size=1)
        with engine.connect() as conn:
            current = migrate.current_revision(conn)
        engine.dispose()
    head = migrate.head_revision()
    tell({"current": current, "head": head, "ok": current == head})
    sys.exit(0 if current == head else 1)
