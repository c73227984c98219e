"""JSON in and out of the recommendations; `MeasurementSchema` is the annotation's JSON Schema."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.experiments.operations import CROWD
from service.kit.fields import MerchantId, QueryWhole, StrictSchema, Text, Whole, is_visible
from service.recommendations.exploration import MOST_CANDIDATES
from service.recommendations.operations import DEFAULT_LIMIT, MAX_LIMIT

_MAX_EXCLUDED = 500
_MODES = ("mixed", "buy_again", "discover", "trending", "recently_viewed")
_SOURCES = ("buy_again", "discover", "popular", "trending", "recently_viewed")
_FALLBACKS = ("last_basket", "popular_in_tier", "popular_in_category", "popular", "plain", "empty")


class Skus(fields.Field[tuple[str, ...]]):
    """Skus with commas between them."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:
        skus = dict.fromkeys(part.strip() for part in str(value).split(",") if part.strip())
        if len(skus) > _MAX_EXCLUDED:
            raise ValidationError(f"at most {_MAX_EXCLUDED} skus")
        if not all(len(sku) <= 128 and is_visible(sku) for sku in skus):
            raise ValidationError("each sku is 1 to 128 visible characters")
        return tuple(skus)


def _placement() -> Text:
    return Text(
        max_length=64,
        min_length=1,
        load_default="default",
        metadata={"description": "Where the answer is shown, in the shop's own words."},
    )


def _channel() -> fields.String:
    return fields.String(
        load_default="web", validate=validate.OneOf(("web", "app", "email", "push", "sms", "store", "other"))
    )


def _limit() -> QueryWhole:
    return QueryWhole(
        least=1,
        most=MAX_LIMIT,
        load_default=None,
        metadata={"description": f"As the placement is set, and {DEFAULT_LIMIT} where it is not."},
    )


def _excluded() -> Skus:
    return Skus(
        load_default=(),
        metadata={"type": "string", "default": "", "description": "Skus to keep out, commas between."},
    )


def _basket() -> Skus:
    return Skus(
        load_default=(),
        metadata={
            "type": "string",
            "default": "",
            "description": "Skus in the basket, commas between: they steer, and are not shown.",
        },
    )


class RecommendationsQuery(StrictSchema):
    """What is wanted."""

    placement = _placement()
    channel = _channel()
    limit = _limit()
    exclude = _excluded()  # type: ignore[assignment]
    basket = _basket()
    category = Text(max_length=100, min_length=1, load_default=None)
    context_sku = MerchantId(
        load_default=None, metadata={"description": "The item on the page: it steers, and is not shown."}
    )
    mode = fields.String(
        load_default=None,
        validate=validate.OneOf(_MODES),
        metadata={
            "description": "As the placement is set, and `mixed` where it is not. `trending` and "
            "`recently_viewed` are lists of their own."
        },
    )


class RelatedQuery(StrictSchema):
    """What is wanted, and for whom if the storefront knows."""

    member_id = MerchantId(load_default=None)
    placement = _placement()
    channel = _channel()
    limit = _limit()
    exclude = _excluded()  # type: ignore[assignment]
    basket = _basket()
    category = Text(max_length=100, min_length=1, load_default=None)


class ReasonSchema(Schema):
    """Why an item is shown."""

    code = fields.String(required=True)
    text = fields.String(required=True, metadata={"description": "A true sentence, in Accept-Language."})


class RecommendedItemSchema(Schema):
    """One item of the answer."""

    sku = fields.String(required=True)
    rank = fields.Integer(required=True, metadata={"description": "From 1."})
    index = fields.Integer(required=True, metadata={"description": "From 0."})
    score = fields.Float(required=True)
    source = fields.String(required=True, validate=validate.OneOf(_SOURCES))
    reason = fields.Nested(ReasonSchema, required=True)
    impression_id = fields.String(required=True)


class AssignmentSchema(Schema):
    """Which side of the hold-out the answer was on; no arm where nobody was enrolled, and why."""

    experiment = fields.String(required=True, allow_none=True)
    version = fields.Integer(required=True, allow_none=True)
    arm = fields.String(required=True, allow_none=True)
    is_holdout = fields.Boolean(required=True)
    reason = fields.String(
        required=True,
        validate=validate.OneOf(
            (
                "split",
                "override",
                "not_a_member",
                "not_assigned",
                "not_eligible",
                "held_out",
                "enrolment_ended",
                "no_experiment",
                "assignment_unavailable",
            )
        ),
    )


