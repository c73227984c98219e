"""JSON in and out of a member's rewards in order."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from service.kit.fields import QueryWhole, StrictSchema, Text
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT
from service.recommendations.rewards.rules import SOURCES
from service.recommendations.schemas import MeasurementSchema, ReasonSchema
from service.rewards.schemas import MemberRewardSchema


class MemberRewardsQuery(StrictSchema):
    """Where they are shown, and which page."""

    placement = Text(
        max_length=64,
        min_length=1,
        load_default="rewards",
        metadata={"description": "Where the answer is shown, in the shop's own words."},
    )
    channel = fields.String(
        load_default="web", validate=validate.OneOf(("web", "app", "email", "store", "other"))
    )
    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = Text(max_length=500)


class RankedRewardSchema(Schema):
    """The place of one reward, why it is there, and what to report when it was seen."""

    reward = fields.String(required=True, metadata={"description": "Its code."})
    rank = fields.Integer(required=True, metadata={"description": "From 1, going on over pages."})
    index = fields.Integer(required=True, metadata={"description": "From 0: its place in `data`."})
    score = fields.Float(required=True)
    source = fields.String(required=True, validate=validate.OneOf(SOURCES))
    reason = fields.Nested(ReasonSchema, required=True)
    impression_id = fields.String(required=True)


class MemberRewardsSchema(Schema):
    """A page of rewards in order, as a member sees them, and what makes the answer accountable."""

    recommendation_id = fields.String(required=True, metadata={"pattern": "^rec_[0-9a-f]{32}$"})
    data = fields.List(fields.Nested(MemberRewardSchema), required=True)
    items = fields.List(fields.Nested(RankedRewardSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
    measurement = fields.Nested(MeasurementSchema, required=True)
