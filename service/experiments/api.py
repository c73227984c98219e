"""Routes of the experiments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from service.experiments import definitions, operations, results_store, views
from service.experiments.errors import (
    ArmsUnsound,
    ExperimentExists,
    ExperimentNotADraft,
    ExperimentNotRunning,
    ExperimentNotStarted,
    ExperimentRunning,
    NotRandomised,
    UnknownArm,
    UnknownExperiment,
)
from service.experiments.schemas import (
    ArmOverrideBody,
    ExperimentBody,
    ExperimentChangeBody,
    ExperimentQuery,
    ExperimentSchema,
    ExperimentsQuery,
    ExperimentsSchema,
    ExperimentStopBody,
    ExperimentVersionBody,
    MemberAssignmentSchema,
    MemberAssignmentsSchema,
    UpliftQuery,
    UpliftSchema,
)
from service.experiments.uplift import Asked, report_uplift
from service.kit.audit import Actor, actor_of
from service.kit.auth import Role
from service.kit.http import STAFF, Blueprint, Door
from service.kit.pagination import decode_cursor, encode_cursor, page
from service.members import operations as members
from service.members.errors import UnknownMember
from service.programme.operations import get_programme

blueprint = Blueprint("experiments", __name__, url_prefix="/v1", description="Hold-outs and experiments.")

_DECIDERS: tuple[Role, ...] = ("marketing", "admin")
_PATIENCE_MS = 50_000
"""Adding up a large experiment takes longer than a web request's statement otherwise may."""


@blueprint.door(
    "GET",
    "/members/<id:member_id>/assignments",
    roles=STAFF,
    answers={200: MemberAssignmentsSchema()},
    refusals=(UnknownMember,),
)
def list_assignments(door: Door, member_id: str) -> object:
    """List the experiments a member is in, without enrolling anybody."""
    member = members.get_member(door.conn, member_id=member_id)
    found = operations.list_assignments(door.conn, member_key=member.member_key)
    return {"data": [views.assignment_json(assignment) for assignment in found], "next_cursor": None}


@blueprint.door(
    "POST",
    "/experiments",
    roles=_DECIDERS,
    body=ExperimentBody(),
    answers={201: ExperimentSchema()},
    refusals=(ExperimentExists, ArmsUnsound),
    idempotency_key="required",
    localised=True,
)
def draft_experiment(door: Door, body: dict[str, Any]) -> object:
    """Draft an experiment: what it compares, for whom, and over which window.

    Nobody is drawn before it is started. The answer says the smallest effect it could show.
    """
    plan = views.read_plan(body, currency=get_programme(door.conn).currency)
    drafted = definitions.draft_experiment(
        door.conn, experiment=body["key"], plan=plan, actor=_actor(door), now=door.now
    )
    return views.experiment_json(door.conn, drafted, locale=door.locale, now=door.now), 201


@blueprint.door(
    "GET", "/experiments", roles=STAFF, query=ExperimentsQuery(), answers={200: ExperimentsSchema()}
)
def list_experiments(door: Door, query: dict[str, Any]) -> object:
    """List experiments by key, of each the version that runs or the newest."""
    key = decode_cursor(query.get("cursor"), types=(str,))
    found = definitions.list_experiments(
        door.conn, status=query.get("status"), after=key[0] if key else "", limit=query["limit"] + 1
    )
    cursors = [encode_cursor(one.experiment) for one in found]
    return page([views.row_json(one) for one in found], limit=query["limit"], cursors=cursors)


@blueprint.door(
    "GET",
    "/experiments/<id:key>",
    roles=STAFF,
    query=ExperimentQuery(),
    answers={200: ExperimentSchema()},
    refusals=(UnknownExperiment,),
    localised=True,
    tagged=ExperimentChangeBody(),
)
def get_experiment(door: Door, key: str, query: dict[str, Any]) -> object:
    """Return an experiment: the version that runs or the newest, unless one is named."""
    found = definitions.get_experiment(door.conn, experiment=key, version=query.get("version"))
    return views.experiment_json(door.conn, found, locale=door.locale, now=door.now)


def _show_newest(door: Door, key: str) -> object:
    """Return what a PUT would change."""
    versions = definitions.list_versions(door.conn, experiment=key)
    if not versions:
        raise UnknownExperiment(f"there is no experiment {key}")
    return views.experiment_json(door.conn, versions[0], locale=door.locale, now=door.now)


@blueprint.door(
    "PUT",
    "/experiments/<id:key>",
    roles=_DECIDERS,
    body=ExperimentChangeBody(),
    answers={200: ExperimentSchema()},
    refusals=(UnknownExperiment, ExperimentRunning, ExperimentNotADraft, ArmsUnsound),
    localised=True,
    tagged_by=_show_newest,
)
def put_experiment(door: Door, key: str, body: dict[str, Any]) -> object:
    """Give a draft another plan. What runs is never changed: other arms are a new version."""
    plan = views.read_plan(body, currency=get_programme(door.conn).currency)
    changed = definitions.change_draft(door.conn, experiment=key, plan=plan, actor=_actor(door), now=door.now)
    return views.experiment_json(door.conn, changed, locale=door.locale, now=door.now)


