"""JSON in and out of a shop's own tests: the arm to show, for one or for a crowd."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.experiments.operations import CROWD
from service.kit.fields import MerchantId, StrictSchema
from service.recommendations.schemas import MeasurementSchema, channel_field, placement_field


class ExposureBody(StrictSchema):
    """Who stands before a page; both ids when somebody logs in. The arm is drawn here, never given."""

    member_id = MerchantId(allow_none=True, load_default=None)
    anonymous_id = MerchantId(allow_none=True, load_default=None)
    placement = placement_field()
    channel = channel_field()

    @validates_schema
    def _somebody(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("member_id") is None and data.get("anonymous_id") is None:
            raise ValidationError("member_id or anonymous_id is needed", "member_id")


class ExposureSchema(Schema):
    """The arm to show; null where nobody was drawn, and why: then show what you would without a test."""

    recommendation_id = fields.String(required=True, metadata={"pattern": "^rec_[0-9a-f]{32}$"})
    experiment = fields.String(required=True)
    version = fields.Integer(required=True)
    arm = fields.String(required=True, allow_none=True)
    reason = fields.String(required=True)
    assigned_at = fields.DateTime(required=True, allow_none=True)
    measurement = fields.Nested(MeasurementSchema, required=True)


class CrowdBody(StrictSchema):
    """Who a message goes to; their arms are drawn here, never given."""

    member_ids = fields.List(
        MerchantId(),
        required=True,
        validate=validate.Length(min=1, max=CROWD),
        metadata={"description": "An id named twice is answered once."},
    )
    placement = placement_field()
    channel = channel_field()


class CrowdMemberSchema(ExposureSchema):
    """The arm of one of the members named."""

    member_id = fields.String(required=True)


class CrowdSchema(Schema):
    """One answer for each member, in the order named; without an arm: what goes out without a test."""

    data = fields.List(fields.Nested(CrowdMemberSchema), required=True)
