"""JSON in and out of rule sets."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.kit.fields import Definition, QueryWhole, Reason, StrictBoolean, StrictSchema, Text, Whole
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT
from service.kit.versioned import STATES

_TIME = {"format": "date-time"}
_DAY = {"format": "date"}
_MAX_VERSION = 2**31 - 1
_DEFINITION = {
    "type": "object",
    "additionalProperties": True,
    "description": "A rule set as docs/tier-rulesets.md describes it: currency, window, tiers, downgrade.",
}


class DraftBody(StrictSchema):
    """A draft: what it is called among staff, and what it says."""

    title = Text(required=True, min_length=1, max_length=200)
    definition = Definition(required=True, metadata=_DEFINITION)


class NewDraftBody(StrictSchema):
    """A new draft: from a definition, or beginning as a copy of a version."""

    title = Text(required=True, min_length=1, max_length=200)
    definition = Definition(metadata=_DEFINITION)
    copy_of = Whole(least=1, most=_MAX_VERSION, metadata={"description": "A version to begin with."})

    @validates_schema
    def _one_of_both(self, data: dict[str, Any], **_: Any) -> None:
        if ("definition" in data) == ("copy_of" in data):
            raise ValidationError("give either definition or copy_of", "definition")


class PublishBody(StrictSchema):
    """When, why, and on which evidence."""

    effective_from = Text(
        max_length=40,
        metadata={
            "anyOf": [{"format": "date"}, {"format": "date-time"}],
            "description": "A day to come, or its first moment in the programme's zone; default: now.",
        },
    )
    reason = Reason()
    simulation_id = Text(
        max_length=100,
        metadata={"description": "Of this draft as it is, against the set it replaces, not a day old."},
    )
    confirm_demotions = StrictBoolean(
        load_default=False,
        metadata={"description": "Publish although more than 5 % of the members would be demoted."},
    )


class WithdrawBody(StrictSchema):
    """Why."""

    reason = Reason()


class RulesetsQuery(StrictSchema):
    """Which rule sets to list."""

    state = fields.String(validate=validate.OneOf(STATES))
    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = Text(max_length=500)


class DiffQuery(StrictSchema):
    """What to compare with."""

    against = QueryWhole(
        least=1, most=999_999_999, metadata={"description": "A version; default: the one in force."}
    )


class RulesetTextsSchema(Schema):
    """The same in every language."""

    en = fields.String(required=True)
    zh_hant = fields.String(required=True, data_key="zh-Hant")


class FindingSchema(Schema):
    """One thing found in a rule set: an error stops publishing, a warning must be seen."""

    name = fields.String(required=True)
    severity = fields.String(required=True, validate=validate.OneOf(["error", "warning"]))
    pointers = fields.List(
        fields.String(), required=True, metadata={"description": "JSON pointers into the definition."}
    )
    text = fields.Nested(RulesetTextsSchema, required=True)


class DemotedShareSchema(Schema):
    """Members who would end below the tier they hold, of all."""

    numerator = fields.Integer(required=True)
    denominator = fields.Integer(required=True)


class RulesetEvidenceSchema(Schema):
    """The simulation that a publisher looked at, or of a draft the latest one that is done."""

    simulation_id = fields.String(required=True)
    against = fields.Integer(required=True, metadata={"description": "The version it compares with."})
    as_of = fields.String(required=True, metadata=_DAY)
    finished_at = fields.String(required=True, allow_none=True, metadata=_TIME)
    of_this_definition = fields.Boolean(
        required=True, metadata={"description": "False when the draft has changed since."}
    )
    demoted_share = fields.Nested(DemotedShareSchema, required=True)


class RulesetSummarySchema(Schema):
    """A version of the ladder: its state, who wrote and published it, when and why."""

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
    simulation_id = fields.String(required=True, allow_none=True)


class RulesetsSchema(Schema):
    """A page of rule sets, the newest version first."""

    data = fields.List(fields.Nested(RulesetSummarySchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class RulesetSchema(RulesetSummarySchema):
    """A version with what it says, what was found in it, and its evidence."""

    definition = fields.Dict(required=True, metadata=_DEFINITION)
    definition_hash = fields.String(required=True, metadata={"description": "SHA-256, hexadecimal."})
    findings = fields.List(fields.Nested(FindingSchema), required=True)
    simulation = fields.Nested(RulesetEvidenceSchema, required=True, allow_none=True)


class RulesetExportSchema(Schema):
    """A definition alone: what POST /v1/tier-rulesets takes as `definition`."""

    currency = fields.String(required=True)
    window = fields.Dict(required=True)
    tiers = fields.List(fields.Dict(), required=True)
    downgrade = fields.Dict(required=True)
    review_cadence = fields.String()


class DiffTiersSchema(Schema):
    """The codes of tiers that came, went, were renamed or stand elsewhere."""

    added = fields.List(fields.String(), required=True)
    removed = fields.List(fields.String(), required=True)
    renamed = fields.List(fields.String(), required=True)
    moved = fields.List(fields.String(), required=True)


class RulesetChangeSchema(Schema):
    """One difference: where in both definitions, from what to what, and in words."""

    what = fields.String(required=True)
    tier = fields.String(required=True, allow_none=True, metadata={"description": "Its code."})
    from_pointer = fields.String(required=True, allow_none=True)
    to_pointer = fields.String(required=True, allow_none=True)
    from_ = fields.Raw(required=True, allow_none=True, data_key="from")
    to = fields.Raw(required=True, allow_none=True)
    text = fields.Nested(RulesetTextsSchema, required=True)


class RulesetDiffSchema(Schema):
    """What differs from one version to another."""

    from_version = fields.Integer(required=True)
    to_version = fields.Integer(required=True)
    tiers = fields.Nested(DiffTiersSchema, required=True)
    changes = fields.List(fields.Nested(RulesetChangeSchema), required=True)
