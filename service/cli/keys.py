"""`tidemark keys`: who may call the API."""

from __future__ import annotations

import click

from service.cli.output import tell
from service.kit.auth import ROLES, Role, create_key
from service.kit.clock import read_clock
from service.kit.db import transaction
from service.kit.settings import Settings
from service.startup import ready_engine


@click.group()
def keys() -> None:
    """API keys."""


@keys.command()
@click.option("--role", type=click.Choice(ROLES), required=True)
@click.option("--label", default="made at the command line", show_default=True)
@click.pass_obj
def create(settings: Settings, role: Role, label: str) -> None:
    """Make a key and print it: this is the one time it is shown."""
    with ready_engine(settings) as (engine, _), transaction(engine) as conn:
        token = create_key(conn, role=role, label=label, now=read_clock())
    tell({"role": role, "label": label, "key": token})
