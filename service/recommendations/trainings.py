"""Trainings as they go: whether one waits, what runs and how far it is, how the last ones ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row
from sqlalchemy.exc import DBAPIError

from recommender.errors import RecommenderError
from service.kit.clock import format_time
from service.kit.errors import Problem
from service.kit.jobs import defer, is_waiting
from service.recommendations import store_trainings as store
from service.recommendations.errors import NothingToLearn

log = logging.getLogger(__name__)

TRAINING_TASK = "models.train"
_TOLD_EVERY = timedelta(seconds=1)
_LISTED = 20

Report = Callable[[str, int, int | None], None]
"""Is told (stage, done, total); `total` None where nobody knows."""


def request_training(conn: Connection, *, now: datetime) -> bool:
    """Leave a training to the worker; False when one is waiting already."""
    # The same arguments and lock as the nightly one has.
    return defer(
        conn,
        task=TRAINING_TASK,
        arguments={"timestamp": int(now.timestamp())},
        queueing_lock=TRAINING_TASK,
    )


def list_trainings(conn: Connection) -> dict[str, Any]:
    """Return whether a training waits for the worker, and the latest ones, JSON-able, the latest first."""
    runs = store.list_runs(conn, limit=_LISTED)
    return {"waiting": is_waiting(conn, queueing_lock=TRAINING_TASK), "data": [_to_json(run) for run in runs]}


def _to_json(run: Row[Any]) -> dict[str, Any]:
    detail = run.detail or {}
    # Who died in the middle could not say so.
    unfinished = "running" if run.held else "cut_off"
    return {
        "state": detail["state"] if run.finished_at is not None else unfinished,
        "started_at": format_time(run.started_at),
        "finished_at": None if run.finished_at is None else format_time(run.finished_at),
        "stage": detail.get("stage"),
        "done": run.done,
        "total": detail.get("total"),
        "version": detail.get("version"),
        "detail": detail.get("detail"),
    }


class Recording:
    """One training on its way; `trained` is the version that came of it, once there is one."""

    def __init__(
        self, conn: Connection, run_key: int, *, clock: Callable[[], datetime], also: Report | None
    ) -> None:
        self._conn, self._run_key, self._clock, self._also = conn, run_key, clock, also
        self._stage = ""
        self._told_at: datetime | None = None
        self._heard = True
        self.trained: str | None = None

    def tell(self, stage: str, done: int, total: int | None) -> None:
        """Note how far it is, once a second at the most."""
        if self._also is not None:
            self._also(stage, done, total)
        now = self._clock()
        soon = self._told_at is not None and now - self._told_at < _TOLD_EVERY
        if not self._heard or (soon and stage == self._stage):
            return
        self._stage, self._told_at = stage, now
        try:
            store.tell(self._conn, run_key=self._run_key, done=done, detail={"stage": stage, "total": total})
        except DBAPIError as error:
            # A training that can go on must not end because nobody hears of it; its end is told anew.
            self._heard = False
            log.warning("progress of a training not noted", extra={"detail": str(error.orig)})


@contextmanager
def recorded(
    engine: Engine, *, clock: Callable[[], datetime], also: Report | None = None
) -> Iterator[Recording]:
    """Note a training from beginning to end, however it ends; `also` is told of its progress besides."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        run_key = store.begin(conn, now=clock())
        recording = Recording(conn, run_key, clock=clock, also=also)
        try:
            yield recording
        except Exception as error:
            state = "nothing_to_learn" if isinstance(error, NothingToLearn) else "failed"
            _end(engine, run_key, clock(), state=state, detail=_reason(error))
            raise
        else:
            _end(engine, run_key, clock(), state="done", version=recording.trained)
        finally:
            # A connection that is gone has let go already.
            if not conn.invalidated:
                store.release(conn, run_key=run_key)


def _end(engine: Engine, run_key: int, now: datetime, **detail: object) -> None:
    # On a connection of its own: that of the progress may be long gone.
    with engine.begin() as conn:
        store.end(conn, run_key=run_key, detail=detail, now=now)


def _reason(error: Exception) -> str:
    """Return why, in words; of what nobody foresaw only its kind, since it may quote what somebody sent."""
    if isinstance(error, Problem):
        return error.detail
    if isinstance(error, RecommenderError):
        return str(error) or type(error).__name__
    return f"{type(error).__name__}: the log of the process that trained says more"
