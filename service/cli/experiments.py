"""`tidemark experiments`: what an experiment found, and what it will be able to see."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy import Engine

from service.cli.output import tell, tell_rows
from service.experiments import operations
from service.experiments.operations import Asked
from service.kit.clock import read_clock
from service.kit.settings import Settings
from service.startup import ready_engine


@click.group()
def experiments() -> None:
    """Hold-outs and experiments."""


@experiments.command()
@click.argument("key")
@click.option("--version", type=click.IntRange(1), help="A version (default: the one that runs).")
@click.option("--metric", default="repurchase", show_default=True, type=click.Choice(operations.METRICS))
@click.option("--anchor", type=click.Choice(operations.ANCHORS), help="Default: the experiment's own.")
@click.option("--window-days", type=click.IntRange(1, 365), help="Default: the experiment's own.")
@click.pass_obj
def report(
    settings: Settings,
    key: str,
    version: int | None,
    metric: str,
    anchor: str | None,
    window_days: int | None,
) -> None:
    """Tell what an experiment found: the verdict, the arms, and the figures behind it."""
    asked = Asked(metric=metric, anchor=anchor, window_days=window_days)
    with ready_engine(settings) as (engine, programme), engine.connect() as conn:
        told = operations.report_uplift(
            conn,
            definition=operations.get_experiment(conn, experiment=key, version=version),
            asked=asked,
            currency=programme.currency,
            now=read_clock(),
        )
    for comparison in told.pop("comparisons"):
        tell({**told, **comparison})
        click.echo(comparison["sentence"]["en"], err=True)


@experiments.command()
@click.argument("key")
@click.pass_obj
def outlook(settings: Settings, key: str) -> None:
    """Tell the smallest effect an experiment can show, given the shop's size and what its members do."""
    with ready_engine(settings) as (engine, _), engine.connect() as conn:
        found = operations.get_experiment(conn, experiment=key)
        seen = operations.look_ahead(conn, plan=found.plan, now=read_clock())
    tell_rows([{"experiment": key, "arm": arm, **_flat(seen), **told} for arm, told in seen["arms"].items()])


def print_outlook(engine: Engine) -> None:
    """Print one line: what the global hold-out will be able to see."""
    with engine.connect() as conn:
        running = operations.get_running_holdout(conn)
        if running is None:
            return
        plan = operations.get_experiment(conn, experiment=running.experiment).plan
        seen = operations.look_ahead(conn, plan=plan, now=read_clock())
    for told in seen["arms"].values():
        smallest = told["smallest_difference"]
        found = (
            "no effect of any size" if smallest is None else f"effects from {100 * smallest:.1f} points on"
        )
        click.echo(
            f"Hold-out {running.experiment} ({plan.arms[0].weight_bp / 100:g} %): with {seen['members']:,} "
            f"members of whom {seen['repurchase_rate']:.1%} order in {seen['window_days']} days it can show "
            f"{found}."
        )
    if seen["suggestion"] is not None:
        click.echo(seen["suggestion"]["en"])


def _flat(seen: dict[str, Any]) -> dict[str, Any]:
    return {name: seen[name] for name in ("members", "repurchase_rate", "window_days", "alpha", "power")}
