"""Shelves of the kit: keys, idempotent answers, rate limits, the outbox, the audit log, job runs."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
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
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

from service.kit.db import metadata


class TransactionId(UserDefinedType[Any]):
    """PostgreSQL's `xid8`, which SQLAlchemy does not know."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the type as DDL names it."""
        return "XID8"


ischema_names["xid8"] = TransactionId

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
    Column("store_ids", ARRAY(Text)),
    Column("origins", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("expires_at", DateTime(timezone=True)),
    Column("created_by", Text),
    UniqueConstraint("secret_hash"),
    CheckConstraint(
        "role IN ('storefront', 'server', 'marketing', 'operations', 'admin')", name="known_role"
    ),
)

retired_secrets = Table(
    "retired_secrets",
    metadata,
    Column("secret_hash", LargeBinary, primary_key=True),
    Column("key_id", Text, ForeignKey("api_keys.key_id"), nullable=False, index=True),
    Column("accepted_until", DateTime(timezone=True), nullable=False),
)

# Counts of a minute: nothing is lost with them, so they need no log.
rate_windows = Table(
    "rate_windows",
    metadata,
    Column("bucket", Text(collation="C"), primary_key=True),
    Column("spent", BigInteger, nullable=False),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    prefixes=["UNLOGGED"],
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
    # Identity values commit out of order; readers go by this instead (see `outbox.list_events`).
    Column("transaction_id", TransactionId, nullable=False, server_default=text("pg_current_xact_id()")),
    Index(None, "transaction_id", "event_key"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("audit_key", BigInteger, Identity(), primary_key=True),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject_kind", Text, nullable=False),
    Column("subject_id", Text),
    Column("member_key", BigInteger),
    Column("fields", ARRAY(Text), nullable=False),
    Column("before", JSONB),
    Column("after", JSONB),
    Column("reason", Text),
    Column("request_id", Text),
    CheckConstraint("(subject_id IS NULL) <> (member_key IS NULL)", name="one_subject"),
    Index(None, "occurred_at", "audit_key"),
    Index(None, "actor", "occurred_at", "audit_key"),
    Index(None, "action", "occurred_at", "audit_key"),
    Index(None, "subject_kind", "subject_id", "occurred_at", "audit_key"),
    Index(None, "member_key", "occurred_at", "audit_key", postgresql_where=text("member_key IS NOT NULL")),
)

# What the log names but does not show: apart, so that erasing a person can empty it.
audit_sealed = Table(
    "audit_sealed",
    metadata,
    Column("audit_key", BigInteger, ForeignKey("audit_log.audit_key"), primary_key=True, autoincrement=False),
    Column("member_key", BigInteger, nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
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
