"""`tidemark points`: what becomes available, what expires, what stands open, whether the books are right."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import click
from sqlalchemy import Engine

from service.cli.output import tell, tell_rows
from service.cli.progress import show_progress
from service.kit.clock import read_clock
from service.kit.db import transaction, try_again
from service.kit.settings import Settings
from service.ledger import operations as ledger
from service.ledger.operations import Swept
from service.rewards import operations as rewards
from service.startup import ready_engine
from service.tiers.errors import AsOfInFuture
from service.tiers.liability.answers import liability_json, liability_table
from service.tiers.liability.operations import see_liability
from service.tiers.movement.operations import moment_of

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


@points.command()
@click.option("--as-of", "as_of", metavar="DAY", type=click.DateTime(["%Y-%m-%d"]))
@click.option("--allocated-bp", type=click.IntRange(0, 10_000), default=10_000, show_default=True)
@click.pass_obj
def liability(settings: Settings, as_of: datetime | None, allocated_bp: int) -> None:
    """Tell what is outstanding by tier and age, what it costs, and how much of it will lapse."""
    day = None if as_of is None else as_of.date()
    with ready_engine(settings) as (engine, programme), engine.connect() as conn:
        try:
            moment = moment_of(day, now=read_clock(), timezone=programme.timezone)
        except AsOfInFuture as error:
            raise click.ClickException("the day lies ahead") from error
        found = see_liability(
            conn, at=moment - timedelta(microseconds=1), allocated_bp=allocated_bp, programme=programme
        )
    table = liability_table(found)
    tell_rows([dict(zip(table.columns, row, strict=True)) for row in table.rows])
    told = liability_json(found, locale="en")
    tell({name: told[name] for name in ("as_of", "currency", "outstanding", "breakage", "revenue")})


def _sweep(settings: Settings, stage: str, sweep: Callable[..., Swept]) -> dict[str, object]:
    now = read_clock()
    members = released = expired = freed = 0
    with ready_engine(settings) as (engine, _), show_progress() as progress:
        while True:
            swept = try_again(partial(_one, sweep, engine, now))
            if swept.members == 0:
                break
            members += swept.members
            released += swept.released
            expired += swept.expired
            freed += swept.freed
            progress(stage, members, None)
    return {"members": members, "lots_released": released, "lots_expired": expired, "holds_freed": freed}


def _one(sweep: Callable[..., Swept], engine: Engine, now: datetime) -> Swept:
    with transaction(engine) as conn:
        return sweep(conn, now=now, limit=CHUNK)
