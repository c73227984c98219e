"""Every SQL statement of the statistics between trainings: what changed, what it was, and what is kept.

What is read follows what changed: the orders of the members behind it, as far as they hold the items behind
it, from the indexes by member and by order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Date,
    Integer,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    func,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from service.activity.readable import (
    cancelled_rows,
    line_rows,
    order_rows,
    order_values,
    refund_rows,
    return_rows,
)
from service.recommendations.models import recommender_statistics as statistics
from service.tiers.readable import standing_rows

_EPOCH = date(1970, 1, 1)
KEPT = 2
Pair = tuple[int, int]
"""Keys of a member and an item."""


def _any(column: Any, name: str) -> Any:
    return column == func.any(cast(bindparam(name), ARRAY(BigInteger)))


def _day_number(moment: Any) -> Any:
    day = cast(func.timezone(bindparam("timezone", type_=Text), moment), Date)
    return cast(day - literal("1970-01-01").cast(Date), Integer)


_lines_of_orders = order_rows.join(
    line_rows,
    and_(line_rows.c.order_key == order_rows.c.order_key, line_rows.c.placed_at == order_rows.c.placed_at),
)
_REFUNDS_BY_KEY: Select[Any] = select(
    refund_rows.c.refund_key, refund_rows.c.member_key, refund_rows.c.order_key
).where(_any(refund_rows.c.refund_key, "refund_keys"))
_ITEMS_GIVEN_BACK: Select[Any] = select(return_rows.c.refund_key, return_rows.c.item_key).where(
    _any(return_rows.c.refund_key, "refund_keys")
)
_ITEMS_ORDERED: Select[Any] = (
    select(order_rows.c.order_key, order_rows.c.member_key, line_rows.c.item_key)
    .select_from(_lines_of_orders)
    .where(_any(order_rows.c.order_key, "order_keys"))
)


def _of_pairs(found: Select[Any]) -> Select[Any]:
    """Keep the rows of the pairs of member and item asked about.

    Found by member and then kept: a plan that begins at the pairs would read each member once for each.
    """
    rows = found.cte("found").prefix_with("MATERIALIZED")
    pairs = (
        func.unnest(
            cast(bindparam("pair_members"), ARRAY(BigInteger)),
            cast(bindparam("pair_items"), ARRAY(BigInteger)),
        )
        .table_valued("member_key", "item_key", name="pairs")
        .render_derived()
    )
    return select(rows).join(
        pairs, and_(pairs.c.member_key == rows.c.member_key, pairs.c.item_key == rows.c.item_key)
    )


_touched = _of_pairs(
    select(
        order_rows.c.order_key,
        order_rows.c.placed_at,
        order_rows.c.member_key,
        _day_number(order_rows.c.placed_at).label("day"),
        line_rows.c.item_key,
        line_rows.c.quantity,
    )
    .select_from(_lines_of_orders)
    .where(_any(order_rows.c.member_key, "member_keys"))
).subquery("touched")
_LINES: Select[Any] = select(
    _touched.c.order_key,
    _touched.c.member_key,
    _touched.c.day,
    _touched.c.item_key,
    _touched.c.quantity,
    order_values.c.order_goods_minor,
    cancelled_rows.c.order_key.is_not(None).label("cancelled"),
).select_from(
    _touched.join(
        order_values,
        and_(
            order_values.c.order_key == _touched.c.order_key,
            order_values.c.placed_at == _touched.c.placed_at,
        ),
    ).outerjoin(cancelled_rows, cancelled_rows.c.order_key == _touched.c.order_key)
)
_REFUNDS_OF_ORDERS: Select[Any] = select(
    refund_rows.c.refund_key, refund_rows.c.order_key, refund_rows.c.order_amount_minor
).where(_any(refund_rows.c.order_key, "order_keys"))
_RETURNS = _of_pairs(
    select(
        return_rows.c.refund_key,
        return_rows.c.member_key,
        return_rows.c.order_key,
        _day_number(return_rows.c.refunded_at).label("day"),
        return_rows.c.item_key,
        return_rows.c.quantity,
    ).where(_any(return_rows.c.member_key, "member_keys"))
)
_TIERS: Select[Any] = select(standing_rows.c.member_key, standing_rows.c.tier).where(
    _any(standing_rows.c.member_key, "member_keys")
)
_NEWEST = statistics.c.version == select(func.max(statistics.c.version)).scalar_subquery()
_STATE: Select[Any] = select(statistics.c.version, statistics.c.through_day, statistics.c.state).where(
    _NEWEST
)
_FIGURES: Select[Any] = select(
    statistics.c.version, statistics.c.refreshed_at, statistics.c.through_day, statistics.c.figures
).where(_NEWEST)
# Taken before the transaction looks at anything, so that who waited sees what the other made.
_LOCK = text("LOCK TABLE recommender_statistics IN EXCLUSIVE MODE")
_FORGET = text("DELETE FROM recommender_statistics WHERE version <= :version")


def list_refunds(conn: Connection, *, refund_keys: Iterable[int]) -> Sequence[Row[Any]]:
    """Return owner and order of some refunds."""
    return conn.execute(_REFUNDS_BY_KEY, {"refund_keys": list(refund_keys)}).all()


def list_items_given_back(conn: Connection, *, refund_keys: Iterable[int]) -> Sequence[Row[Any]]:
    """Return the items that each of some refunds names."""
    return conn.execute(_ITEMS_GIVEN_BACK, {"refund_keys": list(refund_keys)}).all()


def list_items_ordered(conn: Connection, *, order_keys: Iterable[int]) -> Sequence[Row[Any]]:
    """Return owner and items of some orders, standing or not."""
    return conn.execute(_ITEMS_ORDERED, {"order_keys": list(order_keys)}).all()


def list_lines(conn: Connection, *, pairs: Collection[Pair], timezone: str) -> Sequence[Row[Any]]:
    """Return every line of these members that holds their item, of orders undone too."""
    return conn.execute(_LINES, _pairs(pairs, timezone)).all()


def list_refunds_of_orders(conn: Connection, *, order_keys: Iterable[int]) -> Sequence[Row[Any]]:
    """Return what each refund of some orders gave back."""
    return conn.execute(_REFUNDS_OF_ORDERS, {"order_keys": list(order_keys)}).all()


def list_returns(conn: Connection, *, pairs: Collection[Pair], timezone: str) -> Sequence[Row[Any]]:
    """Return every line of these members' refunds that names their item."""
    return conn.execute(_RETURNS, _pairs(pairs, timezone)).all()


