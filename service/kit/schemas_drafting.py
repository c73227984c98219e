"""JSON in and out of what is drafted and published in versions; rooms add their own to it."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.kit.fields import QueryWhole, Reason, StrictSchema, Text, Whole
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT
from service.kit.versioned import STATES

_TIME = {"format": "date-time"}
_MAX_VERSION = 2**31 - 1


class DraftFields(StrictSchema):
    """A draft: what it is called among staff. What it says is the room's own `definition`."""

    title = Text(required=True, min_length=1, max_length=200)


class NewDraftFields(DraftFields):
    """A new draft: from a definition, or beginning as a copy of a version."""

    copy_of = Whole(least=1, most=_MAX_VERSION, metadata={"description": "A version to begin with."})

    @validates_schema
    def _one_of_both(self, data: dict[str, Any], **_: Any) -> None:
        if ("definition" in data) == ("copy_of" in data):
            raise ValidationError("give either definition or copy_of", "definition")


class PublishFields(StrictSchema):
    """When and why."""

    effective_from = Text(
        max_length=40,
        metadata={
            "anyOf": [{"format": "date"}, {"format": "date-time"}],
            "description": "A day to come, or its first moment in the programme's zone; default: now.",
        },
    )
    reason = Reason()


class WithdrawBody(StrictSchema):
    """Why."""

    reason = Reason()


class VersionsQuery(StrictSchema):
    """Which versions to list."""

    state = fields.String(validate=validate.OneOf(STATES))
    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = Text(max_length=500)


class DiffQuery(StrictSchema):
    """What to compare with."""

    against = QueryWhole(
        least=1, most=999_999_999, metadata={"description": "A version; default: the one in force."}
    )


class TextsSchema(Schema):
    """The same in every language."""

    en = fields.String(required=True)
    zh_hant = fields.String(required=True, data_key="zh-Hant")


class FindingSchema(Schema):
    """One thing found in a definition: an error stops publishing, a warning must be seen."""

    name = fields.String(required=True)
    severity = fields.String(required=True, validate=validate.OneOf(["error", "warning"]))
    pointers = fields.List(
        fields.String(), required=True, metadata={"description": "JSON pointers into the definition."}
    )
    text = fields.Nested(TextsSchema, required=True)


class VersionFields(Schema):
    """A version: its state, who wrote and published it, when and why."""

    version = fields.Integer(required=True)
    title = fields.String(required=True, allow_none=True)
    state = fields.String(required=True, validate=validate.OneOf([*STATES, "discarded"]))
    effective_from = fields.String(required=True, allow_none=True, metadata=_TIME)
    effective_to = fields.String(
        required=True,
        allow_none=True,
        metadata={**_TIME, "description": "When the next one comes into force, if that is known."},
    )
    created_at = fields.String(required=True, metadata=_TIME)
    created_by = fields.String(required=True, allow_none=True)
    updated_at = fields.String(required=True, allow_none=True, metadata=_TIME)
    published_at = fields.String(required=True, allow_none=True, metadata=_TIME)
    published_by = fields.String(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True)


class DiffFields(Schema):
    """What differs from one version to another."""

    from_version = fields.Integer(required=True)
    to_version = fields.Integer(required=True)


class ChangeFields(Schema):
    """One difference: from what to what, and in words."""

    from_ = fields.Raw(required=True, allow_none=True, data_key="from")
    to = fields.Raw(required=True, allow_none=True)
    text = fields.Nested(TextsSchema, required=True)
