"""Shelves of the members: the one row that holds everything personal."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
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
    # Whom this member's facts count for now: the last of a chain of merges. `merged_at` is its own merge.
    Column("merged_into", BigInteger, ForeignKey("members.member_key")),
    Column("merged_at", DateTime(timezone=True)),
    # The earliest joining of those merged into this member, whatever its own.
    Column("belongs_since", DateTime(timezone=True)),
    UniqueConstraint("member_id"),
    CheckConstraint("(merged_into IS NULL) = (merged_at IS NULL)", name="merged_at_once"),
    CheckConstraint("merged_into <> member_key", name="not_into_itself"),
    Index(None, "email_index", postgresql_where=text("email_index IS NOT NULL")),
    Index(None, "phone_index", postgresql_where=text("phone_index IS NOT NULL")),
    Index(None, "erased_at", "member_key", postgresql_where=text("erased_at IS NOT NULL")),
    Index(None, "merged_at", "member_key", postgresql_where=text("merged_at IS NOT NULL")),
    Index(None, "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
)

# Who was merged into whom; one that was undone stays, and counts for nothing.
member_merges = Table(
    "member_merges",
    metadata,
    Column("merge_key", BigInteger, Identity(), primary_key=True),
    Column("from_key", BigInteger, ForeignKey("members.member_key"), nullable=False),
    Column("into_key", BigInteger, ForeignKey("members.member_key"), nullable=False),
    Column("merged_at", DateTime(timezone=True), nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    # What undoing needs to know beyond the facts themselves.
    Column("details", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("undone_at", DateTime(timezone=True)),
    Column("undone_by", Text),
    Column("undone_because", Text),
    # A member is merged into one other at a time.
    Index(
        "ux_member_merges_standing",
        "from_key",
        unique=True,
        postgresql_where=text("undone_at IS NULL"),
    ),
    Index("ix_member_merges_into", "into_key", postgresql_where=text("undone_at IS NULL")),
    CheckConstraint("from_key <> into_key", name="of_two"),
    CheckConstraint("(undone_at IS NULL) = (undone_by IS NULL)", name="undone_by_somebody"),
)

# Every yes and no that a member said, dated: written by the database whenever a member's consent changes.
consent_changes = Table(
    "consent_changes",
    metadata,
    Column("change_key", BigInteger, Identity(), primary_key=True),
    Column("member_key", BigInteger, ForeignKey("members.member_key"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("granted", Boolean, nullable=False),
    # What stood before; null where it was never asked.
    Column("was_granted", Boolean),
    Column("text_version", Text),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    Index(None, "member_key", "changed_at"),
    Index(
        "ix_consent_changes_withdrawn",
        "member_key",
        "changed_at",
        postgresql_where=text("purpose = 'marketing' AND was_granted AND NOT granted"),
    ),
    CheckConstraint("purpose IN ('marketing', 'profiling')", name="known_purpose"),
)
