"""Every SQL statement about many members drawn and shown something at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Connection, Row, Select, Text, and_, any_, bindparam, cast, select, text

from service.experiments.models import assignments, experiments
from service.experiments.readable import is_eligible
from service.experiments.rules import Experiment
from service.members.readable import known_rows
from service.tiers.readable import standing_rows

_asked, _under = experiments.alias("asked_version"), experiments.alias("drawn_under")
_CROWD: Select[Any] = (
    select(
        known_rows.c.asked_id,
        known_rows.c.member_key,
        known_rows.c.member_id,
        standing_rows.c.tier,
        is_eligible(_asked.c.eligibility, member_key=known_rows.c.member_key).label("eligible"),
        assignments.c.arm,
        assignments.c.bucket,
        assignments.c.reason,
        assignments.c.assigned_at,
        assignments.c.tier_at_assignment,
        _under.c.experiment_key,
        _under.c.version,
        _under.c.salt,
        _under.c.arms,
        _under.c.window_days,
        _under.c.refund_grace_days,
        _under.c.status,
    )
    .select_from(
        known_rows.join(_asked, _asked.c.experiment_key == bindparam("experiment_key"))
        .outerjoin(standing_rows, standing_rows.c.member_key == known_rows.c.member_key)
        .outerjoin(
            assignments,
            and_(
                assignments.c.experiment == _asked.c.experiment,
                assignments.c.member_key == known_rows.c.member_key,
                assignments.c.merged_into.is_(None),
            ),
        )
        .outerjoin(_under, _under.c.experiment_key == assignments.c.experiment_key)
    )
    .where(known_rows.c.asked_id == any_(cast(bindparam("member_ids"), ARRAY(Text(collation="C")))))
)
# By key, so that two crowds with the same members in them wait for each other and never in a circle.
_INSERT = text(
    """
    INSERT INTO assignments (experiment, member_key, experiment_key, arm, bucket, reason, assigned_at,
        tier_at_assignment)
    SELECT :experiment, given.member_key, :experiment_key, given.arm, given.bucket, 'split', :now, given.tier
    FROM unnest(CAST(:member_keys AS bigint[]), CAST(:arms AS text[]), CAST(:buckets AS smallint[]),
        CAST(:tiers AS text[])) AS given (member_key, arm, bucket, tier)
    ORDER BY given.member_key
    ON CONFLICT (experiment, member_key) DO NOTHING
    """
)
_HELD_OUT = text(
    "SELECT a.member_key FROM assignments a WHERE a.arm = :arm AND a.merged_into IS NULL "
    "AND a.member_key = ANY(:member_keys) AND a.experiment = (SELECT e.experiment FROM experiments e "
    "WHERE e.is_global_holdout AND e.status IN ('running', 'analysis') "
    "ORDER BY e.status = 'running' DESC, e.started_at DESC LIMIT 1)"
)
_EXPOSE = text(
    """
    INSERT INTO exposures (exposure_id, issued_at, member_key, experiment_key, arm, policy, placement,
        channel, window_end, item_keys, decision)
    SELECT given.exposure_id, given.issued_at, given.member_key, given.experiment_key, given.arm, :policy,
        :placement, :channel, given.window_end, '{}', given.decision
    FROM unnest(CAST(:exposure_ids AS uuid[]), CAST(:issued_ats AS timestamptz[]),
        CAST(:member_keys AS bigint[]), CAST(:experiment_keys AS integer[]), CAST(:arms AS text[]),
        CAST(:window_ends AS timestamptz[]), CAST(:decisions AS jsonb[]))
        AS given (exposure_id, issued_at, member_key, experiment_key, arm, window_end, decision)
    """
)


def find_crowd(conn: Connection, *, version: Experiment, member_ids: Sequence[str]) -> Sequence[Row[Any]]:
    """Return one row for each id that is known: the member, whether the rules are met, the arm if drawn."""
    parameters = {"experiment_key": version.experiment_key, "member_ids": list(member_ids)}
    return conn.execute(_CROWD, parameters).all()


def insert_assignments(
    conn: Connection,
    *,
    version: Experiment,
    member_keys: Sequence[int],
    arms: Sequence[str],
    buckets: Sequence[int],
    tiers: Sequence[str | None],
    now: datetime,
) -> None:
    """Write first assignments, each unless another request was faster."""
    conn.execute(
        _INSERT,
        {
            "experiment": version.experiment,
            "experiment_key": version.experiment_key,
            "member_keys": list(member_keys),
            "arms": list(arms),
            "buckets": list(buckets),
            "tiers": list(tiers),
            "now": now,
        },
    )


def find_held_out(conn: Connection, *, member_keys: Sequence[int], arm: str) -> frozenset[int]:
    """Return those whom the global hold-out keeps."""
    return frozenset(conn.scalars(_HELD_OUT, {"member_keys": list(member_keys), "arm": arm}))


def insert_exposures(conn: Connection, *, columns: Mapping[str, Any]) -> None:
    """Write many exposures, given by column."""
    conn.execute(_EXPOSE, columns)
