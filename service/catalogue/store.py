"""Every SQL statement of the catalogue room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.db import run

_FIND = text("SELECT * FROM items WHERE sku = :sku")
_FIND_KEYS = text("SELECT sku, item_key FROM items WHERE sku = ANY(:skus)")
_ADD_STUBS = text(
    "INSERT INTO items (sku, stub, created_at, updated_at) "
    "SELECT DISTINCT unnest(CAST(:skus AS text[])), true, CAST(:now AS timestamptz), CAST(:now AS "
    "timestamptz) "
    "ORDER BY 1 ON CONFLICT (sku) DO NOTHING"
)
_SKUS = text("SELECT item_key, sku FROM items WHERE item_key = ANY(:item_keys)")
_NAMES = text("SELECT sku, names FROM items WHERE sku = ANY(:skus)")
_CATEGORIES = text("SELECT sku, categories FROM items WHERE sku = ANY(:skus)")
_UPSERT = text(
    "INSERT INTO items (sku, names, categories, price_minor, currency, available, attributes, stub, "
    "created_at, updated_at) VALUES (:sku, CAST(:names AS jsonb), CAST(:categories AS text[]), :price_minor, "
    ":currency, :available, CAST(:attributes AS jsonb), false, :now, :now) "
    "ON CONFLICT (sku) DO UPDATE SET names = EXCLUDED.names, categories = EXCLUDED.categories, "
    "price_minor = EXCLUDED.price_minor, currency = EXCLUDED.currency, available = EXCLUDED.available, "
    "attributes = EXCLUDED.attributes, stub = false, updated_at = EXCLUDED.updated_at "
    "RETURNING *, (xmax = 0) AS is_new"
)


def find(conn: Connection, *, sku: str) -> Row[Any] | None:
    """Return an item's row."""
    return conn.execute(_FIND, {"sku": sku}).one_or_none()


def find_keys(conn: Connection, *, skus: Sequence[str]) -> dict[str, int]:
    """Return the key of each known sku."""
    return {row.sku: row.item_key for row in run(conn, _FIND_KEYS, {"skus": list(skus)})}


def add_stubs(conn: Connection, *, skus: Sequence[str], now: datetime) -> None:
    """Add skus that are not known yet as stubs."""
    conn.execute(_ADD_STUBS, {"skus": list(skus), "now": now})


def find_skus(conn: Connection, *, item_keys: Sequence[int]) -> dict[int, str]:
    """Return the sku of each key."""
    return {row.item_key: row.sku for row in conn.execute(_SKUS, {"item_keys": list(item_keys)})}


def find_names(conn: Connection, *, skus: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the names per locale of each known sku."""
    return {row.sku: row.names for row in conn.execute(_NAMES, {"skus": list(skus)})}


def find_categories(conn: Connection, *, skus: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return the categories of each known sku."""
    return {row.sku: frozenset(row.categories) for row in run(conn, _CATEGORIES, {"skus": list(skus)})}


def upsert(conn: Connection, *, values: Mapping[str, object], now: datetime) -> Row[Any]:
    """Insert or replace an item; `is_new` tells which (a stub that is filled in counts as new)."""
    return conn.execute(_UPSERT, {**values, "now": now}).one()
