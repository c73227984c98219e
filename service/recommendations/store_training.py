"""SQL of the training job: every purchase that stands, set-based, as fixed-width binary rows.

Where nothing of an item was ever given back to a member, lines are copied as they are. The few pairs of
member and item where something was (`given_back`) come apart, for the same rule that answers use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
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
    literal,
    null,
    select,
    text,
    union,
    union_all,
)
from sqlalchemy.dialects import postgresql

from service.activity.readable import line_rows, order_rows, return_rows, undone_orders
from service.catalogue.readable import item_rows
from service.members.readable import member_rows

ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("member_size", ">i4"),
        ("member_key", ">i8"),
        ("item_size", ">i4"),
        ("item_key", ">i8"),
        ("day_size", ">i4"),
        ("day", ">i4"),
        ("quantity_size", ">i4"),
        ("quantity", ">i4"),
    ]
)
"""A row of PostgreSQL's binary COPY: two bigints and two integers, each after its length."""

_HEADER_BYTES = 19
_SIGNATURE = b"PGCOPY\n\xff\r\n\x00"
_EPOCH = literal("1970-01-01").cast(Date)


def _day_number(moment: Any) -> Any:
    return cast(cast(func.timezone(bindparam("timezone", type_=Text), moment), Date) - _EPOCH, Integer)


_ordered = order_rows.join(
    line_rows,
    and_(line_rows.c.order_key == order_rows.c.order_key, line_rows.c.placed_at == order_rows.c.placed_at),
)
# Temporary tables of the job's own transaction: the planner knows their size, which decides the plan.
_UNDONE = select(undone_orders.c.order_key).distinct()
_undone = text("SELECT order_key FROM undone").columns(order_key=BigInteger).subquery("undone_keys")
_GIVEN_BACK = union(
    select(return_rows.c.member_key, return_rows.c.item_key),
    select(order_rows.c.member_key, line_rows.c.item_key)
    .select_from(_ordered)
    .where(order_rows.c.order_key.in_(select(_undone.c.order_key))),
)
_given_back = (
    text("SELECT member_key, item_key FROM given_back")
    .columns(member_key=BigInteger, item_key=BigInteger)
    .subquery("given_back_pairs")
)


def _touched(member_key: Any, item_key: Any) -> Any:
    return (
        select(1)
        .select_from(_given_back)
        .where(_given_back.c.member_key == member_key, _given_back.c.item_key == item_key)
        .exists()
    )


_UNTOUCHED = (
    select(
        order_rows.c.member_key,
        line_rows.c.item_key,
        _day_number(order_rows.c.placed_at),
        line_rows.c.quantity,
    )
    .select_from(_ordered)
    .where(~_touched(order_rows.c.member_key, line_rows.c.item_key))
)
_TOUCHED: Select[Any] = select(
    union_all(
        select(
            literal(True).label("bought"),
            order_rows.c.member_key,
            line_rows.c.item_key,
            _day_number(order_rows.c.placed_at).label("day"),
            line_rows.c.quantity,
            order_rows.c.order_key,
        )
        .select_from(_ordered)
        .where(
            _touched(order_rows.c.member_key, line_rows.c.item_key),
            order_rows.c.order_key.not_in(select(_undone.c.order_key)),
        ),
        select(
            literal(False),
            return_rows.c.member_key,
            return_rows.c.item_key,
            _day_number(return_rows.c.refunded_at),
            return_rows.c.quantity,
            cast(func.coalesce(return_rows.c.order_key, null()), BigInteger),
        ),
    ).subquery("touched")
).order_by(text("member_key, item_key"))
_COUNT = text("SELECT count(*) FROM order_lines")
_MEMBER_IDS: Select[Any] = select(member_rows.c.member_key, member_rows.c.member_id)
_SKUS: Select[Any] = select(item_rows.c.item_key, item_rows.c.sku)


def prepare_history(conn: Connection) -> int:
    """Set aside what was given back, for this transaction, and return how many order lines there are."""
    conn.execute(text("SET LOCAL jit = off"))
    _create(conn, "undone", _UNDONE, "order_key")
    _create(conn, "given_back", _GIVEN_BACK, "member_key, item_key")
    count: int = conn.execute(_COUNT).scalar_one()
    return count


def _create(conn: Connection, table: str, query: Any, key: str) -> None:
    conn.execute(text(f"CREATE TEMPORARY TABLE {table} ON COMMIT DROP AS {_write_out(query)}"))
    conn.execute(text(f"CREATE INDEX ON {table} ({key})"))
    conn.execute(text(f"ANALYZE {table}"))


def _write_out(query: Any) -> str:
    """Return a statement with its values in it, where PostgreSQL takes no parameters."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def copy_untouched(conn: Connection, *, timezone: str) -> Iterator[NDArray[np.void]]:
    """Yield blocks of `ROW` for the lines of which nothing was given back.

    Raises:
        ValueError: the server sent something that is not such rows.
    """
    query = _write_out(_UNTOUCHED.params(timezone=timezone))
    driver: Any = conn.connection.driver_connection
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT BINARY)") as copy,
    ):
        yield from _cut_rows(bytes(block) for block in copy)


def _cut_rows(blocks: Iterator[bytes]) -> Iterator[NDArray[np.void]]:
    """Cut a binary COPY into arrays of whole rows, about a megabyte each."""
    rest, header = b"", True
    pending: list[bytes] = []
    size = 0
    for block in blocks:
        pending.append(block)
        size += len(block)
        if size >= 1 << 20:
            rest, rows = _whole_rows(b"".join([rest, *pending]), header=header)
            pending, size, header = [], 0, False
            yield rows
    rest, rows = _whole_rows(b"".join([rest, *pending]), header=header)
    yield rows
    if rest != b"\xff\xff":
        raise ValueError("the copy did not end as it should")


def _whole_rows(raw: bytes, *, header: bool) -> tuple[bytes, NDArray[np.void]]:
    if header:
        if not raw.startswith(_SIGNATURE):
            raise ValueError("not a binary copy")
        raw = raw[_HEADER_BYTES:]
    count = len(raw) // ROW.itemsize
    rows = np.frombuffer(raw, dtype=ROW, count=count)
    if count and not (rows["fields"] == 4).all():
        raise ValueError("rows of another width")
    return raw[count * ROW.itemsize :], rows


def stream_touched(conn: Connection, *, timezone: str) -> Iterator[Row[Any]]:
    """Yield (bought, member_key, item_key, day, quantity, order_key) where something was given back.

    Sorted by member and item; orders undone as a whole are left out.
    """
    yield from conn.execute(_TOUCHED, {"timezone": timezone}, execution_options={"yield_per": 10_000})


def map_member_ids(conn: Connection) -> dict[int, str]:
    """Return every member's id by key."""
    return {row.member_key: row.member_id for row in conn.execute(_MEMBER_IDS)}


def map_skus(conn: Connection) -> dict[int, str]:
    """Return every item's sku by key."""
    return {row.item_key: row.sku for row in conn.execute(_SKUS)}


def list_versions(conn: Connection, *, prefix: str) -> Sequence[str]:
    """Return the registered versions that begin so."""
    query = text("SELECT version FROM recommender_models WHERE starts_with(version, :prefix)")
    return conn.execute(query, {"prefix": prefix}).scalars().all()
