"""JSON of the programme: settings and stores."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

from marshmallow import Schema, ValidationError, fields, pre_load, validate, validates_schema

from service.kit.fields import Moment, Money, QueryWhole, Reason, StrictBoolean, StrictSchema, Text, Whole
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT
from service.programme.rules import (
    DEFAULT_NOTICE_DAYS,
    EXPIRY_MODELS,
    EXPIRY_PERIODS,
    MAX_EARN_POINTS,
    MAX_EXPIRY_MONTHS,
    MAX_EXPIRY_PERIODS,
    MAX_NOTICE_DAYS,
    MAX_RETURN_PERIOD_DAYS,
    list_misplaced,
)

_ZONES = available_timezones() - {"Factory", "localtime"}


class ExpiryBody(StrictSchema):
    """When points expire, and how long before that is told.

    `none`: never. `rolling_months`: `months` after the day they were earned. `end_of_period`: as the calendar
    `period` ends that comes `periods` after the one they were earned in. `after_inactivity`: `months` after
    the member last bought or spent points.
    """

    model = fields.String(required=True, validate=validate.OneOf(EXPIRY_MODELS))
    months = Whole(least=1, most=MAX_EXPIRY_MONTHS, allow_none=True)
    period = fields.String(validate=validate.OneOf(EXPIRY_PERIODS), allow_none=True)
    periods = Whole(least=1, most=MAX_EXPIRY_PERIODS, allow_none=True)
    notice_days = Whole(
        least=0,
        most=MAX_NOTICE_DAYS,
        load_default=DEFAULT_NOTICE_DAYS,
        metadata={"description": "How many days before points expire that is told; 0: not at all."},
    )

    @validates_schema
    def _each_goes_with_its_model(self, data: dict[str, Any], **_: Any) -> None:
        for name in list_misplaced(data):
            wanted = "needed with" if data.get(name) is None else "does not go with"
            raise ValidationError(f"{wanted} {data['model']}", name)


class EarningBody(StrictSchema):
    """What an amount earns before the tier's multiplier: `points` for every `per`."""

    points = Whole(required=True, least=0, most=MAX_EARN_POINTS)
    per = Money(required=True, positive=True, metadata={"description": "In the programme's currency."})


class SpendBody(StrictSchema):
    """What counts as net spend, and earns. Shipping never does, nor what points and vouchers paid."""

    tax = StrictBoolean(required=True, metadata={"description": "Tax that an order gives apart."})


class SettingsValuesBody(StrictSchema):
    """The settings to change; those left out stay as they are."""

    return_period_days = Whole(least=0, most=MAX_RETURN_PERIOD_DAYS)
    points_expiry = fields.Nested(ExpiryBody())
    earning = fields.Nested(EarningBody())
    point_value = Money(metadata={"description": "What a point is worth, in the programme's currency."})
    shortfall_policy = fields.String(validate=validate.OneOf(["clamp", "allow_negative"]))
    spend_counts = fields.Nested(SpendBody())

    @pre_load
    def _refuse_what_is_fixed(self, data: Any, **_: Any) -> Any:
        fixed = {"currency", "timezone"} & set(data) if isinstance(data, dict) else set()
        if fixed:
            raise ValidationError(
                {name: ["fixed when this database was first started"] for name in sorted(fixed)}
            )
        return data


class SettingsBody(StrictSchema):
    """A change of settings: what, from when on, and why."""

    values = fields.Nested(SettingsValuesBody(), required=True)
    effective_from = Moment(metadata={"description": "Not before now, which it is when left out."})
    reason = Reason()

    @validates_schema
    def _something_changes(self, data: dict[str, Any], **_: Any) -> None:
        if not data.get("values"):
            raise ValidationError("name at least one setting", "values")


class ExpirySchema(Schema):
    """When points expire, and how long before that is told."""

    model = fields.String(required=True, validate=validate.OneOf(EXPIRY_MODELS))
    months = fields.Integer(required=True, allow_none=True)
    period = fields.String(required=True, allow_none=True, validate=validate.OneOf([*EXPIRY_PERIODS, None]))
    periods = fields.Integer(required=True, allow_none=True)
    notice_days = fields.Integer(required=True)


class EarningSchema(Schema):
    """What an amount earns before the tier's multiplier."""

    points = fields.Integer(required=True)
    per = fields.String(required=True)


class SpendSchema(Schema):
    """What counts as net spend."""

    tax = fields.Boolean(required=True)


class SettingsValuesSchema(Schema):
    """Every setting that staff may change."""

    return_period_days = fields.Integer(required=True)
    points_expiry = fields.Nested(ExpirySchema, required=True)
    earning = fields.Nested(EarningSchema, required=True)
    point_value = fields.String(required=True)
    shortfall_policy = fields.String(required=True, validate=validate.OneOf(["clamp", "allow_negative"]))
    spend_counts = fields.Nested(SpendSchema, required=True)


class SettingsChangeSchema(Schema):
    """One setting that a version changed."""

    field = fields.String(required=True)
    before = fields.Raw(required=True, allow_none=True)
    after = fields.Raw(required=True, allow_none=True)


class SettingsVersionSchema(Schema):
    """One version of the settings: who, when, why, and what it changed."""

    version = fields.Integer(required=True)
    status = fields.String(
        required=True, validate=validate.OneOf(["in_force", "upcoming", "past", "replaced"])
    )
    effective_from = fields.String(required=True)
    created_at = fields.String(required=True)
    created_by = fields.String(required=True)
    reason = fields.String(required=True)
    values = fields.Nested(SettingsValuesSchema, required=True)
    changes = fields.List(fields.Nested(SettingsChangeSchema), required=True)


class SettingsSchema(SettingsVersionSchema):
    """The settings in force, what is fixed, and what is scheduled."""

    currency = fields.String(required=True, metadata={"description": "Fixed by the first start."})
    timezone = fields.String(required=True, metadata={"description": "Fixed by the first start."})
    upcoming = fields.List(fields.Nested(SettingsVersionSchema), required=True)


class SettingsVersionsSchema(Schema):
    """A page of versions, the newest first."""

    data = fields.List(fields.Nested(SettingsVersionSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class ProgrammePageQuery(StrictSchema):
    """Where to go on, and how far."""

    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = Text()


class Zone(fields.String):
    """A zone of the IANA database."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        name: str = super()._deserialize(value, attr, data, **kwargs)
        if name not in _ZONES:
            raise ValidationError("not an IANA zone such as Asia/Taipei")
        return name


class StoreBody(StrictSchema):
    """What is given of a store changes; null empties it."""

    name = Text(allow_none=True, min_length=1, max_length=200)
    timezone = Zone(
        allow_none=True,
        metadata={
            "description": "The zone its days are counted in; null: the programme's.",
            "pattern": r"^[A-Za-z][A-Za-z0-9_+/\-]{0,63}$",
        },
    )


class StoreSchema(Schema):
    """A store."""

    store_id = fields.String(required=True)
    name = fields.String(required=True, allow_none=True)
    timezone = fields.String(required=True, allow_none=True, metadata={"description": "Its own, or null."})
    counts_days_in = fields.String(
        required=True, metadata={"description": "Its own zone, or else the programme's."}
    )
    zone_fixed = fields.Boolean(
        required=True, metadata={"description": "Whether orders or refunds have been counted in its zone."}
    )
    created_at = fields.String(required=True)


class StoresSchema(Schema):
    """A page of stores by id."""

    data = fields.List(fields.Nested(StoreSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
