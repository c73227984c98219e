"""JSON in and out of rule sets."""

from __future__ import annotations

from marshmallow import Schema, fields

from service.kit.fields import Definition, StrictBoolean, Text
from service.kit.schemas_drafting import (
    ChangeFields,
    DiffFields,
    DraftFields,
    FindingSchema,
    NewDraftFields,
    PublishFields,
    VersionFields,
)

_TIME = {"format": "date-time"}
_DAY = {"format": "date"}
_DEFINITION = {
    "type": "object",
    "additionalProperties": True,
    "description": "A rule set as docs/tier-rulesets.md describes it: currency, window, tiers, downgrade.",
}


class DraftBody(DraftFields):
    """A draft: what it is called among staff, and what it says."""

    definition = Definition(required=True, metadata=_DEFINITION)


class NewDraftBody(NewDraftFields):
    """A new draft: from a definition, or beginning as a copy of a version."""

    definition = Definition(metadata=_DEFINITION)


class PublishBody(PublishFields):
    """When, why, and on which evidence."""

    simulation_id = Text(
        max_length=100,
        metadata={"description": "Of this draft as it is, against the set it replaces, not a day old."},
    )
    confirm_demotions = StrictBoolean(
        load_default=False,
        metadata={"description": "Publish although more than 5 % of the members would be demoted."},
    )


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


class RulesetSummarySchema(VersionFields):
    """A version of the ladder: its state, who wrote and published it, when and why."""

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


class RulesetChangeSchema(ChangeFields):
    """One difference: where in both definitions, from what to what, and in words."""

    what = fields.String(required=True)
    tier = fields.String(required=True, allow_none=True, metadata={"description": "Its code."})
    from_pointer = fields.String(required=True, allow_none=True)
    to_pointer = fields.String(required=True, allow_none=True)


class RulesetDiffSchema(DiffFields):
    """What differs from one version to another."""

    tiers = fields.Nested(DiffTiersSchema, required=True)
    changes = fields.List(fields.Nested(RulesetChangeSchema), required=True)
