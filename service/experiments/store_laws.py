"""Every statement that checks the laws E1 and E2 on live data; each returns the exact rows that break one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, text

_LIMIT = 1_000

# The buckets of each arm, and the bucket of an id: worked out here a second time, apart from the rule book.
_RANGES = """
ranges AS (
    SELECT e.experiment_key, e.experiment, e.salt, a.value ->> 'arm' AS arm,
           sum((a.value ->> 'weight_bp')::integer) OVER before_and_own - (a.value ->> 'weight_bp')::integer
               AS first_bucket,
           sum((a.value ->> 'weight_bp')::integer) OVER before_and_own AS end_bucket
    FROM experiments e CROSS JOIN LATERAL jsonb_array_elements(e.arms) WITH ORDINALITY AS a (value, place)
    WINDOW before_and_own AS (PARTITION BY e.experiment_key ORDER BY a.place)
)"""


def _bucket(drawn_id: str) -> str:
    hashed = f"sha256(convert_to(e.experiment || chr(31) || e.salt || chr(31) || {drawn_id}, 'UTF8'))"
    # Two halves of 32 bits each, because the database knows no unsigned integers of 64.
    halves = [
        f"CAST(CAST(('x' || encode(substr({hashed}, {start}, 4), 'hex')) AS bit(32)) AS bigint)"
        for start in (1, 5)
    ]
    return f"div((4294967296.0 * {halves[0]} + {halves[1]}) * 10000, 18446744073709551616)"


# A row that came by a merge or from a visitor who logged in was drawn by that one's id.
_DRAWN_OTHERWISE = f"""
WITH {_RANGES}, drawn AS (
    SELECT a.*, e.experiment AS of_experiment, {_bucket("m.member_id")} AS own_bucket
    FROM assignments a JOIN experiments e USING (experiment_key) JOIN members m USING (member_key)
    WHERE a.reason = 'split'
)
SELECT CASE WHEN d.of_experiment <> d.experiment THEN format('the version is of %s', d.of_experiment)
            WHEN r.arm IS DISTINCT FROM d.arm THEN format('bucket %s is of %s, the arm is %s', d.bucket,
                coalesce(r.arm, 'no arm'), d.arm)
            ELSE format('the id falls into bucket %s, stored is %s', d.own_bucket, d.bucket) END AS detail,
       d.experiment, d.member_key, CAST(NULL AS text) AS anonymous_id, CAST(NULL AS uuid) AS exposure_id
FROM drawn d LEFT JOIN ranges r ON r.experiment_key = d.experiment_key
    AND d.bucket >= r.first_bucket AND d.bucket < r.end_bucket
WHERE d.of_experiment <> d.experiment OR r.arm IS DISTINCT FROM d.arm OR (
    d.bucket <> d.own_bucket
    AND NOT EXISTS (SELECT FROM assignments o WHERE o.experiment = d.experiment
        AND o.merged_into = d.member_key AND o.experiment_key = d.experiment_key AND o.bucket = d.bucket)
    AND NOT EXISTS (SELECT FROM anonymous_assignments v WHERE v.experiment = d.experiment
        AND v.member_key = d.member_key AND v.experiment_key = d.experiment_key AND v.bucket = d.bucket)
)
"""  # noqa: S608

_VISITORS_DRAWN_OTHERWISE = f"""
WITH {_RANGES}, drawn AS (
    SELECT v.*, {_bucket("v.anonymous_id")} AS own_bucket
    FROM anonymous_assignments v JOIN experiments e USING (experiment_key)
)
SELECT format('the id falls into bucket %s, of %s; stored are %s and %s', d.own_bucket,
              coalesce(r.arm, 'no arm'), d.bucket, d.arm) AS detail,
       d.experiment, d.member_key, d.anonymous_id, CAST(NULL AS uuid) AS exposure_id
FROM drawn d LEFT JOIN ranges r ON r.experiment_key = d.experiment_key
    AND d.own_bucket >= r.first_bucket AND d.own_bucket < r.end_bucket
WHERE d.bucket <> d.own_bucket OR r.arm IS DISTINCT FROM d.arm
"""  # noqa: S608

_OVERRIDES_WITHOUT_ARM = f"""
WITH {_RANGES}
SELECT format('a tester is in %s, which no version has', a.arm) AS detail, a.experiment, a.member_key,
       CAST(NULL AS text) AS anonymous_id, CAST(NULL AS uuid) AS exposure_id
FROM assignments a
WHERE a.reason = 'override'
    AND NOT EXISTS (SELECT FROM ranges r WHERE r.experiment = a.experiment AND r.arm = a.arm)
"""  # noqa: S608

_MERGED_AWAY = """
SELECT format('it was merged into %s, who has no assignment', a.merged_into) AS detail, a.experiment,
       a.member_key, CAST(NULL AS text) AS anonymous_id, CAST(NULL AS uuid) AS exposure_id
