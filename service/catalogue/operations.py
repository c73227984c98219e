"""The verbs of the catalogue room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row

from service.catalogue import store
from service.catalogue.errors import UnknownItem
from service.kit import outbox
from service.kit.clock import format_time
from service.kit.db import dumps
from service.kit.errors import FieldError, Invalid
from service.kit.money import to_minor, to_text

__all__ = [
    "ensure_items",
    "find_categories",
    "find_names",
    "find_skus",
    "get_item",
    "item_values",
    "put_item",
]


def ensure_items(conn: Connection, *, skus: Iterable[str], now: datetime) -> dict[str, int]:
    """Return the key of every sku, remembering unknown ones as stubs."""
    wanted = sorted(set(skus))
    known = store.find_keys(conn, skus=wanted)
    missing = [sku for sku in wanted if sku not in known]
    if missing:
        store.add_stubs(conn, skus=missing, now=now)
        known |= store.find_keys(conn, skus=missing)
    return known


def find_skus(conn: Connection, *, item_keys: Iterable[int]) -> dict[int, str]:
    """Return the sku of each key."""
    return store.find_skus(conn, item_keys=sorted(set(item_keys)))


def find_names(conn: Connection, *, skus: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the names per locale of each known sku; a stub has none."""
    return store.find_names(conn, skus=sorted(set(skus)))


def find_categories(conn: Connection, *, skus: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the categories of each known sku."""
    return store.find_categories(conn, skus=sorted(set(skus)))


def item_values(body: Mapping[str, Any], *, sku: str, currency: str) -> dict[str, object]:
    """Return the row values for the fields of `PUT /items/{sku}`; `currency` is the programme's.

    Raises:
        Invalid: the price has more decimals than its currency.
    """
    price: Decimal | None = body.get("price")
    its_currency = body.get("currency") or currency
    try:
        price_minor = None if price is None else to_minor(price, currency=its_currency)
    except ValueError as error:
        raise Invalid(
            "the price is not acceptable", errors=[FieldError(str(error), pointer="/price")]
        ) from error
    return {
        "sku": sku,
        "names": dumps(body.get("name") or {}),
        "categories": body.get("category") or [],
        "price_minor": price_minor,
        "currency": None if price is None else its_currency,
        "available": body.get("available", True),
        "attributes": dumps(body.get("attributes") or {}),
    }


def put_item(
    conn: Connection, *, sku: str, body: Mapping[str, Any], currency: str, now: datetime
) -> tuple[dict[str, Any], bool]:
    """Add an item or replace it whole; return it and whether it is new."""
    row = store.upsert(conn, values=item_values(body, sku=sku, currency=currency), now=now)
    payload = {"sku": sku, "is_new": row.is_new, "available": row.available}
    outbox.emit(conn, topic="item.changed", member_key=None, payload=payload, occurred_at=now)
    return _item(row), row.is_new


def get_item(conn: Connection, *, sku: str) -> dict[str, Any]:
    """Return an item.

    Raises:
        UnknownItem: nothing has this sku.
    """
    row = store.find(conn, sku=sku)
    if row is None:
        raise UnknownItem(f"no item has the sku {sku}")
    return _item(row)


def _item(row: Row[Any]) -> dict[str, Any]:
    return {
        "sku": row.sku,
        "name": row.names,
        "category": row.categories,
        "price": None if row.price_minor is None else to_text(row.price_minor, currency=row.currency),
        "currency": row.currency,
        "available": row.available,
        "attributes": row.attributes,
        "stub": row.stub,
        "created_at": format_time(row.created_at),
        "updated_at": format_time(row.updated_at),
    }
