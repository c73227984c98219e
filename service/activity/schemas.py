"""JSON in and out of events."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.kit.fields import FreeForm, MerchantId, Moment, Money, StrictSchema, Text, Whole

TYPES = (
    "page_view",
    "search",
    "view_item",
    "add_to_cart",
    "checkout_started",
    "wishlist",
    "viewed",
    "clicked",
)


class EventBody(StrictSchema):
    """One thing that happened on the storefront."""

    event_id = MerchantId(required=True)
    type = fields.String(
        required=True,
        validate=validate.Regexp(
            rf"^({'|'.join(TYPES)}|custom:[a-z0-9_.-]{{1,64}})\Z",
            error=f"one of {', '.join(TYPES)}, or custom:name",
        ),
    )
    occurred_at = Moment(required=True)
    member_id = MerchantId(allow_none=True)
    anonymous_id = MerchantId(allow_none=True)
    session_id = MerchantId(allow_none=True)
    sku = MerchantId(allow_none=True)
    touchpoint = Text(max_length=200, allow_none=True)
    source = Text(max_length=200, allow_none=True)
    recommendation_id = MerchantId(allow_none=True)
    impression_id = MerchantId(allow_none=True)
    attribution_token = Text(max_length=1000, allow_none=True)
    dwell_seconds = Money(allow_none=True, metadata={"description": "Seconds, decimals allowed."})
    page_depth = Whole(least=0, most=32_000, allow_none=True)
    attributes = FreeForm(allow_none=True)

    @validates_schema
    def _somebody(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("member_id") is None and data.get("anonymous_id") is None:
            raise ValidationError("member_id or anonymous_id is needed", "member_id")


class EventsBody(StrictSchema):
    """Up to 1,000 events."""

    events = fields.List(fields.Nested(EventBody), required=True, validate=validate.Length(min=1, max=1000))


class EventVerdictSchema(Schema):
    """What became of one event."""

    event_id = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(("accepted", "duplicate", "rejected")))
    code = fields.String(required=True, allow_none=True)
    detail = fields.String(required=True, allow_none=True)
    points = fields.Integer(
        required=True,
        metadata={"description": "What it earned, now or when it was recorded; 0 for what earns nothing."},
    )


class EventVerdictsSchema(Schema):
    """One verdict per event, in the order given."""

    data = fields.List(fields.Nested(EventVerdictSchema), required=True)
    accepted = fields.Integer(required=True)
