"""Every SQL statement about visitors, testers, and people who turn out to be one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, literal, select, text

from service.experiments.models import anonymous_assignments, experiments
from service.experiments.readable import is_eligible
from service.members.readable import member_rows
from service.tiers.readable import standing_rows

_one_row = select(literal(1).label("one")).subquery("one_row")
_VISITOR: Select[Any] = select(
    member_rows.c.member_key,
    member_rows.c.member_id,
    standing_rows.c.tier,
    anonymous_assignments.c.member_key.label("stitched_to"),
    experiments.c.experiment_key,
    experiments.c.experiment,
    experiments.c.version,
    experiments.c.salt,
    experiments.c.arms,
    experiments.c.window_days,
    experiments.c.refund_grace_days,
    experiments.c.status,
    experiments.c.nested,
    experiments.c.eligibility,
    is_eligible(experiments.c.eligibility, member_key=member_rows.c.member_key).label("eligible"),
).select_from(
    _one_row.join(experiments, experiments.c.experiment_key == bindparam("experiment_key"))
    .outerjoin(
        anonymous_assignments,
        and_(
            anonymous_assignments.c.experiment == bindparam("experiment"),
            anonymous_assignments.c.anonymous_id == bindparam("anonymous_id"),
        ),
    )
    .outerjoin(member_rows, member_rows.c.member_id == bindparam("member_id"))
    .outerjoin(standing_rows, standing_rows.c.member_key == member_rows.c.member_key)
)
_VERSION_COLUMNS = (
    "e.experiment_key, e.experiment, e.version, e.salt, e.arms, e.window_days, e.refund_grace_days, e.status"
)
_MEMBERS_OWN = text(
    f"SELECT a.arm, a.bucket, a.reason, a.assigned_at, a.tier_at_assignment, {_VERSION_COLUMNS} "  # noqa: S608
    "FROM assignments a JOIN experiments e ON e.experiment_key = a.experiment_key "
    "WHERE a.experiment = :experiment AND a.member_key = :member_key AND a.merged_into IS NULL"
)
_ANONYMOUS = text(
    "SELECT a.arm, a.bucket, 'split' AS reason, a.assigned_at, NULL AS tier_at_assignment, "  # noqa: S608
    f"{_VERSION_COLUMNS} FROM anonymous_assignments a JOIN experiments e "
    "ON e.experiment_key = a.experiment_key "
    "WHERE a.experiment = :experiment AND a.anonymous_id = :anonymous_id AND a.member_key IS NULL"
)
_INSERT = text(
    "INSERT INTO assignments (experiment, member_key, experiment_key, arm, bucket, reason, assigned_at, "
    "tier_at_assignment) VALUES (:experiment, :member_key, :experiment_key, :arm, :bucket, :reason, :now, "
    ":tier) ON CONFLICT (experiment, member_key) DO NOTHING"
)
_INSERT_ANONYMOUS = text(
    "INSERT INTO anonymous_assignments (experiment, anonymous_id, experiment_key, arm, bucket, assigned_at) "
    "VALUES (:experiment, :anonymous_id, :experiment_key, :arm, :bucket, :now) ON CONFLICT DO NOTHING"
)
_OVERRIDE = text(
    """
    INSERT INTO assignments (experiment, member_key, experiment_key, arm, bucket, reason, assigned_at)
    VALUES (:experiment, :member_key, :experiment_key, :arm, :bucket, 'override', :now)
    ON CONFLICT (experiment, member_key) DO UPDATE SET arm = excluded.arm, reason = 'override'
    """
)
# The earlier of two draws of one person stands: of what was drawn before logging in, and of the member's own.
_STITCH = text(
    """
    WITH visitor AS (
        UPDATE anonymous_assignments SET member_key = :member_key, stitched_at = :now
        WHERE anonymous_id = :anonymous_id AND member_key IS NULL
        RETURNING experiment, experiment_key, arm, bucket, assigned_at
    )
    INSERT INTO assignments AS own (experiment, member_key, experiment_key, arm, bucket, reason, assigned_at,
        tier_at_assignment)
    SELECT v.experiment, :member_key, v.experiment_key, v.arm, v.bucket, 'split', v.assigned_at,
        :tier
    FROM visitor v
    ON CONFLICT (experiment, member_key) DO UPDATE SET experiment_key = excluded.experiment_key,
        arm = excluded.arm, bucket = excluded.bucket, assigned_at = excluded.assigned_at,
        merges = own.merges + 1
    WHERE own.reason = 'split' AND own.merged_into IS NULL AND excluded.assigned_at < own.assigned_at
    """
)
_ADOPT = text(
    "UPDATE exposures SET member_key = :member_key WHERE anonymous_id = :anonymous_id AND member_key IS NULL "
    "AND EXISTS (SELECT FROM anonymous_assignments a WHERE a.anonymous_id = :anonymous_id "
    "AND a.member_key = :member_key)"
)
# What stood before is kept as it was, so that a merge can be undone; a tester's override goes before a draw.
_MERGE = text(
    """
    WITH theirs AS (
        SELECT * FROM assignments WHERE member_key = :from_key AND merged_into IS NULL FOR UPDATE
    ), kept AS (
        INSERT INTO assignment_merges (experiment, into_key, from_key, merged_at, before)
        SELECT t.experiment, :into_key, :from_key, :now, to_jsonb(own)
        FROM theirs t LEFT JOIN assignments own
            ON own.experiment = t.experiment AND own.member_key = :into_key
        ON CONFLICT (experiment, from_key) DO UPDATE SET into_key = excluded.into_key,
            merged_at = excluded.merged_at, before = excluded.before
    ), aside AS (
        UPDATE assignments a SET merged_into = :into_key FROM theirs t
        WHERE a.experiment = t.experiment AND a.member_key = t.member_key
        RETURNING a.experiment
    )
    INSERT INTO assignments AS own (experiment, member_key, experiment_key, arm, bucket, reason, assigned_at,
        tier_at_assignment, merges)
    SELECT experiment, :into_key, experiment_key, arm, bucket, reason, assigned_at, tier_at_assignment,
        merges + 1
    FROM theirs
    ON CONFLICT (experiment, member_key) DO UPDATE SET
        experiment_key = CASE WHEN excluded.assigned_at < own.assigned_at
            THEN excluded.experiment_key ELSE own.experiment_key END,
        arm = CASE WHEN excluded.assigned_at < own.assigned_at THEN excluded.arm ELSE own.arm END,
        bucket = CASE WHEN excluded.assigned_at < own.assigned_at THEN excluded.bucket ELSE own.bucket END,
        tier_at_assignment = CASE WHEN excluded.assigned_at < own.assigned_at
            THEN excluded.tier_at_assignment ELSE own.tier_at_assignment END,
        assigned_at = least(excluded.assigned_at, own.assigned_at),
        reason = CASE WHEN 'override' IN (excluded.reason, own.reason) THEN 'override' ELSE 'split' END,
        merges = own.merges + excluded.merges
    """
)
_UNDO = text(
    """
    WITH undone AS (
        DELETE FROM assignment_merges WHERE from_key = :from_key AND into_key = :into_key
        RETURNING experiment, before
    ), back AS (
        UPDATE assignments a SET merged_into = NULL FROM undone u
        WHERE a.experiment = u.experiment AND a.member_key = :from_key
    ), gone AS (
        DELETE FROM assignments a USING undone u
        WHERE a.experiment = u.experiment AND a.member_key = :into_key AND u.before IS NULL
    )
    UPDATE assignments a SET experiment_key = (u.before ->> 'experiment_key')::integer,
        arm = u.before ->> 'arm', bucket = (u.before ->> 'bucket')::smallint, reason = u.before ->> 'reason',
        assigned_at = (u.before ->> 'assigned_at')::timestamptz,
        tier_at_assignment = u.before ->> 'tier_at_assignment', merges = (u.before ->> 'merges')::smallint
    FROM undone u
    WHERE a.experiment = u.experiment AND a.member_key = :into_key AND u.before IS NOT NULL
    """
)
_MERGED = text("SELECT count(*) FROM assignment_merges WHERE from_key = :from_key AND into_key = :into_key")


def find_visitor(
    conn: Connection, *, experiment_key: int, experiment: str, member_id: str | None, anonymous_id: str | None
) -> Row[Any]:
    """Return one row: the version, who the visitor is as far as is known, and whether the rules are met."""
    parameters = {
        "experiment_key": experiment_key,
        "experiment": experiment,
        "member_id": member_id,
        "anonymous_id": anonymous_id,
    }
    return conn.execute(_VISITOR, parameters).one()


def find_member_assignment(conn: Connection, *, experiment: str, member_key: int) -> Row[Any] | None:
    """Return a member's assignment with the version it was drawn under."""
    return conn.execute(_MEMBERS_OWN, {"experiment": experiment, "member_key": member_key}).one_or_none()


