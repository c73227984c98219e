"""The SQL statements that bring facts in by bulk: staging, claiming ids, facts, the day roll-up.

A chunk is staged with COPY, its ids are claimed in one statement, and what is new goes in with COPY and set
statements, all in one transaction. Keys come before stores, items and days, as in a single order's story, so
that live traffic and an import never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.db import dumps
from service.members.rules import MEMBER_COLUMNS

_STAGES = (
    """CREATE TEMPORARY TABLE IF NOT EXISTS staged_items (position int, sku text COLLATE "C", names jsonb,
        categories text[], price_minor bigint, currency text, available boolean, attributes jsonb)
        ON COMMIT DELETE ROWS""",
    """CREATE TEMPORARY TABLE IF NOT EXISTS staged_members (member_id text COLLATE "C", given text[],
        joined_at timestamptz, store_key int, locale text, birth_month smallint, birth_day smallint,
        birthday_sealed bytea, name_sealed bytea, email_sealed bytea, email_index bytea, phone_sealed bytea,
        phone_index bytea, consent_marketing jsonb, consent_profiling jsonb, attributes jsonb,
        referred_by text, acquisition jsonb) ON COMMIT DELETE ROWS""",
    """CREATE TEMPORARY TABLE IF NOT EXISTS staged_orders (position int, order_id text COLLATE "C",
        member_id text COLLATE "C", placed_at timestamptz, content_hash bytea) ON COMMIT DELETE ROWS""",
    """CREATE TEMPORARY TABLE IF NOT EXISTS staged_refunds (position int, refund_id text COLLATE "C",
        member_key bigint, order_key bigint, refunded_at timestamptz, order_amount_minor bigint,
        content_hash bytea) ON COMMIT DELETE ROWS""",
    """CREATE TEMPORARY TABLE IF NOT EXISTS staged_days (member_key bigint, day date, goods_minor bigint,
        spend_minor bigint, orders int, unlinked_minor bigint) ON COMMIT DELETE ROWS""",
)

# What a crash of the server itself would lose is the last chunks, which a second run brings in again.
_TUNE = "SET LOCAL synchronous_commit = off; SET LOCAL work_mem = '64MB'"

_UPSERT_ITEMS = text(
    """
    INSERT INTO items AS i (sku, names, categories, price_minor, currency, available, attributes, stub,
        created_at, updated_at)
    SELECT DISTINCT ON (sku) sku, names, categories, price_minor, currency, available, attributes, false,
        CAST(:now AS timestamptz), CAST(:now AS timestamptz)
    FROM staged_items ORDER BY sku, position DESC
    ON CONFLICT (sku) DO UPDATE SET names = EXCLUDED.names, categories = EXCLUDED.categories,
        price_minor = EXCLUDED.price_minor, currency = EXCLUDED.currency, available = EXCLUDED.available,
        attributes = EXCLUDED.attributes, stub = false, updated_at = EXCLUDED.updated_at
    WHERE (i.names, i.categories, i.price_minor, i.currency, i.available, i.attributes, i.stub)
        IS DISTINCT FROM (EXCLUDED.names, EXCLUDED.categories, EXCLUDED.price_minor, EXCLUDED.currency,
            EXCLUDED.available, EXCLUDED.attributes, false)
    """
)

_FIND_MEMBERS = text(
    "SELECT m.*, s.store_id FROM members m LEFT JOIN stores s USING (store_key) "
    "WHERE m.member_id = ANY(:member_ids)"
)
_MEMBER_LIST = ", ".join(MEMBER_COLUMNS)
_FILLED_IN = {"joined_at": "COALESCE(joined_at, :now)", "attributes": "COALESCE(attributes, '{}')"}
_ADD_MEMBERS = text(
    f"INSERT INTO members (member_id, {_MEMBER_LIST}, created_at, updated_at) "  # noqa: S608  own names only
    f"SELECT member_id, {', '.join(_FILLED_IN.get(name, name) for name in MEMBER_COLUMNS)}, :now, :now "
    "FROM staged_members ORDER BY member_id ON CONFLICT (member_id) DO NOTHING "
    "RETURNING member_key, member_id"
)
_GIVEN_ONES = ", ".join(
    f"{name} = CASE WHEN '{name}' = ANY(s.given) THEN s.{name} ELSE m.{name} END" for name in MEMBER_COLUMNS
)
_CHANGE_MEMBERS = text(
    f"UPDATE members m SET {_GIVEN_ONES}, updated_at = :now FROM staged_members s "  # noqa: S608  own names only
    "WHERE m.member_id = s.member_id AND NOT m.member_key = ANY(:new_keys)"
)

_CLAIM_ORDERS = text(
    """
    INSERT INTO order_keys (order_id, member_key, placed_at, content_hash)
    SELECT DISTINCT ON (s.order_id) s.order_id, coalesce(m.merged_into, m.member_key), s.placed_at,
        s.content_hash
    FROM staged_orders s JOIN members m USING (member_id) ORDER BY s.order_id, s.position
    ON CONFLICT (order_id) DO NOTHING RETURNING order_key
    """
)
_JUDGE_ORDERS = text(
    """
    SELECT s.position, coalesce(m.merged_into, m.member_key) AS member_key,
        CASE WHEN m.merged_into IS NOT NULL THEN m.member_key END AS origin_key, k.order_key,
        k.content_hash = s.content_hash AS is_same
    FROM staged_orders s LEFT JOIN members m USING (member_id) LEFT JOIN order_keys k USING (order_id)
    ORDER BY s.position
    """
)
_ADD_DAYS = text(
    """
    INSERT INTO member_days AS d (member_key, day, goods_minor, spend_minor, orders, unlinked_minor)
    SELECT * FROM staged_days ORDER BY member_key, day
    ON CONFLICT (member_key, day) DO UPDATE SET goods_minor = d.goods_minor + EXCLUDED.goods_minor,
        spend_minor = d.spend_minor + EXCLUDED.spend_minor, orders = d.orders + EXCLUDED.orders,
        unlinked_minor = d.unlinked_minor + EXCLUDED.unlinked_minor
    """
)
_TAKE_FROM_DAYS = text(
    """
    UPDATE member_days d SET goods_minor = d.goods_minor + s.goods_minor,
        spend_minor = d.spend_minor + s.spend_minor, orders = d.orders + s.orders
    FROM staged_days s WHERE d.member_key = s.member_key AND d.day = s.day
    """
)
_CLEAR_DAYS = text("DELETE FROM staged_days")

_MEMBERS_OF_ORDERS = text("SELECT order_id, member_key FROM order_keys WHERE order_id = ANY(:order_ids)")
_LOCK_ACCOUNTS = text(
    "SELECT FROM balances WHERE member_key = ANY(CAST(:member_keys AS bigint[])) ORDER BY member_key "
    "FOR NO KEY UPDATE"
)
_REFUNDABLE = text(
    """
    SELECT k.order_id, k.order_key, k.member_key, m.member_id, o.origin_key, k.placed_at, o.day, o.store_key,
        o.currency,
        o.order_goods_minor, o.goods_minor, o.spend_minor,
        (SELECT CAST(COALESCE(sum(r.order_amount_minor), 0) AS bigint) FROM refund_keys r
            WHERE r.order_key = k.order_key) AS refunded_minor,
        COALESCE((SELECT c.order_amount_minor FROM order_cancellations c WHERE c.order_key = k.order_key), 0)
            AS cancelled_minor
    FROM order_keys k JOIN orders o ON o.order_key = k.order_key AND o.placed_at = k.placed_at
    JOIN members m ON m.member_key = coalesce(o.origin_key, k.member_key)
    WHERE k.order_id = ANY(:order_ids)
    """
)
_KNOWN_REFUNDS = text("SELECT refund_id, content_hash FROM refund_keys WHERE refund_id = ANY(:refund_ids)")
_CLAIM_REFUNDS = text(
    """
    INSERT INTO refund_keys (refund_id, member_key, order_key, refunded_at, order_amount_minor, content_hash)
    SELECT refund_id, member_key, order_key, refunded_at, order_amount_minor, content_hash
    FROM staged_refunds ORDER BY position
    ON CONFLICT (refund_id) DO NOTHING RETURNING refund_id, refund_key
    """
)
_PARKED = text("SELECT refund_id, body FROM parked_refunds WHERE refund_id = ANY(:refund_ids)")
_PARK = text(
    "INSERT INTO parked_refunds (refund_id, order_id, body, parked_at, import_key, line_no) "
    "VALUES (:refund_id, :order_id, CAST(:body AS jsonb), :now, :import_key, :line_no)"
)
_UNPARK = text("DELETE FROM parked_refunds WHERE refund_id = ANY(:refund_ids)")
_CAN_UNPARK = text(
    "SELECT p.refund_id, p.body, p.import_key, p.line_no FROM parked_refunds p "
    "WHERE EXISTS (SELECT FROM order_keys k WHERE k.order_id = p.order_id) ORDER BY p.refund_id LIMIT :limit"
)

_MARK = text(
    "INSERT INTO import_backlog (member_key, import_key) "
    "SELECT unnest(CAST(:member_keys AS bigint[])), CAST(:import_key AS bigint) ON CONFLICT DO NOTHING"
)

_ANALYZE = (
    "ANALYZE items, members, order_keys, orders, order_lines, member_days, refund_keys, refunds, refund_lines"
)


def copy_rows(conn: Connection, *, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows with COPY, in the connection's transaction."""
    raw: Any = conn.connection.driver_connection
    with raw.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def create_stages(conn: Connection) -> None:
    """Create the staging tables of this connection; they are empty at the start of every transaction."""
    for statement in _STAGES:
        conn.exec_driver_sql(statement)


