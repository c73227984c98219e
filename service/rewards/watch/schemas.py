"""JSON in and out of the review queue."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from service.kit.fields import QueryWhole, StrictSchema, Text
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT

KINDS = ("many_redemptions", "refund_after_redeem", "many_adjustments")


class ReviewQueueQuery(StrictSchema):
    """Which entries to list."""

    state = fields.String(validate=validate.OneOf(("open", "resolved")), load_default="open")
    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = Text(max_length=500)


class ResolutionBody(StrictSchema):
    """What came of looking at it."""

    note = Text(max_length=2000, min_length=1, required=True)


class ReviewEntrySchema(Schema):
    """One unusual pattern: about a member, or about an actor."""

    entry_id = fields.String(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    member_id = fields.String(required=True, allow_none=True)
    actor = fields.String(required=True, allow_none=True)
    figures = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    found_at = fields.String(required=True)
    state = fields.String(required=True, validate=validate.OneOf(("open", "resolved")))
    resolved_at = fields.String(required=True, allow_none=True)
    resolved_by = fields.String(required=True, allow_none=True)
    note = fields.String(required=True, allow_none=True)


class ReviewQueueSchema(Schema):
    """A page of the queue, the newest first."""

    data = fields.List(fields.Nested(ReviewEntrySchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
