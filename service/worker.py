"""Background work: what requests left to be done, and the nightly jobs. Knows every room."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import procrastinate
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from service.earning import operations as earning
from service.experiments import operations as experiments
from service.intake.bulk import staging
from service.intake.errors import ImportRunning
from service.kit import idempotency, outbox
from service.kit.clock import local_day, read_clock
from service.kit.db import transaction, try_again
from service.kit.jobs import rescue_stalled
from service.kit.partitions import keep_ahead
from service.kit.rate_limits import forget_ended_windows
from service.kit.sealing import Sealer
from service.kit.settings import Settings
from service.ledger import operations as ledger
from service.ledger.operations import Swept
from service.members import operations as members
from service.programme.operations import Programme, get_programme
from service.recommendations import exports
from service.recommendations.artefacts import models_folder
from service.recommendations.attribution import AttributionKeys
from service.recommendations.off_policy import operations as off_policy
from service.recommendations.operations import REFRESH_TASK
from service.recommendations.refreshing import refresh_statistics
from service.recommendations.serving import Serving
from service.recommendations.trainings import TRAINING_TASK, recorded
from service.rewards import operations as rewards
from service.rewards.watch.operations import Thresholds, appraise_rewards, find_patterns
from service.tiers import operations as tiers
from service.tiers import reports, reviews
from service.tiers.liability import kept as liability
from service.tiers.movement import forecast
from service.tiers.population import operations as population
from service.tiers.publishing import operations as publishing
from service.tiers.worth import operations as worth

log = logging.getLogger("tidemark.worker")

_CHUNK = 1_000
TIER_ANSWERS: dict[str, reports.Answer] = {
    "worth": worth.answer_worth,
    "histogram": worth.answer_histogram,
    forecast.KIND: forecast.answer_forecast,
    liability.KIND: liability.answer_liability,
}
"""Kind of tier report → what computes it."""
_IDEMPOTENCY_KEPT = timedelta(days=2)


def build(settings: Settings, engine: Engine, database_url: str) -> procrastinate.App:
    """Return the job app with every task declared; it connects when it is run."""
    conninfo = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=conninfo))
    programme = partial(_programme, engine)
    _declare_imports(app, settings, engine)
    _declare_exports(app, settings, engine)
    _declare_off_policy(app, settings, engine, programme)
    _declare_models(app, settings, engine, programme)
    _declare_tier_tasks(app, engine, programme)
    _declare_rewards(app, settings, engine, programme)

    @app.periodic(cron="*/5 * * * *")
    @app.task(name="jobs.rescue", queueing_lock="jobs.rescue")
    async def rescue(timestamp: int) -> None:
        """Run jobs again whose worker died in the middle of them."""
        await rescue_stalled(app.job_manager)

    @app.periodic(cron="17 * * * *")
    @app.task(name="points.sweep", queueing_lock="points.sweep")
    def sweep(timestamp: int) -> None:
        """Post points that became available or expired, tell of those that will, and expire redemptions."""
        for verb in (ledger.release_due, ledger.expire_due):
            while _sweep_chunk(engine, verb, read_clock()).members:
                pass
        while _announce_chunk(engine, programme(), read_clock()):
            pass
        while _expire_redemptions(engine, read_clock()):
            pass

    @app.periodic(cron="37 * * * *")
    @app.task(name="house.keep", queueing_lock="house.keep")
    def keep_house(timestamp: int) -> None:
        """Forget old idempotent answers, make next months' partitions, refresh baselines and results."""
        now = read_clock()
        with transaction(engine) as conn:
            idempotency.forget_before(conn, before=now - _IDEMPOTENCY_KEPT)
            forget_ended_windows(conn)
            staging.forget_uploads(conn, now=now)
            exports.forget_lines(conn, now=now)
            keep_ahead(conn, today=now.date())
        if settings.changes_kept_days:
            forget_changes(engine, before=now - timedelta(days=settings.changes_kept_days))
        if settings.reports_kept_days:
            with transaction(engine) as conn:
                reports.forget_reports(conn, before=now - timedelta(days=settings.reports_kept_days))
        with transaction(engine) as conn:
            today = local_day(now, timezone=get_programme(conn).timezone)
            experiments.refresh_holdout_baselines(conn, now=now, today=today)
        with transaction(engine) as conn:
            experiments.keep_results(conn, now=now)

    return app


