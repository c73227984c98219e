"""Every SQL statement about the life of experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.db import dumps

_JSON = ("arms", "eligibility", "guardrails")
# The version that runs goes before one that waits, and that before one that ended.
_CURRENT = "ORDER BY experiment, status = 'running' DESC, version DESC"
_FIND = text(
    "SELECT DISTINCT ON (experiment) * FROM experiments WHERE experiment = :experiment "  # noqa: S608
    f"AND (CAST(:version AS integer) IS NULL OR version = :version) {_CURRENT}"
)
_LIST = text(
    "SELECT * FROM (SELECT DISTINCT ON (experiment) * FROM experiments "  # noqa: S608
    f"WHERE experiment > :after {_CURRENT}) AS found "
    "WHERE CAST(:status AS text) IS NULL OR status = :status ORDER BY experiment LIMIT :limit"
)
_VERSIONS = text("SELECT * FROM experiments WHERE experiment = :experiment ORDER BY version DESC")
_STARTED = text("SELECT * FROM experiments WHERE started_at IS NOT NULL ORDER BY experiment, version")
# Whoever writes waits for whoever wrote before; readers and first assignments do not.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('experiments'))")
_INSERT = text(
    """
    INSERT INTO experiments (experiment, version, status, title, surface, nested, arms, eligibility, anchor,
        window_days, refund_grace_days, guardrails, salt, is_global_holdout, created_at, created_by)
    VALUES (:experiment, :version, 'draft', :title, :surface, :nested, CAST(:arms AS jsonb),
        CAST(:eligibility AS jsonb), :anchor, :window_days, :refund_grace_days, CAST(:guardrails AS jsonb),
        :salt, :is_global_holdout, :now, :actor)
    """
)
_CHANGE = text(
    """
    UPDATE experiments SET title = :title, surface = :surface, nested = :nested, arms = CAST(:arms AS jsonb),
        eligibility = CAST(:eligibility AS jsonb), anchor = :anchor, window_days = :window_days,
        refund_grace_days = :refund_grace_days, guardrails = CAST(:guardrails AS jsonb), salt = :salt
    WHERE experiment_key = :experiment_key
    """
)
_REPLACE = text(
    "UPDATE experiments SET status = 'replaced', frozen_at = :now, stopped_at = :now "
    "WHERE experiment = :experiment AND status = 'running'"
)
_START = text(
    "UPDATE experiments SET status = 'running', started_at = :now, planned_members = :planned_members, "
    "outlook = CAST(:outlook AS jsonb) WHERE experiment_key = :experiment_key"
)
_STOP = text(
    "UPDATE experiments SET status = :status, frozen_at = coalesce(frozen_at, :now), "
    "stopped_at = CASE WHEN :status = 'stopped' THEN CAST(:now AS timestamptz) END "
    "WHERE experiment_key = :experiment_key"
)


def find(conn: Connection, *, experiment: str, version: int | None) -> Row[Any] | None:
    """Return a version, or without one the current version."""
    return conn.execute(_FIND, {"experiment": experiment, "version": version}).one_or_none()


def list_current(conn: Connection, *, status: str | None, after: str, limit: int) -> Sequence[Row[Any]]:
    """Return the current version of each experiment after a key."""
    return conn.execute(_LIST, {"status": status, "after": after, "limit": limit}).all()


def list_versions(conn: Connection, *, experiment: str) -> Sequence[Row[Any]]:
    """Return all versions of an experiment, the newest first."""
    return conn.execute(_VERSIONS, {"experiment": experiment}).all()


def list_started(conn: Connection) -> Sequence[Row[Any]]:
    """Return every version that was ever started."""
    return conn.execute(_STARTED).all()


def lock(conn: Connection) -> None:
    """Let one transaction at a time change experiments."""
    conn.execute(_LOCK)


def insert(
    conn: Connection,
    *,
    experiment: str,
    version: int,
    values: Mapping[str, Any],
    actor: str,
    now: datetime,
) -> None:
    """Add a draft."""
    given = {"experiment": experiment, "version": version, "actor": actor, "now": now}
    conn.execute(_INSERT, given | _ready(values))


def change(conn: Connection, *, experiment_key: int, values: Mapping[str, Any]) -> None:
    """Write a draft anew."""
    conn.execute(_CHANGE, {"experiment_key": experiment_key} | _ready(values))


def replace_running(conn: Connection, *, experiment: str, now: datetime) -> None:
    """End the running version, if there is one."""
    conn.execute(_REPLACE, {"experiment": experiment, "now": now})


def start(
    conn: Connection,
    *,
    experiment_key: int,
    planned_members: int,
    outlook: Mapping[str, Any],
    now: datetime,
) -> None:
    """Let a draft run."""
    conn.execute(
        _START,
        {
            "experiment_key": experiment_key,
            "planned_members": planned_members,
            "outlook": dumps(dict(outlook)),
            "now": now,
        },
    )


def stop(conn: Connection, *, experiment_key: int, status: str, now: datetime) -> None:
    """End enrolment (`analysis`) or everything (`stopped`)."""
    conn.execute(_STOP, {"experiment_key": experiment_key, "status": status, "now": now})


def _ready(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: dumps(value) if name in _JSON else value for name, value in values.items()}
