"""JSON in and out of the liability report."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from service.kit.fields import Day, QueryWhole, StrictSchema, TableQuery, Text, Whole

_ALLOCATED = {
    "description": "The part of the set value per point that was put aside of what customers paid "
    "when they earned it, in basis points: what an allocation by relative prices comes to. "
    "Default: all."
}
_MONEY = {"description": "In the programme's currency, a decimal string."}


class LiabilityQuery(TableQuery):
    """Of when, and what a point's price was put aside for."""

    as_of = Text(
        max_length=40,
        metadata={
            "anyOf": [{"format": "date"}, {"format": "date-time"}],
            "description": "A day (its end) or an RFC 3339 time, not in the future; default: now.",
        },
    )
    allocated_bp = QueryWhole(
        least=0,
        most=10_000,
        load_default=10_000,
        metadata=_ALLOCATED,
    )


class OutstandingSchema(Schema):
    """Points and what they cost at the set value per point, all of them and without those that will lapse."""

    pending = fields.Integer(required=True)
    available = fields.Integer(required=True, metadata={"description": "Not net of what is owed."})
    held = fields.Integer(required=True)
    points = fields.Integer(required=True, metadata={"description": "All of them."})
    cost = fields.String(required=True, metadata=_MONEY)
    expected_breakage = fields.Integer(required=True, metadata={"description": "What of them will lapse."})
    expected_cost = fields.String(required=True, metadata=_MONEY)


class OutstandingOwedSchema(OutstandingSchema):
    """Points, and what members owe, which later points will pay."""

    owed = fields.Integer(required=True)


class OutstandingByAgeSchema(OutstandingSchema):
    """Points that were earned so many calendar months ago."""

    from_months = fields.Integer(required=True)
    to_months = fields.Integer(required=True, allow_none=True, metadata={"description": "Null: or more."})


class OutstandingByTierSchema(OutstandingOwedSchema):
    """Points of the members who held a tier; null of those who held none."""

    tier = fields.String(required=True, allow_none=True)
    name = fields.String(required=True, allow_none=True)


class BreakageSchema(Schema):
    """How many of the outstanding points will lapse; bounds are null where nothing carries them."""

    points = fields.Integer(required=True)
    low = fields.Integer(required=True, allow_none=True)
    high = fields.Integer(required=True, allow_none=True)
    confidence = fields.String(required=True)
    cost = fields.String(required=True, metadata=_MONEY)
    unresolved = fields.Integer(
        required=True,
        metadata={"description": "Open beyond the oldest age that any vintage has reached; counted as owed."},
    )
    vintages = fields.Integer(required=True, metadata={"description": "Months of earning it is read from."})
    least_vintages = fields.Integer(
        required=True, metadata={"description": "Below so many nothing is expected to lapse."}
    )
    observed_months = fields.Integer(required=True)


class RevenueSchema(Schema):
    """What was put aside for points, what of it is revenue as points were used, and what is deferred."""

    allocated_bp = fields.Integer(required=True)
    allocated = fields.String(required=True, metadata=_MONEY)
    recognised = fields.String(required=True, metadata=_MONEY)
    deferred = fields.String(required=True, metadata=_MONEY)


class VintageSchema(Schema):
    """The points earned in one month: issued = taken_back + used + expired + open."""

    month = fields.String(required=True, metadata={"pattern": r"^\d{4}-\d{2}$"})
    issued = fields.Integer(required=True)
    taken_back = fields.Integer(required=True)
    used = fields.Integer(required=True, metadata={"description": "Less what refunds gave back."})
    expired = fields.Integer(required=True)
    open = fields.Integer(required=True)
    expected_breakage = fields.Integer(required=True)
    deferred = fields.String(required=True, metadata=_MONEY)


class LiabilitySchema(Schema):
    """What outstanding points stand for."""

    as_of = fields.String(required=True, metadata={"format": "date-time"})
    currency = fields.String(required=True)
    point_value = fields.String(required=True, metadata=_MONEY)
    outstanding = fields.Nested(OutstandingOwedSchema, required=True)
    by_age = fields.List(fields.Nested(OutstandingByAgeSchema), required=True)
    by_tier = fields.List(fields.Nested(OutstandingByTierSchema), required=True)
    breakage = fields.Nested(BreakageSchema, required=True)
    revenue = fields.Nested(RevenueSchema, required=True)
    vintages = fields.List(fields.Nested(VintageSchema), required=True)


class LiabilityReportBody(StrictSchema):
    """Which day's liability to compute and keep."""

    as_of = Day(
        allow_none=True,
        metadata={"description": "A day that is over in the programme's zone; default: yesterday."},
    )
    allocated_bp = Whole(least=0, most=10_000, load_default=10_000, metadata=_ALLOCATED)


class LiabilityReportSchema(Schema):
    """A liability report that a job computes, and what it found."""

    report_id = fields.String(required=True)
    as_of = fields.Date(required=True)
    allocated_bp = fields.Integer(required=True)
    state = fields.String(required=True, validate=validate.OneOf(("queued", "running", "done", "failed")))
    requested_at = fields.String(required=True, metadata={"format": "date-time"})
    computed_at = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})
    failure = fields.String(required=True, allow_none=True)
    liability = fields.Nested(LiabilitySchema, required=True, allow_none=True)