class NestedAssignmentSchema(Schema):
    """Which arm of an experiment nested in the treated side."""

    experiment = fields.String(required=True)
    version = fields.Integer(required=True)
    arm = fields.String(required=True)


class PolicyModelSchema(Schema):
    """The trained model behind a policy."""

    name = fields.String(required=True, allow_none=True)
    version = fields.String(required=True, allow_none=True)
    trained_through = fields.Date(required=True, allow_none=True)


class PolicySchema(Schema):
    """What decided the answer, and the fallback it needed."""

    name = fields.String(required=True)
    version = fields.String(required=True, allow_none=True)
    model = fields.Nested(PolicyModelSchema, required=True)
    fallback = fields.String(required=True, allow_none=True, validate=validate.OneOf(_FALLBACKS))
    refreshed_through = fields.DateTime(
        required=True,
        allow_none=True,
        metadata={
            "description": "Statistics made after the training took in every order up to then; null: the "
            "model's own were used."
        },
    )


class SurfaceSchema(Schema):
    """Where the answer is shown."""

    placement = fields.String(required=True)
    channel = fields.String(required=True)


class BaselineSchema(Schema):
    """What the hold-out does by itself, for the member's tier at assignment: the rate to beat."""

    repurchase_rate = fields.Float(required=True, allow_none=True)
    numerator = fields.Integer(required=True, allow_none=True)
    denominator = fields.Integer(required=True, allow_none=True)
    as_of = fields.Date(required=True, allow_none=True)


class OutcomeSchema(Schema):
    """What will be counted, between which moments, and from when on it can be judged."""

    metric = fields.String(required=True, validate=validate.OneOf(("repurchase",)))
    window_days = fields.Integer(required=True, allow_none=True)
    refund_grace_days = fields.Integer(required=True, allow_none=True)
    window_start = fields.DateTime(required=True, allow_none=True)
    window_end = fields.DateTime(required=True, allow_none=True)
    matures_at = fields.DateTime(required=True, allow_none=True)
    baseline = fields.Nested(BaselineSchema, required=True)


class ReportBackSchema(Schema):
    """What to send back with events, and where to."""

    echo = fields.List(fields.String(), required=True)
    url = fields.String(required=True)


class TraceSchema(Schema):
    """The caller's own trace."""

    traceparent = fields.String(required=True, allow_none=True)


class MeasurementSchema(Schema):
    """The block on every answer that could influence a purchase: one shape in both arms and for fallbacks."""

    schema_version = fields.Integer(required=True, validate=validate.OneOf((1,)))
    issued_at = fields.DateTime(required=True)
    attribution_token = fields.String(
        required=True, metadata={"pattern": r"^v1\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$"}
    )
    assignment = fields.Nested(AssignmentSchema, required=True)
    nested = fields.List(fields.Nested(NestedAssignmentSchema), required=True)
    policy = fields.Nested(PolicySchema, required=True)
    surface = fields.Nested(SurfaceSchema, required=True)
    outcome = fields.Nested(OutcomeSchema, required=True)
    report_back = fields.Nested(ReportBackSchema, required=True)
    trace = fields.Nested(TraceSchema, required=True)


class RecommendationsSchema(Schema):
    """Items to show, and what makes them accountable."""

    recommendation_id = fields.String(required=True, metadata={"pattern": "^rec_[0-9a-f]{32}$"})
    items = fields.List(fields.Nested(RecommendedItemSchema), required=True)
    measurement = fields.Nested(MeasurementSchema, required=True)


class ExportRequestSchema(StrictSchema):
    """What to compute, and for whom."""

    placement = Text(max_length=64, min_length=1, load_default="mailing")
    channel = fields.String(
        load_default="email",
        validate=validate.OneOf(("web", "app", "email", "push", "sms", "store", "other")),
    )
    limit = fields.Integer(
        strict=True, load_default=DEFAULT_LIMIT, validate=validate.Range(min=1, max=MAX_LIMIT)
    )
    segment = Text(
        max_length=64,
        min_length=1,
        load_default=None,
        allow_none=True,
        metadata={"description": "The code of a tier: its members alone. Left out: everybody."},
    )


