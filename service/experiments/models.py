"""Shelves of the experiments: versions, first assignments and exposures."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
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
    Column("stopped_at", DateTime(timezone=True)),
    UniqueConstraint("experiment", "version"),
    Index(
        "ux_experiments_one_running_holdout",
        "is_global_holdout",
        unique=True,
        postgresql_where=text("is_global_holdout AND status = 'running'"),
    ),
    CheckConstraint("status IN ('draft', 'running', 'stopped')", name="known_status"),
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
    PrimaryKeyConstraint("experiment", "member_key"),
    CheckConstraint("bucket BETWEEN 0 AND 9999", name="bucket_range"),
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
    PrimaryKeyConstraint("exposure_id", "issued_at"),
    Index(None, "member_key", "issued_at"),
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
