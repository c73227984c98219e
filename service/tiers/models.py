"""Shelves of the tiers: rule sets, the log of changes, and where each member stands."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
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
    Column("title", Text),
    Column("created_by", Text),
    Column("updated_at", DateTime(timezone=True)),
    Column("retired_at", DateTime(timezone=True)),
    # The evidence its publisher looked at.
    Column("simulation_id", Text),
    Index(None, "effective_from", postgresql_where=text("effective_from IS NOT NULL")),
    # One set at a time: two from the same moment would both be in force.
    UniqueConstraint("effective_from"),
    # A discarded draft stays, so that its number and the simulations of it mean one thing for ever.
    CheckConstraint("state IN ('draft', 'scheduled', 'active', 'retired', 'discarded')", name="known_state"),
)

tier_simulations = Table(
    "tier_simulations",
    metadata,
    Column("simulation_id", Text, primary_key=True),
    Column("version", Integer, ForeignKey("tier_rulesets.version"), nullable=False),
    Column("against_version", Integer, nullable=False),
    # Of the definition simulated: a draft that has changed since makes the evidence stale.
    Column("definition_hash", LargeBinary, nullable=False),
    Column("as_of", Date, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("members_done", BigInteger, nullable=False, server_default=text("0")),
    Column("members_total", BigInteger),
    Column("result", JSONB),
    Column("failure", Text),
    Index(None, "version", "requested_at"),
    CheckConstraint("state IN ('queued', 'running', 'done', 'cancelled', 'failed')", name="known_state"),
)

tier_reports = Table(
    "tier_reports",
    metadata,
    Column("report_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("parameters", JSONB, nullable=False),
    # Of kind and parameters: the same question of the same day is answered once.
    Column("question_hash", LargeBinary, nullable=False),
    Column("as_of", Date, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("computed_at", DateTime(timezone=True)),
    Column("result", JSONB),
    Column("failure", Text),
    UniqueConstraint("question_hash", "as_of"),
    CheckConstraint("state IN ('queued', 'running', 'done', 'failed')", name="known_state"),
)

tier_pins = Table(
    "tier_pins",
    metadata,
    Column("pin_key", BigInteger, Identity(), primary_key=True),
    Column("member_key", BigInteger, nullable=False),
    Column("tier", Text, nullable=False),
    Column("starts_at", DateTime(timezone=True), nullable=False),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    # Ended before its time, by staff or by the next pin.
    Column("lifted_at", DateTime(timezone=True)),
    Column("lifted_by", Text),
    Index(None, "member_key", "starts_at"),
    CheckConstraint("ends_at > starts_at", name="ends_after_it_starts"),
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
    Column("pin_key", BigInteger),
    # Holds all that movement is counted from, in the order of each member's stays: the rows are wide.
    Index(
        "ix_tier_changes_spans",
        "member_key",
        "effective_at",
        "change_key",
        postgresql_include=["from_tier", "to_tier", "cause"],
        postgresql_where=text("superseded_at IS NULL"),
    ),
    Index(
        None,
        "member_key",
        "recorded_at",
        postgresql_include=["superseded_at", "effective_at", "change_key", "to_tier", "cause"],
    ),
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
    # Of windows with periods: the first day on which `keep` is judged; null where every day is.
    Column("stands_until", Date),
    # While a pin holds: what the rating underneath says. Null otherwise.
    Column("rated_rank", SmallInteger),
    Column("rated_since", DateTime(timezone=True)),
    Column("pinned_until", DateTime(timezone=True)),
    # Who was not rated under the rule set in force is due.
    Index(None, "ruleset_version"),
    Index(None, "next_review_on", postgresql_where=text("next_review_on IS NOT NULL")),
    Index(None, "unqualified_since", "member_key", postgresql_where=text("unqualified_since IS NOT NULL")),
)
