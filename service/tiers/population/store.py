"""Every SQL statement that keeps simulations, and that walks through the membership in ranges of keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select, text

from service.kit.db import dumps
from service.programme.readable import store_rows

_COLUMNS = (
    "simulation_id, version, against_version, definition_hash, as_of, state, requested_by, requested_at, "
    "started_at, finished_at, members_done, members_total, result, failure"
)
_ADD = text(
    """
    INSERT INTO tier_simulations (simulation_id, version, against_version, definition_hash, as_of, state,
        requested_by, requested_at)
    VALUES (:simulation_id, :version, :against_version, :definition_hash, :as_of, 'queued', :requested_by,
        :now)
    """
)
_FIND = text(
    f"SELECT {_COLUMNS} FROM tier_simulations WHERE simulation_id = :simulation_id "  # noqa: S608
    "AND (CAST(:version AS integer) IS NULL OR version = :version)"
)
_LIST = text(
    f"SELECT {_COLUMNS} FROM tier_simulations WHERE version = :version "  # noqa: S608
    'AND simulation_id COLLATE "C" < :before ORDER BY simulation_id COLLATE "C" DESC LIMIT :limit'
)
# Whoever works on a simulation holds this, for as long as its connection lives.
_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:simulation_id, 4))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:simulation_id, 4))")
# One that was cut off is begun again from the first member.
_START = text(
    "UPDATE tier_simulations SET state = 'running', started_at = :now, members_done = 0, "  # noqa: S608
    "members_total = :members_total WHERE simulation_id = :simulation_id AND state IN ('queued', 'running') "
    f"RETURNING {_COLUMNS}"
)
_ADVANCE = text(
    "UPDATE tier_simulations SET members_done = :members_done "
    "WHERE simulation_id = :simulation_id AND state = 'running'"
)
_END = text(
    "UPDATE tier_simulations SET state = :state, finished_at = :now, result = CAST(:result AS jsonb), "
    "failure = :failure WHERE simulation_id = :simulation_id AND state IN ('queued', 'running')"
)
_DEFINITION = text("SELECT definition FROM tier_rulesets WHERE version = :version AND state <> 'discarded'")
_COUNT = text("SELECT count(*) FROM tier_states")
_BOUND = text(
    "SELECT max(member_key), count(*) FROM (SELECT member_key FROM tier_states WHERE member_key > :after "
    "ORDER BY member_key LIMIT :size) AS range"
)
_STORE_IDS = select(store_rows)


def add_simulation(
    conn: Connection,
    *,
    simulation_id: str,
    version: int,
    against_version: int,
    definition_hash: bytes,
    as_of: date,
    requested_by: str,
    now: datetime,
) -> None:
    """Write down what is to be simulated."""
    conn.execute(
        _ADD,
        {
            "simulation_id": simulation_id,
            "version": version,
            "against_version": against_version,
            "definition_hash": definition_hash,
            "as_of": as_of,
            "requested_by": requested_by,
            "now": now,
        },
    )


def find_simulation(conn: Connection, *, simulation_id: str, version: int | None = None) -> Row[Any] | None:
    """Return a simulation, of a version where one is named."""
    return conn.execute(_FIND, {"simulation_id": simulation_id, "version": version}).one_or_none()


def list_simulations(conn: Connection, *, version: int, before: str, limit: int) -> Sequence[Row[Any]]:
    """Return the simulations of a version with ids below one, the latest first."""
    return conn.execute(_LIST, {"version": version, "before": before, "limit": limit}).all()


def try_lock(conn: Connection, *, simulation_id: str) -> bool:
    """Hold a simulation until `unlock` or until the connection is gone; False where somebody holds it."""
    return bool(conn.execute(_TRY_LOCK, {"simulation_id": simulation_id}).scalar_one())


def unlock(conn: Connection, *, simulation_id: str) -> None:
    """Let go of a simulation."""
    conn.execute(_UNLOCK, {"simulation_id": simulation_id})


def start(conn: Connection, *, simulation_id: str, members_total: int, now: datetime) -> Row[Any] | None:
    """Mark a simulation as running and return it; None where it is over."""
    parameters = {"simulation_id": simulation_id, "members_total": members_total, "now": now}
    return conn.execute(_START, parameters).one_or_none()


def advance(conn: Connection, *, simulation_id: str, members_done: int) -> bool:
    """Tell how far a simulation is; False where it is no longer wanted."""
    parameters = {"simulation_id": simulation_id, "members_done": members_done}
    return conn.execute(_ADVANCE, parameters).rowcount == 1


def end(
    conn: Connection,
    *,
    simulation_id: str,
    state: str,
    now: datetime,
    result: Mapping[str, Any] | None = None,
    failure: str | None = None,
) -> bool:
    """Finish a simulation with its result or why there is none; False where it is over already."""
    parameters = {
        "simulation_id": simulation_id,
        "state": state,
        "now": now,
        "result": None if result is None else dumps(result),
        "failure": failure,
    }
    return conn.execute(_END, parameters).rowcount == 1


def find_definition(conn: Connection, *, version: int) -> Mapping[str, Any] | None:
    """Return the definition of a rule set in whatever state, but discarded ones are put away for good."""
    return conn.execute(_DEFINITION, {"version": version}).scalar_one_or_none()


def count_members(conn: Connection) -> int:
    """Return how many memberships there are."""
    return int(conn.execute(_COUNT).scalar_one())


class Range(NamedTuple):
    """Memberships by key, first and last included, and how many they are."""

    first: int
    last: int
    members: int

    @property
    def keys(self) -> tuple[int, int]:
        """The first key and the last."""
        return self.first, self.last


def find_range(conn: Connection, *, after: int, size: int) -> Range | None:
    """Return the next `size` memberships after a key, None where there are no more."""
    last, members = conn.execute(_BOUND, {"after": after, "size": size}).one()
    return None if last is None else Range(after + 1, last, members)


def map_store_ids(conn: Connection) -> dict[int, str]:
    """Return the id of every store by its key."""
    return {row.store_key: row.store_id for row in conn.execute(_STORE_IDS)}
