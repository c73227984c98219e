"""JSON in and out of the access room."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from service.access.operations import Key
from service.access.rules import LONGEST_OVERLAP_SECONDS, LONGEST_TOKEN_SECONDS, ORIGIN_PATTERN
from service.kit.auth import ROLES
from service.kit.clock import format_time
from service.kit.fields import MerchantId, Moment, QueryWhole, StrictSchema, Text, Whole


class KeyBody(StrictSchema):
    """A key to be made."""

    role = fields.String(required=True, validate=validate.OneOf(ROLES))
    label = Text(required=True, min_length=1, max_length=200, metadata={"description": "Who uses it."})
    store_ids = fields.List(
        MerchantId(),
        allow_none=True,
        validate=validate.Length(min=1, max=1000),
        metadata={"description": "The only stores it may be used for; null: every store."},
    )
    origins = fields.List(
        Text(min_length=1, max_length=255, metadata={"pattern": ORIGIN_PATTERN}),
        validate=validate.Length(max=100),
        metadata={"description": "Storefront keys: the origins of the pages that may use it."},
    )
    expires_at = Moment(allow_none=True, metadata={"description": "Its end; null: none."})


class RotateBody(StrictSchema):
    """How long the secret that is replaced goes on."""

    overlap_seconds = Whole(least=0, most=LONGEST_OVERLAP_SECONDS, load_default=86_400)


class KeysQuery(StrictSchema):
    """A page of keys."""

    limit = QueryWhole(least=1, most=500, load_default=50)
    cursor = Text()


class KeySchema(Schema):
    """A key: everything but its secret."""

    key_id = fields.String(required=True)
    role = fields.String(required=True)
    label = fields.String(required=True)
    store_ids = fields.List(fields.String(), required=True, allow_none=True)
    origins = fields.List(fields.String(), required=True)
    created_at = fields.String(required=True)
    created_by = fields.String(required=True, allow_none=True)
    last_used_at = fields.String(
        required=True, allow_none=True, metadata={"description": "To within ten minutes."}
    )
    expires_at = fields.String(required=True, allow_none=True)
    revoked_at = fields.String(required=True, allow_none=True)
    previous_until = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Until when a secret that was rotated out is still accepted."},
    )


class NewKeySchema(KeySchema):
    """A key with its secret, which is shown this once."""

    secret = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Null when the answer is given again: it is not kept."},
    )
    note = fields.String(metadata={"description": "Why the secret is null."})


class KeysSchema(Schema):
    """A page of keys."""

    data = fields.List(fields.Nested(KeySchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class MemberTokenBody(StrictSchema):
    """For whom, and for how long."""

    member_id = MerchantId(required=True)
    ttl_seconds = Whole(least=1, most=LONGEST_TOKEN_SECONDS, load_default=900)
    storefront_key_id = MerchantId(
        allow_none=True,
        metadata={"description": "The storefront key whose pages use it; else the oldest that stands."},
    )


class MemberTokenSchema(Schema):
    """A token for a browser."""

    token = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Null when the answer is given again: it is not kept."},
    )
    member_id = fields.String(required=True)
    storefront_key_id = fields.String(required=True)
    expires_at = fields.String(required=True)
    note = fields.String(metadata={"description": "Why the token is null."})


def key_view(key: Key) -> dict[str, Any]:
    """Return a key as the API shows it."""
    return {
        "key_id": key.key_id,
        "role": key.role,
        "label": key.label,
        "store_ids": None if key.store_ids is None else list(key.store_ids),
        "origins": list(key.origins),
        "created_by": key.created_by,
    } | {
        name: None if moment is None else format_time(moment)
        for name, moment in (
            ("created_at", key.created_at),
            ("last_used_at", key.last_used_at),
            ("expires_at", key.expires_at),
            ("revoked_at", key.revoked_at),
            ("previous_until", key.previous_until),
        )
    }
