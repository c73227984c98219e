"""Who was asked for and is in no arm, and why: told beside every result.

A shop's own test leaves an exposure without an arm for whoever it does not draw. Recommendations write one
for everybody they answer, in an experiment or not: whoever was answered while one ran and has no arm in
it was not drawn. So nothing is written for this alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

# The person's first answer of the version says why: eligibility was decided then.
_REFUSED = """
SELECT CAST(NULL AS text) AS arm, reason, count(*) AS members
FROM (
    SELECT DISTINCT ON (who) who, x.decision -> 'assignment' ->> 'reason' AS reason
    FROM exposures x
    -- Of whom nothing is known but a request, each request is somebody.
    CROSS JOIN LATERAL (
        SELECT coalesce('m' || x.member_key, 'a' || x.anonymous_id, 'x' || x.exposure_id)
    ) AS person (who)
    WHERE x.experiment_key = :experiment_key AND x.arm IS NULL
        AND x.issued_at >= :started_at AND x.issued_at < :watermark
        AND NOT EXISTS (SELECT FROM assignments a
            WHERE a.experiment = :experiment AND a.member_key = x.member_key)
    ORDER BY who, x.issued_at
) AS refused
GROUP BY reason
"""
# What only the shop's own tests were asked for says nothing about who was recommended to.
_ANSWERED = """
SELECT CAST(NULL AS text) AS arm, reason, count(*) AS members
FROM (
    SELECT DISTINCT ON (x.member_key) x.member_key,
        CASE WHEN x.issued_at >= :frozen_at THEN 'enrolment_ended'
             WHEN :nested AND x.arm = :holdout THEN 'held_out'
             ELSE 'not_eligible' END AS reason
    FROM exposures x LEFT JOIN experiments e ON e.experiment_key = x.experiment_key
    WHERE x.member_key IS NOT NULL AND (x.experiment_key IS NULL OR e.is_global_holdout)
        AND x.issued_at >= :started_at AND x.issued_at < :watermark
        AND NOT EXISTS (SELECT FROM assignments a
            WHERE a.experiment = :experiment AND a.member_key = x.member_key)
    ORDER BY x.member_key, x.issued_at
) AS answered
GROUP BY reason
"""
# An account that was merged into another counts there, as one person.
_MERGED = """
SELECT arm, 'merged' AS reason, count(*) AS members FROM assignments
WHERE experiment = :experiment AND experiment_key = :experiment_key AND merged_into IS NOT NULL
GROUP BY arm
"""
_OF_THE_SHOP = text(f"{_REFUSED} UNION ALL {_MERGED} ORDER BY reason, arm")
_OF_RECOMMENDATIONS = text(f"{_ANSWERED} UNION ALL {_MERGED} ORDER BY reason, arm")


def count_outside(
    conn: Connection,
    *,
    experiment: str,
    experiment_key: int,
    by_recommendations: bool,
    nested: bool,
    started_at: datetime,
    frozen_at: datetime | None,
    watermark: datetime,
    holdout: str,
) -> Sequence[Row[Any]]:
    """Return arm (null for none), reason and how many members: who was asked for and is in no arm.

    `by_recommendations`: its arms are drawn where something is recommended, else where the shop asks.
    """
    statement = _OF_RECOMMENDATIONS if by_recommendations else _OF_THE_SHOP
    parameters = {
        "experiment": experiment,
        "experiment_key": experiment_key,
        "nested": nested,
        "started_at": started_at,
        "frozen_at": frozen_at or watermark,
        "watermark": watermark,
        "holdout": holdout,
    }
    return conn.execute(statement, parameters).all()