def find_anonymous(conn: Connection, *, experiment: str, anonymous_id: str) -> Row[Any] | None:
    """Return the assignment of a visitor who has not logged in yet."""
    return conn.execute(_ANONYMOUS, {"experiment": experiment, "anonymous_id": anonymous_id}).one_or_none()


def insert_assignment(
    conn: Connection,
    *,
    experiment: str,
    member_key: int | None,
    experiment_key: int,
    arm: str,
    bucket: int,
    reason: str,
    now: datetime,
    tier: str | None,
) -> None:
    """Write a first assignment, unless another request was faster."""
    conn.execute(
        _INSERT,
        {
            "experiment": experiment,
            "member_key": member_key,
            "experiment_key": experiment_key,
            "arm": arm,
            "bucket": bucket,
            "reason": reason,
            "now": now,
            "tier": tier,
        },
    )


def insert_anonymous(
    conn: Connection,
    *,
    experiment: str,
    anonymous_id: str,
    experiment_key: int,
    arm: str,
    bucket: int,
    now: datetime,
) -> None:
    """Write a visitor's first assignment, unless another request was faster."""
    conn.execute(
        _INSERT_ANONYMOUS,
        {
            "experiment": experiment,
            "anonymous_id": anonymous_id,
            "experiment_key": experiment_key,
            "arm": arm,
            "bucket": bucket,
            "now": now,
        },
    )


