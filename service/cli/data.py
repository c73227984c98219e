"""`tidemark import` and `tidemark demo`: bring a shop's data in."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

import click
from sqlalchemy import Engine

from service.cli.output import tell, tell_rows
from service.cli.progress import Report, show_progress
from service.intake.bulk import operations as imports
from service.intake.demo.shop import generate, write_files
from service.kit.clock import local_day, read_clock
from service.kit.sealing import Sealer
from service.kit.settings import Settings
from service.programme.operations import Programme
from service.startup import ready_engine

_SHOWN_REJECTS = 20


@click.command("import")
@click.argument("kind", type=click.Choice(imports.KINDS))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def import_(settings: Settings, kind: str, file: Path) -> None:
    """Bring FILE in: NDJSON or CSV by its ending, or a known data set through its adapter.

    Lines that cannot be taken are listed with their numbers and everything else goes in. Running the same
    file again changes nothing; after an interruption it goes on where it stopped.
    """
    with ready_engine(settings) as (engine, programme), show_progress() as progress:
        report = imports.run_import(
            engine,
            kind=kind,
            source=file,
            programme=programme,
            sealer=Sealer(settings.secret_key),
            now=read_clock(),
            progress=progress,
        )
        with engine.connect() as conn:
            rejects = imports.list_rejects(
                conn, import_id=report.import_id, after_line=0, limit=_SHOWN_REJECTS
            )
    tell_rows(rejects)
    tell(_summary(report))


def _summary(report: imports.ImportReport) -> dict[str, object]:
    return {
        "import_id": report.import_id,
        "lines_read": report.lines_read,
        "records_new": report.records_new,
        "records_known": report.records_known,
        "lines_rejected": report.lines_rejected,
        "rejected_by_code": dict(report.rejected),
        "refunds_parked": report.records_parked,
        "refunds_unparked": report.records_unparked,
        "members_rated": report.members_rated,
    }


@click.command()
@click.option("--members", default=600, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--months", default=24, show_default=True, type=click.IntRange(1, 120))
@click.option("--seed", default=20, show_default=True, type=int)
@click.pass_obj
def demo(settings: Settings, members: int, months: int, seed: int) -> None:
    """Bring in a believable small shop in Taiwan, through the same import as any other."""
    with ready_engine(settings) as (engine, programme), show_progress() as progress:
        summary = import_demo(
            engine, settings, programme, progress=progress, members=members, months=months, seed=seed
        )
    tell(summary)


def import_demo(
    engine: Engine,
    settings: Settings,
    programme: Programme,
    *,
    progress: Report,
    members: int = 600,
    months: int = 24,
    seed: int = 20,
) -> dict[str, object]:
    """Make the demo shop, import its files and train a first model; return what came of it."""
    from service.recommendations.artefacts import models_folder
    from service.recommendations.training import train_model
    from service.recommendations.trainings import recorded

    now = read_clock()
    today = local_day(now, timezone=programme.timezone)
    # A week to the day: a second run within it makes the same shop and changes nothing.
    monday = today - timedelta(days=today.weekday())
    shop = generate(today=monday, seed=seed, members=members, months=months)
    if shop.currency != programme.currency:
        raise click.UsageError(
            f"the demo shop counts in {shop.currency}, this programme in {programme.currency}"
        )
    summary: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, path in write_files(shop, Path(folder)).items():
            report = imports.run_import(
                engine,
                kind=kind,
                source=path,
                programme=programme,
                sealer=Sealer(settings.secret_key),
                now=now,
                progress=_named(progress, kind),
            )
            summary[kind] = f"{report.records_new} new, {report.records_known} known"
    with recorded(engine, clock=read_clock, also=progress) as recording:
        trained = train_model(
            engine,
            models_folder=models_folder(settings),
            programme=programme,
            now=now,
            progress=recording.tell,
        )
        recording.trained = trained.version
    summary["model"] = f"{trained.version} ({trained.status})"
    return summary


def _named(progress: Report, kind: str) -> Report:
    def report(stage: str, done: int, total: int | None) -> None:
        progress(f"{kind}: {stage}", done, total)

    return report