class ExportSchema(Schema):
    """An export and how far it is."""

    export_id = fields.String(required=True, metadata={"pattern": "^rexp_[0-9a-f]{32}$"})
    state = fields.String(
        required=True, validate=validate.OneOf(("queued", "running", "done", "cancelled", "failed"))
    )
    placement = fields.String(required=True)
    channel = fields.String(required=True)
    limit = fields.Integer(required=True)
    segment = fields.String(required=True, allow_none=True)
    requested_by = fields.String(required=True)
    requested_at = fields.DateTime(required=True)
    finished_at = fields.DateTime(required=True, allow_none=True)
    members = fields.Integer(required=True, metadata={"description": "Lines so far."})
    without_consent = fields.Integer(
        required=True, metadata={"description": "Passed over: they did not agree to be written to."}
    )
    failure = fields.String(required=True, allow_none=True)


class ExportsQuery(StrictSchema):
    """A page of exports."""

    limit = QueryWhole(least=1, most=500, load_default=50)
    cursor = Text()


class ExportsSchema(Schema):
    """A page of exports, the latest first."""

    data = fields.List(fields.Nested(ExportSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class ExportLineSchema(RecommendationsSchema):
    """One line: a member and the answer for them."""

    member_id = fields.String(required=True)


class RetrainingSchema(Schema):
    """Whether a training was asked for, or one was waiting already."""

    state = fields.String(required=True, validate=validate.OneOf(("queued", "already_queued")))


class DecidedAssignmentSchema(AssignmentSchema):
    """The draw behind the arm."""

    class Meta:
        exclude = ("is_holdout",)

    bucket = fields.Integer(required=True, allow_none=True)
    salt_id = fields.String(required=True, allow_none=True)
    arm_probability = fields.Float(required=True, allow_none=True)


class DecidedPolicySchema(Schema):
    """What decided the answer."""

    name = fields.String(required=True)
    model_version = fields.String(required=True, allow_none=True)
    fallback = fields.String(required=True, allow_none=True)


class CandidatesSchema(Schema):
    """What was in the running."""

    count = fields.Integer(required=True)
    hash = fields.String(required=True, allow_none=True)


class PropensitySchema(Schema):
    """How likely what was shown was to be shown; a deterministic ranker has none, and none is invented.

    Of a list with an explored place it is that of the item there.
    """

    kind = fields.String(required=True, validate=validate.OneOf(("deterministic", "exploration")))
    value = fields.Float(required=True, allow_none=True)


class ExploredCandidateSchema(Schema):
    """One of those a lot was cast among, and how likely it was to be shown."""

    sku = fields.String(required=True, allow_none=True)
    propensity = fields.Float(required=True)


class ExploredPlaceSchema(Schema):
    """The place that a lot decided; propensities of the candidates sum to one."""

    position = fields.Integer(required=True, metadata={"description": "A rank, from 1."})
    share_bp = fields.Integer(required=True)
    candidates = fields.List(fields.Nested(ExploredCandidateSchema), required=True)
    steered_by = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "The items on the page and in the basket that the list was made for."},
    )


class ContextSchema(Schema):
    """What was known of the member then."""

    tier = fields.String(required=True, allow_none=True)
    days_since_last_order = fields.Integer(required=True, allow_none=True)
    purchases_read = fields.Integer(required=True)
    looks_read = fields.Integer(required=True)


class DecidedRequestSchema(Schema):
    """What was asked for."""

    limit = fields.Integer(required=True)
    mode = fields.String(required=True)
    category = fields.String(required=True, allow_none=True)
    context_sku = fields.String(required=True, allow_none=True)
    excluded = fields.Integer(required=True)


class ScorePartsSchema(Schema):
    """What a reward's score was made of, each from 0 to 1 (docs/rewards.md)."""

    affordability = fields.Float(required=True)
    likeness = fields.Float(required=True)
    expiry = fields.Float(required=True)
    value = fields.Float(required=True)


class DecidedItemSchema(Schema):
    """One item or reward as it was sent."""

    sku = fields.String(required=True, allow_none=True)
    reward = fields.String(required=True, allow_none=True)
    rank = fields.Integer(required=True)
    score = fields.Float(required=True)
    source = fields.String(required=True)
    reason_code = fields.String(required=True)
    parts = fields.Nested(
        ScorePartsSchema,
        required=True,
        allow_none=True,
        metadata={"description": "Of a ranked reward; null of items, and in the plain order."},
    )


