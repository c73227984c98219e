"""JSON in and out of quotes."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from service.intake.schemas import MAX_LINES, OrderLineBody
from service.kit.fields import Currency, ExchangeRate, MerchantId, Money, StrictSchema
from service.ledger.schemas import LineRateSchema


class QuoteBody(StrictSchema):
    """An order that is not placed yet; without a `member_id` it earns as in the base tier."""

    member_id = MerchantId(allow_none=True)
    currency = Currency(required=True)
    lines = fields.List(
        fields.Nested(OrderLineBody), required=True, validate=validate.Length(min=1, max=MAX_LINES)
    )
    shipping = Money(allow_none=True)
    tax = Money(allow_none=True)
    discount = Money(allow_none=True)
    exchange_rate = ExchangeRate(allow_none=True)
    store_id = MerchantId(allow_none=True)
    points_hold_id = MerchantId(
        allow_none=True, metadata={"description": "Points set aside that would pay for it."}
    )
    voucher_code = MerchantId(
        allow_none=True, metadata={"description": "A voucher that would pay for it, reserved or free."}
    )
    voucher_codes = fields.List(
        MerchantId(),
        validate=validate.Length(max=10),
        allow_none=True,
        metadata={"description": "Several of them, where all may be used with another one."},
    )


class QuotedTierSchema(Schema):
    """The tier that it would earn at."""

    tier = fields.String(required=True)
    name = fields.String(required=True)
    rank = fields.Integer(required=True)


class QuotedLineSchema(Schema):
    """What one line brings: `counted` of it by `rate`, which comes to `points` before rounding."""

    line_no = fields.Integer(required=True)
    sku = fields.String(required=True)
    category = fields.String(required=True, allow_none=True)
    counted = fields.String(required=True, metadata={"description": "Its share of what counts, rounded."})
    rate = fields.Nested(LineRateSchema, required=True)
    points = fields.String(
        required=True, metadata={"description": "A decimal, multipliers included, cut off after four digits."}
    )


class QuotedCapSchema(Schema):
    """A limit: the most it lets through of this order, and what it cuts off for good."""

    cap = fields.String(required=True, validate=validate.OneOf(["per_order", "per_member_day"]))
    at_most = fields.Integer(required=True)
    cut_off = fields.Integer(required=True)


class QuoteSchema(Schema):
    """What an order would earn if it were placed now, and why; amounts in the programme's currency."""

    points = fields.Integer(required=True)
    points_spent = fields.Integer(
        required=True, metadata={"description": "How many of the points set aside would be taken."}
    )
    points_paid = fields.String(
        required=True, metadata={"description": "What they would pay, in the order's currency."}
    )
    voucher_paid = fields.String(
        required=True, metadata={"description": "What vouchers would pay, in the order's currency."}
    )
    currency = fields.String(required=True)
    counted = fields.String(required=True, metadata={"description": "What of the order counts at all."})
    eligible = fields.String(required=True, metadata={"description": "What of that earns anything."})
    minimum_order = fields.String(
        required=True, allow_none=True, metadata={"description": "Below it nothing is earned."}
    )
    rules_version = fields.Integer(required=True)
    tier = fields.Nested(QuotedTierSchema, required=True)
    multiplier_bp = fields.Integer(required=True)
    lines = fields.List(fields.Nested(QuotedLineSchema), required=True)
    caps = fields.List(fields.Nested(QuotedCapSchema), required=True)
    pending_until = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})
    explanation = fields.List(fields.String(), required=True)
