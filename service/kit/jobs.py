"""Background work: enqueue it in the same transaction as the change it follows from.

Tasks are declared in `service.worker`, which knows every room; a room only knows their names.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import procrastinate
from procrastinate.exceptions import AlreadyEnqueued, UniqueViolation
from procrastinate.jobs import Status
from procrastinate.manager import JobManager
from sqlalchemy import Connection, text

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 5
"""A job that was cut off so often is given up: it may be what kills its workers."""

_WAITING = text(
    "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE queueing_lock = :queueing_lock AND status = 'todo')"
)

# Never opened: it only writes the statement that runs on the caller's own connection.
_app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())


def defer(
    conn: Connection, *, task: str, arguments: Mapping[str, Any], queueing_lock: str | None = None
) -> bool:
    """Enqueue a job that exists if and only if the caller's transaction commits.

    With a `queueing_lock`, a job that is already waiting under it is enough: False is returned.
    Arguments carry keys and numbers, never personal data.
    """
    driver = conn.connection.driver_connection
    options: dict[str, Any] = {"connection": driver, "queueing_lock": queueing_lock}
    try:
        # A savepoint, because a job that is already waiting shows itself as a violated constraint.
        with conn.begin_nested():
            _app.configure_task(task, allow_unknown=True, **options).defer(**arguments)
    except AlreadyEnqueued:
        return False
    return True


def is_waiting(conn: Connection, *, queueing_lock: str) -> bool:
    """Say whether a job waits under this lock for a worker to take it."""
    return bool(conn.execute(_WAITING, {"queueing_lock": queueing_lock}).scalar_one())


async def rescue_stalled(manager: JobManager) -> None:
    """Have jobs run again whose worker died in the middle of them.

    One whose like is waiting already is ended instead, and so is one that was cut off `MOST_ATTEMPTS` times.
    """
    for job in await manager.get_stalled_jobs():
        told = {"task": job.task_name, "job": job.id, "attempts": job.attempts}
        if job.attempts >= MOST_ATTEMPTS:
            await manager.finish_job(job, status=Status.FAILED, delete_job=False)
            log.error("job given up: every worker that took it died", extra=told)
            continue
        try:
            await manager.retry_job(job)
        except UniqueViolation:
            await manager.finish_job(job, status=Status.ABORTED, delete_job=False)
            log.warning("job ended: its like is waiting already", extra=told)
        else:
            log.warning("job rescued", extra=told)
