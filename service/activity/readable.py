"""What later rooms may join: orders, lines and what was given back, as read-only selectables.

No column here says more than a merchant's fact did; writes stay in this room's store.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    BindParameter,
    ColumnElement,
    Date,
    Numeric,
    Select,
    Subquery,
    and_,
    any_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.sql.expression import exists

from service.activity.models import (
    events,
    member_days,
    order_cancellations,
    order_keys,
    order_lines,
    orders,
    refund_keys,
    refund_lines,
    refunds,
)
from service.members.readable import merged_rows, owners_at

order_rows = select(order_keys.c.order_key, order_keys.c.member_key, order_keys.c.placed_at).subquery(
    "order_rows"
)
"""Every order ever recorded, cancelled ones too; not partitioned, so one member's are one index scan."""

order_day_rows = select(orders.c.order_key, orders.c.member_key, orders.c.placed_at, orders.c.day).subquery(
    "order_day_rows"
)
"""Orders with their store-local day; bound `placed_at`, so that only its month is looked at."""

line_rows = select(
    order_lines.c.order_key,
    order_lines.c.placed_at,
    order_lines.c.line_no,
    order_lines.c.item_key,
    order_lines.c.quantity,
).subquery("line_rows")
"""Order lines; join on `order_key` and `placed_at`, so that only the order's month is looked at."""

return_rows = (
    select(
        refund_keys.c.refund_key,
        refund_keys.c.member_key,
        refund_keys.c.order_key,
        refund_keys.c.refunded_at,
        refund_lines.c.item_key,
        refund_lines.c.quantity,
    )
    .select_from(
        refund_keys.join(
            refund_lines,
            and_(
                refund_lines.c.refund_key == refund_keys.c.refund_key,
                refund_lines.c.refunded_at == refund_keys.c.refunded_at,
            ),
        )
    )
    .subquery("return_rows")
)
"""Items given back, whatever the refund's kind; `order_key` is null for an unlinked refund."""

return_reasons = select(
    refunds.c.refund_key, refunds.c.refunded_at, refunds.c.kind, refunds.c.reason, refunds.c.received_at
).subquery("return_reasons")
"""Why things came back, and when we were told; join on `refund_key` and `refunded_at`."""

_goods_of_order = (
    select(func.sum(order_lines.c.order_amount_minor))
    .where(
        order_lines.c.order_key == order_keys.c.order_key, order_lines.c.placed_at == order_keys.c.placed_at
    )
    .correlate(order_keys)
    .scalar_subquery()
)

standing_orders = (
    select(order_keys.c.order_key, order_keys.c.member_key, order_keys.c.placed_at)
    .where(
        ~exists().where(order_cancellations.c.order_key == order_keys.c.order_key),
        ~select(1)
        .where(refund_keys.c.order_key == order_keys.c.order_key)
        .having(and_(func.count() > 0, func.sum(refund_keys.c.order_amount_minor) >= _goods_of_order))
        .correlate(order_keys)
        .exists(),
    )
    .subquery("standing_orders")
)
"""Orders neither cancelled nor refunded to the last cent; made for one member at a time."""

_goods_by_order = (
    select(refund_keys.c.order_key, func.sum(refund_keys.c.order_amount_minor).label("refunded_minor"))
    .where(refund_keys.c.order_key.is_not(None))
    .group_by(refund_keys.c.order_key)
    .subquery("refunded_by_order")
)

undone_orders = union_all(
    select(order_cancellations.c.order_key),
    select(order_keys.c.order_key)
    .select_from(
        order_keys.join(_goods_by_order, _goods_by_order.c.order_key == order_keys.c.order_key).join(
            orders,
            and_(orders.c.order_key == order_keys.c.order_key, orders.c.placed_at == order_keys.c.placed_at),
        )
    )
    .where(_goods_by_order.c.refunded_minor >= orders.c.order_goods_minor),
).subquery("undone_orders")
"""The complement of `standing_orders`, made for everybody at once; an order may appear twice."""

order_values = select(
    orders.c.order_key,
    orders.c.member_key,
    orders.c.placed_at,
    orders.c.checkout_started_at,
    orders.c.order_goods_minor,
    orders.c.goods_minor,
    orders.c.spend_minor,
    orders.c.order_points_paid_minor,
    orders.c.order_voucher_paid_minor,
    orders.c.exchange_rate,
    orders.c.recommendation_ids,
    orders.c.attribution_token,
    orders.c.received_at,
).subquery("order_values")
"""What each order was worth before anything was given back, and what it says it came of.

`order_…` amounts are in the order's own currency's minor units, `goods_minor` and `spend_minor` in the
programme's.
"""

