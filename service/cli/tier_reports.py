"""`tidemark tiers worth` and `tidemark tiers histogram`: the reports that rule sets are chosen by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import click
from sqlalchemy import Connection

from service.cli.output import tell, tell_rows
from service.kit.clock import read_clock
from service.kit.db import transaction
from service.kit.errors import Problem
from service.kit.settings import Settings
from service.kit.tables import Table
from service.programme.operations import Programme
from service.startup import ready_engine
from service.tiers.reports import Answer, Report, compute_report, get_report
from service.tiers.worth import operations
from service.tiers.worth.tables import histogram_table, worth_table

Ask = Callable[[Connection, Programme, datetime], Report]

_VERSION = click.option(
    "--version", type=click.IntRange(1, 2**31 - 1), help="A rule set, live or draft (default: in force)."
)
_AS_OF = click.option("--as-of", "as_of", metavar="DAY", type=click.DateTime(["%Y-%m-%d"]))


@click.command()
@_VERSION
@_AS_OF
@click.option("--months", type=click.IntRange(1, 24), default=operations.DEFAULT_MONTHS, show_default=True)
@click.pass_obj
def worth(settings: Settings, version: int | None, as_of: datetime | None, months: int) -> None:
    """Tell what the members of each tier bought in the months after a day, beside a split by spend."""

    def ask(conn: Connection, programme: Programme, now: datetime) -> Report:
        day = None if as_of is None else as_of.date()
        return operations.ask_worth(
            conn, version=version, as_of=day, months=months, programme=programme, now=now
        )

    report = _compute(settings, ask, operations.answer_worth)
    result = dict(report.result or {})
    _tell_table(worth_table(report.report_id, result))
    tell({"as_of": result["as_of"], **result["above_base"]["explanation"]})


@click.command()
@_VERSION
@_AS_OF
@click.pass_obj
def histogram(settings: Settings, version: int | None, as_of: datetime | None) -> None:
    """Tell how the metrics are spread over the membership, with the thresholds of a rule set."""

    def ask(conn: Connection, programme: Programme, now: datetime) -> Report:
        day = None if as_of is None else as_of.date()
        return operations.ask_histogram(conn, version=version, as_of=day, programme=programme, now=now)

    report = _compute(settings, ask, operations.answer_histogram)
    _tell_table(histogram_table(report.report_id, dict(report.result or {})))


def _compute(settings: Settings, ask: Ask, answer: Answer) -> Report:
    """Ask, compute here and now what the worker would, and keep it as the worker would."""
    now = read_clock()
    with ready_engine(settings) as (engine, programme):
        try:
            with transaction(engine) as conn:
                asked = ask(conn, programme, now)
        except Problem as problem:
            raise click.ClickException(problem.detail) from problem
        compute_report(
            engine, report_id=asked.report_id, answers={asked.kind: answer}, programme=programme, now=now
        )
        with engine.connect() as conn:
            report = get_report(conn, report_id=asked.report_id)
    if report.result is None:
        raise click.ClickException(report.failure or "another process is computing it; ask again shortly")
    return report


def _tell_table(table: Table) -> None:
    tell_rows([dict(zip(table.columns, row, strict=True)) for row in table.rows])