class DecisionSchema(Schema):
    """The decision record of one answer."""

    recommendation_id = fields.String(required=True)
    issued_at = fields.DateTime(required=True)
    member_id = fields.String(required=True, allow_none=True)
    assignment = fields.Nested(DecidedAssignmentSchema, required=True)
    policy = fields.Nested(DecidedPolicySchema, required=True)
    surface = fields.Nested(SurfaceSchema, required=True)
    window_end = fields.DateTime(required=True, allow_none=True)
    candidates = fields.Nested(CandidatesSchema, required=True)
    propensity = fields.Nested(PropensitySchema, required=True)
    context = fields.Nested(ContextSchema, required=True)
    request = fields.Nested(DecidedRequestSchema, required=True)
    seed = fields.Integer(required=True, allow_none=True)
    config_hash = fields.String(required=True, allow_none=True)
    exploration = fields.Nested(ExploredPlaceSchema, required=True, allow_none=True)
    statistics_version = fields.Integer(required=True, allow_none=True)
    items = fields.List(fields.Nested(DecidedItemSchema), required=True)


class ExposureBody(StrictSchema):
    """Who stands before a page; both ids when somebody logs in. The arm is drawn here, never given."""

    member_id = MerchantId(allow_none=True, load_default=None)
    anonymous_id = MerchantId(allow_none=True, load_default=None)
    placement = _placement()
    channel = _channel()

    @validates_schema
    def _somebody(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("member_id") is None and data.get("anonymous_id") is None:
            raise ValidationError("member_id or anonymous_id is needed", "member_id")


class ExposureSchema(Schema):
    """The arm to show; null where nobody was drawn, and why: then show what you would without a test."""

    recommendation_id = fields.String(required=True, metadata={"pattern": "^rec_[0-9a-f]{32}$"})
    experiment = fields.String(required=True)
    version = fields.Integer(required=True)
    arm = fields.String(required=True, allow_none=True)
    reason = fields.String(required=True)
    assigned_at = fields.DateTime(required=True, allow_none=True)
    measurement = fields.Nested(MeasurementSchema, required=True)


class CrowdBody(StrictSchema):
    """Who a message goes to; their arms are drawn here, never given."""

    member_ids = fields.List(
        MerchantId(),
        required=True,
        validate=validate.Length(min=1, max=CROWD),
        metadata={"description": "An id named twice is answered once."},
    )
    placement = _placement()
    channel = _channel()


class CrowdMemberSchema(ExposureSchema):
    """The arm of one of the members named."""

    member_id = fields.String(required=True)


class CrowdSchema(Schema):
    """One answer for each member, in the order named; without an arm: what goes out without a test."""

    data = fields.List(fields.Nested(CrowdMemberSchema), required=True)


class CreditedModelSchema(Schema):
    """The model behind an answer."""

    version = fields.String(required=True)
    content_hash = fields.String(required=True, allow_none=True)
    trained_through = fields.Date(required=True, allow_none=True)


class CreditedAnswerSchema(Schema):
    """What was shown and what decided it: arm, policy, model and the rule set of then."""

    issued_at = fields.DateTime(required=True)
    surface = fields.Nested(SurfaceSchema, required=True)
    experiment = fields.String(required=True, allow_none=True)
    version = fields.Integer(required=True, allow_none=True)
    arm = fields.String(required=True, allow_none=True)
    nested = fields.List(fields.Nested(NestedAssignmentSchema), required=True)
    policy = fields.String(required=True)
    fallback = fields.String(required=True, allow_none=True)
    model = fields.Nested(CreditedModelSchema, required=True, allow_none=True)
    tier = fields.String(required=True, allow_none=True)
    ruleset_version = fields.Integer(required=True, allow_none=True)


class ClaimSchema(Schema):
    """One answer that an order or a redemption names; what does not hold is told, and never counted."""

    source = fields.String(
        required=True, validate=validate.OneOf(("recommendation_ids", "attribution_token"))
    )
    recommendation_id = fields.String(required=True, allow_none=True)
    status = fields.String(required=True, validate=validate.OneOf(("attributed", "unattributable")))
    reason = fields.String(required=True, allow_none=True)
    answer = fields.Nested(CreditedAnswerSchema, required=True, allow_none=True)


class OrderAttributionSchema(Schema):
    """From an order back to rule set, model and arm."""

    order_id = fields.String(required=True)
    member_id = fields.String(required=True)
    placed_at = fields.DateTime(required=True)
    ruleset_version = fields.Integer(
        required=True, allow_none=True, metadata={"description": "The rule set it was rated by."}
    )
    claims = fields.List(fields.Nested(ClaimSchema), required=True)


class ExplorationBody(StrictSchema):
    """The last place of a treated member's list is drawn by lot; each chance is logged."""

    candidates = Whole(
        required=True,
        least=2,
        most=MOST_CANDIDATES,
        metadata={"description": "Among how many: what would stand there anyway, and the next best."},
    )
    share_bp = Whole(
        least=1,
        most=10_000,
        load_default=10_000,
        metadata={"description": "In how many answers the lot is cast, in basis points."},
    )


class RedemptionAttributionSchema(Schema):
    """From a redemption back to rule set, model and arm."""

    redemption_id = fields.String(required=True)
    reward = fields.String(required=True)
    member_id = fields.String(required=True)
    issued_at = fields.DateTime(required=True)
    claims = fields.List(fields.Nested(ClaimSchema), required=True)


class PlacementBody(StrictSchema):
    """What a placement shows unless a question says otherwise."""

    mode = fields.String(load_default="mixed", validate=validate.OneOf(_MODES))
    diversity_bp = Whole(
        least=0,
        most=10_000,
        load_default=0,
        metadata={"description": "How much of the score is given up for variety; 0 is the order of scores."},
    )
    category_cap = Whole(
        least=1,
        most=MAX_LIMIT,
        load_default=None,
        allow_none=True,
        metadata={"description": "At most so many of one category, each item counted in its first."},
    )
    limit = Whole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    exploration = fields.Nested(
        ExplorationBody,
        load_default=None,
        allow_none=True,
        metadata={"description": "Left out or null: no place is drawn by lot."},
    )


class ExplorationSchema(Schema):
    """How the last place is drawn by lot."""

    candidates = fields.Integer(required=True)
    share_bp = fields.Integer(required=True)


class PlacementSchema(Schema):
    """The settings of a placement."""

    placement = fields.String(required=True)
    version = fields.Integer(required=True)
    mode = fields.String(required=True, validate=validate.OneOf(_MODES))
    diversity_bp = fields.Integer(required=True)
    category_cap = fields.Integer(required=True, allow_none=True)
    limit = fields.Integer(required=True)
    exploration = fields.Nested(ExplorationSchema, required=True, allow_none=True)
    created_at = fields.DateTime(required=True)
    created_by = fields.String(required=True)


class PlacementsSchema(Schema):
    """Every placement that has settings of its own, by name."""

    data = fields.List(fields.Nested(PlacementSchema), required=True)


class ModelsQuery(StrictSchema):
    """A page of the register."""

    limit = QueryWhole(least=1, most=500, load_default=50)
    cursor = Text()


class ModelRowSchema(Schema):
    """A trained model in the register."""

    version = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(("candidate", "active", "retired")))
    content_hash = fields.String(
        required=True, metadata={"description": "The same for two trainings on the same data and seed."}
    )
    trained_through = fields.Date(required=True, allow_none=True)
    created_at = fields.DateTime(required=True)
    promoted_at = fields.DateTime(required=True, allow_none=True)
    decision = fields.String(
        required=True, allow_none=True, metadata={"description": "Why it is in force, or is not."}
    )