def tune(conn: Connection) -> None:
    """Set this transaction up for bulk work."""
    for statement in _TUNE.split("; "):
        conn.exec_driver_sql(statement)


def analyze(conn: Connection) -> None:
    """Refresh the planner's statistics of what an import fills."""
    conn.exec_driver_sql(_ANALYZE)


def upsert_items(conn: Connection, *, rows: Iterable[Sequence[Any]], now: datetime) -> int:
    """Add or replace items, the last of each sku; return how many were new or changed."""
    columns = ("position", "sku", "names", "categories", "price_minor", "currency", "available", "attributes")
    copy_rows(conn, table="staged_items", columns=columns, rows=rows)
    return conn.execute(_UPSERT_ITEMS, {"now": now}).rowcount


def find_members(conn: Connection, *, member_ids: Sequence[str]) -> dict[str, Row[Any]]:
    """Return the whole row of each known member, with the store's id."""
    rows = conn.execute(_FIND_MEMBERS, {"member_ids": list(member_ids)})
    return {row.member_id: row for row in rows}


def write_members(
    conn: Connection, *, values: Mapping[str, Mapping[str, object]], now: datetime
) -> dict[str, int]:
    """Add members, or change the given columns of those that exist; return the keys of the new ones."""
    columns = ("member_id", "given", *MEMBER_COLUMNS)
    rows = (
        (member_id, list(given), *(given.get(name) for name in MEMBER_COLUMNS))
        for member_id, given in values.items()
    )
    copy_rows(conn, table="staged_members", columns=columns, rows=rows)
    new = {row.member_id: row.member_key for row in conn.execute(_ADD_MEMBERS, {"now": now})}
    if len(new) < len(values):
        conn.execute(_CHANGE_MEMBERS, {"now": now, "new_keys": list(new.values())})
    return new


