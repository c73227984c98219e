"""JSON in and out of the rewards."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.catalogue.schemas import LOCALE
from service.kit.fields import (
    MerchantId,
    Moment,
    Money,
    QueryWhole,
    Reason,
    StrictBoolean,
    StrictSchema,
    Text,
    Whole,
)
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT
from service.rewards.rules import KINDS, REASONS, STATES

MOST_POINTS = 10**9
LONGEST_RESERVATION_SECONDS = 7 * 24 * 3600


class AppliesToBody(StrictSchema):
    """The goods that a voucher is for: these skus, and whatever is in one of these categories."""

    categories = fields.List(
        Text(max_length=100, min_length=1), validate=validate.Length(min=1, max=100), allow_none=True
    )
    skus = fields.List(MerchantId(), validate=validate.Length(min=1, max=1000), allow_none=True)


class RewardBody(StrictSchema):
    """A reward; it replaces what was stored."""

    name = fields.Dict(
        keys=fields.String(validate=LOCALE),
        values=Text(max_length=300, min_length=1),
        required=True,
        validate=validate.Length(min=1),
        metadata={
            "description": "Name per locale.",
            "minProperties": 1,
            "example": {"en": "NT$50 off", "zh-Hant": "50 元折價券"},
        },
    )
    description = fields.Dict(
        keys=fields.String(validate=LOCALE), values=Text(max_length=2000, min_length=1), allow_none=True
    )
    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    points = Whole(
        least=0,
        most=MOST_POINTS,
        required=True,
        metadata={"description": "What it costs; 0: free, for members of `tiers` where those are given."},
    )
    value = Money(
        positive=True,
        allow_none=True,
        metadata={
            "description": "Programme currency: what a `voucher_amount` or a `gift_certificate` is worth; of "
            "a `voucher_percent` or `free_shipping` what it pays at most."
        },
    )
    percent_bp = Whole(
        least=1,
        most=10_000,
        allow_none=True,
        metadata={"description": "Of a `voucher_percent`, in basis points: 1000 is 10 %."},
    )
    minimum_spend = Money(
        allow_none=True, metadata={"description": "What the goods that it is for must come to at least."}
    )
    applies_to = fields.Nested(
        AppliesToBody, allow_none=True, metadata={"description": "The goods that it is for; null: all."}
    )
    valid_days = Whole(
        least=1,
        most=3650,
        allow_none=True,
        metadata={"description": "It can be used through the end of the day so many days after."},
    )
    combinable = StrictBoolean(
        metadata={"description": "Whether another voucher may be used with it; points always may."}
    )
    stock = Whole(
        least=0,
        most=10**9,
        allow_none=True,
        metadata={"description": "How often it can be taken in all, so far included; null: uncounted."},
    )
    per_member_limit = Whole(least=1, most=10**6, allow_none=True)
    tiers = fields.List(
        Text(max_length=64, min_length=1), validate=validate.Length(min=1, max=12), allow_none=True
    )
    starts_at = Moment(allow_none=True)
    ends_at = Moment(allow_none=True, metadata={"description": "From this moment on it is not offered."})
    code_pool = Text(max_length=100, min_length=1, allow_none=True)

    @validates_schema
    def _each_worth_goes_with_its_kind(self, data: dict[str, Any], **_: Any) -> None:
        kind = data.get("kind")
        if kind in {"voucher_amount", "gift_certificate"} and data.get("value") is None:
            raise ValidationError(f"needed with {kind}", "value")
        if kind == "voucher_percent" and data.get("percent_bp") is None:
            raise ValidationError(f"needed with {kind}", "percent_bp")
        if kind != "voucher_percent" and data.get("percent_bp") is not None:
            raise ValidationError(f"does not go with {kind}", "percent_bp")

    @validates_schema
    def _it_ends_after_it_starts(self, data: dict[str, Any], **_: Any) -> None:
        starts_at, ends_at = data.get("starts_at"), data.get("ends_at")
        if starts_at is not None and ends_at is not None and ends_at <= starts_at:
            raise ValidationError("not after starts_at", "ends_at")


class RewardsQuery(StrictSchema):
    """Which rewards to list."""

    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = Text(max_length=500)


class AppliesToSchema(Schema):
    """The goods that a voucher is for."""

    categories = fields.List(fields.String(), required=True, allow_none=True)
    skus = fields.List(fields.String(), required=True, allow_none=True)


class RewardWorthSchema(Schema):
    """What a reward is worth, and for what."""

    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    points = fields.Integer(required=True)
    value = fields.String(required=True, allow_none=True)
    percent_bp = fields.Integer(required=True, allow_none=True)
    minimum_spend = fields.String(required=True)
    applies_to = fields.Nested(AppliesToSchema, required=True, allow_none=True)
    valid_days = fields.Integer(required=True, allow_none=True)
    combinable = fields.Boolean(required=True)


class RewardSchema(RewardWorthSchema):
    """A reward as staff see it."""

    code = fields.String(required=True)
    name = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    description = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    stock = fields.Integer(required=True, allow_none=True)
    taken = fields.Integer(required=True, metadata={"description": "Redemptions that were not cancelled."})
    left = fields.Integer(required=True, allow_none=True)
    per_member_limit = fields.Integer(required=True, allow_none=True)
    tiers = fields.List(fields.String(), required=True, allow_none=True)
    starts_at = fields.String(required=True, allow_none=True)
    ends_at = fields.String(required=True, allow_none=True)
    code_pool = fields.String(required=True, allow_none=True)
    flags = fields.List(
        fields.String(validate=validate.OneOf(("out_of_reach", "unwanted"))),
        required=True,
        metadata={
            "description": "`out_of_reach`: the median active member would not earn its points in six "
            "months. `unwanted`: nobody took it for a long time. Looked at nightly."
        },
    )
    appraised_at = fields.String(required=True, allow_none=True)
    created_at = fields.String(required=True)
    updated_at = fields.String(required=True)


class RewardsSchema(Schema):
    """A page of rewards by code."""

    data = fields.List(fields.Nested(RewardSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class RewardReasonSchema(Schema):
    """Why the member cannot have it."""

    reason = fields.String(required=True, validate=validate.OneOf(REASONS))
    text = fields.String(required=True, metadata={"description": "In the caller's language."})


class MemberRewardSchema(RewardWorthSchema):
    """A reward, and whether a member can have it now."""

    code = fields.String(required=True)
    name = fields.String(required=True)
    description = fields.String(required=True, allow_none=True)
    ends_at = fields.String(required=True, allow_none=True)
    affordable = fields.Boolean(required=True, metadata={"description": "Nothing stands against it."})
    missing_points = fields.Integer(required=True)
    reasons = fields.List(fields.Nested(RewardReasonSchema), required=True)


class RedemptionBody(StrictSchema):
    """What to take, and the answers that led to it if any did."""

    reward = MerchantId(required=True)
    recommendation_ids = fields.List(
        MerchantId(), validate=validate.Length(max=50), allow_none=True, load_default=None
    )
    attribution_token = Text(max_length=1000, allow_none=True, load_default=None)


class RedemptionCancelBody(StrictSchema):
    """Why a redemption is called off."""

    reason = Reason()


class RedemptionSchema(Schema):
    """One taking of a reward, as it effectively stands."""

    redemption_id = fields.String(required=True)
    member_id = fields.String(required=True)
    reward = fields.String(required=True)
    name = fields.String(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    points = fields.Integer(required=True)
    state = fields.String(required=True, validate=validate.OneOf(STATES))
    voucher_code = fields.String(required=True, allow_none=True)
    value = fields.String(required=True, allow_none=True)
    percent_bp = fields.Integer(required=True, allow_none=True)
    balance = fields.String(
        required=True, allow_none=True, metadata={"description": "What is left of a gift certificate."}
    )
    issued_at = fields.String(required=True)
    expires_at = fields.String(required=True, allow_none=True)
    order_id = fields.String(
        required=True, allow_none=True, metadata={"description": "The order that it is reserved for."}
    )
    reserved_until = fields.String(required=True, allow_none=True)
    ended_at = fields.String(required=True, allow_none=True)


class RedemptionsSchema(Schema):
    """A page of a member's redemptions, the newest first."""

    data = fields.List(fields.Nested(RedemptionSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class CartLineBody(StrictSchema):
    """One line of a cart, as of an order."""

    sku = MerchantId(required=True)
    quantity = Whole(required=True, least=1, most=10_000_000)
    amount = Money(required=True)
    category = Text(max_length=100, min_length=1, allow_none=True)


class VoucherBody(StrictSchema):
    """For which order, whose, and what is in it, in the programme's currency."""

    order_id = MerchantId(
        required=True, metadata={"description": "The order's id, as it will be when it is sent in."}
    )
    member_id = MerchantId(allow_none=True)
    lines = fields.List(
        fields.Nested(CartLineBody), validate=validate.Length(min=1, max=1000), allow_none=True
    )
    tax = Money(allow_none=True)
    shipping = Money(allow_none=True)
    discount = Money(allow_none=True)


class VoucherReserveBody(VoucherBody):
    """An order that a voucher is kept for."""

    ttl_seconds = Whole(
        least=1,
        most=LONGEST_RESERVATION_SECONDS,
        required=True,
        metadata={"description": "When this time has passed the voucher is free again, of itself."},
    )


class VoucherReleaseBody(StrictSchema):
    """The order that a voucher is no longer kept for."""

    order_id = MerchantId(required=True)


class VoucherUseBody(VoucherBody):
    """An order that uses a voucher and is not sent in, or later."""

    amount = Money(
        allow_none=True,
        metadata={"description": "What it pays, where no `lines` say it. Needed of a gift certificate."},
    )


class VoucherSchema(Schema):
    """A voucher as it effectively stands, and what it pays of the cart that was shown."""

    voucher_code = fields.String(required=True)
    redemption_id = fields.String(required=True)
    reward = fields.String(required=True)
    name = fields.String(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    transferable = fields.Boolean(required=True)
    state = fields.String(required=True, validate=validate.OneOf(STATES))
    value = fields.String(required=True, allow_none=True)
    percent_bp = fields.Integer(required=True, allow_none=True)
    balance = fields.String(required=True, allow_none=True)
    minimum_spend = fields.String(required=True)
    applies_to = fields.Nested(AppliesToSchema, required=True, allow_none=True)
    combinable = fields.Boolean(required=True)
    order_id = fields.String(required=True, allow_none=True)
    reserved_until = fields.String(required=True, allow_none=True)
    expires_at = fields.String(required=True, allow_none=True)
    pays = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "What it pays, or paid; null where no cart was shown."},
    )


class CodePoolSchema(Schema):
    """A pool of codes that somebody else made."""

    pool = fields.String(required=True)
    codes = fields.Integer(required=True)
    left = fields.Integer(required=True, metadata={"description": "That were not handed out yet."})
    created_at = fields.String(required=True)


class CodeRejectSchema(Schema):
    """A line that was refused."""

    line = fields.Integer(required=True)
    code = fields.String(required=True, metadata={"description": "Why."})


class CodeImportSchema(Schema):
    """What became of a file of codes."""

    pool = fields.String(required=True)
    lines = fields.Integer(required=True)
    added = fields.Integer(required=True)
    known = fields.Integer(required=True, metadata={"description": "That the pool had before."})
    rejected = fields.Integer(required=True)
    rejects = fields.List(
        fields.Nested(CodeRejectSchema),
        required=True,
        metadata={"description": "By line; the first 1,000 of them."},
    )
