"""The verbs of the experiments: draw an arm once, remember what was sent, say what the hold-out does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from service.experiments import crowds_store, definitions, store
from service.experiments.crowds import CROWD, enrol_crowd
from service.experiments.definitions import Definition, get_experiment
from service.experiments.enrolling import (
    Enrolled,
    Visitor,
    enrol_visitor,
    merge_assignments,
    override_arm,
    read_version,
    stitch,
    undo_merge_assignments,
)
from service.experiments.errors import ExposureNotFound
from service.experiments.outlook import look_ahead
from service.experiments.rules import (
    ANCHORS,
    HOLDOUT,
    HOLDOUT_WEIGHT_BP,
    REFUND_GRACE_DAYS,
    REPURCHASE_WINDOW_DAYS,
    RUNNING,
    Assignment,
    Baseline,
    Experiment,
    OutcomeWindow,
    Place,
    arm_of,
    bucket_of,
    holdout_arms,
    may_draw,
    name_global_holdout,
    probability_of,
    read_arms,
    window_of,
)
from service.experiments.statistics.off_policy import Logged, OffPolicy
from service.experiments.statistics.off_policy import evaluate as evaluate_logged
from service.experiments.uplift import METRICS, Asked, keep_results, report_uplift
from service.kit.audit import Actor
from service.kit.db import dumps

__all__ = [
    "ANCHORS",
    "CROWD",
    "METRICS",
    "Actor",
    "Asked",
    "Assignment",
    "Baseline",
    "Definition",
    "Enrolled",
    "Experiment",
    "Exposure",
    "ExposureNotFound",
    "Logged",
    "OffPolicy",
    "OutcomeWindow",
    "Place",
    "SavedExposure",
    "Subject",
    "Visitor",
    "assign_member",
    "enrol_crowd",
    "enrol_subject",
    "enrol_visitor",
    "ensure_global_holdout",
    "evaluate_logged",
    "find_assignment",
    "find_subject",
    "get_experiment",
    "get_exposure",
    "get_running_holdout",
    "keep_results",
    "list_assignments",
    "look_ahead",
    "merge_assignments",
    "override_arm",
    "probability_of",
    "read_subject",
    "record_exposure",
    "record_exposures",
    "refresh_holdout_baselines",
    "report_uplift",
    "start_experiment",
    "stitch",
    "undo_merge_assignments",
    "window_of",
]


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody an answer is for: member (None: unknown here), tier now, side of the hold-out, baseline.

    `running` is the experiment a member without an assignment would be drawn under.
    """

    member_id: str
    member_key: int | None
    tier: str | None
    assignment: Assignment | None
    running: Experiment | None
    baseline: Baseline | None
    places: tuple[Place, ...] = ()

    def moment_of_answer(self, now: datetime) -> datetime:
        """Return when an answer asked for at `now` is given: not before the arm it names was drawn.

        A request that began later may have drawn it in between.
        """
        return now if self.assignment is None else max(now, self.assignment.assigned_at)


@dataclass(frozen=True, slots=True)
class Exposure:
    """What was sent to whom, and everything needed to account for it later.

    `item_keys` are in rank order, or `reward_keys` where rewards were sent; `decision` is the caller's own
    record, JSON-able.
    """

    exposure_id: UUID
    issued_at: datetime
    member_key: int | None
    experiment_key: int | None
    arm: str | None
    policy: str
    model_version: str | None
    fallback: str | None
    placement: str
    channel: str | None
    window_end: datetime | None
    item_keys: Sequence[int]
    decision: Mapping[str, Any]
    nested: Sequence[int] = ()
    anonymous_id: str | None = None
    reward_keys: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class SavedExposure:
    """An exposure read back, with the names behind its keys."""

    exposure: Exposure
    member_id: str | None
    experiment: str | None
    version: int | None


def ensure_global_holdout(
    conn: Connection,
    *,
    now: datetime,
    today: date | None = None,
    weight_bp: int = HOLDOUT_WEIGHT_BP,
    salt: str = "s1",
) -> Experiment | None:
    """Return the running global hold-out, starting the one of this half-year if there never was one.

    Safe to call from every process at once. None where staff stopped it: theirs to start again.
    `weight_bp` is its share in basis points; `today` only names it, by half-year, and is the day of `now` in
    UTC when left out.
    """
    running = get_running_holdout(conn)
    if running is not None:
        return running
    if store.had_holdout(conn):
        # Stopped by staff, or started by another process just now.
        return get_running_holdout(conn)
    arms = [{"arm": arm.arm, "weight_bp": arm.weight_bp} for arm in holdout_arms(weight_bp)]
    store.insert_experiment(
        conn,
        experiment=name_global_holdout(today or now.date()),
        version=1,
        salt=salt,
        arms=arms,
        is_global_holdout=True,
        window_days=REPURCHASE_WINDOW_DAYS,
        refund_grace_days=REFUND_GRACE_DAYS,
        now=now,
    )
    return get_running_holdout(conn)