@blueprint.door(
    "POST",
    "/experiments/<id:key>/versions",
    roles=_DECIDERS,
    body=ExperimentVersionBody(),
    answers={201: ExperimentSchema()},
    refusals=(UnknownExperiment, ExperimentExists, ArmsUnsound),
    idempotency_key="required",
    localised=True,
)
def draft_experiment_version(door: Door, key: str, body: dict[str, Any]) -> object:
    """Draft the next version with other arms: once started it draws those who have no arm yet."""
    surface = definitions.get_experiment(door.conn, experiment=key).plan.surface
    arms = views.read_split(body["arms"], surface=surface)
    drafted = definitions.draft_version(
        door.conn, experiment=key, arms=arms, actor=_actor(door), now=door.now
    )
    return views.experiment_json(door.conn, drafted, locale=door.locale, now=door.now), 201


@blueprint.door(
    "POST",
    "/experiments/<id:key>/start",
    roles=_DECIDERS,
    answers={200: ExperimentSchema()},
    refusals=(UnknownExperiment, ExperimentNotADraft),
    idempotency_key="required",
    localised=True,
)
def start_experiment(door: Door, key: str) -> object:
    """Let the draft draw arms; a version that ran before is replaced, and its members keep theirs.

    The answer's `outlook` is the smallest effect that these members can show.
    """
    started = operations.start_experiment(door.conn, experiment=key, actor=_actor(door), now=door.now)
    return views.experiment_json(door.conn, started, locale=door.locale, now=door.now)


@blueprint.door(
    "POST",
    "/experiments/<id:key>/stop",
    roles=_DECIDERS,
    body=ExperimentStopBody(),
    answers={200: ExperimentSchema()},
    refusals=(UnknownExperiment, ExperimentNotRunning),
    idempotency_key="required",
    localised=True,
)
def stop_experiment(door: Door, key: str, body: dict[str, Any]) -> object:
    """End enrolment. Whoever has an arm keeps it until the last window has matured, unless `at_once`.

    When everybody is mature the results are frozen: what is refunded later moves them no more.
    """
    stopped = definitions.stop_experiment(
        door.conn,
        experiment=key,
        at_once=body["at_once"],
        reason=body["reason"],
        actor=_actor(door),
        now=door.now,
    )
    return views.experiment_json(door.conn, stopped, locale=door.locale, now=door.now)


@blueprint.door(
    "PUT",
    "/experiments/<id:key>/overrides/<id:member_id>",
    roles=(*_DECIDERS, "operations"),
    body=ArmOverrideBody(),
    answers={200: MemberAssignmentSchema()},
    refusals=(UnknownExperiment, UnknownMember, UnknownArm, ExperimentNotRunning),
)
def override_arm(door: Door, key: str, member_id: str, body: dict[str, Any]) -> object:
    """Show a tester an arm. Testers are left out of every result, on both sides, from then on."""
    members.keep_owners(door.conn)
    member = members.get_member(door.conn, member_id=member_id)
    assignment = operations.override_arm(
        door.conn,
        experiment=key,
        member_key=member.member_key,
        member_id=member_id,
        arm=body["arm"],
        actor=_actor(door),
        now=door.now,
    )
    return views.assignment_json(assignment)


@blueprint.door(
    "GET",
    "/experiments/<id:key>/uplift",
    roles=STAFF,
    query=UpliftQuery(),
    answers={200: UpliftSchema()},
    refusals=(UnknownExperiment, UnknownArm, NotRandomised, ExperimentNotStarted),
    records=True,
    localised=True,
)
def get_uplift(door: Door, key: str, query: dict[str, Any]) -> object:
    """Return what an experiment found, by comparing its arms, and nothing else.

    Where the arms do not have the sizes they were given there is a verdict and no number.
    """
    results_store.take_time(door.conn, milliseconds=_PATIENCE_MS)
    found = definitions.get_experiment(door.conn, experiment=key, version=query.pop("version", None))
    if found.started_at is None:
        found = _last_started(door, key) or found
    told = report_uplift(
        door.conn,
        definition=found,
        asked=replace(Asked(), **query),
        currency=get_programme(door.conn).currency,
        now=door.now,
    )
    for comparison in told["comparisons"]:
        comparison["explanation"] = comparison["sentence"][door.locale]
    return told


def _last_started(door: Door, key: str) -> definitions.Definition | None:
    """Return the newest version that was started: a draft of the next one has nothing to tell."""
    versions = definitions.list_versions(door.conn, experiment=key)
    return next((one for one in versions if one.started_at is not None), None)


def _actor(door: Door) -> Actor:
    return Actor(actor_of(door.caller), door.request_id)
