"""`tidemark models`: train, list and promote recommenders."""

from __future__ import annotations

import click

from service.cli.output import tell, tell_rows
from service.cli.progress import show_progress
from service.kit.audit import COMMAND_LINE
from service.kit.clock import read_clock
from service.kit.db import transaction
from service.kit.settings import Settings
from service.recommendations import operations as recommendations
from service.startup import ready_engine


@click.group()
def models() -> None:
    """Recommender models."""


@models.command()
@click.option("--seed", default=20, show_default=True, type=int)
@click.option(
    "--engine",
    "engine_name",
    default="local",
    show_default=True,
    type=click.Choice(["local", "spark"]),
    help="What fits: this machine, or Apache Spark (needs the extra `spark` and Java 17).",
)
@click.pass_obj
def train(settings: Settings, seed: int, engine_name: str) -> None:
    """Train on everything bought so far; the model goes live only if it beats what is in force."""
    from recommender.errors import EngineMissing
    from service.recommendations.training import train_model

    with ready_engine(settings) as (engine, programme), show_progress() as progress:
        try:
            trained = train_model(
                engine,
                models_folder=settings.var / "models",
                programme=programme,
                now=read_clock(),
                seed=seed,
                engine_name=engine_name,
                kept=settings.models_kept,
                progress=progress,
            )
        except EngineMissing as error:
            raise click.ClickException(str(error)) from error
    tell(trained.to_json())


@models.command("list")
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the models, newest first."""
    with ready_engine(settings) as (engine, _), engine.connect() as conn:
        registered = recommendations.list_models(conn)
    tell_rows([model.summary() for model in registered])


@models.command()
@click.argument("version")
@click.pass_obj
def promote(settings: Settings, version: str) -> None:
    """Put a model in force; an older one rolls back."""
    with ready_engine(settings) as (engine, _), transaction(engine) as conn:
        model = recommendations.promote_model(
            conn,
            version=version,
            models_folder=settings.var / "models",
            actor=COMMAND_LINE,
            now=read_clock(),
        )
    tell(model.summary())
