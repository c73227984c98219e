"""Shelves of the ledger: append-only transactions and postings, and their projections."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
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
    Column("hold_id", Uuid),
    # What points were spent on outside an order: the redemption of a reward.
    Column("spend_id", Uuid),
    # The custom event that earned it.
    Column("event_key", BigInteger),
    Index(None, "member_key", "occurred_at"),
    Index(None, "hold_id", postgresql_where=text("hold_id IS NOT NULL")),
    # Whoever looks over everybody for what came in lately reads the end of the table alone.
    Index("ix_ledger_transactions_recorded_at", "recorded_at", postgresql_using="brin"),
    # It is paid once, and given back once to each whose points they were.
    Index(
        "ux_ledger_transactions_spent_once",
        "spend_id",
        unique=True,
        postgresql_where=text("kind = 'redeem'"),
    ),
    Index(
        "ux_ledger_transactions_unspent_once",
        "spend_id",
        "member_key",
        unique=True,
        postgresql_where=text("kind = 'unredeem'"),
    ),
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
    # Likewise a refund gives back what was spent on its order once, to each whose lots it was.
    Index(
        "ux_ledger_transactions_restored_once",
        "order_key",
        "refund_key",
        "member_key",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("kind = 'restore' AND order_key IS NOT NULL"),
    ),
    Index(
        "ux_ledger_transactions_event_once",
        "event_key",
        unique=True,
        postgresql_where=text("event_key IS NOT NULL"),
    ),
    CheckConstraint(
        "kind IN ('earn', 'release', 'reverse', 'adjust', 'expire', 'correct', 'restore', "
        "'hold', 'capture', 'unhold', 'merge', 'unmerge', 'extend', 'redeem', 'unredeem')",
        name="known_kind",
    ),
    CheckConstraint("(kind IN ('redeem', 'unredeem')) = (spend_id IS NOT NULL)", name="spend_is_named"),
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
        "('pending', 'available', 'held', 'debt', 'issued', 'redeemed', 'expired', 'reversed', 'merged') "
        "AND to_account IN "
        "('pending', 'available', 'held', 'debt', 'issued', 'redeemed', 'expired', 'reversed', 'merged')",
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
    # What of `remaining` is set aside by open holds.
    Column("held", BigInteger, nullable=False, server_default=text("0")),
    # Whether its expiry moves with the member's activity.
    Column("rolls", Boolean, nullable=False, server_default=text("false")),
    # The expiry that was announced, so that each is announced once.
    Column("announced_for", DateTime(timezone=True)),
    Index("ix_lots_open", "member_key", postgresql_where=text("remaining > 0")),
    Index("ix_lots_order", "order_key", postgresql_where=text("order_key IS NOT NULL")),
    Index("ix_lots_due_release", "available_at", postgresql_where=text("pending AND remaining > 0")),
    Index(
        "ix_lots_due_expiry",
        "expires_at",
        postgresql_where=text("remaining > 0 AND expires_at IS NOT NULL"),
    ),
    Index(
        "ix_lots_unannounced",
        "expires_at",
        postgresql_where=text(
            "remaining > 0 AND expires_at IS NOT NULL AND announced_for IS DISTINCT FROM expires_at"
        ),
    ),
    CheckConstraint("remaining >= 0 AND remaining <= earned", name="remaining_within_earned"),
    CheckConstraint("held >= 0 AND held <= remaining", name="held_within_remaining"),
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
    # No later than the first moment at which a lot becomes available or expires, or a hold ends. It stands
    # in the row that is locked, so that whoever waited for the lock reads it fresh; without an index, so that
    # updates stay HOT.
    Column("next_due_at", DateTime(timezone=True)),
    # The account that took this one over: whatever concerns this one goes there.
    Column("merged_into", BigInteger),
    CheckConstraint("pending >= 0 AND available >= 0 AND held >= 0 AND debt >= 0", name="not_negative"),
)

point_holds = Table(
    "point_holds",
    metadata,
    Column("hold_id", Uuid, primary_key=True),
    Column("member_key", BigInteger, nullable=False),
    Column("points", BigInteger, nullable=False),
    # The merchant's order that it is for, or was captured for, and ours once that is recorded with it.
    Column("order_id", Text(collation="C")),
    Column("order_key", BigInteger),
    Column("captured", BigInteger, nullable=False, server_default=text("0")),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Index("ix_point_holds_open", "member_key", postgresql_where=text("state = 'open'")),
    Index("ix_point_holds_due", "expires_at", postgresql_where=text("state = 'open'")),
    Index("ix_point_holds_order_key", "order_key", postgresql_where=text("order_key IS NOT NULL")),
    Index(
        "ix_point_holds_captured_for",
        "member_key",
        "order_id",
        postgresql_where=text("state = 'captured'"),
    ),
    CheckConstraint("state IN ('open', 'captured', 'released', 'expired')", name="known_state"),
    CheckConstraint("points > 0 AND expires_at > created_at", name="positive"),
    CheckConstraint(
        "captured >= 0 AND captured <= points AND (captured > 0) = (state = 'captured')",
        name="captured_within_points",
    ),
    CheckConstraint("(state = 'open') = (ended_at IS NULL)", name="ends_once"),
)

# What a hold set aside of each lot.
point_hold_lots = Table(
    "point_hold_lots",
    metadata,
    Column("hold_id", Uuid, ForeignKey("point_holds.hold_id"), primary_key=True),
    Column("lot_key", BigInteger, primary_key=True, autoincrement=False),
    Column("points", BigInteger, nullable=False),
    CheckConstraint("points > 0", name="positive"),
)

# Why a lot expires when it does: every change of it, by the entry that made it. Only grows.
lot_expiries = Table(
    "lot_expiries",
    metadata,
    Column("transaction_key", BigInteger, primary_key=True, autoincrement=False),
    Column("lot_key", BigInteger, primary_key=True, autoincrement=False),
    Column("expires_before", DateTime(timezone=True)),
    Column("expires_after", DateTime(timezone=True)),
    Index(None, "lot_key"),
)
