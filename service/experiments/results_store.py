"""Every SQL statement about results: what was counted and is kept, and figures by credit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    Interval,
    Row,
    and_,
    bindparam,
    case,
    cast,
    distinct,
    func,
    literal,
    null,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import UUID

from service.activity.readable import event_rows, order_values
from service.experiments.models import assignments, exposures
from service.kit.db import dumps
from service.members.readable import leaving_rows, member_rows

_FIND = text(
    "SELECT watermark, is_final, sums, outside FROM experiment_results WHERE experiment = :experiment "
    "AND version = :version AND anchor = :anchor AND window_days = :window_days"
)
_KEEP = text(
    """
    INSERT INTO experiment_results (experiment, version, anchor, window_days, watermark, computed_at,
        is_final, sums, outside)
    VALUES (:experiment, :version, :anchor, :window_days, :watermark, :now, :is_final, CAST(:sums AS jsonb),
        CAST(:outside AS jsonb))
    ON CONFLICT (experiment, version, anchor, window_days) DO UPDATE SET watermark = excluded.watermark,
        computed_at = excluded.computed_at, is_final = excluded.is_final, sums = excluded.sums,
        outside = excluded.outside
    """
)
_ASSIGNED = text("SELECT count(*) FROM assignments WHERE experiment = :experiment")
_MEMBERS = (
    select(func.count())
    .select_from(member_rows.outerjoin(leaving_rows, leaving_rows.c.member_key == member_rows.c.member_key))
    .where(leaving_rows.c.member_key.is_(None))
)
_PATIENCE = text("SELECT set_config('statement_timeout', :milliseconds, true)")

_RECOMMENDATION = r"^rec_[0-9a-f]{32}$"


def find_result(
    conn: Connection, *, experiment: str, version: int, anchor: str, window_days: int
) -> Row[Any] | None:
    """Return what was counted last."""
    parameters = {
        "experiment": experiment,
        "version": version,
        "anchor": anchor,
        "window_days": window_days,
    }
    return conn.execute(_FIND, parameters).one_or_none()


def keep_result(
    conn: Connection,
    *,
    experiment: str,
    version: int,
    anchor: str,
    window_days: int,
    watermark: datetime,
    is_final: bool,
    sums: Sequence[Any],
    outside: Sequence[Mapping[str, Any]],
    now: datetime,
) -> None:
    """Write what was counted; the database refuses to change what is final."""
    conn.execute(
        _KEEP,
        {
            "experiment": experiment,
            "version": version,
            "anchor": anchor,
            "window_days": window_days,
            "watermark": watermark,
            "is_final": is_final,
            "sums": dumps([_write_exact(row) for row in sums]),
            "outside": dumps([dict(row) for row in outside]),
            "now": now,
        },
    )


def _write_exact(row: Mapping[str, Any]) -> dict[str, Any]:
    # Sums of squares outgrow the integers of JSON.
    return {name: {"n": str(value)} if isinstance(value, int) else value for name, value in row.items()}


def read_exact(sums: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return kept sums with their integers as they were."""
    return [
        {name: int(value["n"]) if isinstance(value, dict) else value for name, value in row.items()}
        for row in sums
    ]


def count_assigned(conn: Connection, *, experiment: str) -> int:
    """Return how many members have an arm in an experiment."""
    return int(conn.execute(_ASSIGNED, {"experiment": experiment}).scalar_one())


def count_members(conn: Connection) -> int:
    """Return how many members there are."""
    return int(conn.execute(_MEMBERS).scalar_one())


def take_time(conn: Connection, *, milliseconds: int) -> None:
    """Let the statements of this transaction run longer than a web request's otherwise may."""
    conn.execute(_PATIENCE, {"milliseconds": str(milliseconds)})


def _exposure_id(recommendation_id: Any) -> Any:
    """The exposure a recommendation id names, null where it is no such id."""
    well_formed = recommendation_id.regexp_match(_RECOMMENDATION)
    return case((well_formed, cast(func.substr(recommendation_id, 5), UUID)), else_=cast(null(), UUID))


# Events that name an answer, with the member it was given to; null where there is no such answer.
_named = (
    select(
        event_rows.c.type,
        event_rows.c.member_key,
        event_rows.c.occurred_at,
        # An answer named by a token that does not hold is as good as none.
        case((event_rows.c.attribution_fault.is_(None), exposures.c.member_key)).label("shown_to"),
    )
    .select_from(
        event_rows.outerjoin(
            exposures,
            and_(
                exposures.c.exposure_id == _exposure_id(event_rows.c.recommendation_id),
                exposures.c.issued_at >= bindparam("since"),
                exposures.c.issued_at <= bindparam("until"),
            ),
        )
    )
    .where(
        or_(event_rows.c.recommendation_id.is_not(None), event_rows.c.attribution_fault.is_not(None)),
        event_rows.c.occurred_at >= bindparam("since"),
        event_rows.c.occurred_at < bindparam("until"),
    )
    .cte("named")
)
_in_arm = (
    select(_named.c.type, _named.c.member_key, _named.c.occurred_at)
    .select_from(
        _named.join(
            assignments,
            and_(
                assignments.c.member_key == _named.c.shown_to,
                assignments.c.experiment == bindparam("experiment"),
                assignments.c.arm == bindparam("arm"),
            ),
        )
    )
    # Somebody else's answer is nobody's credit.
    .where(_named.c.member_key == _named.c.shown_to)
    .cte("in_arm")
)
_after_click = (
    select(
        func.count(distinct(order_values.c.order_key)).label("orders"),
        func.coalesce(func.sum(order_values.c.spend_minor), 0).label("revenue"),
    )
    .where(
        order_values.c.placed_at >= bindparam("since"),
        order_values.c.placed_at < bindparam("until"),
        select(literal(1))
        .where(
            _in_arm.c.type == "clicked",
            _in_arm.c.member_key == order_values.c.member_key,
            _in_arm.c.occurred_at <= order_values.c.placed_at,
            _in_arm.c.occurred_at > order_values.c.placed_at - bindparam("click_window", type_=Interval),
        )
        .exists(),
    )
    .subquery("after_click")
)
_counted = (
    select(
        func.count().filter(_in_arm.c.type == "viewed").label("viewed"),
        func.count().filter(_in_arm.c.type == "clicked").label("clicked"),
        func.count().filter(_in_arm.c.type == "add_to_cart").label("added"),
    )
    .select_from(_in_arm)
    .subquery("counted")
)
_lost = (
    select(func.count().label("unattributable"))
    .select_from(_named)
    .where(_named.c.shown_to.is_(None) | (_named.c.member_key != _named.c.shown_to))
    .subquery("lost")
)
_ATTRIBUTED = select(_counted, _lost, _after_click).select_from(
    _counted.join(_lost, true()).join(_after_click, true())
)


def read_attributed(
    conn: Connection,
    *,
    experiment: str,
    arm: str,
    since: datetime,
    until: datetime,
    click_window: timedelta,
) -> Row[Any]:
    """Return what members of an arm viewed and clicked of answers of their own, and ordered soon after."""
    parameters = {
        "experiment": experiment,
        "arm": arm,
        "since": since,
        "until": until,
        "click_window": click_window,
    }
    return conn.execute(_ATTRIBUTED, parameters).one()
