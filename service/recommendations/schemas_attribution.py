"""JSON of attribution: from an order or a redemption back to rule set, model and arm."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from service.recommendations.schemas import NestedAssignmentSchema, SurfaceSchema


class CreditedModelSchema(Schema):
    """The model behind an answer."""

    version = fields.String(required=True)
    content_hash = fields.String(required=True, allow_none=True)
    trained_through = fields.Date(required=True, allow_none=True)


class CreditedAnswerSchema(Schema):
    """What was shown and what decided it: arm, policy, model and the rule set of then."""

    issued_at = fields.DateTime(required=True)
    surface = fields.Nested(SurfaceSchema, required=True)
    experiment = fields.String(required=True, allow_none=True)
    version = fields.Integer(required=True, allow_none=True)
    arm = fields.String(required=True, allow_none=True)
    nested = fields.List(fields.Nested(NestedAssignmentSchema), required=True)
    policy = fields.String(required=True)
    fallback = fields.String(required=True, allow_none=True)
    model = fields.Nested(CreditedModelSchema, required=True, allow_none=True)
    tier = fields.String(required=True, allow_none=True)
    ruleset_version = fields.Integer(required=True, allow_none=True)


class ClaimSchema(Schema):
    """One answer that an order or a redemption names; what does not hold is told, and never counted."""

    source = fields.String(
        required=True, validate=validate.OneOf(("recommendation_ids", "attribution_token"))
    )
    recommendation_id = fields.String(required=True, allow_none=True)
    status = fields.String(required=True, validate=validate.OneOf(("attributed", "unattributable")))
    reason = fields.String(required=True, allow_none=True)
    answer = fields.Nested(CreditedAnswerSchema, required=True, allow_none=True)


class OrderAttributionSchema(Schema):
    """From an order back to rule set, model and arm."""

    order_id = fields.String(required=True)
    member_id = fields.String(required=True)
    placed_at = fields.DateTime(required=True)
    ruleset_version = fields.Integer(
        required=True, allow_none=True, metadata={"description": "The rule set it was rated by."}
    )
    claims = fields.List(fields.Nested(ClaimSchema), required=True)


class RedemptionAttributionSchema(Schema):
    """From a redemption back to rule set, model and arm."""

    redemption_id = fields.String(required=True)
    reward = fields.String(required=True)
    member_id = fields.String(required=True)
    issued_at = fields.DateTime(required=True)
    claims = fields.List(fields.Nested(ClaimSchema), required=True)