def claim_orders(conn: Connection, *, rows: Iterable[Sequence[Any]]) -> tuple[set[int], Sequence[Row[Any]]]:
    """Claim the ids of staged orders; return the keys claimed and what is known of each staged row.

    Rows are (position, order_id, member_id, placed_at, content_hash).
    """
    columns = ("position", "order_id", "member_id", "placed_at", "content_hash")
    copy_rows(conn, table="staged_orders", columns=columns, rows=rows)
    claimed = set(conn.scalars(_CLAIM_ORDERS))
    return claimed, conn.execute(_JUDGE_ORDERS).all()


def add_days(conn: Connection, *, rows: Iterable[Sequence[Any]]) -> None:
    """Add to the day roll-up; rows are (member_key, day, goods, spend, orders, unlinked), one per day."""
    _stage_days(conn, rows)
    conn.execute(_ADD_DAYS)
    conn.execute(_CLEAR_DAYS)


def take_from_days(conn: Connection, *, rows: Iterable[Sequence[Any]]) -> None:
    """Take from days that exist: the amounts are below zero."""
    _stage_days(conn, rows)
    conn.execute(_TAKE_FROM_DAYS)
    conn.execute(_CLEAR_DAYS)


def _stage_days(conn: Connection, rows: Iterable[Sequence[Any]]) -> None:
    columns = ("member_key", "day", "goods_minor", "spend_minor", "orders", "unlinked_minor")
    copy_rows(conn, table="staged_days", columns=columns, rows=rows)


