"""Shelves of the experiments: versions, first assignments and exposures."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from service.kit.db import metadata

experiments = Table(
    "experiments",
    metadata,
    Column("experiment_key", Integer, Identity(), primary_key=True),
    Column("experiment", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("salt", Text, nullable=False),
    # [{"arm": "holdout", "weight_bp": 1000}, …], hold-out first, weights sum to 10,000.
    Column("arms", JSONB, nullable=False),
    Column("is_global_holdout", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("anchor", Text, nullable=False, server_default=text("'assigned_at'")),
    Column("window_days", Integer, nullable=False),
    Column("refund_grace_days", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("started_at", DateTime(timezone=True)),
    # Enrolment ended: nobody new is drawn, stored arms go on until the last window has matured.
    Column("frozen_at", DateTime(timezone=True)),
    Column("stopped_at", DateTime(timezone=True)),
    Column("title", Text),
    Column("surface", Text, nullable=False, server_default=text("'recommendations'")),
    # Drawn among those whom the global hold-out leaves.
    Column("nested", Boolean, nullable=False, server_default=text("false")),
    Column("eligibility", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("created_by", Text),
    # [{"metric": "returned_value", "margin_minor": 5000}, …]: what must not get worse by more than that.
    Column("guardrails", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    # Fixed at the start, from what was known then: how many members, and the smallest effect they can show.
    Column("planned_members", Integer),
    Column("outlook", JSONB),
    UniqueConstraint("experiment", "version"),
    Index(
        "ux_experiments_one_running_version",
        "experiment",
        unique=True,
        postgresql_where=text("status = 'running'"),
    ),
    Index(
        "ux_experiments_one_draft_version",
        "experiment",
        unique=True,
        postgresql_where=text("status = 'draft'"),
    ),
    Index(
        "ux_experiments_one_running_holdout",
        "is_global_holdout",
        unique=True,
        postgresql_where=text("is_global_holdout AND status = 'running'"),
    ),
    CheckConstraint("status IN ('draft', 'running', 'replaced', 'analysis', 'stopped')", name="known_status"),
    CheckConstraint(
        "surface IN ('recommendations', 'rewards', 'storefront', 'message', 'campaigns')",
        name="known_surface",
    ),
    CheckConstraint("anchor IN ('assigned_at', 'first_exposure')", name="known_anchor"),
    CheckConstraint(
        "window_days BETWEEN 1 AND 365 AND refund_grace_days BETWEEN 0 AND 365", name="sound_days"
    ),
    CheckConstraint("(status = 'draft') = (started_at IS NULL)", name="started_unless_draft"),
)

assignments = Table(
    "assignments",
    metadata,
    # By experiment name, not version: the first assignment under any version is kept.
    Column("experiment", Text, nullable=False),
    Column("member_key", BigInteger, nullable=False),
    Column("experiment_key", Integer, ForeignKey("experiments.experiment_key"), nullable=False),
    Column("arm", Text, nullable=False),
    Column("bucket", SmallInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("assigned_at", DateTime(timezone=True), nullable=False),
    Column("tier_at_assignment", Text),
    # How many accounts were merged into this one, and into which this one was.
    Column("merges", SmallInteger, nullable=False, server_default=text("0")),
    Column("merged_into", BigInteger),
    PrimaryKeyConstraint("experiment", "member_key"),
    Index(None, "member_key"),
    CheckConstraint("bucket BETWEEN 0 AND 9999", name="bucket_range"),
    CheckConstraint("reason IN ('split', 'override')", name="known_reason"),
)

# What a merge of two members changed, so that it can be undone: the row as it was, null where there was none.
assignment_merges = Table(
    "assignment_merges",
    metadata,
    Column("experiment", Text, nullable=False),
    Column("into_key", BigInteger, nullable=False),
    Column("from_key", BigInteger, nullable=False),
    Column("merged_at", DateTime(timezone=True), nullable=False),
    Column("before", JSONB),
    PrimaryKeyConstraint("experiment", "from_key"),
)

anonymous_assignments = Table(
    "anonymous_assignments",
    metadata,
    Column("experiment", Text, nullable=False),
    Column("anonymous_id", Text(collation="C"), nullable=False),
    Column("experiment_key", Integer, ForeignKey("experiments.experiment_key"), nullable=False),
    Column("arm", Text, nullable=False),
    Column("bucket", SmallInteger, nullable=False),
    Column("assigned_at", DateTime(timezone=True), nullable=False),
    # Who it turned out to be, once somebody logged in.
    Column("member_key", BigInteger),
    Column("stitched_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("experiment", "anonymous_id"),
    Index(None, "anonymous_id"),
    CheckConstraint("bucket BETWEEN 0 AND 9999", name="bucket_range"),
    CheckConstraint("(member_key IS NULL) = (stitched_at IS NULL)", name="stitched_once"),
)

exposures = Table(
    "exposures",
    metadata,
    Column("exposure_id", UUID, nullable=False),
    Column("issued_at", DateTime(timezone=True), nullable=False),
    Column("member_key", BigInteger),
    Column("experiment_key", Integer),
    Column("arm", Text),
    Column("policy", Text, nullable=False),
    Column("model_version", Text),
    Column("fallback", Text),
    Column("placement", Text, nullable=False),
    Column("channel", Text),
    Column("window_end", DateTime(timezone=True)),
    # Compact: item keys and scores by rank; everything else the decision needs.
    Column("item_keys", ARRAY(BigInteger), nullable=False),
    Column("decision", JSONB, nullable=False),
    # Versions of the experiments nested in the treated side that this answer was in.
    Column("nested", ARRAY(Integer)),
    Column("anonymous_id", Text(collation="C")),
    # Rewards by rank, where it is rewards that were shown; null: items.
    Column("reward_keys", ARRAY(Integer)),
    PrimaryKeyConstraint("exposure_id", "issued_at"),
    Index(None, "member_key", "issued_at"),
    Index(None, "anonymous_id", postgresql_where=text("anonymous_id IS NOT NULL")),
    # Who was asked for and is in no arm: counted beside every result.
    Index(
        "ix_exposures_refused",
        "experiment_key",
        "issued_at",
        postgresql_where=text("arm IS NULL AND experiment_key IS NOT NULL"),
    ),
    CheckConstraint("reward_keys IS NULL OR cardinality(item_keys) = 0", name="items_or_rewards"),
    postgresql_partition_by="RANGE (issued_at)",
)

# What the hold-out does by itself, per tier at assignment ('' for none): shown beside every recommendation.
holdout_baselines = Table(
    "holdout_baselines",
    metadata,
    Column("experiment", Text, primary_key=True),
    Column("tier", Text, primary_key=True),
    Column("numerator", Integer, nullable=False),
    Column("denominator", Integer, nullable=False),
    Column("as_of", Date, nullable=False),
    CheckConstraint("numerator BETWEEN 0 AND denominator", name="a_share"),
)

# Sums as they were last computed; final once the last member is mature, and then never changed.
experiment_results = Table(
    "experiment_results",
    metadata,
    Column("experiment", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("anchor", Text, nullable=False),
    Column("window_days", Integer, nullable=False),
    Column("watermark", DateTime(timezone=True), nullable=False),
    Column("computed_at", DateTime(timezone=True), nullable=False),
    Column("is_final", Boolean, nullable=False),
    Column("sums", JSONB, nullable=False),
    # Who was asked for and is in no arm, as [{"arm": …, "reason": …, "members": …}, …].
    Column("outside", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    PrimaryKeyConstraint("experiment", "version", "anchor", "window_days"),
    ForeignKeyConstraint(["experiment", "version"], ["experiments.experiment", "experiments.version"]),
)
