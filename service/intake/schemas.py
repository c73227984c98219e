"""JSON in and out of the stories: members, orders, refunds, shipments."""

from __future__ import annotations

from datetime import MAXYEAR, MINYEAR
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.catalogue.schemas import LOCALE
from service.kit.fields import (
    Currency,
    Day,
    ExchangeRate,
    FreeForm,
    MerchantId,
    Moment,
    Money,
    Reason,
    StrictBoolean,
    StrictSchema,
    Text,
    Whole,
)

MAX_LINES = 1000

# Never converted from zone to zone; the year of a birthday may be unknown.
_BIRTHDAY_YEARS = range(MINYEAR, MAXYEAR + 1)


class ConsentBody(StrictSchema):
    """What the member agreed to, and to which text."""

    marketing = StrictBoolean()
    profiling = StrictBoolean()
    text_version = Text(max_length=100, allow_none=True)


class AcquisitionBody(StrictSchema):
    """Where the member came from and what that cost."""

    source = Text(max_length=200, min_length=1, required=True)
    cost = Money(allow_none=True)


class MemberBody(StrictSchema):
    """A member; absent fields keep what is stored, null empties them."""

    joined_at = Moment()
    store_id = MerchantId(allow_none=True)
    locale = fields.String(validate=LOCALE, allow_none=True)
    name = Text(max_length=200, allow_none=True)
    birthday = Day(allow_none=True, years=_BIRTHDAY_YEARS)
    email = Text(max_length=254, min_length=3, allow_none=True)
    phone = Text(max_length=40, min_length=3, allow_none=True)
    consent = fields.Nested(ConsentBody)
    attributes = FreeForm(allow_none=True)
    referred_by = MerchantId(allow_none=True)
    acquisition = fields.Nested(AcquisitionBody, allow_none=True)


class MemberAnswerSchema(Schema):
    """A member as enrolled; `GET /members/{member_id}` shows the rest."""

    member_id = fields.String(required=True)
    joined_at = fields.String(required=True)
    locale = fields.String(required=True, allow_none=True)


class OrderLineBody(StrictSchema):
    """One line: `amount` is what was paid for it after its own discounts."""

    sku = MerchantId(required=True)
    quantity = Whole(required=True, least=1, most=10_000_000)
    amount = Money(required=True)
    category = Text(max_length=100, min_length=1, allow_none=True)


class OrderBody(StrictSchema):
    """A paid order."""

    order_id = MerchantId(required=True)
    member_id = MerchantId(required=True)
    placed_at = Moment(required=True)
    currency = Currency(required=True)
    lines = fields.List(
        fields.Nested(OrderLineBody), required=True, validate=validate.Length(min=1, max=MAX_LINES)
    )
    shipping = Money(allow_none=True)
    tax = Money(allow_none=True)
    discount = Money(allow_none=True)
    exchange_rate = ExchangeRate(allow_none=True)
    store_id = MerchantId(allow_none=True)
    channel = Text(max_length=100, min_length=1, allow_none=True)
    checkout_started_at = Moment(allow_none=True)
    recommendation_ids = fields.List(MerchantId(), validate=validate.Length(max=50), allow_none=True)
    attribution_token = Text(max_length=1000, allow_none=True)
    points_hold_id = MerchantId(
        allow_none=True,
        metadata={
            "description": "Points set aside for this order: as many as it costs are spent, the rest is free."
        },
    )

    voucher_code = MerchantId(
        allow_none=True,
        metadata={"description": "A voucher that pays for this order, reserved for it or free."},
    )
    voucher_codes = fields.List(
        MerchantId(),
        validate=validate.Length(max=10),
        allow_none=True,
        metadata={"description": "Several of them, where all may be used with another one."},
    )


class RefundLineBody(StrictSchema):
    """What was given back."""

    sku = MerchantId(required=True)
    quantity = Whole(required=True, least=1, most=10_000_000)
    amount = Money(allow_none=True)


