"""Shelves of earning: rules by version, and what events have earned."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.kit.db import metadata

earning_rules = Table(
    "earning_rules",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("title", Text),
    Column("definition", JSONB, nullable=False),
    Column("effective_from", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_by", Text),
    Column("updated_at", DateTime(timezone=True)),
    Column("published_at", DateTime(timezone=True)),
    Column("published_by", Text),
    Column("reason", Text),
    Column("retired_at", DateTime(timezone=True)),
    # One version at a time: two from the same moment would both be in force.
    UniqueConstraint("effective_from"),
    CheckConstraint("state IN ('draft', 'scheduled', 'active', 'retired', 'discarded')", name="known_state"),
    CheckConstraint(
        "(state IN ('draft', 'discarded')) = (effective_from IS NULL)", name="published_have_a_moment"
    ),
)

# What every rewarded event earned, once: limits are counted here. Only grows, and only whose it is changes.
event_awards = Table(
    "event_awards",
    metadata,
    Column("event_key", BigInteger, primary_key=True, autoincrement=False),
    Column("member_key", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("item_key", BigInteger),
    Column("points", BigInteger, nullable=False),
    Column("rules_version", Integer, nullable=False),
    Column("transaction_key", BigInteger, nullable=False),
    Index(None, "member_key", "type", "day"),
    # Of one sku, a type that is rewarded once for each: the index answers without the member's other rows.
    Index(None, "member_key", "type", "item_key", postgresql_where=text("item_key IS NOT NULL")),
    CheckConstraint("points > 0", name="positive"),
)
