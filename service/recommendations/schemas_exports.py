"""JSON in and out of exports for mailings."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from service.kit.fields import QueryWhole, StrictSchema, Text
from service.recommendations.operations import DEFAULT_LIMIT, MAX_LIMIT
from service.recommendations.schemas import CHANNELS, RecommendationsSchema


class ExportRequestSchema(StrictSchema):
    """What to compute, and for whom."""

    placement = Text(max_length=64, min_length=1, load_default="mailing")
    channel = fields.String(load_default="email", validate=validate.OneOf(CHANNELS))
    limit = fields.Integer(
        strict=True, load_default=DEFAULT_LIMIT, validate=validate.Range(min=1, max=MAX_LIMIT)
    )
    segment = Text(
        max_length=64,
        min_length=1,
        load_default=None,
        allow_none=True,
        metadata={"description": "The code of a tier: its members alone. Left out: everybody."},
    )


class ExportSchema(Schema):
    """An export and how far it is."""

    export_id = fields.String(required=True, metadata={"pattern": "^rexp_[0-9a-f]{32}$"})
    state = fields.String(
        required=True, validate=validate.OneOf(("queued", "running", "done", "cancelled", "failed"))
    )
    placement = fields.String(required=True)
    channel = fields.String(required=True)
    limit = fields.Integer(required=True)
    segment = fields.String(required=True, allow_none=True)
    requested_by = fields.String(required=True)
    requested_at = fields.DateTime(required=True)
    finished_at = fields.DateTime(required=True, allow_none=True)
    members = fields.Integer(required=True, metadata={"description": "Lines so far."})
    without_consent = fields.Integer(
        required=True, metadata={"description": "Passed over: they did not agree to be written to."}
    )
    failure = fields.String(required=True, allow_none=True)


class ExportsQuery(StrictSchema):
    """A page of exports."""

    limit = QueryWhole(least=1, most=500, load_default=50)
    cursor = Text()


class ExportsSchema(Schema):
    """A page of exports, the latest first."""

    data = fields.List(fields.Nested(ExportSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class ExportLineSchema(RecommendationsSchema):
    """One line: a member and the answer for them."""

    member_id = fields.String(required=True)
