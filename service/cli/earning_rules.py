"""`tidemark earning-rules`: look at earning rules, look through a file before it becomes a draft."""

from __future__ import annotations

from pathlib import Path

import click
import orjson

from service.cli.output import (
    LANGUAGE,
    SHOWN_OF_A_VERSION,
    VERSION,
    read_object,
    show_finding,
    tell,
    tell_findings,
    tell_rows,
)
from service.earning import operations
from service.earning.definition import read_rules
from service.earning.findings import look_through
from service.kit.clock import read_clock
from service.kit.drafting import Version
from service.kit.drafting_views import version_json
from service.kit.settings import Settings
from service.kit.versioned import STATES
from service.startup import ready_engine

_MOST = 500


@click.group("earning-rules")
def earning_rules() -> None:
    """Earning rules: drafts, those in force, those that were."""


@earning_rules.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only these.")
@click.pass_obj
def list_(settings: Settings, state: str | None) -> None:
    """List earning rules, the newest version first."""
    with ready_engine(settings) as (engine, _), engine.connect() as conn:
        found = operations.RULES.list_versions(conn, state=state, before=None, limit=_MOST, now=read_clock())
    tell_rows([_summary(rules) for rules in found])


@earning_rules.command()
@VERSION
@LANGUAGE
@click.pass_obj
def show(settings: Settings, version: int, language: str) -> None:
    """Show a version: who, when, why, and what is found in it."""
    with ready_engine(settings) as (engine, _), engine.connect() as conn:
        rules = operations.RULES.get(conn, version=version, now=read_clock())
    findings = operations.list_findings(rules, currency=settings.currency)
    tell(_summary(rules) | {"findings": [finding.text[language] for finding in findings]})


@earning_rules.command()
@VERSION
@click.pass_obj
def export(settings: Settings, version: int) -> None:
    """Print the definition of a version as JSON; as a new draft it says the same."""
    with ready_engine(settings) as (engine, _), engine.connect() as conn:
        rules = operations.RULES.get(conn, version=version, now=read_clock())
    click.echo(orjson.dumps(rules.definition, option=orjson.OPT_INDENT_2).decode())


@earning_rules.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@LANGUAGE
@click.pass_obj
def validate(settings: Settings, file: Path, language: str) -> None:
    """Say what is wrong with a definition in a file; exit 1 when it could not be published."""
    rules, faults = read_rules(read_object(file), version=1, currency=settings.currency)
    rows = [show_finding("error", fault.name, fault.pointer, fault.text[language]) for fault in faults]
    if rules is not None:
        rows = [
            show_finding(finding.severity, finding.name, finding.pointers[0], finding.text[language])
            for finding in look_through(rules)
        ]
    tell_findings(rows)


def _summary(rules: Version) -> dict[str, object]:
    whole = version_json(rules)
    return {name: whole[name] for name in SHOWN_OF_A_VERSION}
