"""Short-lived tokens for browsers: one member, one storefront key, a time to end. Nothing is stored.

A token is `tmt_<payload>.<mac>`: base64url of a JSON array (version, storefront key's id, member's id, end in
seconds since 1970) and of its HMAC-SHA-256 (RFC 2104). Its storefront key must stand when it is used, so
revoking that key ends every token made for it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

PREFIX = "tmt_"
_VERSION = 1
_MOST_CHARACTERS = 1024


@dataclass(frozen=True, slots=True)
class MemberClaim:
    """What a token says once it is believed; whether it has ended is for the reader to judge."""

    key_id: str
    member_id: str
    expires_at: datetime


def derive_key(secret_key: bytes) -> bytes:
    """Return the signing key that belongs to the application key."""
    return hmac.digest(hashlib.sha256(secret_key).digest(), b"tidemark/member-token", "sha256")


def sign_token(claim: MemberClaim, *, key: bytes) -> str:
    """Return the token for a claim; its end is kept to the second."""
    ends = int(claim.expires_at.timestamp())
    payload = _encode(orjson.dumps([_VERSION, claim.key_id, claim.member_id, ends]))
    return f"{PREFIX}{payload}.{_encode(_mac(payload, key))}"


def read_token(token: str, *, key: bytes) -> MemberClaim | None:
    """Return what a token says, or None when we did not sign it; the comparison takes constant time."""
    payload, _, mac = token.removeprefix(PREFIX).partition(".")
    if len(token) > _MOST_CHARACTERS or not token.isascii():
        return None
    # Compared as text: another spelling of the same bytes is not the token that was handed out.
    if not hmac.compare_digest(mac, _encode(_mac(payload, key))):
        return None
    try:
        version, key_id, member_id, ends = orjson.loads(
            base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        )
    except (ValueError, TypeError, binascii.Error):
        return None
    if version != _VERSION:
        return None
    return MemberClaim(key_id=key_id, member_id=member_id, expires_at=datetime.fromtimestamp(ends, UTC))


def _mac(payload: str, key: bytes) -> bytes:
    return hmac.digest(key, payload.encode(), "sha256")


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
