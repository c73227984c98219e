"""`tidemark models`: train, list and promote recommenders."""

from __future__ import annotations

from datetime import datetime

import click

from service.cli.output import tell, tell_rows
from service.cli.progress import show_progress
from service.kit.audit import COMMAND_LINE
from service.kit.clock import local_day, read_clock
from service.kit.db import transaction
from service.kit.settings import Settings
from service.recommendations import operations as recommendations
from service.recommendations.artefacts import models_folder
from service.recommendations.off_policy import operations as evaluations
from service.recommendations.off_policy.sentences import LABEL, tell_evaluation
from service.recommendations.trainings import recorded
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
@click.option(
    "--search/--no-search",
    default=True,
    show_default=True,
    help="Learn the blend on earlier time origins, or keep its defaults.",
)
@click.option("--search-members", type=int, help="From how many members per origin it learns.")
@click.pass_obj
def train(settings: Settings, seed: int, engine_name: str, search: bool, search_members: int | None) -> None:
    """Train on everything bought so far; the model goes live only if it beats what is in force."""
    from recommender.errors import ArtifactError, EngineMissing
    from service.recommendations.judging import Measuring
    from service.recommendations.training import train_model

    members = settings.search_members if search_members is None else search_members
    with ready_engine(settings) as (engine, programme), show_progress() as progress:
        try:
            with recorded(engine, clock=read_clock, also=progress) as recording:
                trained = train_model(
                    engine,
                    models_folder=models_folder(settings),
                    programme=programme,
                    now=read_clock(),
                    seed=seed,
                    engine_name=engine_name,
                    kept=settings.models_kept,
                    measuring=Measuring(search=search and members > 0, search_members=members),
                    progress=recording.tell,
                )
                recording.trained = trained.version
        except (ArtifactError, EngineMissing) as error:
            raise click.ClickException(str(error)) from error
    tell(trained.to_json())


@models.command()
@click.option("--seed", default=20, show_default=True, type=int)
@click.option("--origins", default=3, show_default=True, type=click.IntRange(1, 24))
@click.option("--members", default=1_000, show_default=True, type=click.IntRange(1), help="Drawn per origin.")
@click.option("--search/--no-search", default=True, show_default=True, help="Learn the blend at each origin.")
@click.option("--json", "as_json", is_flag=True, help="All figures, in place of the tables.")
@click.pass_obj
def evaluate(settings: Settings, seed: int, origins: int, members: int, search: bool, as_json: bool) -> None:
    """Measure the recommender against every baseline on the shop's own orders; nothing is kept."""
    from service.recommendations.judging import Measuring
    from service.recommendations.training import measure_shop

    learning = search and settings.search_members > 0
    measuring = Measuring(
        search=learning, search_members=settings.search_members, members=members, origins=origins
    )
    with ready_engine(settings) as (engine, programme), show_progress() as progress:
        table = measure_shop(
            engine, timezone=programme.timezone, seed=seed, measuring=measuring, progress=progress
        )
    if table is None:
        raise click.ClickException("the history is too short to hold some of it back for evaluation")
    if as_json:
        tell(table)
    else:
        from recommender.card import evaluation_markdown

        click.echo(evaluation_markdown(table))


@models.command()
@click.option("--from-scratch", is_flag=True, help="Read everything again, instead of what changed.")
@click.pass_obj
def refresh(settings: Settings, from_scratch: bool) -> None:
    """Bring popularity, trends and buy-again statistics up to the last order, without training."""
    from service.recommendations.refreshing import refresh_statistics

    with ready_engine(settings) as (engine, programme):
        done = refresh_statistics(
            engine, timezone=programme.timezone, now=read_clock(), from_scratch=from_scratch
        )
    tell(done.to_json())


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
            models_folder=models_folder(settings),
            actor=COMMAND_LINE,
            now=read_clock(),
        )
    tell(model.summary())


@models.command("off-policy")
@click.argument("version")
@click.option("--placement", required=True, help="Whose explored answers are looked at.")
@click.option("--since", required=True, type=click.DateTime(["%Y-%m-%d"]), help="The first day looked at.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The day after the last (default: today).")
@click.option(
    "--metric",
    default="repurchase",
    show_default=True,
    type=click.Choice(evaluations.METRICS),
    help="Reward.",
)
@click.option(
    "--policy",
    default="model",
    show_default=True,
    type=click.Choice(evaluations.POLICIES),
    help="The version's own ranking, or the popularity its baseline ranks by.",
)
@click.option("--window-days", type=click.IntRange(1, 365), help="Default: 60 of a repurchase, 7 of a click.")
@click.pass_obj
def off_policy(
    settings: Settings,
    version: str,
    placement: str,
    since: datetime,
    until: datetime | None,
    metric: evaluations.Metric,
    policy: evaluations.Ranking,
    window_days: int | None,
) -> None:
    """Estimate from logged answers what a model would have earned at a placement's explored place."""
    now = read_clock()
    with ready_engine(settings) as (engine, programme), transaction(engine) as conn:
        today = local_day(now, timezone=programme.timezone)
        question = evaluations.Question(
            version=version,
            placement=placement,
            since=since.date(),
            until=today if until is None else until.date(),
            metric=metric,
            policy=policy,
            window_days=evaluations.WINDOWS[metric] if window_days is None else window_days,
        )
        found = evaluations.evaluate_model(
            conn,
            models_folder=models_folder(settings),
            timezone=programme.timezone,
            question=question,
            now=now,
        )
    sentence = tell_evaluation(found, question.to_json())
    tell({**question.to_json(), **found, "label": LABEL, "sentence": sentence})
    click.echo(f"{sentence['en']} {LABEL['en']}", err=True)