def _declare_rewards(
    app: procrastinate.App, settings: Settings, engine: Engine, programme: Callable[[], Programme]
) -> None:
    thresholds = Thresholds(
        redemptions=settings.review_redemptions,
        adjustments=settings.review_adjustments,
        refund_days=settings.review_refund_days,
        unwanted_days=settings.unwanted_days,
    )

    @app.periodic(cron="23 * * * *")
    @app.task(name="rewards.watch", queueing_lock="rewards.watch")
    def look_for_patterns(timestamp: int) -> None:
        """Enter unusual patterns of redemptions, refunds and adjustments into the review queue."""
        now = read_clock()
        with transaction(engine) as conn:
            find_patterns(conn, thresholds=thresholds, timezone=programme().timezone, now=now)

    @app.periodic(cron="33 19 * * *")
    @app.task(name="rewards.appraise", queueing_lock="rewards.appraise")
    def appraise(timestamp: int) -> None:
        """See which rewards are out of reach of the median active member, or wanted by nobody."""
        with transaction(engine) as conn:
            appraise_rewards(conn, thresholds=thresholds, now=read_clock())


def forget_changes(engine: Engine, *, before: datetime) -> int:
    """Delete what the change feed need not tell any more, a thousand at a time, and return how many."""
    total = 0
    while True:
        with transaction(engine) as conn:
            forgotten = outbox.forget_before(conn, before=before, limit=_CHUNK)
        total += forgotten
        if forgotten < _CHUNK:
            return total


def _declare_imports(app: procrastinate.App, settings: Settings, engine: Engine) -> None:
    @app.task(
        name="imports.run",
        # One at a time; the lock of the database holds for those of the command line too.
        lock="imports",
        retry=procrastinate.RetryStrategy(max_attempts=2_000, wait=30, retry_exceptions={ImportRunning}),
    )
    def run_import(import_id: str) -> None:
        """Import a file that was uploaded."""
        staging.run_staged(
            engine,
            import_id=import_id,
            programme=_programme(engine),
            sealer=Sealer(settings.secret_key),
            now=read_clock(),
        )


def _declare_exports(app: procrastinate.App, settings: Settings, engine: Engine) -> None:
    serving = Serving(
        models_folder=models_folder(settings),
        keys=AttributionKeys.derive(settings.secret_key),
        timezone=settings.timezone,
    )

    @app.task(name=exports.TASK)
    def export(export_id: str) -> None:
        """Compute recommendations for a mailing."""
        exports.run_export(engine, export_id=export_id, serving=serving, clock=read_clock)


def _declare_models(
    app: procrastinate.App, settings: Settings, engine: Engine, programme: Callable[[], Programme]
) -> None:
    @app.periodic(cron="27 19 * * *")
    @app.task(name=TRAINING_TASK, queueing_lock=TRAINING_TASK)
    def train(timestamp: int) -> None:
        """Retrain the recommender; the gate decides whether the new model goes live."""
        from service.recommendations.errors import NothingToLearn
        from service.recommendations.judging import Measuring
        from service.recommendations.training import train_model

        try:
            with recorded(engine, clock=read_clock) as recording:
                trained = train_model(
                    engine,
                    models_folder=models_folder(settings),
                    programme=programme(),
                    now=read_clock(),
                    kept=settings.models_kept,
                    measuring=Measuring(
                        search=settings.search_members > 0, search_members=settings.search_members
                    ),
                    progress=recording.tell,
                )
                recording.trained = trained.version
        except NothingToLearn as error:
            log.warning("not trained", extra={"detail": error.detail})
            return
        log.warning("trained", extra={"version": trained.version, "status": trained.status})

    @app.periodic(cron="12 * * * *")
    @app.task(name=REFRESH_TASK, queueing_lock=REFRESH_TASK)
    def refresh(timestamp: int) -> None:
        """Bring popularity, trends and buy-again statistics up to the last order."""
        done = refresh_statistics(engine, timezone=programme().timezone, now=read_clock())
        log.info("statistics refreshed", extra=done.to_json())


