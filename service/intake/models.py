"""Shelves of the intake: bulk imports, their rejects, and refunds parked until their order comes."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.kit.db import metadata

imports = Table(
    "imports",
    metadata,
    Column("import_key", BigInteger, Identity(), primary_key=True),
    Column("import_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("source_name", Text, nullable=False),
    # SHA-256 of the file, so that a run after an interruption is known as the same import.
    Column("source_hash", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("lines_read", BigInteger, nullable=False, server_default=text("0")),
    Column("records_new", BigInteger, nullable=False, server_default=text("0")),
    Column("records_known", BigInteger, nullable=False, server_default=text("0")),
    Column("lines_rejected", BigInteger, nullable=False, server_default=text("0")),
    Column("records_parked", BigInteger, nullable=False, server_default=text("0")),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    Column("error", Text),
    # Of imports that came over HTTP: what the worker reads them as, and how far it is.
    Column("format", Text),
    Column("requested_by", Text),
    Column("stage", Text),
    Column("stage_done", BigInteger),
    Column("stage_total", BigInteger),
    Column("cancel_requested_at", DateTime(timezone=True)),
    UniqueConstraint("import_id"),
    CheckConstraint(
        "status IN ('staging', 'loading', 'rating', 'done', 'failed', 'cancelled')", name="known_status"
    ),
)

# An uploaded file until it is done with: sealed, because lines of members hold what is personal.
import_parts = Table(
    "import_parts",
    metadata,
    Column("import_key", BigInteger, ForeignKey("imports.import_key", ondelete="CASCADE"), nullable=False),
    Column("part_no", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("import_key", "part_no"),
)

import_rejects = Table(
    "import_rejects",
    metadata,
    Column("import_key", BigInteger, ForeignKey("imports.import_key", ondelete="CASCADE"), nullable=False),
    Column("line_no", BigInteger, nullable=False),
    Column("reject_no", Integer, nullable=False, server_default=text("0")),
    Column("code", Text, nullable=False),
    Column("detail", Text, nullable=False),
    PrimaryKeyConstraint("import_key", "line_no", "reject_no"),
)

parked_refunds = Table(
    "parked_refunds",
    metadata,
    Column("refund_id", Text(collation="C"), primary_key=True),
    Column("order_id", Text(collation="C"), nullable=False, index=True),
    Column("body", JSONB, nullable=False),
    Column("parked_at", DateTime(timezone=True), nullable=False),
    # Where it stood, so that it is refused by its own number if it cannot be taken in after all.
    Column("import_key", BigInteger, nullable=False),
    Column("line_no", BigInteger, nullable=False),
)

# Members whose facts an import has changed and whose tiers and points do not know it yet. Written in the
# same transaction as the facts, so that whatever interrupts an import, the next run finishes the rating.
import_backlog = Table(
    "import_backlog",
    metadata,
    Column("member_key", BigInteger, primary_key=True, autoincrement=False),
    Column("import_key", BigInteger, nullable=False),
)
