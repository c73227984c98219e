"""Shelves of the ledger: append-only transactions and postings, and their projections."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.kit.db import metadata

ledger_transactions = Table(
    "ledger_transactions",
    metadata,
    Column("transaction_key", BigInteger, Identity(), primary_key=True),
    Column("member_key", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("order_key", BigInteger),
    Column("refund_key", BigInteger),
    # The earning rule an award was made by; refunds are computed from it, never from today's.
    Column("rule", JSONB),
    # What a refund should have taken back and could not (policy `clamp`).
    Column("shortfall", BigInteger, nullable=False, server_default=text("0")),
    Column("reason", Text),
    Column("actor", Text),
    Column("import_key", BigInteger),
    Index(None, "member_key", "occurred_at"),
    Index(None, "order_key", postgresql_where=text("order_key IS NOT NULL")),
    # An order earns once, each refund takes back from it once, and so does its cancellation (no refund_key).
    Index(
        "ux_ledger_transactions_once",
        "order_key",
        "kind",
        "refund_key",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("kind IN ('earn', 'reverse') AND order_key IS NOT NULL"),
    ),
    CheckConstraint(
        "kind IN ('earn', 'release', 'reverse', 'adjust', 'expire', 'correct', 'restore', "
        "'hold', 'capture', 'unhold')",
        name="known_kind",
    ),
    CheckConstraint("shortfall >= 0", name="shortfall_not_negative"),
)

postings = Table(
    "postings",
    metadata,
    Column("transaction_key", BigInteger, nullable=False),
    Column("posting_no", SmallInteger, nullable=False),
    Column("member_key", BigInteger, nullable=False),
    Column("from_account", Text, nullable=False),
    Column("to_account", Text, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("lot_key", BigInteger),
    PrimaryKeyConstraint("transaction_key", "posting_no"),
    Index(None, "member_key"),
    Index(None, "lot_key", postgresql_where=text("lot_key IS NOT NULL")),
    CheckConstraint("points > 0", name="positive"),
    CheckConstraint("from_account <> to_account", name="moves"),
    CheckConstraint(
        "from_account IN "
        "('pending', 'available', 'held', 'debt', 'issued', 'redeemed', 'expired', 'reversed') "
        "AND to_account IN "
        "('pending', 'available', 'held', 'debt', 'issued', 'redeemed', 'expired', 'reversed')",
        name="known_accounts",
    ),
)

lots = Table(
    "lots",
    metadata,
    Column("lot_key", BigInteger, Identity(), primary_key=True),
    Column("member_key", BigInteger, nullable=False),
    Column("order_key", BigInteger),
    Column("earned_at", DateTime(timezone=True), nullable=False),
    Column("available_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("earned", BigInteger, nullable=False),
    Column("remaining", BigInteger, nullable=False),
    Column("pending", Boolean, nullable=False),
    Index("ix_lots_open", "member_key", postgresql_where=text("remaining > 0")),
    Index("ix_lots_order", "order_key", postgresql_where=text("order_key IS NOT NULL")),
    Index("ix_lots_due_release", "available_at", postgresql_where=text("pending AND remaining > 0")),
    Index(
        "ix_lots_due_expiry",
        "expires_at",
        postgresql_where=text("remaining > 0 AND expires_at IS NOT NULL"),
    ),
    CheckConstraint("remaining >= 0 AND remaining <= earned", name="remaining_within_earned"),
)

balances = Table(
    "balances",
    metadata,
    Column("member_key", BigInteger, primary_key=True, autoincrement=False),
    Column("pending", BigInteger, nullable=False, server_default=text("0")),
    Column("available", BigInteger, nullable=False, server_default=text("0")),
    Column("held", BigInteger, nullable=False, server_default=text("0")),
    Column("debt", BigInteger, nullable=False, server_default=text("0")),
    Column("lifetime_earned", BigInteger, nullable=False, server_default=text("0")),
    # No later than the first moment at which a lot becomes available or expires. It stands in the row that is
    # locked, so that whoever waited for the lock reads it fresh; without an index, so that updates stay HOT.
    Column("next_due_at", DateTime(timezone=True)),
    CheckConstraint("pending >= 0 AND available >= 0 AND held >= 0 AND debt >= 0", name="not_negative"),
)
