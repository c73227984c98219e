"""JSON in and out of explanations."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from service.kit.fields import QueryWhole
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT
from service.tiers.conditions import METRICS
from service.tiers.schemas import MetricsSchema, NeedSchema, RiseSchema, StandingQuery, WindowSchema

_DAY = {"format": "date"}
_TIME = {"format": "date-time"}
_REASONS = ("base", "override", "enter", "keep", "period", "hold", "grace")


class ExplanationQuery(StandingQuery):
    """For whom, of which moment, and how much of it."""

    audience = fields.String(
        load_default="member",
        validate=validate.OneOf(["member", "staff"]),
        metadata={"description": "A storefront may ask for its member alone."},
    )
    limit = QueryWhole(
        least=1,
        most=MAX_LIMIT,
        load_default=DEFAULT_LIMIT,
        metadata={"description": "Facts, and days on which some leave, to list; totals count all."},
    )


class GivenBackSchema(Schema):
    """A refund of an order, or its cancellation; amounts are what it took from the order."""

    kind = fields.String(required=True, validate=validate.OneOf(["refund", "cancellation"]))
    refund_id = fields.String(required=True, allow_none=True)
    at = fields.String(required=True, metadata=_TIME)
    goods = fields.String(required=True)
    net = fields.String(required=True)


class CountedFactSchema(Schema):
    """An order of the window, or a refund that names no order; amounts in the programme's currency."""

    kind = fields.String(required=True, validate=validate.OneOf(["order", "refund"]))
    order_id = fields.String(required=True, allow_none=True)
    refund_id = fields.String(required=True, allow_none=True)
    at = fields.String(required=True, metadata=_TIME)
    day = fields.String(required=True, metadata=_DAY)
    goods = fields.String(required=True, metadata={"description": "As bought."})
    net = fields.String(
        required=True, metadata={"description": "As it added to net spend; a refund is below zero."}
    )
    goods_left = fields.String(
        required=True, metadata={"description": "Above zero: its day is one with a purchase."}
    )
    net_left = fields.String(required=True, metadata={"description": "What it adds to net spend now."})
    counts = fields.Boolean(required=True, metadata={"description": "False where all of it was given back."})
    leaves_on = fields.String(
        required=True, metadata={**_DAY, "description": "The first day on which it counts no more."}
    )
    given_back = fields.List(fields.Nested(GivenBackSchema), required=True)


class CountedFactsSchema(Schema):
    """What the metrics are made of, the latest first."""

    data = fields.List(fields.Nested(CountedFactSchema), required=True)
    total = fields.Integer(required=True)


class MetricChangeSchema(Schema):
    """One metric before and after."""

    metric = fields.String(required=True, validate=validate.OneOf(METRICS))
    from_ = fields.Raw(required=True, data_key="from", allow_none=True)
    to = fields.Raw(required=True, allow_none=True)


class LeavingSchema(Schema):
    """What counts no more from one day on, and the metrics of that day if nothing more is bought."""

    on = fields.String(required=True, metadata=_DAY)
    order_ids = fields.List(fields.String(), required=True)
    refund_ids = fields.List(fields.String(), required=True)
    net = fields.String(required=True, metadata={"description": "What net spend loses."})
    changes = fields.List(fields.Nested(MetricChangeSchema), required=True)
    enough = fields.Boolean(
        required=True,
        allow_none=True,
        metadata={
            "description": "Whether the tier's conditions still hold; null where a period's end decides."
        },
    )


class LeavingsSchema(Schema):
    """What leaves when, the soonest first."""

    data = fields.List(fields.Nested(LeavingSchema), required=True)
    total = fields.Integer(required=True)


class RulesInWordsSchema(Schema):
    """The conditions of the tier as rated, in the language of the answer; null where there is none."""

    enter = fields.String(required=True, allow_none=True)
    keep = fields.String(required=True, allow_none=True)


