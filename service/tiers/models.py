"""Shelves of the tiers: rule sets, the log of changes, and where each member stands."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.kit.db import metadata

tier_rulesets = Table(
    "tier_rulesets",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("definition", JSONB, nullable=False),
    Column("effective_from", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("published_at", DateTime(timezone=True)),
    Column("published_by", Text),
    Column("reason", Text),
    CheckConstraint("state IN ('draft', 'scheduled', 'active', 'retired')", name="known_state"),
)

tier_changes = Table(
    "tier_changes",
    metadata,
    Column("change_key", BigInteger, Identity(), primary_key=True),
    Column("member_key", BigInteger, nullable=False),
    Column("from_tier", Text),
    Column("to_tier", Text, nullable=False),
    Column("effective_at", DateTime(timezone=True), nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("cause", Text, nullable=False),
    Column("ruleset_version", Integer, nullable=False),
    Column("metrics", JSONB, nullable=False),
    Column("order_key", BigInteger),
    Column("refund_key", BigInteger),
    Column("superseded_at", DateTime(timezone=True)),
    Column("import_key", BigInteger),
    Index(
        "ix_tier_changes_spans", "member_key", "effective_at", postgresql_where=text("superseded_at IS NULL")
    ),
    Index(None, "member_key", "recorded_at"),
    CheckConstraint(
        "cause IN ('order', 'refund', 'roll_off', 'rule_change', 'manual', 'late_fact', 'import', 'merge', "
        "'enrol')",
        name="known_cause",
    ),
)

tier_states = Table(
    "tier_states",
    metadata,
    Column("member_key", BigInteger, primary_key=True, autoincrement=False),
    Column("tier", Text, nullable=False),
    Column("rank", SmallInteger, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("ruleset_version", Integer, nullable=False),
    Column("unqualified_since", Date),
    Column("carrier_order_key", BigInteger),
    # Facts at or after this moment are rated from this row; earlier ones re-fold the member.
    Column("through", DateTime(timezone=True), nullable=False),
    Column("next_review_on", Date),
    Index(None, "next_review_on", postgresql_where=text("next_review_on IS NOT NULL")),
)
