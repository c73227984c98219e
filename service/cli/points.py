"""`tidemark points`: what becomes available, what expires, and whether the books are right."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime

import click
from sqlalchemy import Connection

from service.cli.output import tell, tell_rows
from service.cli.progress import show_progress
from service.kit.clock import read_clock
from service.kit.db import transaction
from service.kit.settings import Settings
from service.ledger import operations as ledger
from service.ledger.operations import Swept
from service.rewards import operations as rewards
from service.startup import ready_engine

CHUNK = 1_000


@click.group()
def points() -> None:
    """The points ledger."""


@points.command()
@click.pass_obj
def release(settings: Settings) -> None:
    """Post the points whose return period or hold has ended; reads already count them."""
    tell(_sweep(settings, "releasing", ledger.release_due))


@points.command()
@click.pass_obj
def expire(settings: Settings) -> None:
    """Post the points that have expired; reads already leave them out."""
    tell(_sweep(settings, "expiring", ledger.expire_due))


@points.command()
@click.pass_obj
def announce(settings: Settings) -> None:
    """Tell of the points that are going to expire within the days of notice, each expiry once."""
    now = read_clock()
    members = 0
    with ready_engine(settings) as (engine, programme), show_progress() as progress:
        while True:
            with transaction(engine) as conn:
                told = ledger.announce_expiring(conn, now=now, programme=programme, limit=CHUNK)
            if told == 0:
                break
            members += told
            progress("announcing", members, None)
    tell({"members": members})


@points.command()
@click.pass_obj
def verify(settings: Settings) -> None:
    """Check the laws of points on every balance, lot and redemption; exit 1 and list the rows on drift."""
    with ready_engine(settings) as (engine, _), engine.connect() as conn:
        violations = [violation.to_json() for violation in ledger.check_laws(conn)]
        violations += [violation.to_json() for violation in rewards.check_laws(conn)]
    tell_rows(violations)
    tell({"violations": len(violations)})
    sys.exit(1 if violations else 0)


def _sweep(settings: Settings, stage: str, sweep: Callable[..., Swept]) -> dict[str, object]:
    now = read_clock()
    members = released = expired = freed = 0
    with ready_engine(settings) as (engine, _), show_progress() as progress:
        while True:
            with transaction(engine) as conn:
                swept = _one(sweep, conn, now)
            if swept.members == 0:
                break
            members += swept.members
            released += swept.released
            expired += swept.expired
            freed += swept.freed
            progress(stage, members, None)
    return {"members": members, "lots_released": released, "lots_expired": expired, "holds_freed": freed}


def _one(sweep: Callable[..., Swept], conn: Connection, now: datetime) -> Swept:
    return sweep(conn, now=now, limit=CHUNK)
