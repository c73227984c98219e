"""JSON in and out of the reports on what tiers are worth."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.kit.fields import Day, StrictSchema, Whole
from service.tiers.conditions import METRICS, OPS

KINDS = ("worth", "histogram")
_DAY = {"format": "date"}
_TIME = {"format": "date-time"}
_MONEY = {"description": "In the programme's currency, a decimal string."}


class TierReportBody(StrictSchema):
    """One question about the whole membership."""

    kind = fields.String(
        required=True,
        validate=validate.OneOf(KINDS),
        metadata={
            "description": "`worth`: what the members of each tier bought in the months after a day, beside "
            "a split by spend. `histogram`: how the metrics are spread, with the tiers' thresholds."
        },
    )
    version = Whole(
        least=1,
        most=2**31 - 1,
        metadata={"description": "A rule set, live or draft; default: the one in force."},
    )
    as_of = Day(
        metadata={
            "description": "The day to rate members on, from the facts in effect by its end. Default: today; "
            "of `worth`, the latest day whose months are over."
        },
    )
    months = Whole(
        least=1, most=24, metadata={"description": "Months that followed, default 3; `worth` only."}
    )

    @validates_schema
    def check_months(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse months where nothing follows."""
        if "months" in data and data.get("kind") == "histogram":
            raise ValidationError("only the kind worth looks at months that followed", "months")


class WorthBoundsSchema(Schema):
    """A 95 % interval; null where the numbers hold none."""

    low = fields.Float(required=True, allow_none=True)
    high = fields.Float(required=True, allow_none=True)


class WorthRateSchema(WorthBoundsSchema):
    """A share with its numerator and denominator; Wilson's interval."""

    rate = fields.Float(required=True, allow_none=True)
    numerator = fields.Integer(required=True)
    denominator = fields.Integer(required=True)


class WorthMoneyBoundsSchema(Schema):
    """A 95 % interval of money; null below 10 members, and where all spent the same."""

    low = fields.String(required=True, allow_none=True, metadata=_MONEY)
    high = fields.String(required=True, allow_none=True, metadata=_MONEY)


class WorthMeanSchema(WorthMoneyBoundsSchema):
    """Net spend: in all, and on average with Student's interval."""

    total = fields.String(required=True, metadata=_MONEY)
    mean = fields.String(required=True, allow_none=True, metadata=_MONEY)


class WorthOutcomeSchema(Schema):
    """What some members did in the months that followed."""

    members = fields.Integer(required=True)
    repurchase = fields.Nested(WorthRateSchema, required=True)
    net_spend = fields.Nested(WorthMeanSchema, required=True)


class WorthRateDifferenceSchema(WorthBoundsSchema):
    """Repurchase rate by tier minus by spend, with Newcombe's interval."""

    value = fields.Float(required=True, allow_none=True)


class WorthMoneyDifferenceSchema(WorthMoneyBoundsSchema):
    """Mean net spend by tier minus by spend, with Welch's interval."""

    value = fields.String(required=True, allow_none=True, metadata=_MONEY)


class WorthBesideSchema(Schema):
    """Members chosen by tier, beside as many chosen by past net spend alone."""

    by_tier = fields.Nested(WorthOutcomeSchema, required=True)
    by_spend = fields.Nested(WorthOutcomeSchema, required=True)
    chosen_by_both = fields.Integer(
        required=True,
        metadata={"description": "Members whom both choose; they cancel out of the differences."},
    )
    repurchase_difference = fields.Nested(WorthRateDifferenceSchema, required=True)
    net_spend_difference = fields.Nested(WorthMoneyDifferenceSchema, required=True)


class TierWorthSchema(WorthBesideSchema):
    """One tier."""

    tier = fields.String(required=True)
    names = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    rank = fields.Integer(required=True)


class WorthSharesSchema(Schema):
    """Shares of everybody's net spend in the months that followed."""

    by_tier = fields.Float(required=True, allow_none=True)
    by_spend = fields.Float(required=True, allow_none=True)


