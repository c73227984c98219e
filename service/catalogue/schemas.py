"""JSON in and out of the catalogue."""

from marshmallow import Schema, fields, validate

from service.kit.fields import Currency, FreeForm, MerchantId, Money, StrictBoolean, StrictSchema, Text

LOCALE = validate.Regexp(r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*\Z", error="not a language tag")


class ItemBody(StrictSchema):
    """An item as the shop describes it; it replaces what was stored."""

    name = fields.Dict(
        keys=fields.String(validate=LOCALE),
        values=Text(max_length=300, min_length=1),
        metadata={"description": "Name per locale.", "example": {"en": "Oolong tea", "zh-Hant": "烏龍茶"}},
    )
    category = fields.List(Text(max_length=100, min_length=1), validate=validate.Length(max=20))
    price = Money(allow_none=True)
    currency = Currency(allow_none=True)
    available = StrictBoolean()
    attributes = FreeForm()


class ItemSchema(Schema):
    """An item."""

    sku = MerchantId(required=True)
    name = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    category = fields.List(fields.String(), required=True)
    price = fields.String(required=True, allow_none=True)
    currency = fields.String(required=True, allow_none=True)
    available = fields.Boolean(required=True)
    attributes = fields.Dict(required=True)
    stub = fields.Boolean(required=True, metadata={"description": "Seen in an order, not yet described."})
    created_at = fields.String(required=True)
    updated_at = fields.String(required=True)
