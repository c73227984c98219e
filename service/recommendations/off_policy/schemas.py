"""JSON in and out of off-policy evaluation."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.kit.fields import Day, StrictSchema, Text, Whole
from service.recommendations.off_policy.operations import METRICS, POLICIES, WINDOWS

_DAY = {"format": "date"}
_TIME = {"format": "date-time"}


class OffPolicyBody(StrictSchema):
    """Which logs, and which reward."""

    placement = Text(required=True, max_length=64, min_length=1)
    since = Day(required=True, metadata={"description": "The first day looked at."})
    until = Day(
        metadata={
            "description": "The day after the last one looked at. Default: today, in the programme's zone."
        },
    )
    metric = fields.String(
        load_default="repurchase",
        validate=validate.OneOf(METRICS),
        metadata={
            "description": "`repurchase`: the member bought the item shown and kept it until the refund "
            "grace was over. `click`: the member clicked on it."
        },
    )
    policy = fields.String(
        load_default="model",
        validate=validate.OneOf(POLICIES),
        metadata={"description": "The version's own ranking, or the popularity its baseline ranks by."},
    )
    window_days = Whole(
        least=1,
        most=365,
        metadata={
            "description": "Days in which a reward counts. Default: "
            + ", ".join(f"{days} of a {metric}" for metric, days in WINDOWS.items())
        },
    )

    @validates_schema
    def check_days(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a period that holds no day."""
        if "until" in data and "since" in data and data["until"] <= data["since"]:
            raise ValidationError("not after `since`", "until")


class LoggedEstimateSchema(Schema):
    """An estimate per answer with its 95 % interval."""

    value = fields.Float(required=True)
    low = fields.Float(required=True)
    high = fields.Float(required=True)
    confidence = fields.Float(required=True)
    method = fields.String(required=True)


class UnjudgedSchema(Schema):
    """Explored answers that were not judged, by reason."""

    objected = fields.Integer(required=True, metadata={"description": "The member objected to profiling."})
    immature = fields.Integer(required=True, metadata={"description": "Window or grace is not over."})
    seen_in_training = fields.Integer(
        required=True, metadata={"description": "Given on a day that the model has learned from."}
    )
    unknown_to_model = fields.Integer(
        required=True, metadata={"description": "The model knows none of the candidates."}
    )


def _estimate() -> fields.Nested:
    return fields.Nested(
        LoggedEstimateSchema, required=True, allow_none=True, metadata={"description": "Null when refused."}
    )


class OffPolicyResultSchema(Schema):
    """What the ranker would have earned at the explored place, or why that is not said."""

    status = fields.String(required=True, validate=validate.OneOf(("estimated", "refused")))
    refused = fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf(
            ("nothing_logged", "no_overlap", "too_few_effective_rows", "one_row_decides", "deterministic")
        ),
    )
    label = fields.String(required=True, metadata={"description": "What kind of figure this is, and is not."})
    sentence = fields.String(required=True, metadata={"description": "The finding, in Accept-Language."})
    logged = fields.Integer(required=True, metadata={"description": "Explored answers in the period."})
    left_out = fields.Nested(UnjudgedSchema, required=True)
    rows = fields.Integer(required=True, metadata={"description": "Answers that were judged."})
    agreeing = fields.Integer(
        required=True, metadata={"description": "Of these, how many showed what the ranker would have shown."}
    )
    members = fields.Integer(required=True)
    effective_members = fields.Float(
        required=True, metadata={"description": "How many members' worth of evidence the weights leave."}
    )
    largest_weight_share = fields.Float(
        required=True, metadata={"description": "The share of all weight that one member carries."}
    )
    logged_mean = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "What was shown by lot came to; no ranker earns it. Null when refused."},
    )
    ips = _estimate()
    snips = _estimate()
    doubly_robust = _estimate()


class OffPolicySchema(Schema):
    """A question about a ranker and, once its job is through, what was found or why nothing was."""

    evaluation_id = fields.String(required=True, metadata={"pattern": "^ope_[0-9a-f]{32}$"})
    state = fields.String(required=True, validate=validate.OneOf(("queued", "done", "failed")))
    version = fields.String(required=True)
    placement = fields.String(required=True)
    since = fields.String(required=True, metadata=_DAY)
    until = fields.String(required=True, metadata=_DAY)
    metric = fields.String(required=True, validate=validate.OneOf(METRICS))
    policy = fields.String(required=True, validate=validate.OneOf(POLICIES))
    window_days = fields.Integer(required=True)
    requested_by = fields.String(required=True)
    requested_at = fields.String(required=True, metadata=_TIME)
    computed_at = fields.String(required=True, allow_none=True, metadata=_TIME)
    failure = fields.String(required=True, allow_none=True)
    result = fields.Nested(OffPolicyResultSchema, required=True, allow_none=True)
