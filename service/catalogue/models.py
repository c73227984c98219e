"""Shelves of the catalogue: what is sold."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from service.kit.db import metadata

items = Table(
    "items",
    metadata,
    Column("item_key", BigInteger, Identity(), primary_key=True),
    Column("sku", Text(collation="C"), nullable=False),
    Column("names", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("categories", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("price_minor", BigInteger),
    Column("currency", Text),
    Column("available", Boolean, nullable=False, server_default=text("true")),
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # A stub was first seen in an order; it has no name or price until the shop sends it.
    Column("stub", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("sku"),
    # Whoever keeps a picture of the catalogue in memory asks what changed since.
    Index(None, "updated_at"),
)
