"""JSON in and out of the recommendations; `MeasurementSchema` is the annotation's JSON Schema."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from service.kit.fields import MerchantId, QueryWhole, StrictSchema, Text, is_visible
from service.recommendations.operations import DEFAULT_LIMIT, MAX_LIMIT

_MAX_EXCLUDED = 500
MODES = ("mixed", "buy_again", "discover", "trending", "recently_viewed")
CHANNELS = ("web", "app", "email", "push", "sms", "store", "other")
_SOURCES = ("buy_again", "discover", "popular", "trending", "recently_viewed")
_FALLBACKS = ("last_basket", "popular_in_tier", "popular_in_category", "popular", "plain", "empty")


class Skus(fields.Field[tuple[str, ...]]):
    """Skus with commas between them."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:
        skus = dict.fromkeys(part.strip() for part in str(value).split(",") if part.strip())
        if len(skus) > _MAX_EXCLUDED:
            raise ValidationError(f"at most {_MAX_EXCLUDED} skus")
        if not all(len(sku) <= 128 and is_visible(sku) for sku in skus):
            raise ValidationError("each sku is 1 to 128 visible characters")
        return tuple(skus)


def placement_field() -> Text:
    return Text(
        max_length=64,
        min_length=1,
        load_default="default",
        metadata={"description": "Where the answer is shown, in the shop's own words."},
    )


def channel_field() -> fields.String:
    return fields.String(load_default="web", validate=validate.OneOf(CHANNELS))


def _limit() -> QueryWhole:
    return QueryWhole(
        least=1,
        most=MAX_LIMIT,
        load_default=None,
        metadata={"description": f"As the placement is set, and {DEFAULT_LIMIT} where it is not."},
    )


def _excluded() -> Skus:
    return Skus(
        load_default=(),
        metadata={"type": "string", "default": "", "description": "Skus to keep out, commas between."},
    )


def _basket() -> Skus:
    return Skus(
        load_default=(),
        metadata={
            "type": "string",
            "default": "",
            "description": "Skus in the basket, commas between: they steer, and are not shown.",
        },
    )


class RecommendationsQuery(StrictSchema):
    """What is wanted."""

    placement = placement_field()
    channel = channel_field()
    limit = _limit()
    exclude = _excluded()  # type: ignore[assignment]
    basket = _basket()
    category = Text(max_length=100, min_length=1, load_default=None)
    context_sku = MerchantId(
        load_default=None, metadata={"description": "The item on the page: it steers, and is not shown."}
    )
    mode = fields.String(
        load_default=None,
        validate=validate.OneOf(MODES),
        metadata={
            "description": "As the placement is set, and `mixed` where it is not. `trending` and "
            "`recently_viewed` are lists of their own."
        },
    )


class RelatedQuery(StrictSchema):
    """What is wanted, and for whom if the storefront knows."""

    member_id = MerchantId(load_default=None)
    placement = placement_field()
    channel = channel_field()
    limit = _limit()
    exclude = _excluded()  # type: ignore[assignment]
    basket = _basket()
    category = Text(max_length=100, min_length=1, load_default=None)


class ReasonSchema(Schema):
    """Why an item is shown."""

    code = fields.String(required=True)
    text = fields.String(required=True, metadata={"description": "A true sentence, in Accept-Language."})


class RecommendedItemSchema(Schema):
    """One item of the answer."""

    sku = fields.String(required=True)
    rank = fields.Integer(required=True, metadata={"description": "From 1."})
    index = fields.Integer(required=True, metadata={"description": "From 0."})
    score = fields.Float(required=True)
    source = fields.String(required=True, validate=validate.OneOf(_SOURCES))
    reason = fields.Nested(ReasonSchema, required=True)
    impression_id = fields.String(required=True)


