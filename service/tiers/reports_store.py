"""Every SQL statement for the kept answers about the whole membership."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.db import dumps

_SELECT = (
    "SELECT report_id, kind, parameters, as_of, state, requested_at, computed_at, result, failure "
    "FROM tier_reports"
)
_ADD = text(
    """
    INSERT INTO tier_reports (report_id, kind, parameters, question_hash, as_of, state, requested_at)
    VALUES (:report_id, :kind, CAST(:parameters AS jsonb), :question_hash, :as_of, 'queued', :now)
    ON CONFLICT (question_hash, as_of) DO UPDATE
        SET state = 'queued', failure = NULL, computed_at = NULL, requested_at = excluded.requested_at
        WHERE tier_reports.state = 'failed'
    """
)
_GET_ASKED = text(f"{_SELECT} WHERE question_hash = :question_hash AND as_of = :as_of")
_FIND = text(f"{_SELECT} WHERE report_id = :report_id")
_FIND_LATEST = text(
    f"{_SELECT} WHERE kind = :kind AND state = 'done' ORDER BY as_of DESC, computed_at DESC LIMIT 1"
)
_CLAIM = text(
    """
    UPDATE tier_reports SET state = 'running', failure = NULL, computed_at = NULL
    WHERE report_id IN (
        SELECT report_id FROM tier_reports WHERE report_id = :report_id AND state <> 'done'
        FOR UPDATE SKIP LOCKED
    )
    """
)
_HOLD = text(f"{_SELECT} WHERE report_id = :report_id AND state = 'running' FOR UPDATE SKIP LOCKED")
_FINISH = text(
    "UPDATE tier_reports SET state = 'done', result = CAST(:result AS jsonb), computed_at = :now "
    "WHERE report_id = :report_id"
)
_FAIL = text(
    "UPDATE tier_reports SET state = 'failed', failure = :reason, computed_at = :now "
    "WHERE report_id = :report_id AND state = 'running'"
)

_FORGET = text("DELETE FROM tier_reports WHERE requested_at < :before AND state IN ('done', 'failed')")


def add_report(
    conn: Connection,
    *,
    report_id: str,
    kind: str,
    parameters: Mapping[str, Any],
    question_hash: bytes,
    as_of: date,
    now: datetime,
) -> None:
    """Write a question down, unless it was asked already; one that failed waits again."""
    conn.execute(
        _ADD,
        {
            "report_id": report_id,
            "kind": kind,
            "parameters": dumps(parameters),
            "question_hash": question_hash,
            "as_of": as_of,
            "now": now,
        },
    )


def get_asked(conn: Connection, *, question_hash: bytes, as_of: date) -> Row[Any]:
    """Return the report on a question that was asked."""
    return conn.execute(_GET_ASKED, {"question_hash": question_hash, "as_of": as_of}).one()


def find_report(conn: Connection, *, report_id: str) -> Row[Any] | None:
    """Return a report."""
    return conn.execute(_FIND, {"report_id": report_id}).one_or_none()


def find_latest(conn: Connection, *, kind: str) -> Row[Any] | None:
    """Return the computed report of a kind that is about the latest day."""
    return conn.execute(_FIND_LATEST, {"kind": kind}).one_or_none()


def forget_before(conn: Connection, *, before: datetime) -> int:
    """Delete what was asked for before a moment, unless it is still to be computed."""
    return conn.execute(_FORGET, {"before": before}).rowcount


def claim(conn: Connection, *, report_id: str) -> bool:
    """Mark a report as running; False when it is done, unknown, or held by a job that is at it."""
    return conn.execute(_CLAIM, {"report_id": report_id}).rowcount == 1


def hold(conn: Connection, *, report_id: str) -> Row[Any] | None:
    """Return a running report, held until the transaction ends; None where somebody else holds it."""
    return conn.execute(_HOLD, {"report_id": report_id}).one_or_none()


def finish(conn: Connection, *, report_id: str, result: Mapping[str, Any], now: datetime) -> None:
    """Keep the answer."""
    conn.execute(_FINISH, {"report_id": report_id, "result": dumps(result), "now": now})


def fail(conn: Connection, *, report_id: str, reason: str, now: datetime) -> None:
    """Keep why there is no answer."""
    conn.execute(_FAIL, {"report_id": report_id, "reason": reason, "now": now})
