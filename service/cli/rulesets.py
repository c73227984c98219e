"""`tidemark tiers rulesets`: look at rule sets, look through a file before it becomes a draft."""

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
from service.kit.clock import read_clock
from service.kit.settings import Settings
from service.kit.versioned import STATES
from service.startup import ready_engine
from service.tiers.publishing import operations
from service.tiers.publishing.faults import read_definition
from service.tiers.publishing.findings import look_through
from service.tiers.publishing.views import ruleset_json, summary_json

_MOST = 500


@click.group()
def rulesets() -> None:
    """Rule sets: drafts, the one in force, those that were."""


@rulesets.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only these.")
@click.pass_obj
def list_(settings: Settings, state: str | None) -> None:
    """List rule sets, the newest version first."""
    with ready_engine(settings) as (engine, _), engine.connect() as conn:
        found = operations.RULESETS.list_versions(
            conn, state=state, before=None, limit=_MOST, now=read_clock()
        )
    tell_rows([{name: summary_json(ruleset)[name] for name in SHOWN_OF_A_VERSION} for ruleset in found])


@rulesets.command()
@VERSION
@click.pass_obj
def show(settings: Settings, version: int) -> None:
    """Show a version: who, when, why, and what is found in it."""
    with ready_engine(settings) as (engine, _), engine.connect() as conn:
        ruleset = operations.RULESETS.get(conn, version=version, now=read_clock())
        evidence = operations.find_evidence(conn, ruleset=ruleset)
    whole = ruleset_json(ruleset, findings=operations.list_findings(ruleset), evidence=evidence)
    tell({name: value for name, value in whole.items() if name != "definition"})


@rulesets.command()
@VERSION
@click.pass_obj
def export(settings: Settings, version: int) -> None:
    """Print the definition of a version as JSON; as a new draft it says the same."""
    with ready_engine(settings) as (engine, _), engine.connect() as conn:
        ruleset = operations.RULESETS.get(conn, version=version, now=read_clock())
    click.echo(orjson.dumps(ruleset.definition, option=orjson.OPT_INDENT_2).decode())


@rulesets.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@LANGUAGE
@click.pass_obj
def validate(settings: Settings, file: Path, language: str) -> None:
    """Say what is wrong with a definition in a file; exit 1 when it could not be published."""
    definition = read_object(file)
    rules, faults = read_definition(definition, version=1, currency=settings.currency)
    rows = [show_finding("error", fault.name, fault.pointer, fault.text[language]) for fault in faults]
    if rules is not None:
        rows = [
            show_finding(finding.severity, finding.name, finding.pointers[0], finding.text[language])
            for finding in look_through(rules, definition=definition)
        ]
    tell_findings(rows)