def _declare_off_policy(
    app: procrastinate.App, settings: Settings, engine: Engine, programme: Callable[[], Programme]
) -> None:
    @app.task(name=off_policy.TASK)
    def evaluate(evaluation_id: str) -> None:
        """Estimate from logs what a model would have earned."""
        off_policy.run_evaluation(
            engine,
            evaluation_id=evaluation_id,
            models_folder=models_folder(settings),
            timezone=programme().timezone,
            now=read_clock(),
        )


def _programme(engine: Engine) -> Programme:
    with engine.connect() as conn:
        return get_programme(conn)


def _declare_tier_tasks(app: procrastinate.App, engine: Engine, programme: Callable[[], Programme]) -> None:
    @app.task(name="tiers.refold")
    def refold(member_key: int) -> None:
        """Rate a member's whole history again, after a fact older than one window."""
        with transaction(engine) as conn:
            ledger.lock_account(conn, member_key=member_key, now=read_clock())
            # Who was merged since goes by the survivor, whose fold puts both right.
            key = members.find_survivors(conn, member_keys=[member_key])[member_key]
            tiers.refold_member(conn, member_key=key, programme=get_programme(conn), now=read_clock())

    @app.periodic(cron="7 * * * *")
    @app.task(name="tiers.review", queueing_lock="tiers.review")
    def review(timestamp: int) -> None:
        """Apply falls, risks and rises that have become due; hourly, so that every zone's night is met."""
        summary = reviews.review_members(engine, programme=programme(), now=read_clock())
        log.warning("reviewed", extra={"reviewed": summary.reviewed, "changed": summary.changed})

    @app.periodic(cron="1-59/15 * * * *")
    @app.task(name="tiers.settle", queueing_lock="tiers.settle")
    def settle(timestamp: int) -> None:
        """Mark rule sets whose day has come; every quarter, as some zones' midnights are not on the hour."""
        with transaction(engine) as conn:
            publishing.settle_states(conn, now=read_clock())
            earning.RULES.settle_states(conn, now=read_clock())

    @app.task(name=reports.REPORT_TASK)
    def report(report_id: str) -> None:
        """Compute one answer about the whole membership."""
        reports.compute_report(
            engine, report_id=report_id, answers=TIER_ANSWERS, programme=programme(), now=read_clock()
        )

    @app.periodic(cron="47 * * * *")
    @app.task(name="tiers.forecast", queueing_lock="tiers.forecast")
    def look_ahead(timestamp: int) -> None:
        """Ask for the day's forecast and liability; hourly, so that both come soon after every midnight."""
        with transaction(engine) as conn:
            now, programme = read_clock(), get_programme(conn)
            forecast.ask_nightly(conn, now=now, programme=programme)
            liability.ask_nightly(conn, now=now, programme=programme)

    @app.task(name=population.TASK)
    def simulate(simulation_id: str) -> None:
        """Try a rule set on everybody."""
        population.run_simulation(
            engine, simulation_id=simulation_id, programme=programme(), now=read_clock()
        )


def _sweep_chunk(engine: Engine, verb: Callable[..., Swept], now: datetime) -> Swept:
    def chunk() -> Swept:
        with transaction(engine) as conn:
            return partial(verb, conn)(now=now, limit=_CHUNK)

    return try_again(chunk)


def _announce_chunk(engine: Engine, programme: Programme, now: datetime) -> int:
    def chunk() -> int:
        with transaction(engine) as conn:
            return ledger.announce_expiring(conn, now=now, programme=programme, limit=_CHUNK)

    return try_again(chunk)


def _expire_redemptions(engine: Engine, now: datetime) -> int:
    with transaction(engine) as conn:
        return rewards.expire_due(conn, now=now, limit=_CHUNK)


def run_worker(settings: Settings, engine: Engine, database_url: str) -> None:
    """Run background work until a signal; a job that was cut off runs again."""
    app = build(settings, engine, database_url)
    log.info("worker started", extra={"signals": [signal.SIGINT.name, signal.SIGTERM.name]})
    with app.open():
        app.run_worker(concurrency=2, delete_jobs="successful", shutdown_graceful_timeout=25)