class ModelsSchema(Schema):
    """A page of the register, newest first."""

    data = fields.List(fields.Nested(ModelRowSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class ModelSchema(ModelRowSchema):
    """Everything known of a model: data span, counts, settings and figures against the baselines."""

    trained_from = fields.Date(required=True, allow_none=True)
    seed = fields.Integer(required=True, allow_none=True)
    counts = fields.Dict(required=True)
    parameters = fields.Dict(required=True)
    metrics = fields.Dict(
        required=True,
        metadata={
            "description": "Every method with recall, coverage and fallback share, by origin, length of "
            "history and tier; differences to the served lists with 95 % intervals. Empty when the history "
            "was too short."
        },
    )
    findings = fields.List(
        fields.String,
        required=True,
        metadata={"description": "Where the served lists win, where a baseline does, and what is in force."},
    )
    libraries = fields.Dict(required=True)


class ModelSpanSchema(Schema):
    """What a model was trained on."""

    since = fields.Date(required=True, data_key="from")
    through = fields.Date(required=True)
    users = fields.Integer(required=True)
    items = fields.Integer(required=True)
    interactions = fields.Integer(required=True)


class ModelCardSchema(Schema):
    """A model's card: what it learned from, what it is worth, and where a baseline wins."""

    version = fields.String(required=True)
    data = fields.Nested(ModelSpanSchema, required=True)
    findings = fields.List(fields.String, required=True)
    decision = fields.String(required=True, allow_none=True)
    evaluation = fields.Dict(required=True)
    markdown = fields.String(required=True, metadata={"description": "The whole card, to be read."})
    plot = fields.String(
        required=True, allow_none=True, metadata={"description": "SVG; null when nothing was measured."}
    )
