"""Shelves of the members: the one row that holds everything personal."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.kit.db import metadata

members = Table(
    "members",
    metadata,
    Column("member_key", BigInteger, Identity(), primary_key=True),
    Column("member_id", Text(collation="C"), nullable=False),
    Column("joined_at", DateTime(timezone=True), nullable=False),
    Column("store_key", Integer, ForeignKey("stores.store_key")),
    Column("locale", Text),
    Column("birth_month", SmallInteger),
    Column("birth_day", SmallInteger),
    Column("birthday_sealed", LargeBinary),
    Column("name_sealed", LargeBinary),
    Column("email_sealed", LargeBinary),
    Column("email_index", LargeBinary),
    Column("phone_sealed", LargeBinary),
    Column("phone_index", LargeBinary),
    Column("consent_marketing", JSONB),
    Column("consent_profiling", JSONB),
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("referred_by", Text),
    Column("acquisition", JSONB),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("erased_at", DateTime(timezone=True)),
    UniqueConstraint("member_id"),
    Index(None, "email_index", postgresql_where=text("email_index IS NOT NULL")),
    Index(None, "phone_index", postgresql_where=text("phone_index IS NOT NULL")),
    Index(None, "erased_at", "member_key", postgresql_where=text("erased_at IS NOT NULL")),
)
