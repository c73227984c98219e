"""Every statement that checks the recommendations' part of law E2 on live data."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, text

_LIMIT = 1_000

# An answer by no model names none.
_MODELS = text(
    f"""
    SELECT format('it was ranked by the model %s, which is in no register', x.model_version) AS detail,
           x.member_key, x.exposure_id, CAST(NULL AS text) AS order_id
    FROM exposures x LEFT JOIN recommender_models m ON m.version = x.model_version
    WHERE x.model_version IS NOT NULL AND m.version IS NULL
    LIMIT {_LIMIT}
    """  # noqa: S608
)
_REWARDS = text(
    f"""
    SELECT format('it shows the reward %s, which there is not', shown.key) AS detail, x.member_key,
           x.exposure_id, CAST(NULL AS text) AS order_id
    FROM exposures x CROSS JOIN LATERAL unnest(x.reward_keys) AS shown (key)
    LEFT JOIN rewards r ON r.reward_key = shown.key
    WHERE r.reward_key IS NULL
    LIMIT {_LIMIT}
    """  # noqa: S608
)
_LENGTHS = text(
    f"""
    SELECT format('it shows %s rewards and tells of %s', cardinality(x.reward_keys),
                  coalesce(jsonb_array_length(x.decision -> 'ranking'), 0)) AS detail, x.member_key,
           x.exposure_id, CAST(NULL AS text) AS order_id
    FROM exposures x
    WHERE cardinality(x.reward_keys) <> coalesce(jsonb_array_length(x.decision -> 'ranking'), 0)
    LIMIT {_LIMIT}
    """  # noqa: S608
)
_REDEMPTIONS = text(
    f"""
    SELECT 'a redemption leads to it, and it tells of no policy' AS detail, x.member_key, x.exposure_id,
           CAST(NULL AS text) AS order_id
    FROM redemptions d
    CROSS JOIN LATERAL unnest(d.recommendation_ids) AS claim (recommendation_id)
    JOIN exposures x ON x.member_key = d.member_key AND x.issued_at <= d.issued_at
        AND 'rec_' || replace(CAST(x.exposure_id AS text), '-', '') = claim.recommendation_id
    WHERE x.policy = '' OR NOT x.decision ? 'assignment'
    LIMIT {_LIMIT}
    """  # noqa: S608
)
# A claim that names nobody's answer, or another's, stays unattributable. One that holds leads to all three.
_CLAIMS = text(
    f"""
    SELECT 'an order leads to it, and it tells of no policy' AS detail, x.member_key, x.exposure_id,
           k.order_id
    FROM orders o
    CROSS JOIN LATERAL unnest(o.recommendation_ids) AS claim (recommendation_id)
    JOIN exposures x ON x.member_key = o.member_key AND x.issued_at <= o.placed_at
        AND 'rec_' || replace(CAST(x.exposure_id AS text), '-', '') = claim.recommendation_id
    JOIN order_keys k ON k.order_key = o.order_key
    WHERE x.policy = '' OR NOT x.decision ? 'assignment'
    LIMIT {_LIMIT}
    """  # noqa: S608
)


_CHECKS = (_MODELS, _REWARDS, _LENGTHS, _CLAIMS, _REDEMPTIONS)


def list_violations(conn: Connection) -> list[Row[Any]]:
    """Return each row of detail, member_key, exposure_id and order_id that breaks E2."""
    return [row for check in _CHECKS for row in conn.execute(check)]
