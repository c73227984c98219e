"""JSON of a decision record: how an answer came about."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from service.recommendations.schemas import AssignmentSchema, SurfaceSchema


class DecidedAssignmentSchema(AssignmentSchema):
    """The draw behind the arm."""

    class Meta:
        exclude = ("is_holdout",)

    bucket = fields.Integer(required=True, allow_none=True)
    salt_id = fields.String(required=True, allow_none=True)
    arm_probability = fields.Float(required=True, allow_none=True)


class DecidedPolicySchema(Schema):
    """What decided the answer."""

    name = fields.String(required=True)
    model_version = fields.String(required=True, allow_none=True)
    fallback = fields.String(required=True, allow_none=True)


class CandidatesSchema(Schema):
    """What was in the running."""

    count = fields.Integer(required=True)
    hash = fields.String(required=True, allow_none=True)


class PropensitySchema(Schema):
    """How likely what was shown was to be shown; a deterministic ranker has none, and none is invented.

    Of a list with an explored place it is that of the item there.
    """

    kind = fields.String(required=True, validate=validate.OneOf(("deterministic", "exploration")))
    value = fields.Float(required=True, allow_none=True)


class ExploredCandidateSchema(Schema):
    """One of those a lot was cast among, and how likely it was to be shown."""

    sku = fields.String(required=True, allow_none=True)
    propensity = fields.Float(required=True)


class ExploredPlaceSchema(Schema):
    """The place that a lot decided; propensities of the candidates sum to one."""

    position = fields.Integer(required=True, metadata={"description": "A rank, from 1."})
    share_bp = fields.Integer(required=True)
    candidates = fields.List(fields.Nested(ExploredCandidateSchema), required=True)
    steered_by = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "The items on the page and in the basket that the list was made for."},
    )


class ContextSchema(Schema):
    """What was known of the member then."""

    tier = fields.String(required=True, allow_none=True)
    days_since_last_order = fields.Integer(required=True, allow_none=True)
    purchases_read = fields.Integer(required=True)
    looks_read = fields.Integer(required=True)


class DecidedRequestSchema(Schema):
    """What was asked for."""

    limit = fields.Integer(required=True)
    mode = fields.String(required=True)
    category = fields.String(required=True, allow_none=True)
    context_sku = fields.String(required=True, allow_none=True)
    excluded = fields.Integer(required=True)


class ScorePartsSchema(Schema):
    """What a reward's score was made of, each from 0 to 1 (docs/rewards.md)."""

    affordability = fields.Float(required=True)
    likeness = fields.Float(required=True)
    expiry = fields.Float(required=True)
    value = fields.Float(required=True)


class DecidedItemSchema(Schema):
    """One item or reward as it was sent."""

    sku = fields.String(required=True, allow_none=True)
    reward = fields.String(required=True, allow_none=True)
    rank = fields.Integer(required=True)
    score = fields.Float(required=True)
    source = fields.String(required=True)
    reason_code = fields.String(required=True)
    parts = fields.Nested(
        ScorePartsSchema,
        required=True,
        allow_none=True,
        metadata={"description": "Of a ranked reward; null of items, and in the plain order."},
    )


class DecisionSchema(Schema):
    """The decision record of one answer."""

    recommendation_id = fields.String(required=True)
    issued_at = fields.DateTime(required=True)
    member_id = fields.String(required=True, allow_none=True)
    assignment = fields.Nested(DecidedAssignmentSchema, required=True)
    policy = fields.Nested(DecidedPolicySchema, required=True)
    surface = fields.Nested(SurfaceSchema, required=True)
    window_end = fields.DateTime(required=True, allow_none=True)
    candidates = fields.Nested(CandidatesSchema, required=True)
    propensity = fields.Nested(PropensitySchema, required=True)
    context = fields.Nested(ContextSchema, required=True)
    request = fields.Nested(DecidedRequestSchema, required=True)
    seed = fields.Integer(required=True, allow_none=True)
    config_hash = fields.String(required=True, allow_none=True)
    exploration = fields.Nested(ExploredPlaceSchema, required=True, allow_none=True)
    statistics_version = fields.Integer(required=True, allow_none=True)
    items = fields.List(fields.Nested(DecidedItemSchema), required=True)
