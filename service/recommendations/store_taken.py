"""What a member took, gave back and looked at, inside the statement that opens an answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    DateTime,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT

from recommender.browsing import Kind
from service.activity.readable import browse_rows, line_rows, return_reasons, return_rows, standing_orders
from service.catalogue.readable import item_rows
from service.members.readable import consent_rows, known_rows

HISTORY_LINES = 200
"""How many of a member's latest order lines an answer looks at: what one request may cost is bounded."""

LOOKS = 50
"""How many of the latest things that a member looked at an answer goes by."""
LOOK_KINDS: Mapping[str, Kind] = {"view_item": "viewed", "add_to_cart": "carted", "wishlist": "wished"}
"""Which events say that something was looked at, and how."""
# Of all a member's latest events, whatever their kind: one with very many costs no more.
_EVENTS_SEEN = 500
_EPOCH = date(1970, 1, 1)


profiling = (
    select(consent_rows.c.profiling)
    .where(consent_rows.c.member_key == known_rows.c.member_key)
    .scalar_subquery()
)
"""Whether the member of `known_rows` lets us look at what they did; null where never asked."""


def packed_history(*, with_categories: bool = False) -> Any:
    """Return what the member of `known_rows` took, gave back and looked at, as JSON for `count_taken`.

    Rows are (bought, sku, name, day, quantity, order_key, reason of return), at most `HISTORY_LINES` of
    either kind, and the item's categories where they are asked for; of the last `LOOKS` looks, `bought` is
    null, `order_key` the seconds of the local clock and the reason the type of the event. Of whoever objected
    to profiling nothing is read. Ask with `timezone`, `locale` and `looked_since`.
    """
    parts = {"bought_lines": _bought(), "returned_lines": _returned(), "looks": _looked()}
    if with_categories:
        nothing = cast(null(), ARRAY(TEXT)).label("categories")
        parts = {
            name: part.add_columns(item_rows.c.categories if name == "bought_lines" else nothing)
            for name, part in parts.items()
        }
    history = union_all(*(part.subquery(name).select() for name, part in parts.items())).subquery("history")
    # As rows of arrays: one value to send and to read instead of seven for each line.
    packed = select(func.json_agg(func.json_build_array(*history.c), type_=JSONB)).correlate(known_rows)
    return case((profiling.is_(False), null()), else_=packed.scalar_subquery())


def _day_number(moment: Any) -> Any:
    """Days since 1970-01-01 of a moment, in the zone `:timezone`."""
    return cast(func.timezone(bindparam("timezone", type_=TEXT), moment), Date) - literal(_EPOCH, Date)


def _name() -> Any:
    """Return an item's name in the language asked for, or in one that there is."""
    names = item_rows.c.names.op("->>", return_type=TEXT())
    asked = bindparam("locale", type_=TEXT)
    return func.coalesce(names(asked), names(literal("en", TEXT)), names(literal("zh-Hant", TEXT)))


def _bought() -> Any:
    recent = (
        select(standing_orders.c.order_key, standing_orders.c.placed_at)
        .where(standing_orders.c.member_key == known_rows.c.member_key)
        .correlate(known_rows)
        .order_by(standing_orders.c.placed_at.desc(), standing_orders.c.order_key.desc())
        .limit(HISTORY_LINES)
        .subquery("recent")
    )
    of_order = and_(line_rows.c.order_key == recent.c.order_key, line_rows.c.placed_at == recent.c.placed_at)
    return (
        select(
            literal(True).label("bought"),
            item_rows.c.sku,
            _name().label("name"),
            _day_number(recent.c.placed_at).label("day"),
            line_rows.c.quantity,
            recent.c.order_key,
            cast(null(), TEXT).label("reason"),
        )
        .select_from(
            recent.join(line_rows, of_order).join(item_rows, item_rows.c.item_key == line_rows.c.item_key)
        )
        .order_by(recent.c.placed_at.desc(), recent.c.order_key.desc(), line_rows.c.line_no)
        .limit(HISTORY_LINES)
    )


def _returned() -> Any:
    of_refund = and_(
        return_reasons.c.refund_key == return_rows.c.refund_key,
        return_reasons.c.refunded_at == return_rows.c.refunded_at,
    )
    return (
        select(
            literal(False).label("bought"),
            item_rows.c.sku,
            cast(null(), TEXT).label("name"),
            _day_number(return_rows.c.refunded_at).label("day"),
            return_rows.c.quantity,
            return_rows.c.order_key,
            return_reasons.c.reason,
        )
        .select_from(
            return_rows.join(item_rows, item_rows.c.item_key == return_rows.c.item_key).join(
                return_reasons, of_refund, isouter=True
            )
        )
        .where(return_rows.c.member_key == known_rows.c.member_key)
        .correlate(known_rows)
        .order_by(return_rows.c.refunded_at.desc())
        .limit(HISTORY_LINES)
    )


def _looked() -> Any:
    since = bindparam("looked_since", type_=DateTime(timezone=True))
    latest = (
        select(browse_rows.c.item_key, browse_rows.c.type, browse_rows.c.occurred_at, browse_rows.c.event_key)
        .where(browse_rows.c.member_key == known_rows.c.member_key, browse_rows.c.occurred_at > since)
        .correlate(known_rows)
        .order_by(browse_rows.c.occurred_at.desc())
        .limit(_EVENTS_SEEN)
        .subquery("latest_events")
    )
    local = func.timezone(bindparam("timezone", type_=TEXT), latest.c.occurred_at)
    return (
        select(
            cast(null(), Boolean).label("bought"),
            item_rows.c.sku,
            _name().label("name"),
            _day_number(latest.c.occurred_at).label("day"),
            literal(0).label("quantity"),
            # Seconds of the local clock since 1970-01-01.
            cast(func.extract("epoch", local), BigInteger).label("order_key"),
            latest.c.type.label("reason"),
        )
        .select_from(latest.join(item_rows, item_rows.c.item_key == latest.c.item_key))
        .where(latest.c.type.in_([literal(kind, TEXT) for kind in LOOK_KINDS]))
        .order_by(latest.c.occurred_at.desc(), latest.c.event_key.desc())
        .limit(LOOKS)
    )
