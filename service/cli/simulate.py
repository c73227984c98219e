"""`tidemark tiers simulate`: a definition in a file tried on everybody, and nothing kept."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from service.cli.output import tell, tell_rows
from service.cli.progress import show_progress
from service.kit.clock import local_day, read_clock
from service.kit.exact_json import parse_json
from service.kit.settings import Settings
from service.startup import ready_engine
from service.tiers.population import operations


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--as-of",
    "as_of",
    metavar="DAY",
    type=click.DateTime(["%Y-%m-%d"]),
    help="As of the end of this day (default: today).",
)
@click.option(
    "--against",
    metavar="VERSION",
    type=click.IntRange(1, 2**31 - 1),
    help="Compare with where everybody would settle under this version (default: with the tiers held).",
)
@click.pass_obj
def simulate(settings: Settings, file: Path, as_of: datetime | None, against: int | None) -> None:
    """Try a definition on everybody: who would move from where to where, and what it would cost."""
    try:
        definition = parse_json(file.read_bytes())
    except ValueError as error:
        raise click.BadParameter(f"{file} {error}", param_hint="FILE") from error
    now = read_clock()
    with ready_engine(settings) as (engine, programme), show_progress() as progress:
        result = operations.simulate_definition(
            engine,
            definition=definition,
            day=local_day(now, timezone=programme.timezone) if as_of is None else as_of.date(),
            against=against,
            programme=programme,
            now=now,
            progress=progress,
        )
    tell_rows(result["matrix"])
    tell_rows([_movement(sample) for sample in result["samples"]])
    tell({name: value for name, value in result.items() if name not in {"matrix", "samples"}})


def _movement(sample: dict[str, Any]) -> dict[str, Any]:
    """Return a few members of a movement on one line."""
    members = sample["members"]
    return {
        "from": sample["from"],
        "to": sample["to"],
        "members": ", ".join(str(member["member_id"]) for member in members),
        "reason": next((member["reason"]["en"] for member in members if member["reason"]), None),
    }
