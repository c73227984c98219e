"""Shelves of the kit: keys, idempotent answers and the outbox."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
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

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("last_used_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    UniqueConstraint("secret_hash"),
    CheckConstraint(
        "role IN ('storefront', 'server', 'marketing', 'operations', 'admin')", name="known_role"
    ),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("api_key_id", Text, primary_key=True),
    Column("idempotency_key", Text, primary_key=True),
    Column("request_hash", LargeBinary, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Index(None, "created_at"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("event_key", BigInteger, Identity(), primary_key=True),
    Column("topic", Text, nullable=False),
    Column("member_key", BigInteger),
    Column("payload", JSONB, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)

job_runs = Table(
    "job_runs",
    metadata,
    Column("run_key", BigInteger, Identity(), primary_key=True),
    Column("job", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    Column("done", Integer, nullable=False, server_default=text("0")),
    Column("detail", JSONB),
)