FROM assignments a LEFT JOIN assignments s ON s.experiment = a.experiment AND s.member_key = a.merged_into
WHERE a.merged_into IS NOT NULL AND s.member_key IS NULL
"""

_EXPOSURES_OF_NOTHING = f"""
WITH {_RANGES}, named AS (
    SELECT x.exposure_id, x.member_key, x.anonymous_id, x.experiment_key, x.arm, x.nested, e.experiment,
           -- Who was asked for and not drawn was told why.
           x.arm IS NULL AND x.decision -> 'assignment' ->> 'reason' IN ('not_eligible', 'held_out',
               'not_a_member', 'enrolment_ended') AS is_refused
    FROM exposures x LEFT JOIN experiments e USING (experiment_key)
)
SELECT CASE WHEN x.experiment_key IS NULL OR x.arm IS NULL AND NOT coalesce(x.is_refused, false)
                THEN 'it has a version or an arm, not both'
            WHEN x.experiment IS NULL THEN format('there is no version %s', x.experiment_key)
            ELSE format('its version has no arm %s', x.arm) END AS detail,
       x.experiment, x.member_key, x.anonymous_id, x.exposure_id
FROM named x
WHERE (x.experiment_key IS NULL) <> (x.arm IS NULL)
        AND NOT (x.experiment IS NOT NULL AND coalesce(x.is_refused, false))
    OR (x.arm IS NOT NULL AND NOT EXISTS (
        SELECT FROM ranges r WHERE r.experiment = x.experiment AND r.arm = x.arm))
UNION ALL
SELECT format('it is nested in a version %s, which there is not', n.key), x.experiment, x.member_key,
       x.anonymous_id, x.exposure_id
FROM named x CROSS JOIN LATERAL unnest(x.nested) AS n (key)
WHERE NOT EXISTS (SELECT FROM experiments e WHERE e.experiment_key = n.key)
"""  # noqa: S608

# What a tester was shown before the override, a merged member before the merge and a visitor before logging
# in was in the arm of then, which the assignment that stands no longer tells.
_EXPOSURES_AGAINST_ASSIGNMENTS = """
SELECT CASE WHEN a.member_key IS NULL AND v.anonymous_id IS NULL THEN 'whom it was for has no assignment'
            WHEN coalesce(a.arm, v.arm) <> x.arm
                THEN format('it was in %s, the assignment says %s', x.arm, coalesce(a.arm, v.arm))
            ELSE 'it was before the assignment' END AS detail,
       e.experiment, x.member_key, x.anonymous_id, x.exposure_id
FROM exposures x JOIN experiments e USING (experiment_key)
LEFT JOIN assignments a ON a.experiment = e.experiment AND a.member_key = x.member_key
LEFT JOIN anonymous_assignments v ON v.experiment = e.experiment AND v.anonymous_id = x.anonymous_id
WHERE x.arm IS NOT NULL
    AND NOT coalesce(a.reason = 'override' OR a.merges > 0, false)
    AND NOT coalesce(a.arm = x.arm AND a.assigned_at <= x.issued_at, false)
    AND NOT coalesce(v.arm = x.arm AND v.assigned_at <= x.issued_at, false)
UNION ALL
SELECT format('it was refused for %s, though the assignment says %s', x.decision -> 'assignment' ->> 'reason',
              a.arm),
       e.experiment, x.member_key, x.anonymous_id, x.exposure_id
FROM exposures x JOIN experiments e USING (experiment_key)
JOIN assignments a ON a.experiment = e.experiment AND a.member_key = x.member_key
WHERE x.arm IS NULL AND a.assigned_at < x.issued_at AND a.reason = 'split' AND a.merges = 0
    AND a.merged_into IS NULL
    AND NOT EXISTS (SELECT FROM anonymous_assignments v WHERE v.experiment = e.experiment
        AND v.member_key = a.member_key)
UNION ALL
SELECT format('it is nested in %s, where whom it was for has no assignment', e.experiment),
       e.experiment, x.member_key, x.anonymous_id, x.exposure_id
FROM exposures x CROSS JOIN LATERAL unnest(x.nested) AS n (key)
JOIN experiments e ON e.experiment_key = n.key
LEFT JOIN assignments a ON a.experiment = e.experiment AND a.member_key = x.member_key
WHERE a.member_key IS NULL
"""

_CHECKS = [
    (law, text(f"{sql} LIMIT {_LIMIT}"))
    for law, sql in (
        ("E1", _DRAWN_OTHERWISE),
        ("E1", _VISITORS_DRAWN_OTHERWISE),
        ("E1", _OVERRIDES_WITHOUT_ARM),
        ("E1", _MERGED_AWAY),
        ("E2", _EXPOSURES_OF_NOTHING),
        ("E2", _EXPOSURES_AGAINST_ASSIGNMENTS),
    )
]


def list_violations(conn: Connection) -> list[tuple[str, Row[Any]]]:
    """Return law and row of detail, experiment, member_key, anonymous_id and exposure_id that breaks it."""
    return [(law, row) for law, check in _CHECKS for row in conn.execute(check)]