def get_running_holdout(conn: Connection) -> Experiment | None:
    """Return the running global hold-out, or None when there is none."""
    row = store.find_running_holdout(conn)
    return None if row is None else read_version(row)


def find_subject(conn: Connection, *, member_id: str) -> Subject:
    """Return what is known about a member id, in one statement and without enrolling anybody."""
    return read_subject(store.find_subject(conn, member_id=member_id), member_id=member_id)


def read_subject(row: Row[Any], *, member_id: str) -> Subject:
    """Return the subject held by a row of `readable.subject`."""
    version = None if row.experiment_key is None else read_version(row)
    assignment = None if version is None or row.arm is None else _read_assignment(row, version)
    measured = row.member_key is not None and row.as_of is not None
    baseline = Baseline(row.numerator, row.denominator, row.as_of) if measured else None
    return Subject(
        # Who was merged into another goes by that one's id, here too: the arm is drawn by it.
        member_id=row.member_id or member_id,
        member_key=row.member_key,
        tier=row.tier,
        assignment=assignment,
        running=version,
        baseline=baseline,
        places=tuple(_read_place(place) for place in row.places or ()),
    )


def assign_member(
    conn: Connection,
    *,
    experiment: Experiment,
    member_key: int,
    member_id: str,
    tier: str | None,
    now: datetime,
) -> Assignment:
    """Return the member's assignment, drawing and writing it the first time.

    The arm depends on the salt and the member id alone; a later version keeps the stored one (law E1).
    """
    bucket = bucket_of(experiment.experiment, experiment.salt, member_id)
    drawn = Assignment(experiment, arm_of(experiment.arms, bucket), bucket, "split", now, tier)
    written = store.insert_assignment(
        conn,
        experiment=experiment.experiment,
        member_key=member_key,
        experiment_key=experiment.experiment_key,
        arm=drawn.arm,
        bucket=bucket,
        reason=drawn.reason,
        assigned_at=now,
        tier=tier,
    )
    if written:
        return drawn
    kept = find_assignment(conn, member_key=member_key, experiment=experiment.experiment)
    if kept is None:
        raise RuntimeError("an assignment that stood in the way is gone")
    return kept


def enrol_subject(conn: Connection, *, subject: Subject, surface: str, now: datetime) -> tuple[Subject, bool]:
    """Return the subject with every arm that a surface draws, and whether one was drawn just now.

    The global hold-out comes first; nested experiments draw among those whom it leaves.
    """
    running = subject.running
    draws = subject.assignment is None and running is not None and running.status == RUNNING
    if subject.member_key is None or not (draws or subject.places):
        return subject, False
    assign = partial(
        assign_member, conn, member_key=subject.member_key, member_id=subject.member_id, tier=subject.tier
    )
    newly = False
    if draws and running is not None:
        assignment = assign(experiment=running, now=now)
        subject, newly = replace(subject, assignment=assignment), True
    held_out = None if subject.assignment is None else subject.assignment.is_holdout
    places = []
    for place in subject.places:
        if may_draw(place, surface=surface, is_held_out=held_out):
            arm = assign(experiment=place.experiment, now=now).arm
            places.append(replace(place, arm=arm))
            newly = True
        else:
            places.append(place)
    return replace(subject, places=tuple(places)), newly


def find_assignment(conn: Connection, *, member_key: int, experiment: str) -> Assignment | None:
    """Return a member's stored assignment, or None; never enrols."""
    rows = store.list_assignments(conn, member_key=member_key, experiment=experiment)
    return _read_assignment(rows[0], read_version(rows[0])) if rows else None


def list_assignments(conn: Connection, *, member_key: int) -> list[Assignment]:
    """Return all stored assignments of a member by experiment; never enrols."""
    return [
        _read_assignment(row, read_version(row))
        for row in store.list_assignments(conn, member_key=member_key)
    ]


