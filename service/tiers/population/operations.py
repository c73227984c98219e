"""The verbs of simulations: ask for one, run it, look at it, call it off."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row

from service.kit.clock import format_time, local_day
from service.kit.db import transaction
from service.kit.errors import FieldError, Problem
from service.kit.ids import new_id
from service.kit.jobs import defer
from service.kit.pagination import decode_cursor, encode_cursor, page
from service.members import operations as members
from service.programme.operations import Programme
from service.tiers.errors import (
    AsOfInFuture,
    RulesetNotReadable,
    SimulationIsOver,
    UnknownRuleset,
    UnknownSimulation,
)
from service.tiers.population import store
from service.tiers.population.rules import Question, definition_hash
from service.tiers.population.simulation import CHUNK, simulate
from service.tiers.rules import RuleSet, parse_ruleset
from service.tiers.rulesets import recall_timeline

log = logging.getLogger(__name__)

TASK = "tiers.simulate"
CHANGED = "the rule set was changed before it was simulated; ask again"
UNEXPECTED = "it broke off for a reason that the worker's log tells under this simulation's id; ask again"
_LATEST = "tsim_~"
"""Sorts after every id: they begin with the moment they were made at."""


def request_simulation(
    conn: Connection,
    *,
    version: int,
    as_of: date | None,
    against: int | None,
    requested_by: str,
    programme: Programme,
    now: datetime,
) -> dict[str, Any]:
    """Have a rule set tried on everybody, as of the end of a day (default: today), and return its simulation.

    `against` another version than the one in force compares with where everybody would settle under that one.

    Raises:
        UnknownRuleset, RulesetNotReadable, AsOfInFuture, NoActiveRuleset.
    """
    today = local_day(now, timezone=programme.timezone)
    day = as_of or today
    if day > today:
        raise AsOfInFuture(errors=[FieldError("lies in the future", pointer="/as_of")])
    draft = _get_definition(conn, version)
    _parse(draft, version=version)
    in_force = recall_timeline(conn).at(now).version
    compared = in_force if against is None else against
    _parse(_get_definition(conn, compared, pointer="/against"), version=compared)
    simulation_id = new_id("tsim", now)
    store.add_simulation(
        conn,
        simulation_id=simulation_id,
        version=version,
        against_version=compared,
        definition_hash=definition_hash(draft),
        as_of=day,
        requested_by=requested_by,
        now=now,
    )
    _enqueue(conn, simulation_id)
    return get_simulation(conn, simulation_id=simulation_id)


def get_simulation(conn: Connection, *, simulation_id: str, version: int | None = None) -> dict[str, Any]:
    """Return a simulation with its progress, and its result once it is done.

    Raises:
        UnknownSimulation: there is none of this id, or not of that version.
    """
    row = store.find_simulation(conn, simulation_id=simulation_id, version=version)
    if row is None:
        raise UnknownSimulation
    return _show(row, _with_ids(conn, row.result))


def list_simulations(conn: Connection, *, version: int, limit: int, cursor: str | None) -> dict[str, Any]:
    """Return a page of a rule set's simulations, the latest first, without their results.

    Raises:
        UnknownRuleset. Malformed: not a cursor of this list.
    """
    _get_definition(conn, version)
    place = decode_cursor(cursor, types=(str,))
    before = _LATEST if place is None else place[0]
    rows = store.list_simulations(conn, version=version, before=before, limit=limit + 1)
    return page(
        [_show(row, None) for row in rows],
        limit=limit,
        cursors=[encode_cursor(row.simulation_id) for row in rows],
    )


def cancel_simulation(
    conn: Connection, *, simulation_id: str, version: int | None = None, now: datetime
) -> dict[str, Any]:
    """Call a simulation off: one that waits never starts, one that runs stops at the end of its range.

    Raises:
        UnknownSimulation. SimulationIsOver: it is done or has failed.
    """
    found = get_simulation(conn, simulation_id=simulation_id, version=version)
    if not store.end(conn, simulation_id=simulation_id, state="cancelled", now=now):
        state = get_simulation(conn, simulation_id=simulation_id)["state"]
        if state != "cancelled":
            raise SimulationIsOver(f"the simulation is {state} already")
        return found
    return get_simulation(conn, simulation_id=simulation_id)


def run_simulation(
    engine: Engine, *, simulation_id: str, programme: Programme, now: datetime, chunk: int = CHUNK
) -> bool:
    """Run a simulation that waits, or that was cut off, to its end; tell whether there was work to do.

    Nothing is written but its own row. While it runs it is held by a lock that dies with its connection, so
    that no two jobs run the same one, and one that was killed can be run again at once.
    """
    with engine.connect() as holder:
        if not store.try_lock(holder, simulation_id=simulation_id):
            return False
        # The lock is the connection's, not the transaction's.
        holder.rollback()
        try:
            return _run(engine, simulation_id, programme, now, chunk)
        finally:
            store.unlock(holder, simulation_id=simulation_id)
            holder.rollback()


def simulate_definition(
    engine: Engine,
    *,
    definition: Mapping[str, Any],
    day: date,
    against: int | None,
    programme: Programme,
    now: datetime,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> dict[str, Any]:
    """Try a definition that stands nowhere yet on everybody, and keep nothing; a door of its own.

    Raises:
        UnknownRuleset, RulesetNotReadable, AsOfInFuture, NoActiveRuleset.
    """
    with transaction(engine) as conn:
        question = ask_simulation(
            conn, definition=definition, version=0, day=day, against=against, programme=programme, now=now
        )
        total = store.count_members(conn)

    def watch(done: int) -> bool:
        if progress is not None:
            progress("members", done, max(total, done))
        return True

    result = simulate(engine, question=question, programme=programme, watch=watch)
    with transaction(engine) as conn:
        return _with_ids(conn, result) or {}


def ask_simulation(
    conn: Connection,
    *,
    definition: Mapping[str, Any],
    version: int,
    day: date,
    against: int | None,
    programme: Programme,
    now: datetime,
) -> Question:
    """Return the question that a simulation answers, for a definition that need not be kept.

    Raises:
        UnknownRuleset, RulesetNotReadable, AsOfInFuture, NoActiveRuleset.
    """
    today = local_day(now, timezone=programme.timezone)
    if day > today:
        raise AsOfInFuture
    timeline = recall_timeline(conn)
    in_force = timeline.at(now)
    compared = None
    if against is not None and against != in_force.version:
        compared = _parse(_get_definition(conn, against), version=against)
    draft = _parse(definition, version=version)
    return Question(draft, compared, in_force, timeline, day=day, is_past=day < today)


def _run(engine: Engine, simulation_id: str, programme: Programme, now: datetime, chunk: int) -> bool:
    with transaction(engine) as conn:
        total = store.count_members(conn)
        row = store.start(conn, simulation_id=simulation_id, members_total=total, now=now)
        if row is None:
            return False
        draft = store.find_definition(conn, version=row.version)
    if draft is None or definition_hash(draft) != bytes(row.definition_hash):
        return _end(engine, simulation_id, "failed", now, failure=CHANGED)
    started = time.monotonic()
    try:
        result = _compute(engine, row, draft, programme, now, chunk)
    except Problem as problem:
        return _end(engine, simulation_id, "failed", now, failure=problem.detail)
    except Exception:
        log.exception("simulation failed", extra={"simulation_id": simulation_id})
        return _end(engine, simulation_id, "failed", now, failure=UNEXPECTED)
    if result is None:
        return True
    took_seconds = round(time.monotonic() - started, 3)
    result["evidence"]["took_seconds"] = took_seconds
    ended = now + timedelta(seconds=took_seconds)
    return _end(engine, simulation_id, "done", ended, result=result)


def _compute(
    engine: Engine,
    row: Row[Any],
    draft: Mapping[str, Any],
    programme: Programme,
    now: datetime,
    chunk: int,
) -> dict[str, Any] | None:
    with transaction(engine) as conn:
        question = ask_simulation(
            conn,
            definition=draft,
            version=row.version,
            day=row.as_of,
            against=row.against_version,
            programme=programme,
            now=now,
        )

    def watch(done: int) -> bool:
        with transaction(engine) as conn:
            return store.advance(conn, simulation_id=row.simulation_id, members_done=done)

    answer = simulate(engine, question=question, programme=programme, watch=watch, chunk=chunk)
    if answer is None:
        return None
    evidence = {
        "definition_hash": bytes(row.definition_hash).hex(),
        "as_of": row.as_of.isoformat(),
        "in_force_version": question.in_force.version,
    }
    return {**answer, "evidence": evidence}


def _end(
    engine: Engine,
    simulation_id: str,
    state: str,
    now: datetime,
    *,
    result: Mapping[str, Any] | None = None,
    failure: str | None = None,
) -> bool:
    with transaction(engine) as conn:
        store.end(conn, simulation_id=simulation_id, state=state, now=now, result=result, failure=failure)
    return True


def _enqueue(conn: Connection, simulation_id: str) -> bool:
    return defer(
        conn,
        task=TASK,
        arguments={"simulation_id": simulation_id},
        queueing_lock=f"tier-simulation-{simulation_id}",
    )


def _get_definition(conn: Connection, version: int, *, pointer: str | None = None) -> Mapping[str, Any]:
    definition = store.find_definition(conn, version=version)
    if definition is None:
        errors = [FieldError("no such version", pointer=pointer)] if pointer else []
        raise UnknownRuleset(f"there is no rule set of version {version}", errors=errors)
    return definition


def _parse(definition: object, *, version: int) -> RuleSet:
    try:
        return parse_ruleset(definition, version=version)
    except ValueError as error:
        pointer, _, detail = str(error).partition(": ")
        raise RulesetNotReadable(str(error), errors=[FieldError(detail, pointer=pointer)]) from error


def _with_ids(conn: Connection, result: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a result with the merchant's ids of its sampled members, which are kept by key."""
    if result is None:
        return None
    keys = [member["member_key"] for sample in result["samples"] for member in sample["members"]]
    ids = members.find_ids(conn, member_keys=keys) if keys else {}
    samples = [
        {
            **sample,
            "members": [
                {"member_id": ids.get(member["member_key"])}
                | {name: value for name, value in member.items() if name != "member_key"}
                for member in sample["members"]
            ],
        }
        for sample in result["samples"]
    ]
    return {**result, "samples": samples}


def _show(row: Row[Any], result: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "simulation_id": row.simulation_id,
        "version": row.version,
        "against": row.against_version,
        "as_of": row.as_of.isoformat(),
        "state": row.state,
        "definition_hash": bytes(row.definition_hash).hex(),
        "requested_by": row.requested_by,
        "requested_at": format_time(row.requested_at),
        "started_at": None if row.started_at is None else format_time(row.started_at),
        "finished_at": None if row.finished_at is None else format_time(row.finished_at),
        "members_done": row.members_done,
        "members_total": row.members_total,
        "result": result,
        "failure": row.failure,
    }
