"""JSON in and out of movement."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from service.kit.fields import Day, QueryWhole, StrictSchema, TableQuery, Text, Whole
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT
from service.tiers.movement.forecast import LONGEST_DAYS, NIGHTLY_DAYS
from service.tiers.schemas import NeedSchema

_DAY = {"format": "date"}
_TIME = {"format": "date-time"}
_WAYS = ("stayed", "up", "down", "joined", "left")
_BASIS = {
    "description": "By when each move took effect as known today, or by when it came on record, whatever was "
    "corrected since."
}


def _basis() -> fields.String:
    return fields.String(
        load_default="effective", validate=validate.OneOf(["effective", "believed"]), metadata=_BASIS
    )


class MovementsQuery(TableQuery):
    """Which movement to tell of."""

    from_ = Day(required=True, data_key="from", metadata={"description": "Its start, inclusive."})
    to = Day(required=True, metadata={"description": "Its start, exclusive; tomorrow at the latest."})
    view = fields.String(
        load_default="cohort",
        validate=validate.OneOf(["cohort", "event"]),
        metadata={"description": "Members between two snapshots, or every move in between. They differ."},
    )
    by = fields.String(
        validate=validate.OneOf(["cause", "cohort", "store"]),
        metadata={
            "description": "Split by cause (of the last move, in the cohort view), by the month of joining, "
            "or by the member's store."
        },
    )
    basis = _basis()


class DistributionQuery(TableQuery):
    """Which moments to tell of: `as_of`, or `from` and `to`."""

    as_of = Text(
        max_length=40,
        metadata={
            "anyOf": [{"format": "date"}, {"format": "date-time"}],
            "description": "A day (its end) or an RFC 3339 time, not in the future; default: now.",
        },
    )
    from_ = Day(data_key="from", metadata={"description": "The first day; its start is told."})
    to = Day(metadata={"description": "The last day, today at the latest; its start is told."})
    step = fields.String(validate=validate.OneOf(["day", "week", "month"]))
    basis = _basis()


class ForecastQuery(TableQuery):
    """How far to look ahead."""

    days = QueryWhole(least=1, most=LONGEST_DAYS, load_default=NIGHTLY_DAYS)


class ForecastBody(StrictSchema):
    """How far to look ahead."""

    days = Whole(least=1, most=LONGEST_DAYS, load_default=NIGHTLY_DAYS)


class AtRiskQuery(TableQuery):
    """Whom to list."""

    tier = Text(min_length=1, max_length=32)
    within_days = QueryWhole(least=0, most=731, metadata={"description": "Only who falls by then."})
    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = Text(max_length=500)


class ShareSchema(Schema):
    """A part of a whole; `value` is a decimal string, null of nothing."""

    numerator = fields.Integer(required=True)
    denominator = fields.Integer(required=True)
    value = fields.String(required=True, allow_none=True)


class LadderTierSchema(Schema):
    """A tier that was in force."""

    tier = fields.String(required=True)
    name = fields.String(required=True)


class FlowSchema(Schema):
    """How many went from one tier to another; null is outside the programme.

    The share is of all that went from the same tier.
    """

    from_ = fields.String(required=True, allow_none=True, data_key="from")
    to = fields.String(required=True, allow_none=True)
    direction = fields.String(required=True, validate=validate.OneOf(_WAYS))
    count = fields.Integer(required=True)
    share = fields.Nested(ShareSchema, required=True)


class MembersSumSchema(Schema):
    """opening + joined − left = closing."""

    opening = fields.Integer(required=True)
    joined = fields.Integer(required=True)
    left = fields.Integer(required=True)
    closing = fields.Integer(required=True)
    difference = fields.Integer(required=True, metadata={"description": "What does not add up: zero."})


class TierTotalSchema(Schema):
    """opening + joined + rose_in + fell_in − rose_out − fell_out − left = closing."""

    tier = fields.String(required=True)
    opening = fields.Integer(required=True)
    joined = fields.Integer(required=True)
    rose_in = fields.Integer(required=True)
    fell_in = fields.Integer(required=True)
    rose_out = fields.Integer(required=True)
    fell_out = fields.Integer(required=True)
    left = fields.Integer(required=True)
    closing = fields.Integer(required=True)
    difference = fields.Integer(required=True, metadata={"description": "What does not add up: zero."})


class MovementRatesSchema(Schema):
    """How many rose, fell, and were lost: fell from above the base tier to it, or left.

    Cohort view: of the members of the opening (lost: of those above the base tier). Event view: of the stays
    that ran in the period.
    """

    upgrade = fields.Nested(ShareSchema, required=True)
    downgrade = fields.Nested(ShareSchema, required=True)
    churn = fields.Nested(ShareSchema, required=True)


class TierRatesSchema(MovementRatesSchema):
    """The same of one tier."""

    tier = fields.String(required=True)


class MovementPartSchema(Schema):
    """One group's movement; totals and rates are null where the group is none of members."""

    members = fields.Nested(MembersSumSchema, required=True, allow_none=True)
    matrix = fields.List(fields.Nested(FlowSchema), required=True)
    totals = fields.List(fields.Nested(TierTotalSchema), required=True, allow_none=True)
    rates = fields.Nested(MovementRatesSchema, required=True, allow_none=True)
    rates_by_tier = fields.List(fields.Nested(TierRatesSchema), required=True)


