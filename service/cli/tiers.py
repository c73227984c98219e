"""`tidemark tiers`: the nightly review, and rule sets."""

from __future__ import annotations

from datetime import datetime

import click

from service.cli.output import tell, tell_rows
from service.cli.progress import show_progress
from service.cli.rulesets import rulesets
from service.cli.simulate import simulate
from service.cli.tier_reports import histogram, worth
from service.kit import audit
from service.kit.clock import format_time, parse_time, read_clock
from service.kit.db import transaction
from service.kit.settings import Settings
from service.startup import ready_engine
from service.tiers import reviews

CHUNK = 2_000


@click.group()
def tiers() -> None:
    """Tiers and their review."""


tiers.add_command(worth)
tiers.add_command(histogram)


tiers.add_command(rulesets)
tiers.add_command(simulate)


@tiers.command()
@click.option(
    "--all",
    "everyone",
    is_flag=True,
    help="Rate every member, not only those that are due, and heal wrong ones.",
)
@click.option("--as-of", "as_of", metavar="TIME", help="Review as of this RFC 3339 time (default: now).")
@click.option("--dry-run", is_flag=True, help="Write nothing; list what would change.")
@click.pass_obj
def review(settings: Settings, everyone: bool, as_of: str | None, dry_run: bool) -> None:
    """Apply what has become due: falls, risks and rises that no order brought about.

    Commits in chunks; it can be interrupted, run again, and run several times at once.
    """
    now = _moment(as_of)
    with ready_engine(settings) as (engine, programme), show_progress() as progress:
        summary = reviews.review_members(
            engine,
            programme=programme,
            now=now,
            everyone=everyone,
            dry_run=dry_run,
            heals=as_of is None,
            chunk=CHUNK,
            progress=progress,
        )
        if not dry_run and (everyone or as_of is not None):
            with transaction(engine) as conn:
                audit.record(
                    conn,
                    actor=audit.COMMAND_LINE,
                    action="tiers.reviewed",
                    subject=("tier-review", "all" if everyone else "due"),
                    after={
                        "as_of": format_time(now),
                        "reviewed": summary.reviewed,
                        "changed": summary.changed,
                        "healed": summary.healed,
                    },
                    now=read_clock(),
                )
    if dry_run:
        tell_rows([change.to_json() for change in summary.changes])
    tell(
        {
            "reviewed": summary.reviewed,
            "changed": summary.changed,
            "healed": summary.healed,
            "as_of": now.isoformat(),
        }
    )


def _moment(as_of: str | None) -> datetime:
    if as_of is None:
        return read_clock()
    try:
        return parse_time(as_of)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--as-of") from error
