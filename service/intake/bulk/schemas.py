"""JSON in and out of imports."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from service.intake.bulk.operations import OWN_KINDS
from service.kit.fields import QueryWhole, StrictSchema, Text
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT


class ImportQuery(StrictSchema):
    """What an uploaded file holds."""

    kind = fields.String(required=True, validate=validate.OneOf(OWN_KINDS))
    source = Text(
        min_length=1,
        max_length=200,
        load_default="upload",
        metadata={"description": "What to call it in lists, such as the file's name."},
    )


class ImportPageQuery(StrictSchema):
    """Where to go on, and how far."""

    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = Text()


class ImportProgressSchema(Schema):
    """How far the stage is: bytes of a file while loading, members while their tiers and points are made."""

    stage = fields.String(required=True)
    done = fields.Integer(required=True)
    total = fields.Integer(required=True, allow_none=True)


class ImportSchema(Schema):
    """An import: how far it is, and what it has done so far."""

    import_id = fields.String(required=True)
    kind = fields.String(required=True)
    source = fields.String(required=True)
    status = fields.String(
        required=True,
        validate=validate.OneOf(("staging", "loading", "rating", "done", "failed", "cancelled")),
        metadata={"description": "`staging`: waiting for the worker."},
    )
    progress = fields.Nested(ImportProgressSchema, required=True, allow_none=True)
    lines_read = fields.Integer(required=True)
    records_new = fields.Integer(required=True)
    records_known = fields.Integer(required=True)
    lines_rejected = fields.Integer(required=True)
    records_parked = fields.Integer(
        required=True, metadata={"description": "Refunds that wait for their order."}
    )
    started_at = fields.String(required=True)
    finished_at = fields.String(required=True, allow_none=True)
    cancel_requested_at = fields.String(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)


class ImportPageSchema(Schema):
    """A page of imports, the latest first."""

    data = fields.List(fields.Nested(ImportSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class RejectSchema(Schema):
    """A refused line."""

    line = fields.Integer(required=True, metadata={"description": "Counted from 1, a CSV's header included."})
    code = fields.String(required=True)
    detail = fields.String(required=True)


class RejectPageSchema(Schema):
    """A page of refused lines, by number."""

    data = fields.List(fields.Nested(RejectSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
