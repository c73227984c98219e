"""Every SQL statement of the experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, and_, bindparam, func, literal, select, text
from sqlalchemy.dialects.postgresql import INTERVAL

from service.activity.readable import order_give_backs, order_values
from service.experiments.models import assignments, experiments, exposures
from service.experiments.readable import subject
from service.kit.db import dumps, run
from service.members.readable import member_rows

_INSERT_EXPERIMENT = text(
    "INSERT INTO experiments (experiment, version, salt, arms, is_global_holdout, status, window_days, "
    "refund_grace_days, created_at, started_at) "
    "VALUES (:experiment, :version, :salt, CAST(:arms AS jsonb), :is_global_holdout, 'running', "
    ":window_days, :refund_grace_days, :now, :now) ON CONFLICT DO NOTHING"
)
_RUNNING_HOLDOUT = text(
    "SELECT experiment_key, experiment, version, salt, arms, window_days, refund_grace_days, status "
    "FROM experiments "
    "WHERE is_global_holdout AND status = 'running'"
)
_INSERT_ASSIGNMENT = text(
    "INSERT INTO assignments (experiment, member_key, experiment_key, arm, bucket, reason, assigned_at, "
    "tier_at_assignment) VALUES (:experiment, :member_key, :experiment_key, :arm, :bucket, :reason, "
    ":assigned_at, :tier) ON CONFLICT (experiment, member_key) DO NOTHING"
)
_ASSIGNMENTS = text(
    "SELECT a.arm, a.bucket, a.reason, a.assigned_at, a.tier_at_assignment, e.experiment_key, e.experiment, "
    "e.version, e.salt, e.arms, e.window_days, e.refund_grace_days, e.status "
    "FROM assignments a JOIN experiments e ON e.experiment_key = a.experiment_key "
    "WHERE a.member_key = :member_key AND a.merged_into IS NULL "
    "AND (CAST(:experiment AS text) IS NULL OR a.experiment = :experiment) "
    "ORDER BY a.experiment"
)
# One narrow row; with `relaxed` the commit does not wait for the disk, so nothing else may be in it.
_INSERT_EXPOSURE = text(
    "INSERT INTO exposures (exposure_id, issued_at, member_key, experiment_key, arm, policy, model_version, "
    "fallback, placement, channel, window_end, item_keys, decision, nested, anonymous_id, reward_keys) "
    "SELECT CAST(:exposure_id AS uuid), CAST(:issued_at AS timestamptz), CAST(:member_key AS bigint), "
    "CAST(:experiment_key AS integer), CAST(:arm AS text), CAST(:policy AS text), "
    "CAST(:model_version AS text), CAST(:fallback AS text), CAST(:placement AS text), "
    "CAST(:channel AS text), CAST(:window_end AS timestamptz), CAST(:item_keys AS bigint[]), "
    "CAST(:decision AS jsonb), CAST(:nested AS integer[]), CAST(:anonymous_id AS text), "
    "CAST(:reward_keys AS integer[]) "
    "WHERE NOT :relaxed OR set_config('synchronous_commit', 'off', true) = 'off'"
)
_EXPOSURE = (
    select(exposures, member_rows.c.member_id, experiments.c.experiment, experiments.c.version)
    .select_from(
        exposures.outerjoin(member_rows, member_rows.c.member_key == exposures.c.member_key).outerjoin(
            experiments, experiments.c.experiment_key == exposures.c.experiment_key
        )
    )
    .where(
        exposures.c.exposure_id == bindparam("exposure_id"),
        exposures.c.issued_at >= bindparam("issued_from"),
        exposures.c.issued_at < bindparam("issued_before"),
    )
)
_HAD_HOLDOUT = text("SELECT EXISTS (SELECT FROM experiments WHERE is_global_holdout)")
_DELETE_BASELINES = text("DELETE FROM holdout_baselines WHERE experiment = :experiment")


def find_subject(conn: Connection, *, member_id: str) -> Row[Any]:
    """Return the one row of `readable.subject`."""
    return run(conn, subject, {"member_id": member_id}).one()


def find_running_holdout(conn: Connection) -> Row[Any] | None:
    """Return the running global hold-out."""
    return conn.execute(_RUNNING_HOLDOUT).one_or_none()


def had_holdout(conn: Connection) -> bool:
    """Tell whether there ever was a global hold-out."""
    return bool(conn.execute(_HAD_HOLDOUT).scalar_one())


def insert_experiment(
    conn: Connection,
    *,
    experiment: str,
    version: int,
    salt: str,
    arms: Sequence[Mapping[str, Any]],
    is_global_holdout: bool,
    window_days: int,
    refund_grace_days: int,
    now: datetime,
) -> None:
    """Start an experiment, unless that version exists or another global hold-out runs."""
    conn.execute(
        _INSERT_EXPERIMENT,
        {
            "experiment": experiment,
            "version": version,
            "salt": salt,
            "arms": dumps(list(arms)),
            "is_global_holdout": is_global_holdout,
            "window_days": window_days,
            "refund_grace_days": refund_grace_days,
            "now": now,
        },
    )


def insert_assignment(
    conn: Connection,
    *,
    experiment: str,
    member_key: int,
    experiment_key: int,
    arm: str,
    bucket: int,
    reason: str,
    assigned_at: datetime,
    tier: str | None,
) -> bool:
    """Write a first assignment; False when the member has one already."""
    parameters = {
        "experiment": experiment,
        "member_key": member_key,
        "experiment_key": experiment_key,
        "arm": arm,
        "bucket": bucket,
        "reason": reason,
        "assigned_at": assigned_at,
        "tier": tier,
    }
    return conn.execute(_INSERT_ASSIGNMENT, parameters).rowcount == 1


def list_assignments(
    conn: Connection, *, member_key: int, experiment: str | None = None
) -> Sequence[Row[Any]]:
    """Return a member's assignments by experiment, with the version each was drawn under."""
    return conn.execute(_ASSIGNMENTS, {"member_key": member_key, "experiment": experiment}).all()


