"""What later rooms may join: a member id with its tier, its side of the hold-out and the baseline."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, bindparam, case, func, literal, select

from service.experiments.models import assignments, experiments, holdout_baselines
from service.members.readable import known_rows
from service.tiers.readable import standing_rows

_running = (
    select(experiments.c.experiment_key, experiments.c.experiment)
    .where(experiments.c.is_global_holdout, experiments.c.status == "running")
    .subquery("running")
)
_one_row = select(literal(1).label("one")).subquery("one_row")
# A member keeps the version drawn under; one not yet drawn would be drawn under the running one.
_version = experiments.alias("version")
_stratum = func.coalesce(
    case(
        (assignments.c.member_key.is_not(None), assignments.c.tier_at_assignment), else_=standing_rows.c.tier
    ),
    "",
)

subject: Select[Any] = select(
    known_rows.c.member_key,
    known_rows.c.member_id,
    standing_rows.c.tier,
    _version.c.experiment_key,
    _version.c.experiment,
    _version.c.version,
    _version.c.salt,
    _version.c.arms,
    _version.c.window_days,
    _version.c.refund_grace_days,
    assignments.c.arm,
    assignments.c.bucket,
    assignments.c.reason,
    assignments.c.assigned_at,
    assignments.c.tier_at_assignment,
    holdout_baselines.c.numerator,
    holdout_baselines.c.denominator,
    holdout_baselines.c.as_of,
).select_from(
    _one_row.outerjoin(known_rows, known_rows.c.asked_id == bindparam("member_id"))
    .outerjoin(standing_rows, standing_rows.c.member_key == known_rows.c.member_key)
    .outerjoin(_running, literal(True))
    .outerjoin(
        assignments,
        and_(
            assignments.c.experiment == _running.c.experiment,
            assignments.c.member_key == known_rows.c.member_key,
        ),
    )
    .outerjoin(
        _version,
        _version.c.experiment_key == func.coalesce(assignments.c.experiment_key, _running.c.experiment_key),
    )
    .outerjoin(
        holdout_baselines,
        and_(holdout_baselines.c.experiment == _version.c.experiment, holdout_baselines.c.tier == _stratum),
    )
)
"""Exactly one row for `:member_id`, whoever it is; add columns to it rather than asking twice.

`service.experiments.operations.read_subject` reads it.
"""
