"""Routes of access: keys for staff, tokens for browsers."""

from __future__ import annotations

from typing import Any

from service.access import operations
from service.access.errors import KeyNotLive, StorefrontKeyNeeded, UnknownKey
from service.access.schemas import (
    KeyBody,
    KeySchema,
    KeysQuery,
    KeysSchema,
    MemberTokenBody,
    MemberTokenSchema,
    NewKeySchema,
    RotateBody,
    key_view,
)
from service.kit.audit import actor_of
from service.kit.clock import format_time
from service.kit.http import Blueprint, Door
from service.kit.member_tokens import derive_key
from service.kit.pagination import decode_cursor, encode_cursor, page

blueprint = Blueprint("access", __name__, url_prefix="/v1", description="Keys and member tokens.")


@blueprint.door(
    "GET", "/keys", roles=("admin",), query=KeysQuery(), answers={200: KeysSchema()}, store_scope=True
)
def list_keys(door: Door, query: dict[str, Any]) -> object:
    """List keys in the order they were made, revoked ones too; never their secrets.

    Like everything about keys, not for keys held to stores: they could give themselves the others.
    """
    door.caller.check_every_store()
    after = decode_cursor(query.get("cursor"), types=(str,))
    keys = operations.list_keys(
        door.conn, after=after[0] if after else "", limit=query["limit"] + 1, now=door.now
    )
    cursors = [encode_cursor(key.key_id) for key in keys]
    return page([key_view(key) for key in keys], limit=query["limit"], cursors=cursors)


@blueprint.door(
    "POST",
    "/keys",
    roles=("admin",),
    body=KeyBody(),
    answers={201: NewKeySchema()},
    idempotency_key="required",
    secret_fields=("secret",),
    store_scope=True,
)
def create_key(door: Door, body: dict[str, Any]) -> object:
    """Make a key and show its secret, this once.

    Only a hash of the secret is kept. The answer to a repeated request shows it as null.
    """
    door.caller.check_every_store()
    key, secret = operations.create_key(
        door.conn,
        role=body["role"],
        label=body["label"],
        store_ids=body.get("store_ids"),
        origins=body.get("origins") or (),
        expires_at=body.get("expires_at"),
        actor=actor_of(door.caller),
        request_id=door.request_id,
        now=door.now,
    )
    door.after_commit.append(door.desk.authenticator.forget)
    return key_view(key) | {"secret": secret}, 201


@blueprint.door(
    "POST",
    "/keys/<id:key_id>/rotate",
    roles=("admin",),
    body=RotateBody(),
    answers={200: NewKeySchema()},
    refusals=(UnknownKey, KeyNotLive),
    idempotency_key="required",
    secret_fields=("secret",),
    store_scope=True,
)
def rotate_key(door: Door, key_id: str, body: dict[str, Any]) -> object:
    """Give a key a new secret and show it, this once; the old one goes on for the overlap.

    Whoever holds the key changes over within that time. A secret that was rotated out earlier ends at once.
    """
    door.caller.check_every_store()
    key, secret = operations.rotate_key(
        door.conn,
        key_id=key_id,
        overlap_seconds=body["overlap_seconds"],
        actor=actor_of(door.caller),
        request_id=door.request_id,
        now=door.now,
    )
    door.after_commit.append(door.desk.authenticator.forget)
    return key_view(key) | {"secret": secret}


@blueprint.door(
    "DELETE",
    "/keys/<id:key_id>",
    roles=("admin",),
    answers={200: KeySchema()},
    refusals=(UnknownKey,),
    store_scope=True,
)
def revoke_key(door: Door, key_id: str) -> object:
    """Revoke a key, with every member token made for it. It stays in the list; there is no way back."""
    door.caller.check_every_store()
    key = operations.revoke_key(
        door.conn, key_id=key_id, actor=actor_of(door.caller), request_id=door.request_id, now=door.now
    )
    door.after_commit.append(door.desk.authenticator.forget)
    return key_view(key)


@blueprint.door(
    "POST",
    "/member-tokens",
    roles=("server", "admin"),
    body=MemberTokenBody(),
    answers={201: MemberTokenSchema()},
    refusals=(StorefrontKeyNeeded,),
    idempotency_key="optional",
    secret_fields=("token",),
)
def issue_member_token(door: Door, body: dict[str, Any]) -> object:
    """Make a short-lived token with which a browser reaches one member and nobody else.

    The browser sends it as `Authorization: Bearer tmt_…` in place of the storefront key, which is named
    inside. Nothing is stored: whether the member exists shows when the token is used.
    """
    claim, token = operations.issue_member_token(
        door.conn,
        member_id=body["member_id"],
        storefront_key_id=body.get("storefront_key_id"),
        ttl_seconds=body["ttl_seconds"],
        token_key=derive_key(door.desk.settings.secret_key),
        now=door.now,
    )
    return {
        "token": token,
        "member_id": claim.member_id,
        "storefront_key_id": claim.key_id,
        "expires_at": format_time(claim.expires_at),
    }, 201
