"""Every statement of off-policy evaluation: the log with its rewards, past purchases, the questions asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Interval,
    Row,
    Select,
    Text,
    and_,
    any_,
    bindparam,
    case,
    cast,
    false,
    func,
    insert,
    literal,
    null,
    select,
    text,
    union_all,
    update,
)

from service.activity.readable import (
    event_rows,
    line_rows,
    order_give_backs,
    order_values,
    return_reasons,
    return_rows,
)
from service.catalogue.readable import item_rows
from service.experiments.readable import explored_rows
from service.members.readable import consent_rows, known_rows, member_rows
from service.recommendations.models import off_policy_evaluations as evaluations

CLICK, REPURCHASE = "click", "repurchase"
OBJECTED, IMMATURE = "objected", "immature"
_AT_ONCE = 1_000
_EPOCH = date(1970, 1, 1)

_since = bindparam("since", type_=DateTime(timezone=True))
_until = bindparam("until", type_=DateTime(timezone=True))
_window = bindparam("window", type_=Interval)
_grace = bindparam("grace", type_=Interval)


def _explored() -> CTE:
    """The explored answers of a placement and period: to whom, what, until when it counts, or why not."""
    owner = func.coalesce(known_rows.c.member_key, explored_rows.c.member_key)
    frozen_at = explored_rows.c.issued_at + _window + _grace
    left_out = case(
        (consent_rows.c.profiling.is_(False), OBJECTED),
        (frozen_at > bindparam("watermark", type_=DateTime(timezone=True)), IMMATURE),
    )
    return (
        select(
            explored_rows,
            owner.label("owner_key"),
            explored_rows.c.item_keys[explored_rows.c.position].label("item_key"),
            (explored_rows.c.issued_at + _window).label("window_end"),
            frozen_at.label("frozen_at"),
            left_out.label("left_out"),
        )
        .select_from(
            explored_rows.join(member_rows, member_rows.c.member_key == explored_rows.c.member_key)
            .outerjoin(known_rows, known_rows.c.asked_id == member_rows.c.member_id)
            .outerjoin(consent_rows, consent_rows.c.member_key == owner)
        )
        .where(
            explored_rows.c.placement == bindparam("placement", type_=Text),
            explored_rows.c.issued_at >= _since,
            explored_rows.c.issued_at < _until,
        )
        .cte("explored")
    )


def _bought(shown: CTE) -> ColumnElement[bool]:
    """Whether the member bought what was shown: an order of the window, its checkout begun after the answer.

    By the freeze the order must still be worth something, and hold pieces of the item that did not come
    back: as in the outcomes of experiments, and for this item besides.
    """
    order_key, placed_at = order_values.c.order_key, order_values.c.placed_at
    back = (
        select(func.coalesce(func.sum(order_give_backs.c.order_amount_minor), 0))
        .where(
            order_give_backs.c.order_key == order_key, order_give_backs.c.given_back_at < shown.c.frozen_at
        )
        .correlate(order_values, shown)
        .scalar_subquery()
    )
    returned = (
        select(func.coalesce(func.sum(return_rows.c.quantity), 0))
        .where(
            return_rows.c.order_key == order_key,
            return_rows.c.item_key == shown.c.item_key,
            return_rows.c.refunded_at < shown.c.frozen_at,
        )
        .correlate(order_values, shown)
        .scalar_subquery()
    )
    pieces = (
        select(func.coalesce(func.sum(line_rows.c.quantity), 0))
        .where(
            line_rows.c.order_key == order_key,
            line_rows.c.placed_at == placed_at,
            line_rows.c.item_key == shown.c.item_key,
        )
        .correlate(order_values, shown)
        .scalar_subquery()
    )
    return (
        select(1)
        .where(
            order_values.c.member_key == shown.c.owner_key,
            placed_at >= shown.c.issued_at,
            placed_at < shown.c.window_end,
            # Known before planning, so that other months are not read.
            placed_at >= _since,
            placed_at < _until + _window,
            func.coalesce(order_values.c.checkout_started_at, placed_at) >= shown.c.issued_at,
            pieces > returned,
            order_values.c.order_goods_minor > back,
        )
        .correlate(shown)
        .exists()
    )


def _clicked(shown: CTE) -> ColumnElement[bool]:
    """Whether the member clicked on just this impression."""
    bare = func.replace(cast(shown.c.exposure_id, Text), "-", "")
    impression = literal("rec_") + bare + "#" + cast(shown.c.position, Text)
    return (
        select(1)
        .where(
            event_rows.c.type == "clicked",
            event_rows.c.member_key == shown.c.owner_key,
            event_rows.c.impression_id == impression,
            event_rows.c.occurred_at >= shown.c.issued_at,
            event_rows.c.occurred_at < shown.c.window_end,
            event_rows.c.occurred_at >= _since,
            event_rows.c.occurred_at < _until + _window,
        )
        .correlate(shown)
        .exists()
    )


def _log(metric: str) -> Select[Any]:
    shown = _explored()
    came = _bought(shown) if metric == REPURCHASE else _clicked(shown)
    # In the order of members, so that what each had bought is read once.
    return select(
        shown.c.owner_key,
        shown.c.issued_at,
        shown.c.item_key,
        shown.c.position,
        shown.c.propensity,
        shown.c.candidates,
        shown.c.steered_by,
        shown.c.mode,
        shown.c.left_out,
        case((shown.c.left_out.is_(None), came), else_=false()).label("rewarded"),
    ).order_by(shown.c.owner_key, shown.c.issued_at, shown.c.exposure_id)


_LOGS = {metric: _log(metric) for metric in (REPURCHASE, CLICK)}

_members = cast(bindparam("member_keys"), ARRAY(BigInteger))


def _day_number(moment: Any) -> Any:
    return cast(func.timezone(bindparam("timezone", type_=Text), moment), Date) - literal(_EPOCH, Date)


# What was given back of each order so far, at each giving back.
_so_far = (
    select(
        order_give_backs.c.order_key,
        order_give_backs.c.given_back_at,
        func.sum(order_give_backs.c.order_amount_minor)
        .over(partition_by=order_give_backs.c.order_key, order_by=order_give_backs.c.given_back_at)
        .label("back"),
    )
    .where(order_give_backs.c.member_key == any_(_members))
    .subquery("so_far")
)
_undone = (
    select(_so_far.c.order_key, func.min(_so_far.c.given_back_at).label("undone_at"))
    .select_from(_so_far.join(order_values, order_values.c.order_key == _so_far.c.order_key))
    .where(_so_far.c.back >= order_values.c.order_goods_minor)
    .group_by(_so_far.c.order_key)
    .subquery("undone")
)
_HISTORIES = union_all(
    select(
        literal(True).label("bought"),
        order_values.c.member_key,
        item_rows.c.sku,
        _day_number(order_values.c.placed_at).label("day"),
        line_rows.c.quantity,
        order_values.c.order_key,
        order_values.c.placed_at.label("at"),
        func.greatest(order_values.c.placed_at, order_values.c.received_at).label("known_at"),
        _undone.c.undone_at,
    )
    .select_from(
        order_values.join(
            line_rows,
            and_(
                line_rows.c.order_key == order_values.c.order_key,
                line_rows.c.placed_at == order_values.c.placed_at,
            ),
        )
        .join(item_rows, item_rows.c.item_key == line_rows.c.item_key)
        .outerjoin(_undone, _undone.c.order_key == order_values.c.order_key)
    )
    .where(order_values.c.member_key == any_(_members), order_values.c.placed_at < _until),
    select(
        literal(False),
        return_rows.c.member_key,
        item_rows.c.sku,
        _day_number(return_rows.c.refunded_at),
        return_rows.c.quantity,
        return_rows.c.order_key,
        return_rows.c.refunded_at,
        func.greatest(return_rows.c.refunded_at, return_reasons.c.received_at),
        cast(null(), DateTime(timezone=True)),
    )
    .select_from(
        return_rows.join(item_rows, item_rows.c.item_key == return_rows.c.item_key).outerjoin(
            return_reasons,
            and_(
                return_reasons.c.refund_key == return_rows.c.refund_key,
                return_reasons.c.refunded_at == return_rows.c.refunded_at,
            ),
        )
    )
    .where(return_rows.c.member_key == any_(_members), return_rows.c.refunded_at < _until),
)

_FIND = select(evaluations).where(evaluations.c.evaluation_id == bindparam("evaluation_id"))
_HOLD = _FIND.where(evaluations.c.state == "queued").with_for_update(skip_locked=True)
# Compiling a plan for long would cost more than it saves.
_ROOM = text("SELECT set_config('work_mem', '64MB', true), set_config('jit', 'off', true)")


def read_log(
    conn: Connection,
    *,
    placement: str,
    since: datetime,
    until: datetime,
    metric: str,
    window: timedelta,
    grace: timedelta,
    watermark: datetime,
) -> Iterator[Sequence[Row[Any]]]:
    """Yield the explored answers of a period with what came of each, by member, a thousand at once.

    `left_out` says why an answer has no reward yet, or may not be looked at.
    """
    conn.execute(_ROOM)
    parameters = {
        "placement": placement,
        "since": since,
        "until": until,
        "window": window,
        "grace": grace,
        "watermark": watermark,
    }
    found = conn.execute(_LOGS[metric], parameters, execution_options={"stream_results": True})
    yield from found.partitions(_AT_ONCE)


def list_histories(
    conn: Connection, *, member_keys: Sequence[int], timezone: str, until: datetime
) -> Sequence[Row[Any]]:
    """Return what members bought and gave back before a moment, each with when it happened and was known.

    An order that was cancelled, or given back to the last cent, says when that was (`undone_at`).
    """
    parameters = {"member_keys": list(member_keys), "timezone": timezone, "until": until}
    return conn.execute(_HISTORIES, parameters).all()


def add_evaluation(conn: Connection, *, values: Mapping[str, Any]) -> None:
    """Add a question that waits for the worker."""
    conn.execute(insert(evaluations).values(state="queued", **values))


def find_evaluation(conn: Connection, *, evaluation_id: str) -> Row[Any] | None:
    """Return a question as it stands."""
    return conn.execute(_FIND, {"evaluation_id": evaluation_id}).one_or_none()


def hold_evaluation(conn: Connection, *, evaluation_id: str) -> Row[Any] | None:
    """Return a question that waits, held until the transaction ends; None where somebody else is at it."""
    return conn.execute(_HOLD, {"evaluation_id": evaluation_id}).one_or_none()


def set_evaluation(conn: Connection, *, evaluation_id: str, **values: Any) -> None:
    """Note the answer, or why there is none."""
    conn.execute(update(evaluations).where(evaluations.c.evaluation_id == evaluation_id).values(**values))