class RefundBody(StrictSchema):
    """Money given back for goods; with an `order_id` it is linked, else it needs its `member_id`."""

    refund_id = MerchantId(required=True)
    order_id = MerchantId(allow_none=True)
    member_id = MerchantId(allow_none=True)
    refunded_at = Moment(required=True)
    requested_at = Moment(allow_none=True)
    kind = fields.String(validate=validate.OneOf(("return", "cancellation", "goodwill")))
    reason = Text(max_length=500, allow_none=True)
    amount = Money(required=True, positive=True)
    currency = Currency(
        allow_none=True, metadata={"description": "The order's currency, or the programme's."}
    )
    store_id = MerchantId(allow_none=True)
    lines = fields.List(fields.Nested(RefundLineBody), validate=validate.Length(max=MAX_LINES))

    @validates_schema
    def _somebody(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("order_id") is None and data.get("member_id") is None:
            raise ValidationError("an unlinked refund needs its member", "member_id")


class CancelBody(StrictSchema):
    """An order called off before it counted."""

    cancelled_at = Moment(required=True)
    reason = Reason()


class ShipmentBody(StrictSchema):
    """One status of one shipment."""

    shipment_id = MerchantId(required=True)
    status = fields.String(
        required=True, validate=validate.OneOf(("promised", "shipped", "delivered", "delayed"))
    )
    occurred_at = Moment(required=True)
    promised_at = Moment(allow_none=True)


class OrderLineSchema(Schema):
    """A line as recorded: its amount after the order's discount was spread."""

    line_no = fields.Integer(required=True)
    sku = fields.String(required=True)
    quantity = fields.Integer(required=True)
    amount = fields.String(required=True)
    category = fields.String(required=True, allow_none=True)


class OrderSchema(Schema):
    """An order as recorded."""

    order_id = fields.String(required=True)
    member_id = fields.String(required=True)
    placed_at = fields.String(required=True)
    received_at = fields.String(required=True)
    day = fields.String(required=True, metadata={"description": "The store's local day."})
    store_id = fields.String(required=True, allow_none=True)
    channel = fields.String(required=True, allow_none=True)
    currency = fields.String(required=True)
    exchange_rate = fields.String(required=True, allow_none=True)
    goods = fields.String(required=True)
    discount = fields.String(required=True)
    shipping = fields.String(required=True)
    tax = fields.String(required=True)
    points_paid = fields.String(
        required=True,
        metadata={"description": "What points paid of it: earns nothing and is no net spend."},
    )
    voucher_paid = fields.String(
        required=True,
        metadata={
            "description": "What vouchers paid of it: of goods, that earns nothing and is no net spend."
        },
    )
    refunded = fields.String(required=True)
    cancelled_at = fields.String(required=True, allow_none=True)
    cancel_reason = fields.String(required=True, allow_none=True)
    lines = fields.List(fields.Nested(OrderLineSchema), required=True)


class OrderRefundSchema(Schema):
    """A refund of an order."""

    refund_id = fields.String(required=True)
    refunded_at = fields.String(required=True)
    kind = fields.String(required=True)
    reason = fields.String(required=True, allow_none=True)
    amount = fields.String(required=True)


class ShipmentSchema(Schema):
    """One status of one shipment."""

    shipment_id = fields.String(required=True)
    status = fields.String(required=True)
    occurred_at = fields.String(required=True)
    promised_at = fields.String(required=True, allow_none=True)


class OrderDetailSchema(OrderSchema):
    """An order with everything that came of it."""

    refunds = fields.List(fields.Nested(OrderRefundSchema), required=True)
    shipments = fields.List(fields.Nested(ShipmentSchema), required=True)


class OrderPointsSchema(Schema):
    """What an order earned."""

    earned = fields.Integer(required=True)
    reversed = fields.Integer(required=True, metadata={"description": "Taken back by refunds so far."})
    spent = fields.Integer(required=True, metadata={"description": "Points that paid for the order."})
    returned = fields.Integer(
        required=True, metadata={"description": "Of the spent ones: given back by refunds so far."}
    )
    pending_until = fields.String(required=True, allow_none=True)


class TierNameSchema(Schema):
    """A tier, in the caller's language."""

    tier = fields.String(required=True)
    name = fields.String(required=True)
    rank = fields.Integer(required=True)


class TierMoveSchema(Schema):
    """The member's tier just before and just after."""

    before = fields.Nested(TierNameSchema, required=True)
    after = fields.Nested(TierNameSchema, required=True)
    pending = fields.Boolean(
        required=True,
        metadata={"description": "True when a fact older than one window is still being re-rated."},
    )


class OrderAnswerSchema(Schema):
    """What an order did."""

    order = fields.Nested(OrderSchema, required=True)
    points = fields.Nested(OrderPointsSchema, required=True)
    tier = fields.Nested(TierMoveSchema, required=True)
    explanation = fields.List(fields.String(), required=True)


class OrderViewSchema(OrderAnswerSchema):
    """An order as recorded, with what it did."""

    order = fields.Nested(OrderDetailSchema, required=True)


class RefundLineSchema(Schema):
    """What was given back."""

    sku = fields.String(required=True)
    quantity = fields.Integer(required=True)
    amount = fields.String(required=True, allow_none=True)


class RefundSchema(Schema):
    """A refund as recorded."""

    refund_id = fields.String(required=True)
    order_id = fields.String(required=True, allow_none=True)
    member_id = fields.String(required=True)
    refunded_at = fields.String(required=True)
    requested_at = fields.String(required=True, allow_none=True)
    kind = fields.String(required=True)
    reason = fields.String(required=True, allow_none=True)
    currency = fields.String(required=True)
    amount = fields.String(required=True)
    store_id = fields.String(required=True, allow_none=True)
    lines = fields.List(fields.Nested(RefundLineSchema), required=True)


class TakenBackSchema(Schema):
    """Points that a refund took back, and those that it gave back."""

    reversed = fields.Integer(required=True)
    returned = fields.Integer(
        required=True,
        metadata={"description": "Points spent on the order that went back to where they came from."},
    )
    shortfall = fields.Integer(
        required=True, metadata={"description": "What should have been taken back and was no longer there."}
    )
    voucher_returned = fields.String(
        required=True, metadata={"description": "What went back to the vouchers that paid for the order."}
    )
    unallotted = fields.String(
        required=True, metadata={"description": "Of an unlinked refund: what no order was found for."}
    )


class RefundAnswerSchema(Schema):
    """What a refund did."""

    refund = fields.Nested(RefundSchema, required=True)
    points = fields.Nested(TakenBackSchema, required=True)
    tier = fields.Nested(TierMoveSchema, required=True)
    explanation = fields.List(fields.String(), required=True)


class CancelAnswerSchema(Schema):
    """What a cancellation did."""

    order = fields.Nested(OrderDetailSchema, required=True)
    points = fields.Nested(TakenBackSchema, required=True)
    tier = fields.Nested(TierMoveSchema, required=True)
    explanation = fields.List(fields.String(), required=True)


class ShipmentAnswerSchema(ShipmentSchema):
    """A shipment's status as recorded."""

    order_id = fields.String(required=True)
