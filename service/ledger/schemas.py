"""JSON in and out of the ledger."""

from __future__ import annotations

from datetime import MAXYEAR

from marshmallow import Schema, ValidationError, fields, validate

from service.kit.clock import YEARS
from service.kit.fields import Day, MerchantId, QueryWhole, Reason, StrictSchema, TableQuery, Text, Whole
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT

MOST_POINTS = 10**9
"""Largest adjustment taken in one go."""

EXPIRY_YEARS = range(YEARS.start, MAXYEAR + 1)
"""Up to the last day there is, which other systems write for never."""

LONGEST_HOLD_SECONDS = 7 * 24 * 3600
"""A hold is for a checkout; it keeps points from expiring, so it may not last."""


def _not_zero(points: int) -> None:
    if points == 0:
        raise ValidationError("an adjustment by 0 points adjusts nothing")


class PointsQuery(StrictSchema):
    """Of when."""

    as_of = Text(
        max_length=40,
        metadata={
            "description": "A day (as it ended, in the programme's zone) or a time with an offset, "
            "not ahead; left out: now."
        },
    )


# `from` is a word of Python's own, so no attribute can have that name.
StatementQuery = TableQuery.from_dict(
    {
        "from": Text(
            max_length=40,
            metadata={"format": "date", "description": "The first day, in the programme's zone."},
        ),
        "to": Text(
            max_length=40,
            metadata={"format": "date", "description": "The day after the last. Left out: up to now."},
        ),
        "limit": QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT),
        "cursor": Text(max_length=500),
    },
    name="StatementQuery",
)
"""Which stretch of the ledger."""


class TransactionsQuery(StrictSchema):
    """Which page of the ledger."""

    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = Text(max_length=500)


class AdjustmentPoints(Whole):
    """Points to give (+) or take (−), never 0."""

    def __init__(self) -> None:
        super().__init__(
            least=-MOST_POINTS,
            most=MOST_POINTS,
            required=True,
            metadata={
                "description": "Points to give (+) or to take (−), whole and not 0.",
                "not": {"const": 0},
                "example": 50,
            },
        )
        self.validators = [*self.validators, _not_zero]


class AdjustmentBody(StrictSchema):
    """A change by hand; the key that sends it is recorded as its actor."""

    points = AdjustmentPoints()
    reason = Reason()
    expires_on = Day(
        years=EXPIRY_YEARS,
        allow_none=True,
        metadata={
            "format": "date",
            "description": "Of points that are given: they expire as this day begins, in the programme's "
            "zone; null for never. Left out: by the programme's setting.",
        },
    )


class HoldBody(StrictSchema):
    """Points to set aside while a checkout runs."""

    points = Whole(least=1, most=MOST_POINTS, required=True)
    ttl_seconds = Whole(
        least=1,
        most=LONGEST_HOLD_SECONDS,
        required=True,
        metadata={"description": "When this time has passed the points are free again, of themselves."},
    )
    order_id = MerchantId(
        allow_none=True, metadata={"description": "The order that the checkout is for, when it is known."}
    )


class CaptureBody(StrictSchema):
    """What of a hold is spent, and on which order."""

    points = Whole(
        least=1,
        most=MOST_POINTS,
        allow_none=True,
        metadata={"description": "Left out: all of them. What is not spent is free again."},
    )
    order_id = MerchantId(required=True)


class ExtensionBody(StrictSchema):
    """Until when a lot can be used, and why."""

    expires_on = Day(
        years=EXPIRY_YEARS,
        required=True,
        allow_none=True,
        metadata={
            "format": "date",
            "description": "It expires as this day begins, in the programme's zone; null for never.",
        },
    )
    reason = Reason()


class ExtensionSchema(Schema):
    """A lot that can be used for longer."""

    transaction_id = fields.String(required=True)
    lot_id = fields.String(required=True)
    points = fields.Integer(required=True, metadata={"description": "What is left of it, held included."})
    expired_on = fields.String(
        required=True,
        allow_none=True,
        metadata={"format": "date", "description": "When it would have expired."},
    )
    expires_on = fields.String(required=True, allow_none=True, metadata={"format": "date"})
    reason = fields.String(required=True)
    actor = fields.String(required=True)


class HoldSchema(Schema):
    """Points set aside for a checkout, and what became of them."""

    hold_id = fields.String(required=True)
    member_id = fields.String(required=True)
    points = fields.Integer(required=True)
    captured = fields.Integer(required=True, metadata={"description": "What of them was spent."})
    state = fields.String(required=True, validate=validate.OneOf(["open", "captured", "released", "expired"]))
    order_id = fields.String(required=True, allow_none=True)
    created_at = fields.String(required=True, metadata={"format": "date-time"})
    expires_at = fields.String(required=True, metadata={"format": "date-time"})
    ended_at = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})


class ExpiringSchema(Schema):
    """Points that expire as a day begins."""

    points = fields.Integer(required=True)
    on = fields.String(required=True, metadata={"format": "date"})


