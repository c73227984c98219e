"""`tidemark keys`: who may call the API."""

from __future__ import annotations

from datetime import datetime

import click

from service.access import operations
from service.access.schemas import key_view
from service.cli.output import tell, tell_rows
from service.kit.audit import COMMAND_LINE
from service.kit.auth import ROLES, Role
from service.kit.clock import parse_time, read_clock
from service.kit.db import transaction
from service.kit.settings import Settings
from service.startup import ready_engine

_PAGE = 500


@click.group()
def keys() -> None:
    """API keys."""


def _read_time(_context: click.Context, _option: click.Parameter, value: str | None) -> datetime | None:
    try:
        return None if value is None else parse_time(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@keys.command()
@click.option("--role", type=click.Choice(ROLES), required=True)
@click.option("--label", default="made at the command line", show_default=True)
@click.option("--store", "stores", multiple=True, help="Hold the key to this store; may be repeated.")
@click.option("--origin", "origins", multiple=True, help="A storefront's page, such as https://shop.example.")
@click.option("--expires", callback=_read_time, help="When it ends: an RFC 3339 time with an offset.")
@click.pass_obj
def create(
    settings: Settings,
    role: Role,
    label: str,
    stores: tuple[str, ...],
    origins: tuple[str, ...],
    expires: datetime | None,
) -> None:
    """Make a key and print it: this is the one time it is shown."""
    with ready_engine(settings) as (engine, _), transaction(engine) as conn:
        key, secret = operations.create_key(
            conn,
            role=role,
            label=label,
            store_ids=stores or None,
            origins=origins,
            expires_at=expires,
            actor=COMMAND_LINE,
            now=read_clock(),
        )
    tell({"key_id": key.key_id, "role": role, "label": label, "key": secret})


@keys.command("list")
@click.pass_obj
def list_keys(settings: Settings) -> None:
    """List keys in the order they were made, revoked ones too; never their secrets."""
    with ready_engine(settings) as (engine, _), transaction(engine) as conn:
        after = ""
        while page := operations.list_keys(conn, after=after, limit=_PAGE, now=read_clock()):
            tell_rows([key_view(key) for key in page])
            after = page[-1].key_id


@keys.command()
@click.argument("key_id")
@click.option("--overlap-seconds", type=click.IntRange(0, 7 * 86_400), default=86_400, show_default=True)
@click.pass_obj
def rotate(settings: Settings, key_id: str, overlap_seconds: int) -> None:
    """Give a key a new secret and print it, this once; the old one goes on for the overlap."""
    with ready_engine(settings) as (engine, _), transaction(engine) as conn:
        key, secret = operations.rotate_key(
            conn, key_id=key_id, overlap_seconds=overlap_seconds, actor=COMMAND_LINE, now=read_clock()
        )
    tell({"key_id": key.key_id, "role": key.role, "label": key.label, "key": secret})


@keys.command()
@click.argument("key_id")
@click.pass_obj
def revoke(settings: Settings, key_id: str) -> None:
    """End a key, with every member token made for it; there is no way back."""
    with ready_engine(settings) as (engine, _), transaction(engine) as conn:
        key = operations.revoke_key(conn, key_id=key_id, actor=COMMAND_LINE, now=read_clock())
    tell(key_view(key))
