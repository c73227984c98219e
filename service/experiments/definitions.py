"""Experiments as staff define them: drafted, started, given a new version, frozen, closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from service.experiments import definitions_store as store
from service.experiments.errors import (
    ExperimentExists,
    ExperimentNotADraft,
    ExperimentNotRunning,
    ExperimentRunning,
    UnknownExperiment,
)
from service.experiments.rules import ANALYSIS, DRAFT, RUNNING, STOPPED, Arm, read_arms
from service.kit import audit
from service.kit.audit import Actor


@dataclass(frozen=True, slots=True)
class Plan:
    """What is given of an experiment; `eligibility` and `guardrails` are JSON as they are kept."""

    title: str
    surface: str
    nested: bool
    arms: Sequence[Arm]
    eligibility: Mapping[str, Any]
    anchor: str
    window_days: int
    refund_grace_days: int
    guardrails: Sequence[Mapping[str, Any]]
    salt: str = "s1"


@dataclass(frozen=True, slots=True)
class Definition:
    """One version of an experiment and where it stands."""

    experiment_key: int
    experiment: str
    version: int
    status: str
    is_global_holdout: bool
    plan: Plan
    created_at: datetime
    created_by: str | None
    started_at: datetime | None
    frozen_at: datetime | None
    stopped_at: datetime | None
    planned_members: int | None
    outlook: Mapping[str, Any] | None

    def final_from(self, *, window_days: int) -> datetime | None:
        """Return when everybody who could be enrolled is mature, None while enrolment goes on."""
        if self.frozen_at is None:
            return None
        return self.frozen_at + timedelta(days=window_days + self.plan.refund_grace_days)


def get_experiment(conn: Connection, *, experiment: str, version: int | None = None) -> Definition:
    """Return a version of an experiment; without one, the one that runs, or else the newest.

    Raises:
        UnknownExperiment: there is none of that key, or no such version.
    """
    row = store.find(conn, experiment=experiment, version=version)
    if row is None:
        what = experiment if version is None else f"{experiment} in version {version}"
        raise UnknownExperiment(f"there is no experiment {what}")
    return _read(row)


def list_experiments(conn: Connection, *, status: str | None, after: str, limit: int) -> list[Definition]:
    """Return up to `limit` experiments by key after one: of each the version that runs, or the newest."""
    return [_read(row) for row in store.list_current(conn, status=status, after=after, limit=limit)]


def list_versions(conn: Connection, *, experiment: str) -> list[Definition]:
    """Return every version of an experiment, the newest first."""
    return [_read(row) for row in store.list_versions(conn, experiment=experiment)]


def list_open_versions(conn: Connection) -> list[Definition]:
    """Return every version that was started and whose results may still change."""
    return [_read(row) for row in store.list_started(conn)]


def draft_experiment(
    conn: Connection, *, experiment: str, plan: Plan, actor: Actor, now: datetime
) -> Definition:
    """Add a draft of the first version.

    Raises:
        ExperimentExists: the key is taken.
    """
    store.lock(conn)
    if store.find(conn, experiment=experiment, version=None) is not None:
        raise ExperimentExists(f"{experiment} exists; a change of arms is a new version of it")
    store.insert(conn, experiment=experiment, version=1, values=_columns(plan), actor=actor.name, now=now)
    _record(conn, "drafted", experiment, None, _content(plan), actor, now)
    return get_experiment(conn, experiment=experiment)


def draft_version(
    conn: Connection, *, experiment: str, arms: Sequence[Arm], actor: Actor, now: datetime
) -> Definition:
    """Add a draft of the next version with other arms; everything else is as in the version before.

    Raises:
        UnknownExperiment. ExperimentExists: there is a draft already.
    """
    store.lock(conn)
    newest = list_versions(conn, experiment=experiment)
    if not newest:
        raise UnknownExperiment(f"there is no experiment {experiment}")
    last = newest[0]
    if last.status == DRAFT:
        raise ExperimentExists(f"{experiment} has a draft already, version {last.version}")
    values = _columns(last.plan) | {"arms": _arms_json(arms)}
    values["is_global_holdout"] = last.is_global_holdout
    version = last.version + 1
    store.insert(conn, experiment=experiment, version=version, values=values, actor=actor.name, now=now)
    drafted = get_experiment(conn, experiment=experiment, version=version)
    _record(conn, "version-drafted", experiment, _content(last.plan), _content(drafted.plan), actor, now)
    return drafted


def change_draft(conn: Connection, *, experiment: str, plan: Plan, actor: Actor, now: datetime) -> Definition:
    """Give a draft another plan.

    Raises:
        UnknownExperiment. ExperimentRunning: it runs. ExperimentNotADraft: it ran.
    """
    store.lock(conn)
    old = list_versions(conn, experiment=experiment)
    if not old:
        raise UnknownExperiment(f"there is no experiment {experiment}")
    if old[0].status in {RUNNING, ANALYSIS}:
        raise ExperimentRunning(f"{experiment} is {old[0].status}; draft a new version instead")
    if old[0].status != DRAFT:
        raise ExperimentNotADraft(f"{experiment} is {old[0].status}")
    version = old[0].version
    store.change(conn, experiment_key=old[0].experiment_key, values=_columns(plan))
    _record(conn, "changed", experiment, _content(old[0].plan), _content(plan), actor, now)
    return get_experiment(conn, experiment=experiment, version=version)


def start_version(
    conn: Connection,
    *,
    experiment: str,
    planned_members: int,
    outlook: Mapping[str, Any],
    actor: Actor,
    now: datetime,
) -> Definition:
    """Let the draft draw arms from now on; the version that ran is replaced, its stored arms stay.

    `outlook` is the smallest effect that can be seen, as told at the start.

    Raises:
        UnknownExperiment. ExperimentNotADraft: there is nothing to start.
    """
    store.lock(conn)
    newest = list_versions(conn, experiment=experiment)
    if not newest:
        raise UnknownExperiment(f"there is no experiment {experiment}")
    draft = newest[0]
    if draft.status != DRAFT:
        raise ExperimentNotADraft(f"version {draft.version} of {experiment} is {draft.status}")
    store.replace_running(conn, experiment=experiment, now=now)
    store.start(
        conn,
        experiment_key=draft.experiment_key,
        planned_members=planned_members,
        outlook=outlook,
        now=now,
    )
    _record(conn, "started", experiment, {"status": DRAFT}, {"status": RUNNING}, actor, now)
    return get_experiment(conn, experiment=experiment, version=draft.version)


def stop_experiment(
    conn: Connection, *, experiment: str, at_once: bool, reason: str | None, actor: Actor, now: datetime
) -> Definition:
    """End enrolment and wait for the windows to close; `at_once` also stops serving the arms.

    While it is in analysis nobody new is drawn, and whoever was drawn keeps the arm until the last window
    has matured.

    Raises:
        UnknownExperiment. ExperimentNotRunning: it does not run.
    """
    store.lock(conn)
    current = get_experiment(conn, experiment=experiment)
    wanted = STOPPED if at_once else ANALYSIS
    if current.status not in {RUNNING, ANALYSIS} or current.status == wanted:
        raise ExperimentNotRunning(f"{experiment} is {current.status}")
    store.stop(conn, experiment_key=current.experiment_key, status=wanted, now=now)
    _record(
        conn, "stopped", experiment, {"status": current.status}, {"status": wanted}, actor, now, reason=reason
    )
    return get_experiment(conn, experiment=experiment, version=current.version)


def close_experiment(conn: Connection, *, definition: Definition, now: datetime) -> None:
    """Mark an experiment in analysis as over."""
    store.stop(conn, experiment_key=definition.experiment_key, status=STOPPED, now=now)


def _columns(plan: Plan) -> dict[str, Any]:
    return {
        "title": plan.title,
        "surface": plan.surface,
        "nested": plan.nested,
        "arms": _arms_json(plan.arms),
        "eligibility": dict(plan.eligibility),
        "anchor": plan.anchor,
        "window_days": plan.window_days,
        "refund_grace_days": plan.refund_grace_days,
        "guardrails": list(plan.guardrails),
        "salt": plan.salt,
        "is_global_holdout": False,
    }


def _arms_json(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    return [
        {"arm": arm.arm, "weight_bp": arm.weight_bp} | ({} if arm.policy is None else {"policy": arm.policy})
        for arm in arms
    ]


def _content(plan: Plan) -> dict[str, Any]:
    return {name: value for name, value in _columns(plan).items() if name != "is_global_holdout"}


def _record(
    conn: Connection,
    verb: str,
    experiment: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    actor: Actor,
    now: datetime,
    *,
    reason: str | None = None,
) -> None:
    audit.record(
        conn,
        actor=actor.name,
        action=f"experiment.{verb}",
        subject=("experiment", experiment),
        before=before,
        after=after,
        reason=reason,
        request_id=actor.request_id,
        now=now,
    )


def _read(row: Row[Any]) -> Definition:
    return Definition(
        experiment_key=row.experiment_key,
        experiment=row.experiment,
        version=row.version,
        status=row.status,
        is_global_holdout=row.is_global_holdout,
        plan=Plan(
            title=row.title or row.experiment,
            surface=row.surface,
            nested=row.nested,
            arms=read_arms(row.arms),
            eligibility=row.eligibility,
            anchor=row.anchor,
            window_days=row.window_days,
            refund_grace_days=row.refund_grace_days,
            guardrails=row.guardrails,
            salt=row.salt,
        ),
        created_at=row.created_at,
        created_by=row.created_by,
        started_at=row.started_at,
        frozen_at=row.frozen_at,
        stopped_at=row.stopped_at,
        planned_members=row.planned_members,
        outlook=row.outlook,
    )