def insert_exposure(conn: Connection, *, parameters: Mapping[str, Any]) -> None:
    """Write one exposure; whole numbers go in PostgreSQL's own spelling, which the driver takes as it is."""
    lists = {name: _spell(parameters[name]) for name in ("item_keys", "nested")}
    run(conn, _INSERT_EXPOSURE, {**parameters, **lists})


def _spell(numbers: Sequence[int] | None) -> str | None:
    return None if numbers is None else f"{{{','.join(map(str, numbers))}}}"


def find_exposure(
    conn: Connection, *, exposure_id: UUID, issued_from: datetime, issued_before: datetime
) -> Row[Any] | None:
    """Return an exposure whose time is known closely enough to look at one month only."""
    parameters = {"exposure_id": exposure_id, "issued_from": issued_from, "issued_before": issued_before}
    return conn.execute(_EXPOSURE, parameters).one_or_none()


def _days(column: Any) -> Any:
    return column * literal("1 day", INTERVAL)


_window_end = assignments.c.assigned_at + _days(experiments.c.window_days)
_frozen_at = _window_end + _days(experiments.c.refund_grace_days)
_given_back = (
    select(func.coalesce(func.sum(order_give_backs.c.order_amount_minor), 0))
    .where(
        order_give_backs.c.order_key == order_values.c.order_key,
        order_give_backs.c.given_back_at < _frozen_at,
    )
    .correlate(order_values, assignments, experiments)
    .scalar_subquery()
)
_came_back = (
    select(literal(1))
    .where(
        order_values.c.member_key == assignments.c.member_key,
        order_values.c.placed_at >= assignments.c.assigned_at,
        order_values.c.placed_at < _window_end,
        # A basket in progress at the anchor was not brought about by what came after it.
        func.coalesce(order_values.c.checkout_started_at, order_values.c.placed_at)
        >= assignments.c.assigned_at,
        order_values.c.order_goods_minor > _given_back,
    )
    .correlate(assignments, experiments)
    .exists()
)
_stratum = func.coalesce(assignments.c.tier_at_assignment, "")
_REPURCHASES = (
    select(
        _stratum.label("tier"),
        func.count().filter(_came_back).label("numerator"),
        func.count().label("denominator"),
    )
    .select_from(assignments.join(experiments, experiments.c.experiment_key == assignments.c.experiment_key))
    .where(
        and_(
            assignments.c.experiment == bindparam("experiment"),
            assignments.c.arm == bindparam("arm"),
            assignments.c.reason == "split",
            _frozen_at <= bindparam("watermark"),
        )
    )
    .group_by(_stratum)
    .order_by(_stratum)
)
_INSERT_BASELINE = text(
    "INSERT INTO holdout_baselines (experiment, tier, numerator, denominator, as_of) "
    "VALUES (:experiment, :tier, :numerator, :denominator, :as_of)"
)


def count_repurchases(
    conn: Connection, *, experiment: str, arm: str, watermark: datetime
) -> Sequence[Row[Any]]:
    """Return, per tier at assignment, how many mature members of an arm came back in their own window."""
    return conn.execute(_REPURCHASES, {"experiment": experiment, "arm": arm, "watermark": watermark}).all()


def replace_baselines(conn: Connection, *, experiment: str, rows: Sequence[Row[Any]], as_of: date) -> None:
    """Put new baselines in the place of the old ones."""
    conn.execute(_DELETE_BASELINES, {"experiment": experiment})
    for row in rows:
        conn.execute(
            _INSERT_BASELINE,
            {
                "experiment": experiment,
                "tier": row.tier,
                "numerator": row.numerator,
                "denominator": row.denominator,
                "as_of": as_of,
            },
        )
