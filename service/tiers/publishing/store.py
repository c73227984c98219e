"""Every SQL statement about the life of rule sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.db import dumps

# Where a published set stands is told by the clock: `state` is brought up to it from time to time.
_ROWS = """
WITH published AS (
    SELECT version, lead(effective_from) OVER (ORDER BY effective_from) AS effective_to
    FROM tier_rulesets WHERE effective_from IS NOT NULL
), rulesets AS (
    SELECT r.version, r.title, r.definition, r.effective_from, p.effective_to, r.created_at, r.created_by,
        r.updated_at, r.published_at, r.published_by, r.reason, r.simulation_id,
        CASE WHEN r.effective_from IS NULL THEN r.state
             WHEN r.state = 'retired' OR p.effective_to <= :now THEN 'retired'
             WHEN r.state = 'scheduled' AND r.effective_from > :now THEN 'scheduled'
             ELSE 'active' END AS state
    FROM tier_rulesets r LEFT JOIN published p ON p.version = r.version
    WHERE r.state <> 'discarded'
)
"""
_FIND = text(f"{_ROWS} SELECT * FROM rulesets WHERE version = :version")  # noqa: S608
_LIST = text(
    f"{_ROWS} SELECT * FROM rulesets WHERE version < :before "  # noqa: S608
    "AND (CAST(:state AS text) IS NULL OR state = :state) ORDER BY version DESC LIMIT :limit"
)
_PUBLISHED = text(
    "SELECT version, effective_from, state FROM tier_rulesets WHERE effective_from IS NOT NULL "
    "ORDER BY effective_from"
)
# Whoever writes waits for whoever wrote before; readers do not wait, nor do those who add simulations.
_LOCK = text("LOCK TABLE tier_rulesets IN SHARE ROW EXCLUSIVE MODE")
_ADD = text(
    """
    INSERT INTO tier_rulesets (version, state, title, definition, created_at, created_by, updated_at)
    SELECT coalesce(max(version), 0) + 1, 'draft', :title, CAST(:definition AS jsonb), :now, :actor, :now
    FROM tier_rulesets
    RETURNING version
    """
)
_CHANGE = text(
    "UPDATE tier_rulesets SET title = :title, definition = CAST(:definition AS jsonb), updated_at = :now "
    "WHERE version = :version"
)
_DISCARD = text("UPDATE tier_rulesets SET state = 'discarded', updated_at = :now WHERE version = :version")
_PUBLISH = text(
    """
    UPDATE tier_rulesets SET state = :state, effective_from = :effective_from, published_at = :now,
        published_by = :actor, reason = :reason, simulation_id = :simulation_id
    WHERE version = :version
    """
)
_WITHDRAW = text(
    """
    UPDATE tier_rulesets SET state = 'draft', effective_from = NULL, published_at = NULL,
        published_by = NULL, reason = NULL, simulation_id = NULL
    WHERE version = :version
    """
)
_SETTLE = text(
    """
    WITH published AS (
        SELECT version, effective_from, lead(effective_from) OVER (ORDER BY effective_from) AS effective_to
        FROM tier_rulesets WHERE effective_from IS NOT NULL
    ), due AS (
        SELECT version, effective_to, CASE WHEN effective_to <= :now THEN 'retired' ELSE 'active' END AS state
        FROM published WHERE effective_from <= :now
    )
    UPDATE tier_rulesets r SET state = d.state,
        retired_at = CASE WHEN d.state = 'retired' THEN d.effective_to END
    FROM due d
    WHERE d.version = r.version AND r.state <> d.state AND r.state IN ('scheduled', 'active')
    RETURNING r.version, r.state
    """
)
_EVIDENCE = """
SELECT simulation_id, version, against_version, definition_hash, as_of, state, finished_at,
    result -> 'members' AS members, result -> 'demoted' AS demoted, result -> 'demoted_share' AS demoted_share
FROM tier_simulations
"""
_FIND_EVIDENCE = text(_EVIDENCE + "WHERE simulation_id = :simulation_id AND version = :version")
_LATEST_EVIDENCE = text(
    _EVIDENCE
    + "WHERE version = :version AND state = 'done' ORDER BY requested_at DESC, simulation_id LIMIT 1"
)


def find_ruleset(conn: Connection, *, version: int, now: datetime) -> Row[Any] | None:
    """Return a rule set that was not discarded, in its state of `now`."""
    return conn.execute(_FIND, {"version": version, "now": now}).one_or_none()


def list_rulesets(
    conn: Connection, *, state: str | None, before: int, limit: int, now: datetime
) -> Sequence[Row[Any]]:
    """Return up to `limit` rule sets with versions below `before`, the newest first."""
    parameters = {"state": state, "before": before, "limit": limit, "now": now}
    return conn.execute(_LIST, parameters).all()


def list_published(conn: Connection) -> Sequence[Row[Any]]:
    """Return version, first moment and stored state of every published set, in their order of time."""
    return conn.execute(_PUBLISHED).all()


def lock_rulesets(conn: Connection) -> None:
    """Let one change of rule sets happen at a time."""
    conn.execute(_LOCK)


def add_draft(
    conn: Connection, *, title: str, definition: Mapping[str, Any], actor: str, now: datetime
) -> int:
    """Add a draft and return its version; hold the lock."""
    parameters = {"title": title, "definition": dumps(definition), "actor": actor, "now": now}
    version: int = conn.execute(_ADD, parameters).scalar_one()
    return version


def change_draft(
    conn: Connection, *, version: int, title: str, definition: Mapping[str, Any], now: datetime
) -> None:
    """Overwrite a draft."""
    parameters = {"version": version, "title": title, "definition": dumps(definition), "now": now}
    conn.execute(_CHANGE, parameters)


def discard_draft(conn: Connection, *, version: int, now: datetime) -> None:
    """Put a draft away for good."""
    conn.execute(_DISCARD, {"version": version, "now": now})


def publish(
    conn: Connection,
    *,
    version: int,
    state: str,
    effective_from: datetime,
    actor: str,
    reason: str,
    simulation_id: str | None,
    now: datetime,
) -> None:
    """Make a draft part of the timeline."""
    parameters = {
        "version": version,
        "state": state,
        "effective_from": effective_from,
        "actor": actor,
        "reason": reason,
        "simulation_id": simulation_id,
        "now": now,
    }
    conn.execute(_PUBLISH, parameters)


def withdraw(conn: Connection, *, version: int) -> None:
    """Take a scheduled set out of the timeline again."""
    conn.execute(_WITHDRAW, {"version": version})


def settle_states(conn: Connection, *, now: datetime) -> Sequence[Row[Any]]:
    """Bring stored states up to the clock; return version and state of those that changed."""
    return conn.execute(_SETTLE, {"now": now}).all()


def find_evidence(conn: Connection, *, version: int, simulation_id: str) -> Row[Any] | None:
    """Return what publishing needs to know of one simulation of a version."""
    parameters = {"version": version, "simulation_id": simulation_id}
    return conn.execute(_FIND_EVIDENCE, parameters).one_or_none()


def find_latest_evidence(conn: Connection, *, version: int) -> Row[Any] | None:
    """Return the same of the latest simulation of a version that is done."""
    return conn.execute(_LATEST_EVIDENCE, {"version": version}).one_or_none()
