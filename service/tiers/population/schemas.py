"""JSON in and out of simulations."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from service.kit.fields import Day, QueryWhole, StrictSchema, Text, Whole
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT
from service.kit.schemas_drafting import TextsSchema
from service.tiers.schemas import MetricsSchema, NeedSchema

_DAY = {"format": "date"}
_TIME = {"format": "date-time"}
_CODE = {"description": "A tier's code."}


class SimulationBody(StrictSchema):
    """What to simulate."""

    as_of = Day(metadata={"description": "As of the end of this day, not in the future; default: today."})
    against = Whole(
        least=1,
        most=2**31 - 1,
        metadata={
            "description": "Compare with where everybody would settle under this version; default: with the "
            "tiers held under the set in force."
        },
    )


class SimulationsQuery(StrictSchema):
    """Which simulations to list."""

    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = Text(max_length=500)


class CellSchema(Schema):
    """How many members go from one tier to another; those who stay too."""

    from_ = fields.String(required=True, data_key="from", metadata=_CODE)
    to = fields.String(required=True, metadata=_CODE)
    members = fields.Integer(required=True)


class MovedSchema(Schema):
    """How many members move, by direction."""

    up = fields.Integer(required=True)
    down = fields.Integer(required=True)


class SimulatedShareSchema(Schema):
    """A share with what it was made from; `share` is rounded to four decimals, null of nobody."""

    numerator = fields.Integer(required=True)
    denominator = fields.Integer(required=True)
    share = fields.String(required=True, allow_none=True)


class CohortSchema(MovedSchema):
    """The members who joined in one month of the programme's zone."""

    cohort = fields.String(required=True, metadata={"description": "Month of joining, such as 2026-11."})
    members = fields.Integer(required=True)
    demoted = fields.Integer(required=True)


class StoreMoversSchema(MovedSchema):
    """The members of one store, null of none."""

    store_id = fields.String(required=True, allow_none=True)
    members = fields.Integer(required=True)
    demoted = fields.Integer(required=True)


class CostSchema(Schema):
    """What the multipliers would have added to the awards of the 365 days up to `as_of`.

    Each award anew from its recorded rule, at the multiplier of the tier where its member settles, less the
    same at the multiplier of the tier where the member is; what refunds took back is left out. Nobody is
    taken to buy more or less because of the change. Where many members are concerned, some thousand drawn
    from them speak for the rest.
    """

    points = fields.Integer(required=True)
    amount = fields.String(required=True, metadata={"description": "At the present value of a point."})
    currency = fields.String(required=True)
    margin_points = fields.Integer(
        required=True,
        metadata={
            "description": "19 times in 20 the true figure is no farther off; 0 where all were counted."
        },
    )
    members = fields.Integer(required=True, metadata={"description": "Whose multiplier changes."})
    members_counted = fields.Integer(required=True, metadata={"description": "Whose awards were read."})


class SampledMemberSchema(Schema):
    """One member who moves: the needs met of the tier reached, or those of the tier that is lost."""

    member_id = fields.String(required=True, allow_none=True)
    held = fields.String(required=True, metadata=_CODE)
    tier_is_gone = fields.Boolean(required=True, metadata={"description": "The draft has no such tier."})
    metrics = fields.Nested(MetricsSchema, required=True)
    needs = fields.List(fields.Nested(NeedSchema), required=True)
    reason = fields.Nested(
        TextsSchema, required=True, allow_none=True, metadata={"description": "The needs in words."}
    )


class SampleSchema(Schema):
    """A few members of one movement."""

    from_ = fields.String(required=True, data_key="from", metadata=_CODE)
    to = fields.String(required=True, metadata=_CODE)
    members = fields.List(fields.Nested(SampledMemberSchema), required=True)


class EvidenceSchema(Schema):
    """What the result rests on."""

    definition_hash = fields.String(required=True)
    as_of = fields.String(required=True, metadata=_DAY)
    in_force_version = fields.Integer(required=True)
    took_seconds = fields.Float(required=True)


class SimulationResultSchema(Schema):
    """Where everybody settles once hold and grace are over and nothing more was bought.

    `demoted` counts those who settle below the tier they hold, `demoted_anyway` those of them whom the rules
    in force would let fall too.
    """

    members = fields.Integer(required=True)
    pinned = fields.Integer(required=True, metadata={"description": "Held by an override: they stay."})
    matrix = fields.List(fields.Nested(CellSchema), required=True)
    moved = fields.Nested(MovedSchema, required=True)
    demoted = fields.Integer(required=True)
    demoted_share = fields.Nested(SimulatedShareSchema, required=True)
    demoted_anyway = fields.Integer(required=True)
    by_cohort = fields.List(fields.Nested(CohortSchema), required=True)
    by_store = fields.List(fields.Nested(StoreMoversSchema), required=True)
    points_cost_change = fields.Nested(CostSchema, required=True)
    samples = fields.List(fields.Nested(SampleSchema), required=True)
    evidence = fields.Nested(EvidenceSchema, required=True)


class SimulationSchema(Schema):
    """A simulation: what was asked, how far it is, and what came of it."""

    simulation_id = fields.String(required=True)
    version = fields.Integer(required=True)
    against = fields.Integer(required=True, metadata={"description": "The version compared with."})
    as_of = fields.String(required=True, metadata=_DAY)
    state = fields.String(
        required=True, validate=validate.OneOf(["queued", "running", "done", "cancelled", "failed"])
    )
    definition_hash = fields.String(
        required=True, metadata={"description": "SHA-256 of the definition that was tried."}
    )
    requested_by = fields.String(required=True)
    requested_at = fields.String(required=True, metadata=_TIME)
    started_at = fields.String(required=True, allow_none=True, metadata=_TIME)
    finished_at = fields.String(required=True, allow_none=True, metadata=_TIME)
    members_done = fields.Integer(required=True)
    members_total = fields.Integer(required=True, allow_none=True)
    result = fields.Nested(
        SimulationResultSchema,
        required=True,
        allow_none=True,
        metadata={"description": "Null until it is done, and in lists."},
    )
    failure = fields.String(required=True, allow_none=True)


class SimulationsSchema(Schema):
    """A page of simulations, the latest first."""

    data = fields.List(fields.Nested(SimulationSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
