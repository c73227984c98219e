"""JSON in and out of earning rules."""

from __future__ import annotations

from marshmallow import Schema, fields

from service.kit.fields import Definition
from service.kit.schemas_drafting import (
    ChangeFields,
    DiffFields,
    DraftFields,
    FindingSchema,
    NewDraftFields,
    PublishFields,
    VersionFields,
)

_DEFINITION = {
    "type": "object",
    "additionalProperties": True,
    "description": "Earning rules as docs/earning-rules.md describes them.",
}


class EarningDraftBody(DraftFields):
    """A draft: what it is called among staff, and what it says."""

    definition = Definition(required=True, metadata=_DEFINITION)


class NewEarningDraftBody(NewDraftFields):
    """A new draft: from a definition, or beginning as a copy of a version."""

    definition = Definition(metadata=_DEFINITION)


class EarningPublishBody(PublishFields):
    """When and why."""


class EarningRulesSummarySchema(VersionFields):
    """A version of the earning rules: its state, who wrote and published it, when and why."""


class EarningRulesListSchema(Schema):
    """A page of versions, the newest first."""

    data = fields.List(fields.Nested(EarningRulesSummarySchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class EarningRulesSchema(EarningRulesSummarySchema):
    """A version with what it says and what was found in it."""

    definition = fields.Dict(required=True, metadata=_DEFINITION)
    findings = fields.List(fields.Nested(FindingSchema), required=True)


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


class EarningChangeSchema(ChangeFields):
    """One difference: where, from what to what, and in words."""

    pointer = fields.String(required=True)


class EarningDiffSchema(DiffFields):
    """What differs from one version to another."""

    changes = fields.List(fields.Nested(EarningChangeSchema), required=True)
