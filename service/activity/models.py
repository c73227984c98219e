"""Shelves of activity: facts by month, the keys that make them unique, and the day roll-up."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from service.kit.db import metadata

order_keys = Table(
    "order_keys",
    metadata,
    Column("order_key", BigInteger, Identity(), primary_key=True),
    Column("order_id", Text(collation="C"), nullable=False),
    Column("member_key", BigInteger, ForeignKey("members.member_key"), nullable=False),
    Column("placed_at", DateTime(timezone=True), nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    UniqueConstraint("order_id"),
    Index(None, "member_key", "placed_at"),
)

orders = Table(
    "orders",
    metadata,
    Column("order_key", BigInteger, nullable=False),
    Column("placed_at", DateTime(timezone=True), nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("member_key", BigInteger, nullable=False),
    Column("store_key", Integer),
    Column("day", Date, nullable=False),
    Column("channel", Text),
    Column("currency", Text, nullable=False),
    Column("exchange_rate", Numeric),
    # In the order's own currency, as the shop gave them.
    Column("order_goods_minor", BigInteger, nullable=False),
    Column("order_discount_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("order_shipping_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("order_tax_minor", BigInteger, nullable=False, server_default=text("0")),
    # What points and vouchers paid: left out of net spend, never out of active days.
    Column("order_points_paid_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("order_voucher_paid_minor", BigInteger, nullable=False, server_default=text("0")),
    # In the programme's currency.
    Column("goods_minor", BigInteger, nullable=False),
    Column("spend_minor", BigInteger, nullable=False),
    Column("checkout_started_at", DateTime(timezone=True)),
    Column("recommendation_ids", ARRAY(Text)),
    Column("attribution_token", Text),
    Column("import_key", BigInteger),
    # For whom it was sent, where that member has been merged into the one it counts for.
    Column("origin_key", BigInteger),
    PrimaryKeyConstraint("order_key", "placed_at"),
    Index(None, "member_key", "placed_at"),
    Index(None, "origin_key", postgresql_where=text("origin_key IS NOT NULL")),
    CheckConstraint("order_goods_minor >= 0 AND goods_minor >= 0 AND spend_minor >= 0", name="not_negative"),
    postgresql_partition_by="RANGE (placed_at)",
)

order_lines = Table(
    "order_lines",
    metadata,
    Column("order_key", BigInteger, nullable=False),
    Column("placed_at", DateTime(timezone=True), nullable=False),
    Column("line_no", Integer, nullable=False),
    Column("item_key", BigInteger, nullable=False),
    Column("quantity", Integer, nullable=False),
    # After the order-level discount was spread; order currency and programme currency.
    Column("order_amount_minor", BigInteger, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("category", Text),
    PrimaryKeyConstraint("order_key", "placed_at", "line_no"),
    CheckConstraint("quantity > 0 AND amount_minor >= 0", name="not_negative"),
    postgresql_partition_by="RANGE (placed_at)",
)

order_cancellations = Table(
    "order_cancellations",
    metadata,
    Column(
        "order_key", BigInteger, ForeignKey("order_keys.order_key"), primary_key=True, autoincrement=False
    ),
    Column("cancelled_at", DateTime(timezone=True), nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("reason", Text, nullable=False),
    # What the cancellation called off: goods not already refunded by then, order currency.
    Column("order_amount_minor", BigInteger, nullable=False),
)

refund_keys = Table(
    "refund_keys",
    metadata,
    Column("refund_key", BigInteger, Identity(), primary_key=True),
    Column("refund_id", Text(collation="C"), nullable=False),
    Column("member_key", BigInteger, ForeignKey("members.member_key"), nullable=False),
    Column("order_key", BigInteger, ForeignKey("order_keys.order_key")),
    Column("refunded_at", DateTime(timezone=True), nullable=False),
    # Goods, in the order's currency (linked) or the programme's (unlinked).
    Column("order_amount_minor", BigInteger, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    UniqueConstraint("refund_id"),
    Index(None, "order_key", postgresql_where=text("order_key IS NOT NULL")),
    Index(None, "member_key", "refunded_at"),
    CheckConstraint("order_amount_minor > 0", name="positive"),
)

refunds = Table(
    "refunds",
    metadata,
    Column("refund_key", BigInteger, nullable=False),
    Column("refunded_at", DateTime(timezone=True), nullable=False),
    Column("requested_at", DateTime(timezone=True)),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("member_key", BigInteger, nullable=False),
    Column("order_key", BigInteger),
    Column("store_key", Integer),
    Column("day", Date, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reason", Text),
    Column("currency", Text, nullable=False),
    Column("order_amount_minor", BigInteger, nullable=False),
    # Programme currency.
    Column("amount_minor", BigInteger, nullable=False),
    Column("import_key", BigInteger),
    # Of its order, or for whom it was sent, where that member has been merged into the one it counts for.
    Column("origin_key", BigInteger),
    PrimaryKeyConstraint("refund_key", "refunded_at"),
    Index(None, "origin_key", postgresql_where=text("origin_key IS NOT NULL")),
    CheckConstraint("kind IN ('return', 'cancellation', 'goodwill')", name="known_kind"),
    CheckConstraint("order_amount_minor > 0 AND amount_minor >= 0", name="positive"),
    postgresql_partition_by="RANGE (refunded_at)",
)

refund_lines = Table(
    "refund_lines",
    metadata,
    Column("refund_key", BigInteger, nullable=False),
    Column("refunded_at", DateTime(timezone=True), nullable=False),
    Column("line_no", Integer, nullable=False),
    Column("item_key", BigInteger, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("amount_minor", BigInteger),
    PrimaryKeyConstraint("refund_key", "refunded_at", "line_no"),
    CheckConstraint("quantity > 0", name="positive"),
    postgresql_partition_by="RANGE (refunded_at)",
)

# An unlinked refund takes points back from these orders: last in, first out, by sku and then by amount.
refund_allotments = Table(
    "refund_allotments",
    metadata,
    Column("refund_key", BigInteger, ForeignKey("refund_keys.refund_key"), primary_key=True),
    Column("order_key", BigInteger, ForeignKey("order_keys.order_key"), primary_key=True, index=True),
    Column("amount_minor", BigInteger, nullable=False),
    CheckConstraint("amount_minor > 0", name="positive"),
)

shipments = Table(
    "shipments",
    metadata,
    Column("order_key", BigInteger, ForeignKey("order_keys.order_key"), primary_key=True),
    Column("shipment_id", Text(collation="C"), primary_key=True),
    Column("status", Text, primary_key=True),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("promised_at", DateTime(timezone=True)),
    Column("received_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("status IN ('promised', 'shipped', 'delivered', 'delayed')", name="known_status"),
)

event_keys = Table(
    "event_keys",
    metadata,
    Column("event_key", BigInteger, Identity(), nullable=False),
    Column("event_id", Text(collation="C"), primary_key=True),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("event_key", BigInteger, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("type", Text, nullable=False),
    Column("member_key", BigInteger),
    Column("anonymous_id", Text),
    Column("session_id", Text),
    Column("item_key", BigInteger),
    Column("touchpoint", Text),
    Column("source", Text),
    Column("recommendation_id", Text),
    Column("impression_id", Text),
    Column("attribution_token", Text),
    # Why the token does not hold, found when it came in; such an event is nobody's credit.
    Column("attribution_fault", Text),
    Column("dwell_seconds", Numeric),
    Column("page_depth", SmallInteger),
    Column("attributes", JSONB),
    # For whom it was sent, where that member has been merged into the one it counts for.
    Column("origin_key", BigInteger),
    PrimaryKeyConstraint("event_key", "occurred_at"),
    Index(None, "member_key", "occurred_at"),
    # Of visitors of whom nobody knows yet who they are.
    Index(
        "ix_events_unclaimed",
        "anonymous_id",
        postgresql_where=text("member_key IS NULL AND anonymous_id IS NOT NULL"),
    ),
    postgresql_partition_by="RANGE (occurred_at)",
)

# Whose events an anonymous visitor's are, from the first time both ids came together.
visitor_links = Table(
    "visitor_links",
    metadata,
    Column("anonymous_id", Text(collation="C"), primary_key=True),
    Column("member_key", BigInteger, ForeignKey("members.member_key"), nullable=False, index=True),
    Column("linked_at", DateTime(timezone=True), nullable=False),
)

# What changed of who took what, since somebody last looked; written by triggers in the same transaction.
taking_changes = Table(
    "taking_changes",
    metadata,
    Column("change_key", BigInteger, Identity(), primary_key=True),
    Column("kind", Text, nullable=False),
    # An order's or a refund's key, and whose it was where that changed.
    Column("fact_key", BigInteger, nullable=False),
    Column("was_key", BigInteger),
    CheckConstraint(
        "kind IN ('order', 'cancellation', 'refund', 'order_owner', 'refund_owner')", name="known_kind"
    ),
    CheckConstraint("(was_key IS NOT NULL) = (kind LIKE '%_owner')", name="owner_known"),
)

member_days = Table(
    "member_days",
    metadata,
    Column("member_key", BigInteger, nullable=False),
    Column("day", Date, nullable=False),
    Column("goods_minor", BigInteger, nullable=False),
    Column("spend_minor", BigInteger, nullable=False),
    Column("orders", Integer, nullable=False),
    Column("unlinked_minor", BigInteger, nullable=False),
    # Covering, so that one member's window is read from the index alone.
    PrimaryKeyConstraint(
        "member_key",
        "day",
        postgresql_include=["goods_minor", "spend_minor", "orders", "unlinked_minor"],
    ),
    CheckConstraint("goods_minor >= 0 AND orders >= 0 AND unlinked_minor >= 0", name="not_negative"),
)
