"""Shelves of the programme: its fixed currency and zone, versioned settings, stores."""

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.kit.db import metadata

programme = Table(
    "programme",
    metadata,
    Column("programme_key", SmallInteger, primary_key=True, autoincrement=False),
    Column("currency", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("programme_key = 1", name="one_row"),
)

programme_settings = Table(
    "programme_settings",
    metadata,
    Column("version", Integer, Identity(), primary_key=True),
    Column("values", JSONB, nullable=False),
    Column("effective_from", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    # What was set at this moment on purpose; the other values were only carried along.
    Column("fields", ARRAY(Text)),
)

stores = Table(
    "stores",
    metadata,
    Column("store_key", Integer, Identity(), primary_key=True),
    Column("store_id", Text, nullable=False),
    Column("name", Text),
    Column("timezone", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    # From the first fact on, its days are counted: the zone is fixed.
    Column("first_used_at", DateTime(timezone=True)),
    UniqueConstraint("store_id"),
)
