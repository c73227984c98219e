"""SQL of the training job: every purchase that stands, set-based, as fixed-width binary rows.

Where nothing of an item was ever given back to a member, lines are copied as they are: a driver takes as
long for a row as PostgreSQL takes to read fifty, so a range of orders comes as one row of arrays, and
orders meet their lines here. The few pairs of member and item where something was given back
(`given_back`) come apart, for the same rule that answers use.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    BigInteger,
    Connection,
    Date,
    Integer,
    Select,
    Text,
    TextClause,
    and_,
    bindparam,
    cast,
    func,
    literal,
    select,
    text,
    union,
    union_all,
)
from sqlalchemy.dialects import postgresql

from service.activity.readable import line_rows, order_rows, return_rows, undone_orders
from service.catalogue.readable import item_rows
from service.members.readable import member_rows
from service.tiers.readable import standing_rows


def row_of(**columns: str) -> np.dtype[np.void]:
    """Return a row of PostgreSQL's binary COPY: a count of fields, then each after its length."""
    parts = [
        (part, kind)
        for name, code in columns.items()
        for part, kind in ((f"{name}_size", ">i4"), (name, code))
    ]
    return np.dtype([("fields", ">i2"), *parts])


TOUCHED_ROW = row_of(member_key=">i8", item_key=">i8", day=">i4", quantity=">i4", order_key=">i8", bought="?")
"""With the order (0: the refund names none) and whether it is a purchase or a return."""
_PAIR_ROW = row_of(member_key=">i8", item_key=">i8")
ORDERS_AT_ONCE = 20_000


class Columns(NamedTuple):
    """Purchases as columns: keys, days since 1970-01-01, pieces."""

    member_key: NDArray[np.int64]
    item_key: NDArray[np.int64]
    day: NDArray[np.int64]
    quantity: NDArray[np.int64]


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


def _between(key: Any) -> Any:
    return and_(key >= bindparam("first"), key < bindparam("stop"))


# Every aggregate of a row sees the same rows in the same order.
_ORDERS = select(
    func.array_agg(order_rows.c.order_key),
    func.array_agg(order_rows.c.member_key),
    func.array_agg(_day_number(order_rows.c.placed_at)),
).where(_between(order_rows.c.order_key))
_LINES = select(
    func.array_agg(line_rows.c.order_key),
    func.array_agg(line_rows.c.item_key),
    func.array_agg(line_rows.c.quantity),
).where(_between(line_rows.c.order_key))
_SPAN = select(func.min(order_rows.c.order_key), func.max(order_rows.c.order_key))
_touched_rows = union_all(
    select(
        order_rows.c.member_key,
        line_rows.c.item_key,
        _day_number(order_rows.c.placed_at).label("day"),
        line_rows.c.quantity,
        order_rows.c.order_key,
        literal(True).label("bought"),
    )
    .select_from(_ordered)
    .where(
        _touched(order_rows.c.member_key, line_rows.c.item_key),
        order_rows.c.order_key.not_in(select(_undone.c.order_key)),
    ),
    select(
        return_rows.c.member_key,
        return_rows.c.item_key,
        _day_number(return_rows.c.refunded_at),
        return_rows.c.quantity,
        func.coalesce(return_rows.c.order_key, 0),
        literal(False),
    ),
).subquery("touched_rows")
_TOUCHED = select(_touched_rows).order_by(_touched_rows.c.member_key, _touched_rows.c.item_key)
_COUNT = text("SELECT count(*) FROM order_lines")
_MEMBER_IDS: Select[Any] = select(member_rows.c.member_key, member_rows.c.member_id)
_TIERS: Select[Any] = select(member_rows.c.member_id, standing_rows.c.tier).join_from(
    member_rows, standing_rows, standing_rows.c.member_key == member_rows.c.member_key
)
_SKUS: Select[Any] = select(item_rows.c.item_key, item_rows.c.sku)


