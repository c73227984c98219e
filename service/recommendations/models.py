"""Shelves of the recommendations: the register of trained models."""

from sqlalchemy import CheckConstraint, Column, Date, DateTime, Index, Table, Text, text
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
