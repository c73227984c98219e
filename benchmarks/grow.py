"""Databases made quickly out of others: a shop many times over, and purchases to learn from."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine, Table, text

from service.shelves import metadata

_KEYS = {
    "member_key", "order_key", "carrier_order_key", "refund_key", "transaction_key", "lot_key", "change_key",
    "event_key",
}  # fmt: skip
_IDS = {"member_id", "order_id", "refund_id"}
_PERSONAL = {"member_key", "order_key", "refund_key", "transaction_key"}
# What one member's history does not consist of.
_LEFT_OUT = {"exposures", "idempotency_keys", "import_backlog", "parked_refunds", "events"}
_STEP = 1_000_000_000


def multiply_members(engine: Engine, *, times: int) -> None:
    """Add `times` - 1 copies of every member with everything that is known of them."""
    with engine.begin() as conn:
        # Constraints and append-only triggers hold already for what is copied.
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        for table in metadata.sorted_tables:
            if table.name not in _LEFT_OUT and _PERSONAL & set(table.columns.keys()):
                conn.execute(text(_copying(table)), {"copies": times - 1})
        _move_sequences(conn)
    _settle(engine)


def _copying(table: Table) -> str:
    names = [column.name for column in table.columns]
    values = [
        f"t.{name} + n * {_STEP}"
        if name in _KEYS
        else f"t.{name} || '~' || n"
        if name in _IDS
        else f"t.{name}"
        for name in names
    ]
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {', '.join(values)} "
        f"FROM generate_series(CAST(1 AS bigint), :copies) AS n, {table.name} t"
    )


def _move_sequences(conn: Connection) -> None:
    """Let new keys begin after the copied ones."""
    for table in metadata.sorted_tables:
        for column in table.columns:
            if column.identity is not None:
                conn.execute(
                    text(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column.name}'), "
                        f"(SELECT coalesce(max({column.name}), 1) FROM {table.name}))"
                    )
                )


def add_purchases(engine: Engine, *, members: int, items: int, lines: int, now: datetime) -> None:
    """Fill a database with orders of five lines to learn from, without points and tiers."""
    with engine.begin() as conn:
        conn.execute(text("SELECT setseed(0.5)"))
        for statement in _PURCHASES:
            conn.execute(
                text(statement), {"members": members, "items": items, "orders": lines // 5, "now": now}
            )
    _settle(engine)


_PURCHASES = (
    "INSERT INTO members (member_id, joined_at, created_at, updated_at) "
    "SELECT 'l' || n, :now, :now, :now FROM generate_series(1, :members) AS n",
    "INSERT INTO items (sku, created_at, updated_at) SELECT 'learned-' || n, :now, :now "
    "FROM generate_series(1, :items) AS n",
    "INSERT INTO order_keys (order_key, order_id, member_key, placed_at, content_hash) "
    "SELECT n, 'l' || n, (SELECT min(member_key) FROM members) + n % :members, "
    "CAST(:now AS timestamptz) - random() * interval '380 days', '' FROM generate_series(1, :orders) AS n",
    "INSERT INTO orders (order_key, placed_at, received_at, member_key, day, currency, order_goods_minor, "
    "goods_minor, spend_minor) "
    "SELECT order_key, placed_at, :now, member_key, CAST(placed_at AS date), 'TWD', 50000, 50000, 50000 "
    "FROM order_keys",
    "INSERT INTO order_lines (order_key, placed_at, line_no, item_key, quantity, order_amount_minor, "
    "amount_minor) SELECT order_key, placed_at, line_no, "
    "(SELECT min(item_key) FROM items) + floor(:items * power(random(), 3)), 1, 10000, 10000 "
    "FROM order_keys, generate_series(1, 5) AS line_no",
)


def _settle(engine: Engine) -> None:
    """Leave the database as autovacuum would."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("VACUUM (ANALYZE)"))
        conn.execute(text("CHECKPOINT"))