class WorthAboveBaseSchema(WorthBesideSchema):
    """The one comparison to judge a rule set by: every member rated above the base tier."""

    share_of_net_spend = fields.Nested(WorthSharesSchema, required=True)
    verdict = fields.String(
        required=True,
        validate=validate.OneOf(["tiers_ahead", "spend_ahead", "not_told_apart", "same_members", "nobody"]),
        metadata={"description": "Of the repurchase rates; `not_told_apart` where the interval holds zero."},
    )
    explanation = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={"description": "The same in words, by locale. It tells who came back, not why."},
    )


class WorthSpanSchema(Schema):
    """The days that followed: `from` inclusive, `to` exclusive."""

    from_ = fields.String(required=True, data_key="from", metadata=_DAY)
    to = fields.String(required=True, metadata=_DAY)


class WorthSchema(Schema):
    """Do the tiers find the members who come back?"""

    ruleset_version = fields.Integer(required=True)
    as_of = fields.String(required=True, metadata=_DAY)
    months = fields.Integer(required=True)
    following = fields.Nested(WorthSpanSchema, required=True)
    currency = fields.String(required=True)
    confidence = fields.Float(required=True)
    everyone = fields.Nested(WorthOutcomeSchema, required=True)
    tiers = fields.List(fields.Nested(TierWorthSchema), required=True)
    above_base = fields.Nested(WorthAboveBaseSchema, required=True)


_VALUE = {
    "type": ["string", "integer"],
    "description": "Money and visit intervals as decimal strings, counts and days as whole numbers.",
}


class HistogramBinSchema(Schema):
    """Members from `from` (inclusive) to `to` (exclusive); null where the bin is open."""

    from_ = fields.Raw(required=True, allow_none=True, data_key="from", metadata=_VALUE)
    to = fields.Raw(required=True, allow_none=True, metadata=_VALUE)
    members = fields.Integer(required=True)


class HistogramQuantileSchema(Schema):
    """A value that this share of the members does not exceed."""

    share = fields.Float(required=True)
    value = fields.Raw(required=True, allow_none=True, metadata=_VALUE)


class HistogramThresholdSchema(Schema):
    """One comparison of a tier's rule, and how many members meet it by itself."""

    tier = fields.String(required=True)
    names = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    part = fields.String(required=True, validate=validate.OneOf(["enter", "keep"]))
    op = fields.String(required=True, validate=validate.OneOf(OPS))
    value = fields.Raw(required=True, metadata=_VALUE)
    upper = fields.Raw(required=True, allow_none=True, metadata={**_VALUE, "description": "Of `between`."})
    members_meeting = fields.Integer(required=True)


class HistogramMetricSchema(Schema):
    """One metric over the membership. Bins of money widen as they rise: compare counts, not areas."""

    metric = fields.String(required=True, validate=validate.OneOf(METRICS))
    undefined = fields.Integer(
        required=True, metadata={"description": "Members without a value; they stand in no bin."}
    )
    least = fields.Raw(required=True, allow_none=True, metadata=_VALUE)
    largest = fields.Raw(required=True, allow_none=True, metadata=_VALUE)
    quantiles = fields.List(fields.Nested(HistogramQuantileSchema), required=True)
    bins = fields.List(fields.Nested(HistogramBinSchema), required=True)
    thresholds = fields.List(fields.Nested(HistogramThresholdSchema), required=True)


class HistogramSchema(Schema):
    """How the metrics are spread over the membership on a day."""

    ruleset_version = fields.Integer(required=True)
    as_of = fields.String(required=True, metadata=_DAY)
    currency = fields.String(required=True)
    members = fields.Integer(required=True)
    metrics = fields.List(fields.Nested(HistogramMetricSchema), required=True)


class TierReportSchema(Schema):
    """A report and, once its job is through, its answer under the name of its kind."""

    report_id = fields.String(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    version = fields.Integer(required=True)
    as_of = fields.String(required=True, metadata=_DAY)
    months = fields.Integer(required=True, allow_none=True)
    state = fields.String(required=True, validate=validate.OneOf(["queued", "running", "done", "failed"]))
    requested_at = fields.String(required=True, metadata=_TIME)
    computed_at = fields.String(required=True, allow_none=True, metadata=_TIME)
    failure = fields.String(
        required=True, allow_none=True, metadata={"description": "Why there is no answer; ask again."}
    )
    worth = fields.Nested(WorthSchema, required=True, allow_none=True)
    histogram = fields.Nested(HistogramSchema, required=True, allow_none=True)
