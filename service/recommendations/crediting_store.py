"""The chain from an order back to rule set, model and arm, as one statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Connection, Row, and_, any_, bindparam, cast, func, or_, select
from sqlalchemy.dialects.postgresql import UUID

from service.activity.readable import order_ids, order_values
from service.experiments.readable import exposure_rows
from service.kit.db import run
from service.members.readable import member_rows
from service.recommendations.models import recommender_models
from service.tiers.readable import ruleset_rows


def _in_force(moment: Any) -> Any:
    """The rule set in force at a moment."""
    return (
        select(ruleset_rows.c.version)
        .where(ruleset_rows.c.effective_from <= moment)
        .order_by(ruleset_rows.c.effective_from.desc())
        .limit(1)
        .scalar_subquery()
    )


_CLAIMS = (
    select(
        member_rows.c.member_key,
        member_rows.c.member_id,
        order_values.c.placed_at,
        order_values.c.recommendation_ids,
        order_values.c.attribution_token,
        _in_force(order_values.c.placed_at).label("ruleset_version"),
    )
    .select_from(
        order_ids.join(order_values, order_values.c.order_key == order_ids.c.order_key).join(
            member_rows, member_rows.c.member_key == order_values.c.member_key
        )
    )
    .where(order_ids.c.order_id == bindparam("order_id"))
)
_CHAIN = (
    select(
        exposure_rows,
        recommender_models.c.content_hash,
        recommender_models.c.trained_through,
        _in_force(exposure_rows.c.issued_at).label("ruleset_version"),
        # Whoever it was shown to before logging in, or before two accounts were found to be one.
        func.coalesce(
            or_(
                exposure_rows.c.member_key == bindparam("member_key", type_=BigInteger),
                exposure_rows.c.merged_into == bindparam("member_key", type_=BigInteger),
            ),
            False,
        ).label("is_theirs"),
    )
    .select_from(
        exposure_rows.outerjoin(
            recommender_models, recommender_models.c.version == exposure_rows.c.model_version
        )
    )
    .where(
        and_(
            exposure_rows.c.exposure_id == any_(cast(bindparam("exposure_ids"), ARRAY(UUID))),
            exposure_rows.c.issued_at >= bindparam("issued_from"),
            exposure_rows.c.issued_at <= bindparam("issued_to"),
        )
    )
)
_MARGIN = timedelta(milliseconds=1)
"""An id knows its time to the millisecond."""


def find_claims(conn: Connection, *, order_id: str) -> Row[Any] | None:
    """Return an order with the answers it names and the rule set it was rated by."""
    return run(conn, _CLAIMS, {"order_id": order_id}).one_or_none()


def find_chain(
    conn: Connection,
    *,
    exposure_ids: Sequence[str],
    issued_from: datetime,
    issued_to: datetime,
    member_key: int,
) -> Sequence[Row[Any]]:
    """Return answers with their arm, model and rule set; only the months they were given in are read."""
    parameters = {
        "exposure_ids": list(exposure_ids),
        "issued_from": issued_from - _MARGIN,
        "issued_to": issued_to + _MARGIN,
        "member_key": member_key,
    }
    return conn.execute(_CHAIN, parameters).all()
