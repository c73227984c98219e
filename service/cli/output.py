"""Read what a command is given, and answer it: a table for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console
from rich.table import Table

from service.kit.exact_json import parse_json

LANGUAGE = click.option(
    "--language",
    type=click.Choice(["en", "zh-Hant"]),
    default="en",
    show_default=True,
    help="Of what is found.",
)
VERSION = click.argument("version", type=click.IntRange(1, 2**31 - 1))
SHOWN_OF_A_VERSION = (
    "version", "state", "title", "effective_from", "effective_to", "published_by", "reason",
)  # fmt: skip


def tell(values: Mapping[str, object]) -> None:
    """Print one result: aligned names and values on a terminal, one JSON object otherwise."""
    if not sys.stdout.isatty():
        click.echo(orjson.dumps(values, default=str).decode())
        return
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        click.echo(f"{name.ljust(width)}  {value}")


def tell_rows(rows: Sequence[Mapping[str, object]]) -> None:
    """Print several results: a table on a terminal, one JSON object a line otherwise."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo(orjson.dumps(row, default=str).decode())
        return
    table = Table()
    for name in rows[0] if rows else ():
        table.add_column(name)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


def tell_findings(rows: Sequence[Mapping[str, object]]) -> None:
    """Print what was found in a definition and how much of it; exit 1 when it could not be published."""
    tell_rows(rows)
    errors = sum(row["severity"] == "error" for row in rows)
    tell({"errors": errors, "warnings": len(rows) - errors})
    sys.exit(1 if errors else 0)


def show_finding(severity: str, name: str, pointer: str, text: str) -> dict[str, object]:
    """Return one row of what was found in a definition."""
    return {"severity": severity, "name": name, "pointer": pointer, "text": text}


def read_object(file: Path) -> dict[str, Any]:
    """Return the JSON object of a file.

    Raises:
        ClickException: it holds none.
    """
    try:
        held = parse_json(file.read_bytes())
    except ValueError as error:
        raise click.ClickException(f"{file} {error}") from error
    if not isinstance(held, dict):
        raise click.ClickException(f"{file} holds no JSON object")
    return held