def lock_accounts(conn: Connection, *, member_keys: Iterable[int]) -> None:
    """Lock the accounts of members in ascending order, until the transaction ends."""
    conn.execute(_LOCK_ACCOUNTS, {"member_keys": sorted(set(member_keys))})


def find_members_of_orders(conn: Connection, *, order_ids: Sequence[str]) -> dict[str, int]:
    """Return the member's key of each known order."""
    rows = conn.execute(_MEMBERS_OF_ORDERS, {"order_ids": list(order_ids)})
    return {row.order_id: row.member_key for row in rows}


def find_refundable(conn: Connection, *, order_ids: Sequence[str]) -> dict[str, Row[Any]]:
    """Return each known order with what was given back of it."""
    return {row.order_id: row for row in conn.execute(_REFUNDABLE, {"order_ids": list(order_ids)})}


def find_known_refunds(conn: Connection, *, refund_ids: Sequence[str]) -> dict[str, bytes]:
    """Return the content hash of each recorded refund."""
    rows = conn.execute(_KNOWN_REFUNDS, {"refund_ids": list(refund_ids)})
    return {row.refund_id: bytes(row.content_hash) for row in rows}


def claim_refunds(conn: Connection, *, rows: Iterable[Sequence[Any]]) -> dict[str, int]:
    """Claim the ids of refunds and return the keys of those that were free.

    Rows are (position, refund_id, member_key, order_key, refunded_at, order_amount_minor, content_hash).
    """
    columns = (
        "position", "refund_id", "member_key", "order_key", "refunded_at", "order_amount_minor",
        "content_hash",
    )  # fmt: skip
    copy_rows(conn, table="staged_refunds", columns=columns, rows=rows)
    return {row.refund_id: row.refund_key for row in conn.execute(_CLAIM_REFUNDS)}


def find_parked(conn: Connection, *, refund_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the body of each parked refund."""
    return {row.refund_id: row.body for row in conn.execute(_PARKED, {"refund_ids": list(refund_ids)})}


def park(conn: Connection, *, refunds: Sequence[Mapping[str, Any]], import_key: int, now: datetime) -> None:
    """Park refunds until their orders come; each is refund_id, order_id, body and line_no."""
    parameters = [
        {**refund, "body": dumps(refund["body"]), "import_key": import_key, "now": now} for refund in refunds
    ]
    if parameters:
        conn.execute(_PARK, parameters)


def unpark(conn: Connection, *, refund_ids: Sequence[str]) -> None:
    """Forget parked refunds."""
    conn.execute(_UNPARK, {"refund_ids": list(refund_ids)})


def list_unparkable(conn: Connection, *, limit: int) -> Sequence[Row[Any]]:
    """Return parked refunds whose orders have come."""
    return conn.execute(_CAN_UNPARK, {"limit": limit}).all()


def mark_members(conn: Connection, *, member_keys: Iterable[int], import_key: int) -> None:
    """Remember that tiers and points of these members are to be made anew."""
    conn.execute(_MARK, {"member_keys": sorted(set(member_keys)), "import_key": import_key})
