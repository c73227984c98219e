"""JSON in and out of the tiers."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from service.kit.fields import Day, QueryWhole, Reason, StrictSchema, Text
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT
from service.tiers.benefits import KINDS
from service.tiers.conditions import METRICS, OPS

_DAY = {"format": "date"}
_TIME = {"format": "date-time"}
_MOMENT = {
    "anyOf": [{"format": "date"}, {"format": "date-time"}],
    "description": "A day (its end) or an RFC 3339 time, not in the future; default: now.",
}


class StandingQuery(StrictSchema):
    """Which moment to tell of."""

    as_of = Text(max_length=40, metadata=_MOMENT)


class ChangesQuery(StrictSchema):
    """Which changes to list."""

    basis = fields.String(
        load_default="believed",
        validate=validate.OneOf(["believed", "replay"]),
        metadata={"description": "The log as it was written, or what all facts known now should have given."},
    )
    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = Text(max_length=500)


class ReviewBody(StrictSchema):
    """What to review."""

    as_of = Text(max_length=40, metadata=_MOMENT)
    scope = fields.String(load_default="due", validate=validate.OneOf(["due", "all"]))
    cursor = Text(max_length=500, metadata={"description": "`next_cursor` of the answer before."})


class NeedSchema(Schema):
    """One comparison of the rule beside what the member has."""

    metric = fields.String(required=True, validate=validate.OneOf(METRICS))
    op = fields.String(required=True, validate=validate.OneOf(OPS))
    have = fields.Raw(required=True, allow_none=True, metadata={"description": "Null where undefined."})
    need = fields.Raw(required=True, metadata={"description": "Two values for `between`."})
    met = fields.Boolean(required=True)


class MetricsSchema(Schema):
    """The numbers a tier rests on; money and the interval as decimal strings."""

    visit_interval_days = fields.String(required=True, allow_none=True)
    days_since_last_visit = fields.Integer(required=True, allow_none=True)
    active_days = fields.Integer(required=True)
    net_spend = fields.String(required=True)
    orders = fields.Integer(required=True)
    member_days = fields.Integer(metadata={"description": "Where the rule set asks for it."})


class CategoriesSchema(Schema):
    """What a percentage off is for."""

    categories = fields.List(fields.String(), required=True)


class BenefitSchema(Schema):
    """What a tier gives, for a machine (the fields of its kind) and for a person (`text`)."""

    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    value = fields.Integer(
        required=True, allow_none=True, metadata={"description": "`multiplier_bp`, or null."}
    )
    multiplier_bp = fields.Integer(metadata={"description": "Of points, in basis points."})
    minimum_spend = fields.String(
        allow_none=True, metadata={"description": "For free shipping; null: whatever is spent."}
    )
    percent_bp = fields.Integer(metadata={"description": "Off the price, in basis points."})
    applies_to = fields.Nested(
        CategoriesSchema, allow_none=True, metadata={"description": "Null: everything."}
    )
    hours = fields.Integer(metadata={"description": "Of early access."})
    skus = fields.List(fields.String(), metadata={"description": "For this tier alone."})
    level = fields.String(metadata={"description": "Of service."})
    text = fields.String(required=True)


class RiseSchema(Schema):
    """The next tier up and what is missing on the cheapest way there."""

    tier = fields.String(required=True)
    name = fields.String(required=True)
    missing = fields.List(fields.Nested(NeedSchema), required=True)
    one_order_is_enough = fields.Boolean(
        required=True,
        metadata={"description": "Whether a single order today, of whatever amount, can do it."},
    )


class WindowSchema(Schema):
    """The days that count: `from` inclusive, `to` exclusive."""

    from_ = fields.String(required=True, data_key="from", metadata=_DAY)
    to = fields.String(required=True, metadata=_DAY)


class OverrideBody(StrictSchema):
    """A tier to hold a member at, until when, and why."""

    tier = Text(required=True, max_length=32, metadata={"description": "A code of the rule set in force."})
    until = Day(
        required=True,
        metadata={"description": "The first day on which the rating applies again; after today."},
    )
    reason = Reason()


class OverrideSchema(Schema):
    """What staff hold a member at, and what the rating underneath says."""

    tier = fields.String(required=True)
    until = fields.String(required=True, metadata=_DAY)
    reason = fields.String(required=True, allow_none=True)
    rated_tier = fields.String(required=True)


class StandingSchema(Schema):
    """Where a member stands, why, and what comes next."""

    tier = fields.String(required=True)
    name = fields.String(required=True)
    rank = fields.Integer(required=True)
    benefits = fields.List(fields.Nested(BenefitSchema), required=True)
    since = fields.String(required=True, metadata=_TIME)
    ruleset_version = fields.Integer(required=True)
    as_of = fields.String(required=True, metadata=_TIME)
    window = fields.Nested(WindowSchema, required=True)
    metrics = fields.Nested(MetricsSchema, required=True)
    at_risk = fields.Boolean(required=True, metadata={"description": "The grace before a fall is running."})
    at_risk_since = fields.String(required=True, allow_none=True, metadata=_DAY)
    falls_on = fields.String(required=True, allow_none=True, metadata=_DAY)
    protected_until = fields.String(required=True, allow_none=True, metadata=_DAY)
    stands_until = fields.String(
        required=True,
        allow_none=True,
        metadata={
            **_DAY,
            "description": "The first day that can take the tier away, short of a refund or other rules: the "
            "end of an override, the day on which a period is judged, or that of the fall if nothing more "
            "is bought. Null where no day will: always in the base tier.",
        },
    )
    override = fields.Nested(
        OverrideSchema,
        required=True,
        allow_none=True,
        metadata={"description": "While one holds, what is missing to stay and to rise is of the rating."},
    )
    next_review_on = fields.String(
        required=True,
        allow_none=True,
        metadata={**_DAY, "description": "Before this day nothing changes unless a fact comes in."},
    )
    to_stay = fields.List(fields.Nested(NeedSchema), required=True)
    to_rise = fields.Nested(RiseSchema, required=True, allow_none=True)
    explanation = fields.String(required=True)


class TierChangeSchema(Schema):
    """One movement, with its cause, its rule set and the metrics it was made on."""

    from_ = fields.String(required=True, data_key="from", allow_none=True)
    to = fields.String(required=True)
    effective_at = fields.String(required=True, metadata=_TIME)
    recorded_at = fields.String(required=True, allow_none=True, metadata=_TIME)
    superseded_at = fields.String(required=True, allow_none=True, metadata=_TIME)
    cause = fields.String(required=True)
    ruleset_version = fields.Integer(required=True)
    metrics = fields.Nested(MetricsSchema, required=True)
    order_id = fields.String(required=True, allow_none=True)
    refund_id = fields.String(required=True, allow_none=True)


class TierChangesSchema(Schema):
    """A page of changes, the latest first."""

    data = fields.List(fields.Nested(TierChangeSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class ReviewSchema(Schema):
    """What one request's worth of review did."""

    as_of = fields.String(required=True, metadata=_DAY)
    scope = fields.String(required=True)
    reviewed = fields.Integer(required=True)
    changed = fields.Integer(required=True)
    healed = fields.Integer(
        required=True,
        metadata={"description": "Whose state was not as the facts say, though nothing was due: made right."},
    )
    next_cursor = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Send it as `cursor` to go on; null when everybody was reviewed."},
    )
