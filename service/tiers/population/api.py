"""Routes of simulations: a rule set tried on everybody."""

from __future__ import annotations

from typing import Any

from service.kit.audit import actor_of
from service.kit.auth import Role
from service.kit.fields import TableQuery
from service.kit.http import STAFF, Blueprint, Door
from service.programme.operations import get_programme
from service.tiers.errors import (
    AsOfInFuture,
    NoActiveRuleset,
    RulesetNotReadable,
    SimulationIsOver,
    SimulationNotDone,
    UnknownRuleset,
    UnknownSimulation,
)
from service.tiers.population import operations
from service.tiers.population.schemas import (
    SimulationBody,
    SimulationSchema,
    SimulationsQuery,
    SimulationsSchema,
)
from service.tiers.population.tables import simulation_table
from service.tiers.rulesets import read_version

blueprint = Blueprint(
    "tier_simulations", __name__, url_prefix="/v1", description="Rule sets tried on the whole membership."
)
_ROLES: tuple[Role, ...] = ("marketing", "operations", "admin")


@blueprint.door(
    "POST",
    "/tier-rulesets/<id:version>/simulations",
    roles=_ROLES,
    body=SimulationBody(),
    answers={202: SimulationSchema()},
    refusals=(UnknownRuleset, RulesetNotReadable, AsOfInFuture, NoActiveRuleset),
    idempotency_key="required",
)
def simulate_ruleset(door: Door, version: str, body: dict[str, Any]) -> object:
    """Try a rule set on everybody: who would move, from where to where, and what it would cost.

    A job counts it, and writes nothing but its result. Look again until `state` is `done`.
    """
    return operations.request_simulation(
        door.conn,
        version=read_version(version),
        as_of=body.get("as_of"),
        against=body.get("against"),
        requested_by=actor_of(door.caller),
        programme=get_programme(door.conn),
        now=door.now,
    )


@blueprint.door(
    "GET",
    "/tier-rulesets/<id:version>/simulations",
    roles=STAFF,
    query=SimulationsQuery(),
    answers={200: SimulationsSchema()},
    refusals=(UnknownRuleset,),
)
def list_ruleset_simulations(door: Door, version: str, query: dict[str, Any]) -> object:
    """List the simulations of a rule set, the latest first, without their results."""
    return operations.list_simulations(
        door.conn, version=read_version(version), limit=query["limit"], cursor=query.get("cursor")
    )


@blueprint.door(
    "GET",
    "/tier-rulesets/<id:version>/simulations/<id:simulation_id>",
    roles=STAFF,
    query=TableQuery(),
    answers={200: SimulationSchema()},
    refusals=(UnknownRuleset, UnknownSimulation, SimulationNotDone),
    csv=True,
    localised=True,
)
def get_ruleset_simulation(door: Door, version: str, simulation_id: str, query: dict[str, Any]) -> object:
    """Tell how far a simulation is and, once it is done, its result."""
    found = operations.get_simulation(door.conn, simulation_id=simulation_id, version=read_version(version))
    if not door.wants_csv:
        return found
    if found["result"] is None:
        raise SimulationNotDone(f"it is {found['state']}")
    return simulation_table(simulation_id, found["result"], locale=door.locale)


@blueprint.door(
    "POST",
    "/tier-rulesets/<id:version>/simulations/<id:simulation_id>/cancel",
    roles=_ROLES,
    answers={200: SimulationSchema()},
    refusals=(UnknownRuleset, UnknownSimulation, SimulationIsOver),
    idempotency_key="required",
)
def cancel_ruleset_simulation(door: Door, version: str, simulation_id: str) -> object:
    """Call a simulation off; one that runs stops within a second or so."""
    return operations.cancel_simulation(
        door.conn, simulation_id=simulation_id, version=read_version(version), now=door.now
    )