refund_rows = select(
    refund_keys.c.refund_key,
    refund_keys.c.member_key,
    refund_keys.c.order_key,
    refund_keys.c.refunded_at,
    refund_keys.c.order_amount_minor,
).subquery("refund_rows")
"""Every refund, of an order or of none, in the currency of its order or the programme's."""

cancelled_rows = select(order_cancellations.c.order_key).subquery("cancelled_rows")
"""The orders that were called off."""

order_give_backs = union_all(
    select(
        refund_keys.c.member_key,
        refund_keys.c.order_key,
        refund_keys.c.refunded_at.label("given_back_at"),
        refund_keys.c.order_amount_minor,
    ).where(refund_keys.c.order_key.is_not(None)),
    select(
        order_keys.c.member_key,
        order_cancellations.c.order_key,
        order_cancellations.c.cancelled_at,
        order_cancellations.c.order_amount_minor,
    ).select_from(
        order_cancellations.join(order_keys, order_keys.c.order_key == order_cancellations.c.order_key)
    ),
).subquery("order_give_backs")
"""Linked refunds and cancellations by order and member, in the order's currency."""

unlinked_refunds = (
    select(refund_keys.c.member_key, refund_keys.c.refunded_at, refund_keys.c.order_amount_minor)
    .where(refund_keys.c.order_key.is_(None))
    .subquery("unlinked_refunds")
)
"""Refunds of no known order, in the programme's currency."""

day_rows = select(
    member_days.c.member_key,
    member_days.c.day,
    member_days.c.goods_minor,
    member_days.c.spend_minor,
    member_days.c.orders,
    member_days.c.unlinked_minor,
).subquery("day_rows")
"""The day roll-up; a member's days after one are a single scan of the index that covers them."""

event_rows = select(
    events.c.event_key,
    events.c.type,
    events.c.member_key,
    events.c.occurred_at,
    events.c.recommendation_id,
    events.c.impression_id,
    events.c.attribution_token,
    events.c.attribution_fault,
    events.c.origin_key,
).subquery("event_rows")
"""What happened on the storefront, the answer it names if it names one, and why that does not hold."""

browse_rows = (
    select(
        events.c.event_key,
        events.c.type,
        events.c.member_key,
        events.c.item_key,
        events.c.occurred_at,
    )
    .where(events.c.item_key.is_not(None))
    .subquery("browse_rows")
)
"""What was looked at; bound `occurred_at`, so that only its months are looked into."""

order_ids = select(order_keys.c.order_key, order_keys.c.order_id).subquery("order_ids")
"""The merchant's own id of every order."""

refund_ids = select(refund_keys.c.refund_key, refund_keys.c.refund_id).subquery("refund_ids")
"""The merchant's own id of every refund."""

Keys = tuple[Any, Any] | list[int] | BindParameter[Any]


def day_rows_before(cut: datetime, *, first_day: date, keys: Keys | None = None) -> Subquery:
    """Return the day roll-up as the facts in effect before a moment make it, from `first_day` on.

    The columns of `day_rows`, computed from orders and what was given back by then: a linked refund takes
    from its order's day, rounded as `rules.left_after` does. `keys` keeps to members from one key to
    another, or to those of a list (itself or a parameter). Who was merged only later has what was sent for
    them.
    """
    # A store's day begins at most a day before or after the same day in UTC.
    since = datetime.combine(first_day, datetime.min.time(), tzinfo=cut.tzinfo) - timedelta(days=2)
    owners = _owners(cut, keys)
    parts = union_all(
        _bought(cut, since, first_day, keys),
        _unlinked(cut, since, first_day, keys),
        _bought_for(owners, cut, since, first_day),
        _unlinked_for(owners, cut, since, first_day),
    ).subquery("day_parts")
    sums = (
        cast(func.sum(parts.c[name]), BigInteger).label(name)
        for name in ("goods_minor", "spend_minor", "orders", "unlinked_minor")
    )
    days = select(parts.c.member_key, cast(parts.c.day, Date).label("day"), *sums)
    return days.group_by(parts.c.member_key, parts.c.day).subquery("day_rows_before")


def _owners(cut: datetime, keys: Keys | None) -> CTE:
    """Whose the facts sent for a merged member were at the cut, as far as the owner is asked about.

    Few, and found before any fact is looked at.
    """
    by_then = owners_at(cut)
    owner = func.coalesce(by_then.c.owner_key, merged_rows.c.member_key)
    return (
        select(merged_rows.c.member_key.label("origin_key"), owner.label("owner_key"))
        .select_from(merged_rows.outerjoin(by_then, by_then.c.origin_key == merged_rows.c.member_key))
        .where(_within(owner, keys))
        .cte()
        .prefix_with("MATERIALIZED")
    )