class AssignmentSchema(Schema):
    """Which side of the hold-out the answer was on; no arm where nobody was enrolled, and why."""

    experiment = fields.String(required=True, allow_none=True)
    version = fields.Integer(required=True, allow_none=True)
    arm = fields.String(required=True, allow_none=True)
    is_holdout = fields.Boolean(required=True)
    reason = fields.String(
        required=True,
        validate=validate.OneOf(
            (
                "split",
                "override",
                "not_a_member",
                "not_assigned",
                "not_eligible",
                "held_out",
                "enrolment_ended",
                "no_experiment",
                "assignment_unavailable",
            )
        ),
    )


class NestedAssignmentSchema(Schema):
    """Which arm of an experiment nested in the treated side."""

    experiment = fields.String(required=True)
    version = fields.Integer(required=True)
    arm = fields.String(required=True)


class PolicyModelSchema(Schema):
    """The trained model behind a policy."""

    name = fields.String(required=True, allow_none=True)
    version = fields.String(required=True, allow_none=True)
    trained_through = fields.Date(required=True, allow_none=True)


class PolicySchema(Schema):
    """What decided the answer, and the fallback it needed."""

    name = fields.String(required=True)
    version = fields.String(required=True, allow_none=True)
    model = fields.Nested(PolicyModelSchema, required=True)
    fallback = fields.String(required=True, allow_none=True, validate=validate.OneOf(_FALLBACKS))
    refreshed_through = fields.DateTime(
        required=True,
        allow_none=True,
        metadata={
            "description": "Statistics made after the training took in every order up to then; null: the "
            "model's own were used."
        },
    )


class SurfaceSchema(Schema):
    """Where the answer is shown."""

    placement = fields.String(required=True)
    channel = fields.String(required=True)


class BaselineSchema(Schema):
    """What the hold-out does by itself, for the member's tier at assignment: the rate to beat."""

    repurchase_rate = fields.Float(required=True, allow_none=True)
    numerator = fields.Integer(required=True, allow_none=True)
    denominator = fields.Integer(required=True, allow_none=True)
    as_of = fields.Date(required=True, allow_none=True)


class OutcomeSchema(Schema):
    """What will be counted, between which moments, and from when on it can be judged."""

    metric = fields.String(required=True, validate=validate.OneOf(("repurchase",)))
    window_days = fields.Integer(required=True, allow_none=True)
    refund_grace_days = fields.Integer(required=True, allow_none=True)
    window_start = fields.DateTime(required=True, allow_none=True)
    window_end = fields.DateTime(required=True, allow_none=True)
    matures_at = fields.DateTime(required=True, allow_none=True)
    baseline = fields.Nested(BaselineSchema, required=True)


class ReportBackSchema(Schema):
    """What to send back with events, and where to."""

    echo = fields.List(fields.String(), required=True)
    url = fields.String(required=True)


class TraceSchema(Schema):
    """The caller's own trace."""

    traceparent = fields.String(required=True, allow_none=True)


class MeasurementSchema(Schema):
    """The block on every answer that could influence a purchase: one shape in both arms and for fallbacks."""

    schema_version = fields.Integer(required=True, validate=validate.OneOf((1,)))
    issued_at = fields.DateTime(required=True)
    attribution_token = fields.String(
        required=True, metadata={"pattern": r"^v1\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$"}
    )
    assignment = fields.Nested(AssignmentSchema, required=True)
    nested = fields.List(fields.Nested(NestedAssignmentSchema), required=True)
    policy = fields.Nested(PolicySchema, required=True)
    surface = fields.Nested(SurfaceSchema, required=True)
    outcome = fields.Nested(OutcomeSchema, required=True)
    report_back = fields.Nested(ReportBackSchema, required=True)
    trace = fields.Nested(TraceSchema, required=True)


class RecommendationsSchema(Schema):
    """Items to show, and what makes them accountable."""

    recommendation_id = fields.String(required=True, metadata={"pattern": "^rec_[0-9a-f]{32}$"})
    items = fields.List(fields.Nested(RecommendedItemSchema), required=True)
    measurement = fields.Nested(MeasurementSchema, required=True)
