"""Simulations as their job would leave them, for tests about publishing."""

from __future__ import annotations

import json
from datetime import date, datetime
from itertools import count

from sqlalchemy import Connection, text

from service.tiers.publishing import operations as publishing

_numbers = count(1)
_INSERT = text(
    """
    INSERT INTO tier_simulations (simulation_id, version, against_version, definition_hash, as_of, state,
        requested_by, requested_at, finished_at, result)
    VALUES (:simulation_id, :version, :against, :definition_hash, :as_of, :state, 'test', :now,
        CASE WHEN :state = 'done' THEN CAST(:now AS timestamptz) END, CAST(:result AS jsonb))
    """
)


def leave_simulation(
    conn: Connection,
    *,
    version: int,
    now: datetime,
    against: int = 1,
    demoted: int = 0,
    members: int = 100,
    state: str = "done",
    as_of: date | None = None,
) -> str:
    """Insert a simulation of a version as it is now, and return its id."""
    simulation_id = f"tsim_{next(_numbers):032x}"
    share = f"{demoted / members:.4f}" if members else None
    result = {
        "members": members,
        "moved": {"up": 0, "down": demoted},
        "demoted": demoted,
        "demoted_share": {"numerator": demoted, "denominator": members, "share": share},
    }
    conn.execute(
        _INSERT,
        {
            "simulation_id": simulation_id,
            "version": version,
            "against": against,
            "definition_hash": publishing.RULESETS.get(conn, version=version, now=now).definition_hash,
            "as_of": as_of or now.date(),
            "state": state,
            "now": now,
            "result": json.dumps(result) if state == "done" else None,
        },
    )
    return simulation_id