def override(
    conn: Connection,
    *,
    experiment: str,
    member_key: int,
    experiment_key: int,
    arm: str,
    bucket: int,
    now: datetime,
) -> None:
    """Write a tester's arm over whatever was drawn, and flag it."""
    conn.execute(
        _OVERRIDE,
        {
            "experiment": experiment,
            "member_key": member_key,
            "experiment_key": experiment_key,
            "arm": arm,
            "bucket": bucket,
            "now": now,
        },
    )


def stitch(conn: Connection, *, member_key: int, anonymous_id: str, tier: str | None, now: datetime) -> int:
    """Take over a visitor's assignments, and return how many of them now stand."""
    parameters = {"member_key": member_key, "anonymous_id": anonymous_id, "tier": tier, "now": now}
    return conn.execute(_STITCH, parameters).rowcount


def adopt_exposures(conn: Connection, *, member_key: int, anonymous_id: str) -> None:
    """Make a visitor's exposures those of the member."""
    conn.execute(_ADOPT, {"member_key": member_key, "anonymous_id": anonymous_id})


def merge(conn: Connection, *, from_key: int, into_key: int, now: datetime) -> int:
    """Let the earliest assignment of each experiment stand, and return how many were joined."""
    return conn.execute(_MERGE, {"from_key": from_key, "into_key": into_key, "now": now}).rowcount


def undo_merge(conn: Connection, *, from_key: int, into_key: int) -> int:
    """Put back what stood before a merge, and return in how many experiments."""
    keys = {"from_key": from_key, "into_key": into_key}
    merged = int(conn.execute(_MERGED, keys).scalar_one())
    conn.execute(_UNDO, keys)
    return merged
