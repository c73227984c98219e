"""The statement of what a member took, gave back and looked at; by itself, or inside another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Date,
    DateTime,
    and_,
    bindparam,
    cast,
    func,
    literal,
    null,
    select,
    type_coerce,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.types import NULLTYPE

from recommender.browsing import Kind
from service.activity.readable import browse_rows, line_rows, return_reasons, return_rows, standing_orders
from service.catalogue.readable import item_rows
from service.kit.db import run

HISTORY_LINES = 200
"""How many of a member's latest order lines an answer looks at: what one request may cost is bounded."""

LOOKS = 50
"""How many of the latest things that a member looked at an answer goes by."""
LOOK_KINDS: Mapping[str, Kind] = {"view_item": "viewed", "add_to_cart": "carted", "wishlist": "wished"}
"""Which events say that something was looked at, and how."""
# Of all a member's latest events, whatever their kind: one with very many costs no more.
_EVENTS_SEEN = 500
_EPOCH = date(1970, 1, 1)
_NO_CATEGORIES = type_coerce(cast(null(), ARRAY(TEXT)), NULLTYPE).label("categories")


def history_of(member_key: Any, *around: Any, with_categories: bool = False) -> Any:
    """Return what `list_history` reads, inside a statement that reads `around`."""
    parts = {
        "bought_lines": _bought(member_key, around),
        "returned_lines": _returned(member_key, around),
        "looks": _looked(member_key, around),
    }
    if with_categories:
        # As the driver gives them: a list of texts.
        own = type_coerce(item_rows.c.categories, NULLTYPE).label("categories")
        parts = {
            name: part.add_columns(own if name == "bought_lines" else _NO_CATEGORIES)
            for name, part in parts.items()
        }
    return union_all(*(part.subquery(name).select() for name, part in parts.items()))


def _day_number(moment: Any) -> Any:
    """Days since 1970-01-01 of a moment, in the zone `:timezone`."""
    return cast(func.timezone(bindparam("timezone", type_=TEXT), moment), Date) - literal(_EPOCH, Date)


def _name() -> Any:
    """Return an item's name in the language asked for, or in one that there is."""
    names = item_rows.c.names.op("->>", return_type=TEXT())
    asked = bindparam("locale", type_=TEXT)
    return func.coalesce(names(asked), names(literal("en", TEXT)), names(literal("zh-Hant", TEXT)))


def _bought(member_key: Any, around: Sequence[Any]) -> Any:
    recent = (
        select(standing_orders.c.order_key, standing_orders.c.placed_at)
        .where(standing_orders.c.member_key == member_key)
        .correlate(*around)
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


def _returned(member_key: Any, around: Sequence[Any]) -> Any:
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
        .where(return_rows.c.member_key == member_key)
        .correlate(*around)
        .order_by(return_rows.c.refunded_at.desc())
        .limit(HISTORY_LINES)
    )


def _looked(member_key: Any, around: Sequence[Any]) -> Any:
    since = bindparam("looked_since", type_=DateTime(timezone=True))
    latest = (
        select(browse_rows.c.item_key, browse_rows.c.type, browse_rows.c.occurred_at, browse_rows.c.event_key)
        .where(browse_rows.c.member_key == member_key, browse_rows.c.occurred_at > since)
        .correlate(*around)
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


_HISTORY = history_of(bindparam("member_key"))
_HISTORY_WITH_CATEGORIES = history_of(bindparam("member_key"), with_categories=True)


def list_history(
    conn: Connection,
    *,
    member_key: int,
    timezone: str,
    locale: str,
    looked_since: datetime,
    with_categories: bool = False,
) -> Sequence[tuple[Any, ...]]:
    """Return a member's latest order lines, what was given back, and what was looked at since a moment.

    Rows are (bought, sku, name, day, quantity, order_key, reason of return), at most `HISTORY_LINES` of
    either kind, and the item's categories where they are asked for; of the last `LOOKS` looks, `bought` is
    null, `order_key` the seconds of the local clock and the reason the type of the event.
    """
    parameters = {
        "member_key": member_key,
        "timezone": timezone,
        "locale": locale,
        "looked_since": looked_since,
    }
    return run(conn, _HISTORY_WITH_CATEGORIES if with_categories else _HISTORY, parameters).all()