def record_exposure(conn: Connection, *, exposure: Exposure, relaxed: bool) -> None:
    """Write what was sent, in both arms alike.

    `relaxed` lets this transaction's commit not wait for the disk (docs/decisions, ruling on exposures):
    only for a transaction that writes nothing but exposures.
    """
    store.insert_exposure(
        conn,
        parameters={
            "exposure_id": exposure.exposure_id,
            "issued_at": exposure.issued_at,
            "member_key": exposure.member_key,
            "experiment_key": exposure.experiment_key,
            "arm": exposure.arm,
            "policy": exposure.policy,
            "model_version": exposure.model_version,
            "fallback": exposure.fallback,
            "placement": exposure.placement,
            "channel": exposure.channel,
            "window_end": exposure.window_end,
            "item_keys": list(exposure.item_keys),
            "decision": dumps(dict(exposure.decision)),
            "nested": list(exposure.nested) or None,
            "anonymous_id": exposure.anonymous_id,
            "reward_keys": None if exposure.reward_keys is None else list(exposure.reward_keys),
            "relaxed": relaxed,
        },
    )


def record_exposures(conn: Connection, *, exposures: Sequence[Exposure]) -> None:
    """Write what was sent to many members at once: by one policy, at one place, no items."""
    if not exposures:
        return
    one = exposures[0]
    crowds_store.insert_exposures(
        conn,
        columns={
            "policy": one.policy,
            "placement": one.placement,
            "channel": one.channel,
            "exposure_ids": [each.exposure_id for each in exposures],
            "issued_ats": [each.issued_at for each in exposures],
            "member_keys": [each.member_key for each in exposures],
            "experiment_keys": [each.experiment_key for each in exposures],
            "arms": [each.arm for each in exposures],
            "window_ends": [each.window_end for each in exposures],
            "decisions": [dumps(dict(each.decision)) for each in exposures],
        },
    )


def get_exposure(conn: Connection, *, exposure_id: UUID, issued_about: datetime) -> SavedExposure:
    """Return what was sent under an id that was made at `issued_about`, to the millisecond.

    Raises:
        ExposureNotFound: nothing was.
    """
    margin = timedelta(milliseconds=1)
    row = store.find_exposure(
        conn, exposure_id=exposure_id, issued_from=issued_about - margin, issued_before=issued_about + margin
    )
    if row is None:
        raise ExposureNotFound
    exposure = Exposure(
        exposure_id=row.exposure_id,
        issued_at=row.issued_at,
        member_key=row.member_key,
        experiment_key=row.experiment_key,
        arm=row.arm,
        policy=row.policy,
        model_version=row.model_version,
        fallback=row.fallback,
        placement=row.placement,
        channel=row.channel,
        window_end=row.window_end,
        item_keys=row.item_keys,
        decision=row.decision,
        nested=tuple(row.nested or ()),
        anonymous_id=row.anonymous_id,
        reward_keys=row.reward_keys,
    )
    return SavedExposure(exposure, row.member_id, row.experiment, row.version)


def start_experiment(conn: Connection, *, experiment: str, actor: Actor, now: datetime) -> Definition:
    """Start the draft of an experiment, and fix what it is expected to be able to show.

    Raises:
        UnknownExperiment. ExperimentNotADraft: there is nothing to start.
    """
    versions = definitions.list_versions(conn, experiment=experiment)
    plan = versions[0].plan if versions else get_experiment(conn, experiment=experiment).plan
    outlook = look_ahead(conn, plan=plan, now=now)
    return definitions.start_version(
        conn,
        experiment=experiment,
        planned_members=max(2, outlook["members"]),
        outlook=outlook,
        actor=actor,
        now=now,
    )


def refresh_holdout_baselines(conn: Connection, *, now: datetime, today: date) -> int:
    """Work out anew what the running hold-out does by itself, per tier at assignment.

    Counts members whose own window has matured by `now`; a repurchase is an order in the window, its
    checkout begun after the assignment, still net-positive when the member's window froze. Returns how
    many tiers have a figure.
    """
    running = get_running_holdout(conn)
    if running is None:
        return 0
    rows = store.count_repurchases(conn, experiment=running.experiment, arm=HOLDOUT, watermark=now)
    store.replace_baselines(conn, experiment=running.experiment, rows=rows, as_of=today)
    return len(rows)


def _read_place(place: Mapping[str, Any]) -> Place:
    names = ("experiment_key", "experiment", "version", "salt", "window_days", "refund_grace_days", "status")
    return Place(
        experiment=Experiment(arms=read_arms(place["arms"]), **{name: place[name] for name in names}),
        surface=place["surface"],
        nested=place["nested"],
        arm=place["arm"],
        is_eligible=bool(place["eligible"]),
    )


def _read_assignment(row: Row[Any], version: Experiment) -> Assignment:
    return Assignment(
        experiment=version,
        arm=row.arm,
        bucket=row.bucket,
        reason=row.reason,
        assigned_at=row.assigned_at,
        tier_at_assignment=row.tier_at_assignment,
    )
