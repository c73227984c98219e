"""The `tidemark` command and its groups."""

from __future__ import annotations

import sys

import click

from service.cli import (
    data,
    database,
    earning_rules,
    experiments,
    keys,
    laws,
    models,
    points,
    rewards,
    serving,
    tiers,
)
from service.kit.errors import Problem
from service.kit.garbage import collect_less_often
from service.kit.logs import configure
from service.kit.settings import Settings, SettingsError
from service.programme.errors import ProgrammeMismatch


@click.group()
@click.version_option(package_name="tidemark")
@click.pass_context
def tidemark(context: click.Context) -> None:
    """Loyalty, membership and personalisation for online shops."""
    collect_less_often()
    settings = Settings.from_environment()
    configure("WARNING" if settings.log_level == "INFO" else settings.log_level)
    context.obj = settings


for command in (
    serving.serve,
    serving.web,
    serving.worker,
    serving.openapi,
    database.db,
    keys.keys,
    data.import_,
    data.demo,
    tiers.tiers,
    points.points,
    earning_rules.earning_rules,
    rewards.rewards,
    models.models,
    experiments.experiments,
    laws.laws,
):
    tidemark.add_command(command)


def main() -> None:
    """Run a command; what a person can act on is one line, not a traceback."""
    try:
        tidemark()
    except (SettingsError, ProgrammeMismatch, Problem) as error:
        click.echo(f"tidemark: {error}", err=True)
        for wrong in getattr(error, "errors", ()):
            click.echo(f"  {wrong.pointer or wrong.parameter or ''} {wrong.detail}", err=True)
        sys.exit(1)