class MovementGroupSchema(MovementPartSchema):
    """One group: a cause, a month of joining, a store; null has none."""

    group = fields.String(required=True, allow_none=True)


class WaitSchema(Schema):
    """A day by which `share_risen` had risen, and how many were still at risk of it on that day."""

    days = fields.Integer(required=True)
    at_risk = fields.Integer(required=True)
    risen = fields.Integer(required=True)
    share_risen = fields.String(required=True)


class DaysToUpgradeSchema(Schema):
    """Days until the stays begun in the period ended in a rise (Kaplan–Meier); null where never seen.

    Stays that ended otherwise, or not by `to`, are censored.
    """

    tier = fields.String(required=True)
    stays = fields.Integer(required=True)
    risen = fields.Integer(required=True)
    censored = fields.Integer(required=True)
    lower_quartile = fields.Nested(WaitSchema, required=True, allow_none=True)
    median = fields.Nested(WaitSchema, required=True, allow_none=True)
    upper_quartile = fields.Nested(WaitSchema, required=True, allow_none=True)
    curve = fields.List(fields.Nested(WaitSchema), required=True)


class SankeyNodeSchema(Schema):
    """A tier on one side of the diagram; null is outside the programme."""

    side = fields.String(required=True, validate=validate.OneOf(["from", "to"]))
    tier = fields.String(required=True, allow_none=True)
    label = fields.String(required=True)


class SankeyLinkSchema(Schema):
    """A flow between the nodes at two places."""

    source = fields.Integer(required=True)
    target = fields.Integer(required=True)
    value = fields.Integer(required=True)


class SankeySchema(Schema):
    """The matrix as a Sankey diagram takes it."""

    nodes = fields.List(fields.Nested(SankeyNodeSchema), required=True)
    links = fields.List(fields.Nested(SankeyLinkSchema), required=True)


class MovementsSchema(MovementPartSchema):
    """How members moved between the starts of two days."""

    from_ = fields.String(required=True, data_key="from", metadata=_DAY)
    to = fields.String(required=True, metadata=_DAY)
    view = fields.String(required=True)
    basis = fields.String(required=True)
    by = fields.String(required=True, allow_none=True)
    as_of = fields.String(required=True, metadata=_TIME)
    tiers = fields.List(fields.Nested(LadderTierSchema), required=True)
    joined_and_left = fields.Integer(
        required=True,
        metadata={"description": "Who came and went in between: the cohort view sees none of them."},
    )
    groups = fields.List(fields.Nested(MovementGroupSchema), required=True, allow_none=True)
    days_to_upgrade = fields.List(fields.Nested(DaysToUpgradeSchema), required=True)
    sankey = fields.Nested(SankeySchema, required=True)


class TierHoldersSchema(Schema):
    """How many hold a tier."""

    tier = fields.String(required=True)
    members = fields.Integer(required=True)
    share = fields.Nested(ShareSchema, required=True)


class DistributionPointSchema(Schema):
    """Who held what just before a moment."""

    at = fields.String(required=True, metadata=_TIME)
    members = fields.Integer(required=True)
    tiers = fields.List(fields.Nested(TierHoldersSchema), required=True)


class DistributionSchema(Schema):
    """How members are spread over the tiers, at one moment or at several."""

    basis = fields.String(required=True)
    tiers = fields.List(fields.Nested(LadderTierSchema), required=True)
    points = fields.List(fields.Nested(DistributionPointSchema), required=True)


class ForecastMoveSchema(Schema):
    """Moves of one day."""

    on = fields.String(required=True, metadata=_DAY)
    from_ = fields.String(required=True, data_key="from")
    to = fields.String(required=True)
    direction = fields.String(required=True, validate=validate.OneOf(["up", "down"]))
    cause = fields.String(required=True)
    members = fields.Integer(required=True)


class ForecastSchema(Schema):
    """Who moves when if nothing more is bought, after day `as_of` up to day `until`."""

    as_of = fields.String(required=True, metadata=_DAY)
    until = fields.String(required=True, metadata=_DAY)
    computed_at = fields.String(required=True, metadata=_TIME)
    falls = fields.Integer(required=True)
    rises = fields.Integer(required=True)
    moves = fields.List(fields.Nested(ForecastMoveSchema), required=True)


class ForecastAskedSchema(Schema):
    """A forecast that is being made, or was made already today."""

    report_id = fields.String(required=True)
    days = fields.Integer(required=True)
    as_of = fields.String(required=True, metadata=_DAY)
    state = fields.String(required=True, validate=validate.OneOf(["queued", "running", "done", "failed"]))


class AtRiskMemberSchema(Schema):
    """A member whose grace is running."""

    member_id = fields.String(required=True)
    tier = fields.String(required=True)
    since = fields.String(required=True, metadata=_TIME)
    at_risk_since = fields.String(required=True, metadata=_DAY)
    falls_on = fields.String(required=True, metadata=_DAY)
    to_stay = fields.List(fields.Nested(NeedSchema), required=True)


class AtRiskSchema(Schema):
    """A page of members at risk, who lost their footing longest ago first."""

    data = fields.List(fields.Nested(AtRiskMemberSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
