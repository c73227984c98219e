"""Who is drawn where nobody recommends: visitors of a shop's own tests, testers, merged and logged-in people.

A test of a page, a text or a flow is drawn and exposed by one call. Anonymous visitors are drawn by their own
id; when they log in, the earlier of two assignments stands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from service.experiments import enrolling_store as store
from service.experiments.definitions import Definition, get_experiment
from service.experiments.errors import ExperimentNotRunning, SurfaceNotServed, UnknownArm
from service.experiments.rules import (
    ANALYSIS,
    HOLDOUT,
    RUNNING,
    SHOWN_BY_THE_SHOP,
    Assignment,
    Experiment,
    arm_of,
    bucket_of,
    read_arms,
)
from service.kit import audit
from service.kit.audit import Actor

NOT_A_MEMBER = "not_a_member"
NOT_ELIGIBLE = "not_eligible"
HELD_OUT = "held_out"
ENROLMENT_ENDED = "enrolment_ended"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody before a page: a member, an anonymous visitor, or both at once when somebody logs in."""

    member_id: str | None
    anonymous_id: str | None


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Where a visitor stands in one experiment; `reason` says why there is no arm, or how it came to be."""

    experiment: Experiment
    member_key: int | None
    tier: str | None
    assignment: Assignment | None
    reason: str


def get_shown_by_the_shop(conn: Connection, *, experiment: str) -> Definition:
    """Return the version of a test whose arms the shop shows itself, and whose arms are served.

    Raises:
        UnknownExperiment. SurfaceNotServed: its arms are drawn elsewhere.
        ExperimentNotRunning: it is a draft, or over.
    """
    definition = get_experiment(conn, experiment=experiment)
    if definition.plan.surface not in SHOWN_BY_THE_SHOP or definition.is_global_holdout:
        raise SurfaceNotServed(f"{experiment} is drawn by {definition.plan.surface}")
    if definition.status not in {RUNNING, ANALYSIS}:
        raise ExperimentNotRunning(f"{experiment} is {definition.status}")
    return definition


def enrol_visitor(
    conn: Connection, *, experiment: str, visitor: Visitor, now: datetime
) -> tuple[str, Enrolled]:
    """Return the surface, and a visitor's arm, drawn if the experiment runs and the visitor may be in it.

    Eligibility is decided before the arm is known. Somebody known by both ids is stitched first.

    Raises:
        UnknownExperiment. SurfaceNotServed: its arms are drawn elsewhere.
        ExperimentNotRunning: it is a draft, or over.
    """
    definition = get_shown_by_the_shop(conn, experiment=experiment)
    row = store.find_visitor(
        conn,
        experiment_key=definition.experiment_key,
        experiment=experiment,
        member_id=visitor.member_id,
        anonymous_id=visitor.anonymous_id,
    )
    if row.member_key is not None and visitor.anonymous_id is not None:
        stitch(conn, member_key=row.member_key, anonymous_id=visitor.anonymous_id, tier=row.tier, now=now)
    return definition.plan.surface, _enrol(conn, row, visitor, now)


def _enrol(conn: Connection, row: Row[Any], visitor: Visitor, now: datetime) -> Enrolled:
    version = read_version(row)
    # An anonymous visitor who logged in before is known by the member's assignment.
    member_key = row.member_key or (None if visitor.member_id else row.stitched_to)
    found = Enrolled(version, member_key, row.tier, None, RUNNING)
    stored = _find(conn, version.experiment, member_key, visitor)
    if stored is not None:
        return replace(found, assignment=stored, reason=stored.reason)
    refusal = _refuse(conn, row, member_key, visitor, now)
    if refusal is not None:
        return replace(found, reason=refusal)
    if member_key is None:
        return _draw_anonymous(conn, found, str(visitor.anonymous_id), now)
    return _draw(conn, found, row.member_id, now)


def _refuse(
    conn: Connection, row: Row[Any], member_key: int | None, visitor: Visitor, now: datetime
) -> str | None:
    """Return why somebody is not drawn, or None; nothing here depends on which arm it would be."""
    if visitor.member_id is not None and member_key is None:
        return NOT_A_MEMBER
    if row.status != RUNNING:
        return ENROLMENT_ENDED
    if member_key is None:
        # Of a stranger nobody knows the side of the hold-out, nor whether the rules are met.
        return NOT_A_MEMBER if row.nested else NOT_ELIGIBLE if row.eligibility else None
    if not row.eligible:
        return NOT_ELIGIBLE
    return HELD_OUT if row.nested and _is_held_out(conn, row, visitor, now) else None


def _draw(conn: Connection, found: Enrolled, member_id: str, now: datetime) -> Enrolled:
    version = found.experiment
    bucket = bucket_of(version.experiment, version.salt, member_id)
    store.insert_assignment(
        conn,
        experiment=version.experiment,
        member_key=found.member_key,
        experiment_key=version.experiment_key,
        arm=arm_of(version.arms, bucket),
        bucket=bucket,
        reason="split",
        now=now,
        tier=found.tier,
    )
    stored = _find(conn, version.experiment, found.member_key, Visitor(member_id, None))
    if stored is None:
        raise RuntimeError("an assignment that was just written is gone")
    return replace(found, assignment=stored, reason=stored.reason)


def _draw_anonymous(conn: Connection, found: Enrolled, anonymous_id: str, now: datetime) -> Enrolled:
    version = found.experiment
    bucket = bucket_of(version.experiment, version.salt, anonymous_id)
    store.insert_anonymous(
        conn,
        experiment=version.experiment,
        anonymous_id=anonymous_id,
        experiment_key=version.experiment_key,
        arm=arm_of(version.arms, bucket),
        bucket=bucket,
        now=now,
    )
    stored = _find(conn, version.experiment, None, Visitor(None, anonymous_id))
    if stored is None:
        raise RuntimeError("an assignment that was just written is gone")
    return replace(found, assignment=stored, reason=stored.reason)


def _is_held_out(conn: Connection, row: Row[Any], visitor: Visitor, now: datetime) -> bool:
    """Tell whether the global hold-out keeps a member, drawing that first: nothing is nested before it."""
    from service.experiments.operations import enrol_subject, find_subject

    subject = find_subject(conn, member_id=visitor.member_id or row.member_id)
    subject, _ = enrol_subject(conn, subject=replace(subject, places=()), surface="", now=now)
    return subject.assignment is not None and subject.assignment.arm == HOLDOUT


def stitch(conn: Connection, *, member_key: int, anonymous_id: str, tier: str | None, now: datetime) -> int:
    """Give a member what was drawn for the same person before logging in; the earlier assignment stands.

    Exposures of that visitor become the member's. An id that was stitched to somebody before stays theirs.
    Returns how many assignments were taken over.
    """
    taken = store.stitch(conn, member_key=member_key, anonymous_id=anonymous_id, tier=tier, now=now)
    store.adopt_exposures(conn, member_key=member_key, anonymous_id=anonymous_id)
    return taken


def override_arm(
    conn: Connection,
    *,
    experiment: str,
    member_key: int,
    member_id: str,
    arm: str,
    actor: Actor,
    now: datetime,
) -> Assignment:
    """Put a tester into an arm; from then on the tester is left out of every result, on both sides.

    Raises:
        UnknownExperiment. UnknownArm. ExperimentNotRunning: it is a draft, or over.
    """
    definition = get_experiment(conn, experiment=experiment)
    if definition.status not in {RUNNING, ANALYSIS}:
        raise ExperimentNotRunning(f"{experiment} is {definition.status}")
    if arm not in {one.arm for one in definition.plan.arms}:
        raise UnknownArm(f"{experiment} has no arm {arm}")
    before = store.find_member_assignment(conn, experiment=experiment, member_key=member_key)
    store.override(
        conn,
        experiment=experiment,
        member_key=member_key,
        experiment_key=definition.experiment_key,
        arm=arm,
        bucket=bucket_of(experiment, definition.plan.salt, member_id),
        now=now,
    )
    audit.record(
        conn,
        actor=actor.name,
        action="experiment.overridden",
        subject=("member", None),
        member_key=member_key,
        before=None if before is None else {f"{experiment}.arm": before.arm},
        after={f"{experiment}.arm": arm, f"{experiment}.reason": "override"},
        request_id=actor.request_id,
        now=now,
    )
    row = store.find_member_assignment(conn, experiment=experiment, member_key=member_key)
    if row is None:
        raise RuntimeError("an override that was just written is gone")
    return _read_assignment(row)


def merge_assignments(conn: Connection, *, from_key: int, into_key: int, now: datetime) -> int:
    """Join the assignments of two members who are one person: the earliest of each experiment stands.

    The other one is kept aside (`undo_merge_assignments`), and every result counts who was merged. Returns
    how many experiments the merged member was in.
    """
    return store.merge(conn, from_key=from_key, into_key=into_key, now=now)


def undo_merge_assignments(conn: Connection, *, from_key: int, into_key: int) -> int:
    """Put back what `merge_assignments` joined, and return in how many experiments."""
    return store.undo_merge(conn, from_key=from_key, into_key=into_key)


def _find(conn: Connection, experiment: str, member_key: int | None, visitor: Visitor) -> Assignment | None:
    if member_key is not None:
        row = store.find_member_assignment(conn, experiment=experiment, member_key=member_key)
    elif visitor.anonymous_id is not None and visitor.member_id is None:
        row = store.find_anonymous(conn, experiment=experiment, anonymous_id=visitor.anonymous_id)
    else:
        row = None
    return None if row is None else _read_assignment(row)


def read_version(row: Row[Any]) -> Experiment:
    """Return the version of an experiment that a row holds."""
    return Experiment(
        experiment_key=row.experiment_key,
        experiment=row.experiment,
        version=row.version,
        salt=row.salt,
        arms=read_arms(row.arms),
        window_days=row.window_days,
        refund_grace_days=row.refund_grace_days,
        status=row.status,
    )


def _read_assignment(row: Row[Any]) -> Assignment:
    return Assignment(
        read_version(row), row.arm, row.bucket, row.reason, row.assigned_at, row.tier_at_assignment
    )
