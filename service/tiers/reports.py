"""Answers to heavy questions about the whole membership: asked for now, computed by a job, and kept.

The same question of the same day is answered once: facts that come in late show on the next day's asking.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, Protocol

import orjson
from sqlalchemy import Connection, Engine, Row

from service.kit.clock import format_time
from service.kit.db import transaction
from service.kit.errors import Problem
from service.kit.ids import new_id
from service.kit.jobs import defer
from service.programme.operations import Programme
from service.tiers import reports_store
from service.tiers.errors import UnknownReport

log = logging.getLogger(__name__)

REPORT_TASK = "tiers.report"
UNEXPECTED = "it broke off for a reason that the worker's log tells under this report's id; ask again"


@dataclass(frozen=True, slots=True)
class Report:
    """One question and, once its job is through, the answer or why there is none."""

    report_id: str
    kind: str
    parameters: Mapping[str, Any]
    as_of: date
    state: Literal["queued", "running", "done", "failed"]
    requested_at: datetime
    computed_at: datetime | None
    result: Mapping[str, Any] | None
    failure: str | None


class Answer(Protocol):
    """Computes one kind of report; what it returns is kept as JSON."""

    def __call__(
        self, conn: Connection, *, parameters: Mapping[str, Any], as_of: date, programme: Programme
    ) -> Mapping[str, Any]:
        """Return the answer to a question about day `as_of`."""


def ask_report(
    conn: Connection, *, kind: str, parameters: Mapping[str, Any], as_of: date, today: date, now: datetime
) -> Report:
    """Return the report on a question of today, having left its computing to the worker if need be.

    Asked again, a question that failed, or whose job was cut off, is computed once more.
    """
    question_hash = hash_question(kind=kind, parameters=parameters, today=today)
    reports_store.add_report(
        conn,
        report_id=new_id("trep", now),
        kind=kind,
        parameters=parameters,
        question_hash=question_hash,
        as_of=as_of,
        now=now,
    )
    report = _report_of(reports_store.get_asked(conn, question_hash=question_hash, as_of=as_of))
    if report.state != "done":
        # Where one waits already this adds none, and one beside a running job finds it and goes home.
        defer(
            conn,
            task=REPORT_TASK,
            arguments={"report_id": report.report_id},
            queueing_lock=f"tier-report-{report.report_id}",
        )
    return report


def get_report(conn: Connection, *, report_id: str) -> Report:
    """Return a report as it stands.

    Raises:
        UnknownReport: there is none of this id.
    """
    row = reports_store.find_report(conn, report_id=report_id)
    if row is None:
        raise UnknownReport(f"no report has the id {report_id}")
    return _report_of(row)


def find_latest_report(conn: Connection, *, kind: str) -> Report | None:
    """Return the computed report of a kind that is about the latest day, None before the first."""
    row = reports_store.find_latest(conn, kind=kind)
    return None if row is None else _report_of(row)


def forget_reports(conn: Connection, *, before: datetime) -> int:
    """Delete reports that were asked for before a moment and are through, and return how many."""
    return reports_store.forget_before(conn, before=before)


def compute_report(
    engine: Engine, *, report_id: str, answers: Mapping[str, Answer], programme: Programme, now: datetime
) -> bool:
    """Compute a report and keep the answer, or the reason for failing; tell whether there was work to do.

    The row is held while it is computed: a second job of the same report finds it held and returns, and a
    worker that dies lets go of it.
    """
    with transaction(engine) as conn:
        if not reports_store.claim(conn, report_id=report_id):
            return False
    try:
        with transaction(engine) as conn:
            row = reports_store.hold(conn, report_id=report_id)
            if row is None:
                return False
            report = _report_of(row)
            result = answers[report.kind](
                conn, parameters=report.parameters, as_of=report.as_of, programme=programme
            )
            reports_store.finish(conn, report_id=report_id, result=result, now=now)
    except Problem as problem:
        _fail(engine, report_id=report_id, reason=problem.detail, now=now)
    except Exception:
        log.exception("tier report failed", extra={"report_id": report_id})
        _fail(engine, report_id=report_id, reason=UNEXPECTED, now=now)
    return True


def _fail(engine: Engine, *, report_id: str, reason: str, now: datetime) -> None:
    with transaction(engine) as conn:
        reports_store.fail(conn, report_id=report_id, reason=reason, now=now)


def _report_of(row: Row[Any]) -> Report:
    return Report(**row._mapping)


def hash_question(*, kind: str, parameters: Mapping[str, Any], today: date) -> bytes:
    """Return what tells one question of one day from every other."""
    asked = [kind, parameters, today.isoformat()]
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).digest()


def show_report(report: Report) -> dict[str, Any]:
    """Return a report as the API shows it."""
    computed_at = report.computed_at
    return {
        "report_id": report.report_id,
        "kind": report.kind,
        "as_of": report.as_of.isoformat(),
        "parameters": dict(report.parameters),
        "state": report.state,
        "requested_at": format_time(report.requested_at),
        "computed_at": None if computed_at is None else format_time(computed_at),
        "result": report.result,
        "failure": report.failure,
    }
