"""What later rooms may join: items by key and sku, with names, categories and whether they can be had."""

from __future__ import annotations

from sqlalchemy import select

from service.catalogue.models import items

item_rows = select(
    items.c.item_key,
    items.c.sku,
    items.c.names,
    items.c.categories,
    items.c.available,
    items.c.stub,
    items.c.updated_at,
).subquery("item_rows")
"""Every item, stubs too."""
