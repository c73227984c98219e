"""Shelves of the recommendations: the register of trained models, and exports for mailings."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.kit.db import metadata

recommender_models = Table(
    "recommender_models",
    metadata,
    Column("version", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("location", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("manifest", JSONB, nullable=False),
    Column("trained_through", Date),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("promoted_at", DateTime(timezone=True)),
    Column("decision", Text),
    Index(
        "ux_recommender_models_one_active",
        "status",
        unique=True,
        postgresql_where=text("status = 'active'"),
    ),
    CheckConstraint("status IN ('candidate', 'active', 'retired')", name="known_status"),
)

placement_settings = Table(
    "placement_settings",
    metadata,
    Column("placement", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("mode", Text, nullable=False),
    # How much of the score is given up for variety (MMR); 0 is the exact order of scores.
    Column("diversity_bp", Integer, nullable=False),
    Column("category_cap", Integer),
    Column("item_limit", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
    # Among how many the last place is drawn, and in how many answers; null: it is never.
    Column("exploration_candidates", Integer),
    Column("exploration_share_bp", Integer),
    CheckConstraint(
        "mode IN ('mixed', 'buy_again', 'discover', 'trending', 'recently_viewed')", name="known_mode"
    ),
    CheckConstraint("diversity_bp BETWEEN 0 AND 10000", name="diversity_in_range"),
    CheckConstraint("category_cap BETWEEN 1 AND 100", name="cap_in_range"),
    CheckConstraint("item_limit BETWEEN 1 AND 100", name="limit_in_range"),
    CheckConstraint(
        "exploration_candidates BETWEEN 2 AND 50 AND exploration_share_bp BETWEEN 1 AND 10000",
        name="exploration_in_range",
    ),
    CheckConstraint(
        "(exploration_candidates IS NULL) = (exploration_share_bp IS NULL)", name="exploration_whole"
    ),
)

off_policy_evaluations = Table(
    "off_policy_evaluations",
    metadata,
    Column("evaluation_id", Text, primary_key=True),
    Column("version", Text, ForeignKey("recommender_models.version"), nullable=False),
    # What was asked: placement, days, metric, window, and the model's list or its popularity.
    Column("question", JSONB, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("computed_at", DateTime(timezone=True)),
    Column("result", JSONB),
    Column("failure", Text),
    CheckConstraint("state IN ('queued', 'done', 'failed')", name="known_state"),
    CheckConstraint("(state = 'queued') = (computed_at IS NULL)", name="ends_once"),
    CheckConstraint("(state = 'done') = (result IS NOT NULL)", name="answered_when_done"),
    CheckConstraint("(state = 'failed') = (failure IS NOT NULL)", name="told_when_failed"),
)

# Figures that follow the orders between trainings: `figures` as served, `state` to move them along.
recommender_statistics = Table(
    "recommender_statistics",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("refreshed_at", DateTime(timezone=True), nullable=False),
    Column("through_day", Date, nullable=False),
    Column("changes", BigInteger, nullable=False),
    Column("figures", LargeBinary, nullable=False),
    Column("state", LargeBinary, nullable=False),
)

recommendation_exports = Table(
    "recommendation_exports",
    metadata,
    Column("export_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("placement", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("item_limit", Integer, nullable=False),
    # The code of a tier; null is everybody.
    Column("segment", Text),
    Column("locale", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    # Everybody up to this key has been answered, or passed over.
    Column("through_member_key", BigInteger, nullable=False, server_default=text("0")),
    Column("members", BigInteger, nullable=False, server_default=text("0")),
    Column("without_consent", BigInteger, nullable=False, server_default=text("0")),
    Column("failure", Text),
    Index(None, "requested_at"),
    CheckConstraint(
        "state IN ('queued', 'running', 'done', 'cancelled', 'failed')",
        name="known_state",
    ),
    CheckConstraint("item_limit BETWEEN 1 AND 100", name="limit_in_range"),
    CheckConstraint(
        "(state IN ('done', 'cancelled', 'failed')) = (finished_at IS NOT NULL)", name="ends_once"
    ),
)

recommendation_export_parts = Table(
    "recommendation_export_parts",
    metadata,
    Column(
        "export_id",
        Text,
        ForeignKey("recommendation_exports.export_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("part_no", Integer, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