def _pairs(pairs: Collection[Pair], timezone: str) -> dict[str, Any]:
    members, items = zip(*sorted(pairs), strict=True) if pairs else ((), ())
    return {
        "member_keys": sorted(set(members)),
        "pair_members": list(members),
        "pair_items": list(items),
        "timezone": timezone,
    }


def map_tiers(conn: Connection, *, member_keys: Sequence[int]) -> dict[int, str]:
    """Return the code of the tier at which each of these members stands."""
    rows = conn.execute(_TIERS, {"member_keys": list(member_keys)})
    return {row.member_key: row.tier for row in rows if row.tier is not None}


def lock_statistics(conn: Connection) -> None:
    """Let nobody else make new statistics until the transaction ends; they can be read all the while."""
    conn.execute(_LOCK)


def find_state(conn: Connection) -> Row[Any] | None:
    """Return the newest statistics as they go on."""
    return conn.execute(_STATE).one_or_none()


def find_figures(conn: Connection) -> Row[Any] | None:
    """Return the newest statistics as they are served."""
    return conn.execute(_FIGURES).one_or_none()


def insert_statistics(
    conn: Connection,
    *,
    version: int,
    through_day: int,
    changes: int,
    figures: bytes,
    state: bytes,
    now: datetime,
) -> None:
    """Write new statistics, and forget all but the last."""
    conn.execute(
        insert(statistics),
        {
            "version": version,
            "refreshed_at": now,
            "through_day": _EPOCH + timedelta(days=through_day),
            "changes": changes,
            "figures": figures,
            "state": state,
        },
    )
    conn.execute(_FORGET, {"version": version - KEPT})
