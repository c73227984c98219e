"""`tidemark laws`: check on live data what the tests prove on made-up data."""

from __future__ import annotations

import sys

import click

from service.cli.output import tell, tell_rows
from service.cli.progress import show_progress
from service.kit.clock import read_clock
from service.kit.settings import Settings
from service.laws import check_laws_now
from service.startup import ready_engine


@click.group()
def laws() -> None:
    """The laws of the domain."""


@laws.command()
@click.pass_obj
def check(settings: Settings) -> None:
    """Check every law that exists so far over everyone; exit 1 and list what breaks it."""
    with ready_engine(settings) as (engine, _), show_progress() as progress:
        report = check_laws_now(engine, clock=read_clock, progress=progress)
    tell_rows(report.violations)
    tell({"laws": ", ".join(report.laws), "violations": len(report.violations)})
    sys.exit(1 if report.violations else 0)
