"""JSON in and out of the experiments."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from service.experiments.rules import (
    ANCHORS,
    BUCKETS,
    POLICIES,
    REFUND_GRACE_DAYS,
    REPURCHASE_WINDOW_DAYS,
    STATUSES,
    SURFACES,
)
from service.experiments.uplift import COMPARISONS, GUARDRAILS, LEFT_OUT, METRICS
from service.kit.fields import (
    MerchantId,
    Moment,
    Money,
    QueryWhole,
    StrictBoolean,
    StrictSchema,
    Text,
    Whole,
)
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT

_TIME = {"format": "date-time"}


class MemberAssignmentSchema(Schema):
    """A member's side of an experiment."""

    experiment = fields.String(required=True)
    version = fields.Integer(required=True, metadata={"description": "The version it was drawn under."})
    arm = fields.String(required=True)
    is_holdout = fields.Boolean(required=True)
    reason = fields.String(required=True)
    assigned_at = fields.DateTime(required=True)
    tier_at_assignment = fields.String(required=True, allow_none=True)


class MemberAssignmentsSchema(Schema):
    """All of a member's assignments, by experiment."""

    data = fields.List(fields.Nested(MemberAssignmentSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class ArmBody(StrictSchema):
    """One arm and its share; shares of all arms sum to 10,000 basis points."""

    arm = MerchantId(required=True)
    weight_bp = Whole(required=True, least=1, most=9_999)
    policy = fields.String(
        validate=validate.OneOf(tuple(policy for own in POLICIES.values() for policy in own)),
        allow_none=True,
        metadata={
            "description": "What answers this arm instead: on `recommendations`, `popularity` instead of the "
            "model in force; on `rewards`, `plain` (by points, then code) instead of the ranking."
        },
    )


def _arms() -> fields.List[dict[str, Any]]:
    return fields.List(
        fields.Nested(ArmBody),
        required=True,
        validate=validate.Length(min=2, max=10),
        metadata={"description": "The first one shows what happens without what is tried."},
    )


class ExperimentEligibilityBody(StrictSchema):
    """Who may be drawn; decided before any arm is known, and what is left out is not asked."""

    tiers = fields.List(MerchantId(), validate=validate.Length(min=1, max=50))
    consent = fields.String(validate=validate.OneOf(("marketing", "profiling")))
    joined_from = Moment()
    joined_before = Moment()


class ExperimentGuardrailBody(StrictSchema):
    """What must not get worse by more than a margin.

    `unsubscribed` is a share of members and has `margin_bp`, the others an amount per member and `margin`.
    """

    metric = fields.String(required=True, validate=validate.OneOf(GUARDRAILS))
    margin = Money(
        positive=True,
        allow_none=True,
        load_default=None,
        metadata={"description": "Per member, in the programme's currency."},
    )
    margin_bp = Whole(
        least=1,
        most=BUCKETS,
        allow_none=True,
        load_default=None,
        metadata={"description": "Of all members, in basis points: 100 is one point."},
    )


class ExperimentChangeBody(StrictSchema):
    """What an experiment is to compare."""

    title = Text(required=True, min_length=1, max_length=200)
    surface = fields.String(
        load_default="storefront",
        validate=validate.OneOf(SURFACES),
        metadata={
            "description": "Where the arms differ: `storefront` is the shop's own page, text or flow, "
            "`message` its own mailing, push or text."
        },
    )
    nested = StrictBoolean(
        allow_none=True,
        load_default=None,
        metadata={
            "description": "Drawn only among those whom the global hold-out leaves; by itself so on "
            "`recommendations` and `rewards`."
        },
    )
    arms = _arms()
    eligibility = fields.Nested(ExperimentEligibilityBody, load_default=dict)
    anchor = fields.String(load_default="assigned_at", validate=validate.OneOf(ANCHORS))
    window_days = Whole(least=1, most=365, load_default=REPURCHASE_WINDOW_DAYS)
    refund_grace_days = Whole(least=0, most=365, load_default=REFUND_GRACE_DAYS)
    guardrails = fields.List(
        fields.Nested(ExperimentGuardrailBody), load_default=list, validate=validate.Length(max=3)
    )
    salt = Text(min_length=1, max_length=100, load_default="s1")


class ExperimentBody(ExperimentChangeBody):
    """A new experiment."""

    key = MerchantId(required=True)


class ExperimentVersionBody(StrictSchema):
    """Other arms, for members who are drawn from its start on; stored arms stay."""

    arms = _arms()


class ExperimentStopBody(StrictSchema):
    """How an experiment ends."""

    at_once = StrictBoolean(
        load_default=False,
        metadata={"description": "True: arms are served no more. Else whoever has one keeps it to the end."},
    )
    reason = Text(max_length=500, allow_none=True, load_default=None)


class ArmOverrideBody(StrictSchema):
    """The arm a tester is to see."""

    arm = MerchantId(required=True)


class ExperimentsQuery(StrictSchema):
    """A page of experiments."""

    status = fields.String(validate=validate.OneOf(STATUSES))
    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = Text(max_length=500)


class ExperimentQuery(StrictSchema):
    """Which version."""

    version = QueryWhole(least=1, most=999_999_999)


class UpliftQuery(ExperimentQuery):
    """What is asked of an experiment."""

    metric = fields.String(load_default="repurchase", validate=validate.OneOf(METRICS))
    anchor = fields.String(
        validate=validate.OneOf(ANCHORS),
        metadata={"description": "The experiment's own unless named; by exposure is the triggered analysis."},
    )
    window_days = QueryWhole(least=1, most=365)
    arm = MerchantId(metadata={"description": "One tried arm alone."})
    compare = fields.String(
        load_default="arms",
        validate=validate.OneOf(COMPARISONS),
        metadata={"description": "Only `arms` were made by chance; anything else is refused."},
    )


class ArmSchema(Schema):
    """One arm and its share."""

    arm = fields.String(required=True)
    weight_bp = fields.Integer(required=True)
    policy = fields.String(required=True, allow_none=True)


class ExperimentEligibilitySchema(Schema):
    """Who may be drawn."""

    tiers = fields.List(fields.String())
    consent = fields.String()
    joined_from = fields.String(metadata=_TIME)
    joined_before = fields.String(metadata=_TIME)


class ExperimentGuardrailSchema(Schema):
    """What must not get worse by more than a margin: an amount per member, or a share of them."""

    metric = fields.String(required=True)
    margin = fields.String(required=True, allow_none=True)
    margin_bp = fields.Integer(required=True, allow_none=True)


class ArmOutlookSchema(Schema):
    """The smallest difference an arm could show; null where these members can show none."""

    smallest_difference = fields.Float(required=True, allow_none=True)
    relative = fields.Float(required=True, allow_none=True)


class ExperimentOutlookSchema(Schema):
    """What the experiment will be able to see, from the shop's size and what its members do already."""

    members = fields.Integer(required=True)
    repurchase_rate = fields.Float(required=True)
    window_days = fields.Integer(required=True)
    alpha = fields.Float(required=True)
    power = fields.Float(required=True)
    arms = fields.Dict(keys=fields.String(), values=fields.Nested(ArmOutlookSchema), required=True)
    suggestion = fields.String(required=True, allow_none=True)


class ExperimentRowSchema(Schema):
    """An experiment in a list: the version that runs, or the newest."""

    key = fields.String(required=True)
    version = fields.Integer(required=True)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    title = fields.String(required=True)
    surface = fields.String(required=True, validate=validate.OneOf(SURFACES))
    is_global_holdout = fields.Boolean(required=True)
    nested = fields.Boolean(required=True)
    arms = fields.List(fields.Nested(ArmSchema), required=True)
    created_at = fields.String(required=True, metadata=_TIME)
    started_at = fields.String(required=True, allow_none=True, metadata=_TIME)
    frozen_at = fields.String(
        required=True, allow_none=True, metadata={"description": "When enrolment ended."} | _TIME
    )
    stopped_at = fields.String(required=True, allow_none=True, metadata=_TIME)


class ExperimentSchema(ExperimentRowSchema):
    """One version of an experiment, with everything that was fixed of it."""

    eligibility = fields.Nested(ExperimentEligibilitySchema, required=True)
    anchor = fields.String(required=True, validate=validate.OneOf(ANCHORS))
    window_days = fields.Integer(required=True)
    refund_grace_days = fields.Integer(required=True)
    guardrails = fields.List(fields.Nested(ExperimentGuardrailSchema), required=True)
    planned_members = fields.Integer(required=True, allow_none=True)
    outlook = fields.Nested(
        ExperimentOutlookSchema,
        required=True,
        allow_none=True,
        metadata={"description": "As told at the start; of a draft, as of now."},
    )
    versions = fields.List(fields.Integer(), required=True)


class ExperimentsSchema(Schema):
    """A page of experiments by key."""

    data = fields.List(fields.Nested(ExperimentRowSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class LeftOutSchema(Schema):
    """Members who were not analysed, and why."""

    arm = fields.String(
        required=True, allow_none=True, metadata={"description": "Null: they were asked for and not drawn."}
    )
    reason = fields.String(required=True, validate=validate.OneOf(LEFT_OUT))
    members = fields.Integer(required=True)


class ComparisonSchema(Schema):
    """One tried arm against the baseline: a verdict, and what it rests on."""

    experiment = fields.String(required=True)
    version = fields.Integer(required=True)
    baseline = fields.String(required=True)
    tried = fields.String(required=True)
    anchor = fields.String(required=True)
    window_days = fields.Integer(required=True)
    verdict = fields.String(
        required=True,
        validate=validate.OneOf(
            (
                "invalid_srm",
                "immature",
                "insufficient",
                "inconclusive",
                "positive",
                "negative",
                "guardrail_breach",
            )
        ),
    )
    explanation = fields.String(required=True, metadata={"description": "The verdict, in Accept-Language."})
    sentence = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    sample_ratio = fields.Dict(
        required=True, metadata={"description": "Whether the arms have the sizes they were given."}
    )
    left_out = fields.List(fields.Nested(LeftOutSchema), required=True)
    results = fields.Dict(
        required=True,
        allow_none=True,
        metadata={
            "description": "Every number about the effect, docs/experiments.md names each; null where the "
            "verdict is `invalid_srm` or `immature`."
        },
    )
    attributed = fields.Dict(
        required=True,
        allow_none=True,
        metadata={"description": "Figures by credit, beside the increment and never called uplift."},
    )


class UpliftSchema(Schema):
    """What an experiment found."""

    experiment = fields.String(required=True)
    version = fields.Integer(required=True)
    status = fields.String(required=True)
    metric = fields.String(required=True)
    anchor = fields.String(required=True)
    window_days = fields.Integer(required=True)
    currency = fields.String(required=True)
    watermark = fields.String(
        required=True, metadata={"description": "Facts up to this moment were counted."} | _TIME
    )
    is_final = fields.Boolean(
        required=True, metadata={"description": "True: everybody is mature and nothing can change any more."}
    )
    comparisons = fields.List(fields.Nested(ComparisonSchema), required=True)
