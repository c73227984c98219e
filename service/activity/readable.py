"""What later rooms may join: orders, lines and what was given back, as read-only selectables.

No column here says more than a merchant's fact did; writes stay in this room's store.
"""

from __future__ import annotations

from sqlalchemy import and_, func, select, union_all
from sqlalchemy.sql.expression import exists

from service.activity.models import (
    member_days,
    order_cancellations,
    order_keys,
    order_lines,
    orders,
    refund_keys,
    refund_lines,
)

order_rows = select(order_keys.c.order_key, order_keys.c.member_key, order_keys.c.placed_at).subquery(
    "order_rows"
)
"""Every order ever recorded, cancelled ones too; not partitioned, so one member's are one index scan."""

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
).subquery("order_values")
"""What each order was worth, in its own currency's minor units, before anything was given back."""

order_give_backs = union_all(
    select(
        refund_keys.c.order_key,
        refund_keys.c.refunded_at.label("given_back_at"),
        refund_keys.c.order_amount_minor,
    ).where(refund_keys.c.order_key.is_not(None)),
    select(
        order_cancellations.c.order_key,
        order_cancellations.c.cancelled_at,
        order_cancellations.c.order_amount_minor,
    ),
).subquery("order_give_backs")
"""Linked refunds and cancellations by order, in the order's currency."""

day_rows = select(
    member_days.c.member_key,
    member_days.c.day,
    member_days.c.goods_minor,
    member_days.c.spend_minor,
    member_days.c.orders,
    member_days.c.unlinked_minor,
).subquery("day_rows")
"""The day roll-up; a member's days after one are a single scan of the index that covers them."""

order_ids = select(order_keys.c.order_key, order_keys.c.order_id).subquery("order_ids")
"""The merchant's own id of every order."""

refund_ids = select(refund_keys.c.refund_key, refund_keys.c.refund_id).subquery("refund_ids")
"""The merchant's own id of every refund."""