class ReachedSchema(Schema):
    """The movement that brought the tier held, with its cause and the numbers it was made on."""

    from_ = fields.String(required=True, data_key="from", allow_none=True)
    on = fields.String(required=True, metadata=_DAY)
    at = fields.String(required=True, metadata=_TIME)
    cause = fields.String(required=True)
    ruleset_version = fields.Integer(required=True)
    order_id = fields.String(required=True, allow_none=True)
    refund_id = fields.String(required=True, allow_none=True)
    metrics = fields.Nested(MetricsSchema, required=True)


class HowTiersFallSchema(Schema):
    """How members fall under the rule set."""

    policy = fields.String(required=True)
    min_hold_days = fields.Integer(required=True)
    grace_days = fields.Integer(required=True)
    review_cadence = fields.String(required=True)


class OverrideToldSchema(Schema):
    """A tier set by hand: until when (exclusive), why and by whom."""

    tier = fields.String(required=True)
    ends_on = fields.String(required=True, metadata=_DAY)
    reason = fields.String(required=True)
    actor = fields.String(required=True)


class OutlookStepSchema(Schema):
    """What happens by itself if nothing more is bought."""

    on = fields.String(required=True, metadata=_DAY)
    kind = fields.String(required=True, validate=validate.OneOf(["at_risk", "tier"]))
    tier = fields.String(required=True)
    falls_on = fields.String(required=True, allow_none=True, metadata=_DAY)


class StaffGroundsSchema(Schema):
    """What staff see besides."""

    ruleset_version = fields.Integer(required=True)
    reason = fields.String(
        required=True,
        validate=validate.OneOf(_REASONS),
        metadata={"description": "Why the tier stands: by which condition, or by what it is held for now."},
    )
    branch = fields.List(
        fields.Nested(NeedSchema),
        required=True,
        metadata={"description": "The comparisons by which `enter` or `keep` holds; else empty."},
    )
    qualified_tier = fields.String(
        required=True, metadata={"description": "The highest tier whose `enter` holds."}
    )
    rated_tier = fields.String(required=True, metadata={"description": "The tier underneath an override."})
    rules = fields.Nested(RulesInWordsSchema, required=True)
    reached = fields.Nested(ReachedSchema, required=True)
    downgrade = fields.Nested(HowTiersFallSchema, required=True)
    unqualified_since = fields.String(required=True, allow_none=True, metadata=_DAY)
    stands_until = fields.String(required=True, allow_none=True, metadata=_DAY)
    judged_from = fields.String(required=True, allow_none=True, metadata=_DAY)
    protected_until = fields.String(required=True, allow_none=True, metadata=_DAY)
    at_risk = fields.Boolean(required=True)
    at_risk_since = fields.String(required=True, allow_none=True, metadata=_DAY)
    falls_on = fields.String(required=True, allow_none=True, metadata=_DAY)
    next_review_on = fields.String(required=True, allow_none=True, metadata=_DAY)
    override = fields.Nested(OverrideToldSchema, required=True, allow_none=True)
    outlook = fields.List(fields.Nested(OutlookStepSchema), required=True)


class TierExplanationSchema(Schema):
    """A tier explained: in words, and by everything it rests on."""

    audience = fields.String(required=True)
    locale = fields.String(required=True)
    tier = fields.String(required=True)
    name = fields.String(required=True)
    rank = fields.Integer(required=True)
    since = fields.String(required=True, metadata=_TIME)
    as_of = fields.String(required=True, metadata=_TIME)
    window = fields.Nested(WindowSchema, required=True)
    metrics = fields.Nested(MetricsSchema, required=True)
    to_stay = fields.List(fields.Nested(NeedSchema), required=True)
    to_rise = fields.Nested(RiseSchema, required=True, allow_none=True)
    explanation = fields.String(required=True)
    facts = fields.Nested(CountedFactsSchema, required=True)
    leaving = fields.Nested(LeavingsSchema, required=True)
    staff = fields.Nested(
        StaffGroundsSchema, required=True, allow_none=True, metadata={"description": "Null for a member."}
    )
