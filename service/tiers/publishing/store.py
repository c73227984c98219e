"""Every SQL statement about the life of rule sets."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.versioned import VersionShelf

SHELF = VersionShelf("tier_rulesets", evidence=("simulation_id",))
"""Drafts, published versions and their states."""

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


def find_evidence(conn: Connection, *, version: int, simulation_id: str) -> Row[Any] | None:
    """Return what publishing needs to know of one simulation of a version."""
    parameters = {"version": version, "simulation_id": simulation_id}
    return conn.execute(_FIND_EVIDENCE, parameters).one_or_none()


def find_latest_evidence(conn: Connection, *, version: int) -> Row[Any] | None:
    """Return the same of the latest simulation of a version that is done."""
    return conn.execute(_LATEST_EVIDENCE, {"version": version}).one_or_none()
