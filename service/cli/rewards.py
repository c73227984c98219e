"""`tidemark rewards`: what is too much for a form."""

from __future__ import annotations

from pathlib import Path

import click

from service.cli.output import tell, tell_rows
from service.kit.clock import read_clock
from service.kit.db import transaction
from service.kit.settings import Settings
from service.rewards import operations
from service.startup import ready_engine

_SHOWN_REJECTS = 20


@click.group()
def rewards() -> None:
    """Rewards and the codes of their vouchers."""


@rewards.command("import-codes")
@click.argument("pool")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def import_codes(settings: Settings, pool: str, file: Path) -> None:
    """Bring the voucher codes of FILE, one a line, into POOL, which is opened where there is none.

    Lines that cannot be taken are listed with their numbers and everything else goes in. Running the same
    file again changes nothing.
    """
    with ready_engine(settings) as (engine, _), file.open("rb") as lines, transaction(engine) as conn:
        loaded = operations.import_codes(conn, pool=pool, file=lines, now=read_clock())
    tell_rows([{"line": line_no, "code": fault} for line_no, fault in loaded.rejects[:_SHOWN_REJECTS]])
    tell(
        {
            "pool": loaded.pool,
            "lines": loaded.lines,
            "added": loaded.added,
            "known": loaded.known,
            "rejected": loaded.rejected,
        }
    )
