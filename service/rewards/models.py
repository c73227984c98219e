"""Shelves of the rewards: what can be had, how much of it is left, who took it, and what vouchers paid."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from service.kit.db import metadata

_MOMENT = DateTime(timezone=True)

code_pools = Table(
    "code_pools",
    metadata,
    Column("pool_key", Integer, Identity(), primary_key=True),
    Column("pool", Text(collation="C"), nullable=False),
    Column("created_at", _MOMENT, nullable=False),
    UniqueConstraint("pool"),
)

# Codes that somebody else made. Each is given to one redemption, once, and never again.
pool_codes = Table(
    "pool_codes",
    metadata,
    Column("code_key", BigInteger, Identity(), primary_key=True),
    Column("pool_key", Integer, ForeignKey("code_pools.pool_key"), nullable=False),
    Column("code", Text(collation="C"), nullable=False),
    Column("redemption_id", Uuid),
    UniqueConstraint("code"),
    Index("ix_pool_codes_free", "pool_key", "code_key", postgresql_where=text("redemption_id IS NULL")),
    Index(
        "ux_pool_codes_redemption_id",
        "redemption_id",
        unique=True,
        postgresql_where=text("redemption_id IS NOT NULL"),
    ),
)

rewards = Table(
    "rewards",
    metadata,
    Column("reward_key", Integer, Identity(), primary_key=True),
    Column("code", Text(collation="C"), nullable=False),
    Column("names", JSONB, nullable=False),
    Column("descriptions", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("kind", Text, nullable=False),
    # What it costs; 0: free, for members of `tiers`.
    Column("points", BigInteger, nullable=False),
    # What it is worth at a checkout, programme currency: of an amount; at most, of a percentage.
    Column("value_minor", BigInteger),
    Column("percent_bp", Integer),
    Column("minimum_spend_minor", BigInteger, nullable=False, server_default=text("0")),
    # The goods it applies to; both null: all.
    Column("categories", ARRAY(Text)),
    Column("skus", ARRAY(Text)),
    Column("valid_days", Integer),
    Column("combinable", Boolean, nullable=False, server_default=text("false")),
    Column("per_member_limit", Integer),
    Column("tiers", ARRAY(Text)),
    Column("starts_at", _MOMENT),
    Column("ends_at", _MOMENT),
    Column("pool_key", Integer, ForeignKey("code_pools.pool_key")),
    Column("created_at", _MOMENT, nullable=False),
    Column("updated_at", _MOMENT, nullable=False),
    UniqueConstraint("code"),
    CheckConstraint(
        "kind IN ('voucher_amount', 'voucher_percent', 'gift_certificate', 'product', 'sample', "
        "'free_shipping', 'donation', 'custom')",
        name="known_kind",
    ),
    CheckConstraint("points >= 0 AND minimum_spend_minor >= 0", name="not_negative"),
    CheckConstraint(
        "CASE WHEN kind IN ('voucher_amount', 'gift_certificate') "
        "THEN value_minor IS NOT NULL AND percent_bp IS NULL "
        "WHEN kind = 'voucher_percent' THEN percent_bp IS NOT NULL AND percent_bp BETWEEN 1 AND 10000 "
        "ELSE percent_bp IS NULL END",
        name="worth_of_its_kind",
    ),
    CheckConstraint("valid_days > 0 AND per_member_limit > 0 AND value_minor > 0", name="limits_positive"),
    CheckConstraint("ends_at > starts_at", name="ends_after_it_starts"),
)

# What is left, on several shelves so that takers need not queue for one row. `stock` null: uncounted.
reward_shelves = Table(
    "reward_shelves",
    metadata,
    Column("reward_key", Integer, ForeignKey("rewards.reward_key"), primary_key=True),
    Column("shelf_no", SmallInteger, primary_key=True),
    Column("stock", BigInteger),
    Column("taken", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("taken >= 0 AND (stock IS NULL OR taken <= stock)", name="taken_within_stock"),
)

redemptions = Table(
    "redemptions",
    metadata,
    Column("redemption_id", Uuid, primary_key=True),
    # No foreign key: everybody who takes a popular reward would lock its row.
    Column("reward_key", Integer, nullable=False),
    Column("shelf_no", SmallInteger, nullable=False),
    Column("member_key", BigInteger, nullable=False),
    # For whom it was taken, where that member has been merged into the one whose it is.
    Column("origin_key", BigInteger),
    Column("points", BigInteger, nullable=False),
    # The ledger's entry that paid for it; null when it was free.
    Column("transaction_key", BigInteger),
    # What the reward was when it was taken: a later edit changes nothing for who has it.
    Column("terms", JSONB, nullable=False),
    Column("voucher_code", Text(collation="C")),
    Column("state", Text, nullable=False, server_default=text("'issued'")),
    Column("issued_at", _MOMENT, nullable=False),
    Column("expires_at", _MOMENT),
    # While it is reserved: for which of the merchant's orders, and until when.
    Column("reserved_for", Text(collation="C")),
    Column("reserved_until", _MOMENT),
    # What is left of a gift certificate, programme currency.
    Column("balance_minor", BigInteger),
    Column("ended_at", _MOMENT),
    # What the caller says led to it; nobody is credited by it before it was looked at.
    Column("recommendation_ids", ARRAY(Text)),
    Column("attribution_token", Text),
    UniqueConstraint("voucher_code"),
    Index(None, "member_key", "reward_key"),
    Index(None, "origin_key", postgresql_where=text("origin_key IS NOT NULL")),
    Index(None, "reward_key", "issued_at"),
    Index(
        "ix_redemptions_due",
        "expires_at",
        postgresql_where=text("state IN ('issued', 'reserved') AND expires_at IS NOT NULL"),
    ),
    Index("ix_redemptions_reserved_for", "reserved_for", postgresql_where=text("reserved_for IS NOT NULL")),
    CheckConstraint("state IN ('issued', 'reserved', 'used', 'cancelled', 'expired')", name="known_state"),
    CheckConstraint("points >= 0 AND (points > 0) = (transaction_key IS NOT NULL)", name="paid_in_points"),
    CheckConstraint(
        "(state = 'reserved') = (reserved_for IS NOT NULL) AND (state = 'reserved') = "
        "(reserved_until IS NOT NULL)",
        name="reserved_for_somebody",
    ),
    CheckConstraint("(state IN ('issued', 'reserved')) = (ended_at IS NULL)", name="ends_once"),
    CheckConstraint("balance_minor >= 0", name="balance_not_negative"),
)

# What a voucher paid of which order, and what came back of it. Only grows.
voucher_uses = Table(
    "voucher_uses",
    metadata,
    Column("use_key", BigInteger, Identity(), primary_key=True),
    Column("redemption_id", Uuid, ForeignKey("redemptions.redemption_id"), nullable=False),
    Column("kind", Text, nullable=False),
    # The merchant's order, which may be recorded later or never.
    Column("order_id", Text(collation="C")),
    # A refund that gave back; null: the cancellation of the order.
    Column("refund_key", BigInteger),
    # Programme currency.
    Column("amount_minor", BigInteger, nullable=False),
    Column("occurred_at", _MOMENT, nullable=False),
    Column("recorded_at", _MOMENT, nullable=False),
    Index(None, "redemption_id"),
    Index(None, "order_id", postgresql_where=text("order_id IS NOT NULL")),
    Index(None, "refund_key", postgresql_where=text("refund_key IS NOT NULL")),
    Index(
        "ux_voucher_uses_returned_once",
        "redemption_id",
        "order_id",
        "refund_key",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("kind = 'return'"),
    ),
    CheckConstraint("kind IN ('use', 'return')", name="known_kind"),
    CheckConstraint("amount_minor >= 0", name="not_negative"),
)

# Whether a reward has value, as last looked at: computed nightly over everybody, never in a request.
reward_appraisals = Table(
    "reward_appraisals",
    metadata,
    Column("reward_key", Integer, ForeignKey("rewards.reward_key"), primary_key=True),
    Column("appraised_at", _MOMENT, nullable=False),
    # What the median active member earned in the months looked at.
    Column("median_points", Double, nullable=False),
    Column("redeemed", BigInteger, nullable=False),
    Column("out_of_reach", Boolean, nullable=False),
    Column("unwanted", Boolean, nullable=False),
)

# Unusual patterns for somebody to look at; each is entered once.
review_entries = Table(
    "review_entries",
    metadata,
    Column("entry_key", BigInteger, Identity(), primary_key=True),
    Column("kind", Text, nullable=False),
    # Whom or what it is about: a member's key, an actor of the audit log.
    Column("member_key", BigInteger),
    Column("actor", Text),
    # What tells this finding from the next one about the same.
    Column("occasion", Text(collation="C"), nullable=False),
    Column("figures", JSONB, nullable=False),
    Column("found_at", _MOMENT, nullable=False),
    Column("resolved_at", _MOMENT),
    Column("resolved_by", Text),
    Column("note", Text),
    UniqueConstraint("kind", "occasion"),
    Index("ix_review_entries_open", "entry_key", postgresql_where=text("resolved_at IS NULL")),
    CheckConstraint(
        "kind IN ('many_redemptions', 'refund_after_redeem', 'many_adjustments')", name="known_kind"
    ),
    CheckConstraint("(member_key IS NULL) <> (actor IS NULL)", name="about_somebody"),
    CheckConstraint(
        "(resolved_at IS NULL) = (resolved_by IS NULL) AND (resolved_at IS NULL) = (note IS NULL)",
        name="resolved_by_somebody",
    ),
)