def _day_parts(
    member_key: ColumnElement[int], goods: ColumnElement[int], spend: ColumnElement[int]
) -> tuple[ColumnElement[Any], ...]:
    return (
        member_key.label("member_key"),
        orders.c.day,
        goods.label("goods_minor"),
        spend.label("spend_minor"),
        case((goods > 0, 1), else_=0).label("orders"),
        literal(0, BigInteger).label("unlinked_minor"),
    )


def _bought(cut: datetime, since: datetime, first_day: date, keys: Keys | None) -> Select[Any]:
    """What members bought under their own ids."""
    back = _given_back_before(cut, keys)
    goods, spend = (_left(whole, back.c.back_minor) for whole in (orders.c.goods_minor, orders.c.spend_minor))
    return (
        select(*_day_parts(orders.c.member_key, goods, spend))
        .select_from(orders.outerjoin(back, back.c.order_key == orders.c.order_key))
        .where(orders.c.placed_at < cut, orders.c.placed_at >= since, orders.c.day >= first_day)
        .where(_within(orders.c.member_key, keys), orders.c.origin_key.is_(None))
    )


def _bought_for(owners: CTE, cut: datetime, since: datetime, first_day: date) -> Select[Any]:
    """What was bought under the ids of members that have been merged."""
    back_minor = _given_back_of_order(cut)
    goods, spend = (_left(whole, back_minor) for whole in (orders.c.goods_minor, orders.c.spend_minor))
    return (
        select(*_day_parts(owners.c.owner_key, goods, spend))
        .select_from(owners.join(orders, orders.c.origin_key == owners.c.origin_key))
        .where(orders.c.placed_at < cut, orders.c.placed_at >= since, orders.c.day >= first_day)
    )


def _unlinked(cut: datetime, since: datetime, first_day: date, keys: Keys | None) -> Select[Any]:
    return _unlinked_of(refunds.c.member_key, cut, since, first_day).where(
        _within(refunds.c.member_key, keys), refunds.c.origin_key.is_(None)
    )


def _unlinked_for(owners: CTE, cut: datetime, since: datetime, first_day: date) -> Select[Any]:
    return _unlinked_of(owners.c.owner_key, cut, since, first_day).where(
        refunds.c.origin_key == owners.c.origin_key
    )


def _unlinked_of(
    member_key: ColumnElement[int], cut: datetime, since: datetime, first_day: date
) -> Select[Any]:
    return select(
        member_key,
        refunds.c.day,
        literal(0, BigInteger),
        literal(0, BigInteger),
        literal(0),
        refunds.c.amount_minor,
    ).where(
        refunds.c.order_key.is_(None),
        refunds.c.refunded_at < cut,
        refunds.c.refunded_at >= since,
        refunds.c.day >= first_day,
    )


def _given_back_before(cut: datetime, keys: Keys | None) -> Subquery:
    """Goods given back by order, in the order's currency."""
    linked = select(refund_keys.c.order_key, refund_keys.c.order_amount_minor).where(
        refund_keys.c.order_key.is_not(None),
        refund_keys.c.refunded_at < cut,
        _within(refund_keys.c.member_key, keys),
    )
    cancelled = (
        select(order_cancellations.c.order_key, order_cancellations.c.order_amount_minor)
        .select_from(
            order_cancellations.join(order_keys, order_keys.c.order_key == order_cancellations.c.order_key)
        )
        .where(order_cancellations.c.cancelled_at < cut, _within(order_keys.c.member_key, keys))
    )
    both = union_all(linked, cancelled).subquery("give_backs_before")
    return (
        select(both.c.order_key, func.sum(both.c.order_amount_minor).label("back_minor"))
        .group_by(both.c.order_key)
        .subquery("given_back_before")
    )


def _given_back_of_order(cut: datetime) -> ColumnElement[Any]:
    """Goods given back of one order, null where nothing was."""
    of_order = (
        order_give_backs.c.order_key == orders.c.order_key,
        order_give_backs.c.given_back_at < cut,
    )
    total = select(func.sum(order_give_backs.c.order_amount_minor)).where(*of_order)
    return total.correlate(orders).scalar_subquery()


def _left(whole: ColumnElement[int], back_minor: ColumnElement[Any]) -> ColumnElement[int]:
    """`rules.left_after` of one order's amount, in exact numbers."""
    goods = orders.c.order_goods_minor
    twice = 2 * cast(whole, Numeric) * back_minor + goods
    return case(
        (or_(back_minor.is_(None), goods == 0), whole),
        else_=whole - cast(func.div(twice, 2 * cast(goods, Numeric)), BigInteger),
    )


def _within(key: ColumnElement[int], keys: Keys | None) -> ColumnElement[bool]:
    if keys is None:
        return true()
    if isinstance(keys, BindParameter):
        return key == any_(keys)
    if isinstance(keys, list):
        return key == any_(literal(keys, ARRAY(BigInteger)))
    return key.between(*keys)
