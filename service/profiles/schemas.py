"""JSON in and out of the profiles."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from service.kit.fields import MerchantId, QueryWhole, Reason, StrictSchema, Text
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT
from service.recommendations.schemas import MeasurementSchema
from service.tiers.schemas import BenefitSchema, NeedSchema, RiseSchema


class MembersQuery(StrictSchema):
    """Which members to list."""

    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = Text(max_length=500)
    email = Text(max_length=254, min_length=3, metadata={"description": "Exactly this e-mail address."})


class TierSummarySchema(Schema):
    """Where the member stands."""

    tier = fields.String(required=True)
    name = fields.String(required=True)
    rank = fields.Integer(required=True)


class PointsSummarySchema(Schema):
    """What the member has."""

    available = fields.Integer(required=True)
    pending = fields.Integer(required=True)
    held = fields.Integer(required=True)


class ProfileSchema(Schema):
    """Everything held about a member, for staff."""

    member_id = MerchantId(required=True)
    joined_at = fields.String(required=True)
    store_id = fields.String(required=True, allow_none=True)
    locale = fields.String(required=True, allow_none=True)
    name = fields.String(required=True, allow_none=True)
    email = fields.String(required=True, allow_none=True)
    phone = fields.String(required=True, allow_none=True)
    birthday = fields.String(required=True, allow_none=True)
    consent = fields.Dict(required=True)
    attributes = fields.Dict(required=True)
    referred_by = fields.String(required=True, allow_none=True)
    acquisition = fields.Dict(required=True, allow_none=True)
    created_at = fields.String(required=True)
    updated_at = fields.String(required=True)
    merged_ids = fields.List(
        fields.String,
        required=True,
        metadata={"description": "Ids of members that were merged into this one; each stands for it."},
    )
    tier = fields.Nested(TierSummarySchema, required=True)
    points = fields.Nested(PointsSummarySchema, required=True)


class MemberRowSchema(Schema):
    """A member in a list."""

    member_id = fields.String(required=True)
    joined_at = fields.String(required=True)
    locale = fields.String(required=True, allow_none=True)
    merged_into = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The member that this id stands for, where it was merged into another."},
    )


class MembersSchema(Schema):
    """A page of members by id."""

    data = fields.List(fields.Nested(MemberRowSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class CardExpirySchema(Schema):
    """Points that expire on a day."""

    points = fields.Integer(required=True)
    on = fields.String(required=True)


class CardPointsSchema(PointsSummarySchema):
    """What the member has, and what expires next."""

    expiring = fields.List(fields.Nested(CardExpirySchema), required=True)
    value = fields.String(
        required=True, metadata={"description": "What the available points are worth, programme currency."}
    )


class CardTierSchema(TierSummarySchema):
    """Where the member stands, and what that gives."""

    since = fields.String(required=True)
    at_risk = fields.Boolean(required=True)
    falls_on = fields.String(required=True, allow_none=True)
    benefits = fields.List(fields.Nested(BenefitSchema), required=True)


class CardProgressSchema(Schema):
    """What is missing to stay and to rise, as in `GET /members/{member_id}/tier`."""

    to_stay = fields.List(fields.Nested(NeedSchema), required=True)
    to_rise = fields.Nested(RiseSchema, required=True, allow_none=True)


class CardRewardSchema(Schema):
    """A reward that the member can have now."""

    code = fields.String(required=True)
    name = fields.String(required=True)
    kind = fields.String(required=True)
    points = fields.Integer(required=True)


class CardSchema(Schema):
    """What a storefront shows in one call."""

    member_id = fields.String(required=True)
    locale = fields.String(required=True, validate=validate.OneOf(("en", "zh-Hant")))
    tier = fields.Nested(CardTierSchema, required=True)
    progress = fields.Nested(CardProgressSchema, required=True)
    points = fields.Nested(CardPointsSchema, required=True)
    rewards = fields.List(
        fields.Nested(CardRewardSchema),
        required=True,
        metadata={"description": "What the member can have now, the dearest five; see `/members/…/rewards`."},
    )
    explanation = fields.String(required=True)
    measurement = fields.Nested(
        MeasurementSchema,
        required=True,
        metadata={"description": "The same block as on recommendations; no exposure."},
    )


class MergeBody(StrictSchema):
    """Into whom, and why."""

    into = MerchantId(required=True)
    reason = Reason()


class UndoBody(StrictSchema):
    """Why a merge is undone."""

    reason = Reason()


class MergeSchema(Schema):
    """What the survivor of a merge has."""

    member_id = fields.String(required=True, metadata={"description": "The survivor."})
    merged_id = fields.String(required=True, metadata={"description": "Stands for the survivor from now on."})
    merged_at = fields.String(required=True)
    undo_until = fields.String(required=True)
    reason = fields.String(required=True)
    tier = fields.Nested(TierSummarySchema, required=True)
    points = fields.Nested(PointsSummarySchema, required=True)


class PartedSchema(Schema):
    """One of the two members of a merge that was undone."""

    member_id = fields.String(required=True)
    tier = fields.Nested(TierSummarySchema, required=True)
    points = fields.Nested(PointsSummarySchema, required=True)


class UndoSchema(Schema):
    """What both members have after a merge was undone: the one that was merged, then the other."""

    undone_at = fields.String(required=True)
    reason = fields.String(required=True)
    members = fields.List(fields.Nested(PartedSchema), required=True)