class PointsSchema(Schema):
    """What a member effectively has now."""

    available = fields.Integer(
        required=True,
        metadata={
            "description": "What can be spent, net of debt: below zero only where the policy allows it."
        },
    )
    pending = fields.Integer(
        required=True, metadata={"description": "Earned, and not available before the return period ends."}
    )
    held = fields.Integer(required=True, metadata={"description": "Set aside for checkouts."})
    debt = fields.Integer(
        required=True,
        metadata={"description": "Taken back beyond what was there; paid first by points that come."},
    )
    lifetime_earned = fields.Integer(
        required=True, metadata={"description": "Everything ever given, less everything ever taken back."}
    )
    expiring = fields.List(
        fields.Nested(ExpiringSchema),
        required=True,
        metadata={"description": "Every coming expiry by day, pending points included, held ones not."},
    )
    value = fields.String(
        required=True,
        metadata={"description": "What the available points are worth in the programme's currency."},
    )


class LotSchema(Schema):
    """Points earned together, which become available and expire together."""

    lot_id = fields.String(required=True)
    available_at = fields.String(required=True, metadata={"format": "date-time"})
    expires_at = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})


class PostingSchema(Schema):
    """Points into (+) or out of (−) an account."""

    account = fields.String(
        required=True,
        validate=validate.OneOf(
            [
                "pending",
                "available",
                "held",
                "debt",
                "issued",
                "redeemed",
                "expired",
                "reversed",
                "merged",
            ]
        ),
    )
    points = fields.Integer(required=True)
    lot = fields.Nested(LotSchema, required=True, allow_none=True)


class LineRateSchema(Schema):
    """What some lines of an order earned by, and why: `by` is the sku or category that a rule names."""

    points = fields.Integer(required=True)
    per = fields.String(required=True)
    multiplier_bp = fields.Integer(required=True)
    why = fields.String(required=True, validate=validate.OneOf(["base", "rate", "excluded", "not_included"]))
    by = fields.String(required=True, allow_none=True)


class AppliedTermsSchema(Schema):
    """Terms of their own: more than one rate, a minimum, or limits."""

    counted = fields.String(required=True)
    minimum = fields.String(required=True)
    cap_per_order = fields.Integer(required=True, allow_none=True)
    left_of_day_cap = fields.Integer(required=True, allow_none=True)
    rates = fields.List(fields.Nested(LineRateSchema), required=True)


class AppliedRuleSchema(Schema):
    """The earning rule of an award: `points` for every `per`, times the tier's multiplier."""

    points = fields.Integer(required=True)
    per = fields.String(required=True)
    multiplier_bp = fields.Integer(required=True)
    tier = fields.String(required=True, allow_none=True)
    eligible = fields.String(required=True, metadata={"description": "The amount that the award is for."})
    settings_version = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "The settings it was made by; null for imported history."},
    )
    rules_version = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "The earning rules it was made by; null for those of the first start."},
    )
    terms = fields.Nested(
        AppliedTermsSchema,
        required=True,
        allow_none=True,
        metadata={"description": "Where the award is more than the base rate on the eligible amount."},
    )


class PointsTransactionSchema(Schema):
    """One entry of the ledger; its postings sum to zero."""

    transaction_id = fields.String(required=True)
    kind = fields.String(required=True)
    occurred_at = fields.String(required=True, metadata={"format": "date-time"})
    recorded_at = fields.String(required=True, metadata={"format": "date-time"})
    order_id = fields.String(required=True, allow_none=True)
    refund_id = fields.String(required=True, allow_none=True)
    hold_id = fields.String(required=True, allow_none=True)
    rule = fields.Nested(AppliedRuleSchema, required=True, allow_none=True)
    shortfall = fields.Integer(
        required=True, metadata={"description": "What a refund should have taken back and could not."}
    )
    reason = fields.String(required=True, allow_none=True)
    actor = fields.String(required=True, allow_none=True)
    postings = fields.List(fields.Nested(PostingSchema), required=True)


class PointsTransactionsSchema(Schema):
    """A page of the ledger, newest first."""

    data = fields.List(fields.Nested(PointsTransactionSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class FiguresSchema(Schema):
    """Points by account."""

    available = fields.Integer(required=True, metadata={"description": "Net of debt."})
    pending = fields.Integer(required=True)
    held = fields.Integer(required=True)


class StatementLineSchema(Schema):
    """One entry: what it changed, and what there was after it."""

    transaction_id = fields.String(required=True)
    kind = fields.String(required=True)
    occurred_at = fields.String(required=True, metadata={"format": "date-time"})
    order_id = fields.String(required=True, allow_none=True)
    refund_id = fields.String(required=True, allow_none=True)
    hold_id = fields.String(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True)
    change = fields.Nested(FiguresSchema, required=True)
    balance = fields.Nested(FiguresSchema, required=True)


class StatementSchema(Schema):
    """A page of a statement, oldest entry first; opening and closing are those of the whole stretch."""

    opening = fields.Nested(FiguresSchema, required=True)
    data = fields.List(fields.Nested(StatementLineSchema), required=True)
    closing = fields.Nested(FiguresSchema, required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class AdjustmentSchema(Schema):
    """What was adjusted, and what the member has after it."""

    transaction_id = fields.String(required=True)
    points = fields.Integer(required=True)
    reason = fields.String(required=True)
    actor = fields.String(required=True)
    occurred_at = fields.String(required=True, metadata={"format": "date-time"})
    expires_on = fields.String(required=True, allow_none=True, metadata={"format": "date"})
    balance = fields.Nested(PointsSchema, required=True)
