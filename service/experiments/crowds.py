"""Many members drawn at once: who is on which side of a test whose arms go out together, as in a mailing.

The same rules as for one visitor, in a fixed number of statements however many members are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from service.experiments import crowds_store as store
from service.experiments.enrolling import (
    ENROLMENT_ENDED,
    HELD_OUT,
    NOT_A_MEMBER,
    NOT_ELIGIBLE,
    Enrolled,
    get_shown_by_the_shop,
)
from service.experiments.rules import (
    HOLDOUT,
    RUNNING,
    Assignment,
    Experiment,
    arm_of,
    bucket_of,
    read_arms,
)

CROWD = 1_000
"""How many members may be named at once."""


def enrol_crowd(
    conn: Connection, *, experiment: str, member_ids: Sequence[str], now: datetime
) -> tuple[str, list[tuple[str, Enrolled]]]:
    """Return the surface, and each named id in order with where its member stands; draw whoever may be.

    An id named twice is answered once. Who was merged into another is answered as that one.

    Raises:
        UnknownExperiment. SurfaceNotServed: its arms are drawn elsewhere.
        ExperimentNotRunning: it is a draft, or over.
    """
    definition = get_shown_by_the_shop(conn, experiment=experiment)
    version = Experiment(
        experiment_key=definition.experiment_key,
        experiment=experiment,
        version=definition.version,
        salt=definition.plan.salt,
        arms=tuple(definition.plan.arms),
        window_days=definition.plan.window_days,
        refund_grace_days=definition.plan.refund_grace_days,
        status=definition.status,
    )
    found = {row.asked_id: row for row in store.find_crowd(conn, version=version, member_ids=member_ids)}
    named = list(dict.fromkeys(member_ids))
    wanted = [row for row in found.values() if row.arm is None and row.eligible and version.status == RUNNING]
    held = _hold_out(conn, wanted, now) if definition.plan.nested else frozenset()
    drawn = [row for row in wanted if row.member_key not in held]
    if drawn:
        _draw(conn, version, drawn, now)
        found |= {row.asked_id: row for row in store.find_crowd(conn, version=version, member_ids=named)}
    return definition.plan.surface, [(one, _read(version, found.get(one), held)) for one in named]


def _hold_out(conn: Connection, rows: Sequence[Row[Any]], now: datetime) -> frozenset[int]:
    """Return whom the global hold-out keeps, drawing that first: nothing is nested before it."""
    # Here, because the operations of this room are told of crowds.
    from service.experiments.operations import get_running_holdout

    running = get_running_holdout(conn)
    if running is not None:
        _draw(conn, running, rows, now)
    return store.find_held_out(conn, member_keys=[row.member_key for row in rows], arm=HOLDOUT)


def _draw(conn: Connection, version: Experiment, rows: Sequence[Row[Any]], now: datetime) -> None:
    """Write first assignments; who has one already keeps it."""
    people = {row.member_key: row for row in rows}
    buckets = {key: bucket_of(version.experiment, version.salt, row.member_id) for key, row in people.items()}
    store.insert_assignments(
        conn,
        version=version,
        member_keys=list(people),
        arms=[arm_of(version.arms, bucket) for bucket in buckets.values()],
        buckets=list(buckets.values()),
        tiers=[row.tier for row in people.values()],
        now=now,
    )


def _read(version: Experiment, row: Row[Any] | None, held: frozenset[int]) -> Enrolled:
    if row is None:
        return Enrolled(version, None, None, None, NOT_A_MEMBER)
    if row.arm is None:
        reason = ENROLMENT_ENDED
        if version.status == RUNNING:
            reason = HELD_OUT if row.member_key in held else NOT_ELIGIBLE
        return Enrolled(version, row.member_key, row.tier, None, reason)
    under = Experiment(
        experiment_key=row.experiment_key,
        experiment=version.experiment,
        version=row.version,
        salt=row.salt,
        arms=read_arms(row.arms),
        window_days=row.window_days,
        refund_grace_days=row.refund_grace_days,
        status=row.status,
    )
    stored = Assignment(under, row.arm, row.bucket, row.reason, row.assigned_at, row.tier_at_assignment)
    return Enrolled(version, row.member_key, row.tier, stored, row.reason)