def prepare_history(conn: Connection) -> int:
    """Set aside what was given back, for this transaction, and return how many order lines there are."""
    conn.execute(text("SET LOCAL jit = off"))
    # Whole tables meet whole tables. Right after an import nothing is known of their size, and a loop over
    # one of them looks cheap that takes minutes.
    conn.execute(text("SET LOCAL enable_nestloop = off"))
    _create(conn, "undone", _UNDONE, "order_key")
    _create(conn, "given_back", _GIVEN_BACK, "member_key, item_key")
    conn.execute(text("SET LOCAL enable_nestloop TO DEFAULT"))
    count: int = conn.execute(_COUNT).scalar_one()
    return count


def _create(conn: Connection, table: str, query: Any, key: str) -> None:
    conn.execute(text(f"CREATE TEMPORARY TABLE {table} ON COMMIT DROP AS {_write_out(query)}"))
    conn.execute(text(f"CREATE INDEX ON {table} ({key})"))
    conn.execute(text(f"ANALYZE {table}"))


def _write_out(query: Any) -> str:
    """Return a statement with its values in it, where PostgreSQL takes no parameters."""
    if isinstance(query, TextClause):
        return query.text
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def copy_untouched(conn: Connection, *, timezone: str) -> Iterator[Columns]:
    """Yield the lines of which nothing was given back, a range of orders at a time."""
    span = conn.execute(_SPAN).one()
    if span[0] is None:
        return
    pairs = _read_given_back(conn)
    for first in range(span[0], span[1] + 1, ORDERS_AT_ONCE):
        bounds = {"first": first, "stop": first + ORDERS_AT_ONCE}
        orders = copy_arrays(
            conn, query=_ORDERS.params(timezone=timezone, **bounds), kinds=(">i8", ">i8", ">i4")
        )
        lines = copy_arrays(conn, query=_LINES.params(**bounds), kinds=(">i8", ">i8", ">i4"))
        if not orders or not lines:
            continue
        order_keys, members, days = orders
        place = np.zeros(ORDERS_AT_ONCE, np.intp)
        place[order_keys - first] = np.arange(len(order_keys))
        order_of_line, items, quantities = lines
        at = place[order_of_line - first]
        columns = Columns(members[at], items, days[at], quantities)
        yield _leave_out(columns, pairs) if len(pairs) else columns


def _read_given_back(conn: Connection) -> NDArray[np.void]:
    """Return the pairs of which something was given back, sorted."""
    rows = list(_copy(conn, text("SELECT member_key, item_key FROM given_back"), _PAIR_ROW))
    pairs = np.concatenate(rows)
    return np.sort(_pack(pairs["member_key"].astype(np.int64), pairs["item_key"].astype(np.int64)))


def _pack(member_key: NDArray[np.int64], item_key: NDArray[np.int64]) -> NDArray[np.void]:
    packed = np.empty(len(member_key), dtype=[("member_key", np.int64), ("item_key", np.int64)])
    packed["member_key"], packed["item_key"] = member_key, item_key
    return packed


def _leave_out(columns: Columns, pairs: NDArray[np.void]) -> Columns:
    """Return the lines whose pair of member and item is not among those given back."""
    # Most lines are of members who gave nothing back: only the others are looked at pair by pair.
    suspect = np.flatnonzero(np.isin(columns.member_key, pairs["member_key"]))
    keep = np.ones(len(columns.member_key), bool)
    keep[suspect] = ~np.isin(_pack(columns.member_key[suspect], columns.item_key[suspect]), pairs)
    return Columns(*(column[keep] for column in columns))


def copy_touched(conn: Connection, *, timezone: str) -> Iterator[NDArray[np.void]]:
    """Yield blocks of `TOUCHED_ROW` by member and item: where something was given back.

    Orders undone as a whole are left out.
    """
    yield from _copy(conn, _TOUCHED.params(timezone=timezone), TOUCHED_ROW)


