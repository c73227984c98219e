"""JSON in and out of earning rules."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.kit.fields import Definition, QueryWhole, Reason, StrictSchema, Text, Whole
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT
from service.kit.versioned import STATES

_TIME = {"format": "date-time"}
_DEFINITION = {
    "type": "object",
    "additionalProperties": True,
    "description": "Earning rules as docs/earning-rules.md describes them.",
}


class EarningDraftBody(StrictSchema):
    """A draft: what it is called among staff, and what it says."""

    title = Text(required=True, min_length=1, max_length=200)
    definition = Definition(required=True, metadata=_DEFINITION)


class NewEarningDraftBody(StrictSchema):
    """A new draft: from a definition, or beginning as a copy of a version."""

    title = Text(required=True, min_length=1, max_length=200)
    definition = Definition(metadata=_DEFINITION)
    copy_of = Whole(least=1, most=2**31 - 1, metadata={"description": "A version to begin with."})

    @validates_schema
    def _one_of_both(self, data: dict[str, Any], **_: Any) -> None:
        if ("definition" in data) == ("copy_of" in data):
            raise ValidationError("give either definition or copy_of", "definition")


class EarningPublishBody(StrictSchema):
    """When and why."""

    effective_from = Text(
        max_length=40,
        metadata={
            "anyOf": [{"format": "date"}, {"format": "date-time"}],
            "description": "A day to come, or its first moment in the programme's zone; default: now.",
        },
    )
    reason = Reason()


class EarningWithdrawBody(StrictSchema):
    """Why."""

    reason = Reason()


class EarningRulesQuery(StrictSchema):
    """Which versions to list."""

    state = fields.String(validate=validate.OneOf(STATES))
    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = Text(max_length=500)


class EarningDiffQuery(StrictSchema):
    """What to compare with."""

    against = QueryWhole(
        least=1, most=999_999_999, metadata={"description": "A version; default: the one in force."}
    )


class EarningTextsSchema(Schema):
    """The same in every language."""

    en = fields.String(required=True)
    zh_hant = fields.String(required=True, data_key="zh-Hant")


class EarningFindingSchema(Schema):
    """One thing found in earning rules: an error stops publishing, a warning must be seen."""

    name = fields.String(required=True)
    severity = fields.String(required=True, validate=validate.OneOf(["error", "warning"]))
    pointers = fields.List(
        fields.String(), required=True, metadata={"description": "JSON pointers into the definition."}
    )
    text = fields.Nested(EarningTextsSchema, required=True)


class EarningRulesSummarySchema(Schema):
    """A version of the earning rules: its state, who wrote and published it, when and why."""

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


class EarningRulesListSchema(Schema):
    """A page of versions, the newest first."""

    data = fields.List(fields.Nested(EarningRulesSummarySchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class EarningRulesSchema(EarningRulesSummarySchema):
    """A version with what it says and what was found in it."""

    definition = fields.Dict(required=True, metadata=_DEFINITION)
    findings = fields.List(fields.Nested(EarningFindingSchema), required=True)


class EarningExportSchema(Schema):
    """A definition alone: what POST /v1/earning-rules takes as `definition`."""

    currency = fields.String(required=True)
    base = fields.Dict()
    tiers = fields.Dict()
    counts = fields.Dict()
    include_ = fields.Dict(data_key="include")
    exclude_ = fields.Dict(data_key="exclude")
    rates = fields.List(fields.Dict())
    minimum_order = fields.Raw()
    caps = fields.Dict()
    events = fields.List(fields.Dict())


class EarningChangeSchema(Schema):
    """One difference: where, from what to what, and in words."""

    pointer = fields.String(required=True)
    from_ = fields.Raw(required=True, allow_none=True, data_key="from")
    to = fields.Raw(required=True, allow_none=True)
    text = fields.Nested(EarningTextsSchema, required=True)


class EarningDiffSchema(Schema):
    """What differs from one version to another."""

    from_version = fields.Integer(required=True)
    to_version = fields.Integer(required=True)
    changes = fields.List(fields.Nested(EarningChangeSchema), required=True)