def copy_arrays(
    conn: Connection, *, query: Any, kinds: Sequence[str]
) -> tuple[NDArray[np.int64], ...] | None:
    """Return the columns of a query for one row of arrays, None where they are null: there are no rows."""
    driver: Any = conn.connection.driver_connection
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY ({_write_out(query)}) TO STDOUT (FORMAT BINARY)") as copy,
    ):
        return cut_arrays(b"".join(bytes(block) for block in copy), kinds)


def cut_arrays(raw: bytes, kinds: Sequence[str]) -> tuple[NDArray[np.int64], ...] | None:
    """Cut a binary COPY of one row of arrays without nulls in them into columns; None where they are null.

    Raises:
        ValueError: this is no such copy.
    """
    if not raw.startswith(_SIGNATURE) or not raw.endswith(b"\xff\xff"):
        raise ValueError("not a whole binary copy")
    at = _HEADER_BYTES + 2
    columns = []
    for kind in kinds:
        (size,) = struct.unpack_from(">i", raw, at)
        at += 4
        if size < 0:
            return None
        dimensions, has_nulls, _, count, _ = struct.unpack_from(">iiiii", raw, at)
        element = np.dtype([("size", ">i4"), ("value", kind)])
        if dimensions != 1 or has_nulls or size != 20 + count * element.itemsize:
            raise ValueError("the copy holds another kind of array")
        values = np.frombuffer(raw, element, count, at + 20)["value"]
        columns.append(values.astype(np.int64))
        at += size
    return tuple(columns)


def _copy(conn: Connection, query: Any, row: np.dtype[np.void]) -> Iterator[NDArray[np.void]]:
    driver: Any = conn.connection.driver_connection
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY ({_write_out(query)}) TO STDOUT (FORMAT BINARY)") as copy,
    ):
        yield from cut_rows((bytes(block) for block in copy), row)


def cut_rows(blocks: Iterator[bytes], row: np.dtype[np.void]) -> Iterator[NDArray[np.void]]:
    """Cut a binary COPY of rows that are all of one width into arrays, about a megabyte each.

    Raises:
        ValueError: this is no such copy, or it breaks off.
    """
    rest, header = b"", True
    pending: list[bytes] = []
    size = 0
    for block in blocks:
        pending.append(block)
        size += len(block)
        if size >= 1 << 20:
            rest, rows = _whole_rows(b"".join([rest, *pending]), row, header=header)
            pending, size, header = [], 0, False
            yield rows
    rest, rows = _whole_rows(b"".join([rest, *pending]), row, header=header)
    yield rows
    if rest != b"\xff\xff":
        raise ValueError("the copy did not end as it should")


def _whole_rows(raw: bytes, row: np.dtype[np.void], *, header: bool) -> tuple[bytes, NDArray[np.void]]:
    if header:
        if not raw.startswith(_SIGNATURE):
            raise ValueError("not a binary copy")
        raw = raw[_HEADER_BYTES:]
    count = len(raw) // row.itemsize
    rows = np.frombuffer(raw, dtype=row, count=count)
    # Any other width shows as another number of fields in the rows after it.
    if not np.all(rows["fields"] == len(row.names or ()) // 2):
        raise ValueError("rows of another width")
    return raw[count * row.itemsize :], rows


def map_member_ids(conn: Connection) -> dict[int, str]:
    """Return every member's id by key."""
    return {row.member_key: row.member_id for row in conn.execute(_MEMBER_IDS)}


def map_tiers(conn: Connection) -> dict[str, str]:
    """Return the code of the tier that each member stands at, by member id."""
    return {row.member_id: row.tier for row in conn.execute(_TIERS)}


def map_skus(conn: Connection) -> dict[int, str]:
    """Return every item's sku by key."""
    return {row.item_key: row.sku for row in conn.execute(_SKUS)}


def list_versions(conn: Connection, *, prefix: str) -> Sequence[str]:
    """Return the registered versions that begin so."""
    query = text("SELECT version FROM recommender_models WHERE starts_with(version, :prefix)")
    return conn.execute(query, {"prefix": prefix}).scalars().all()
