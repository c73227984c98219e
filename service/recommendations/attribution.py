"""Tokens that tie an echo to the answer it came from: HMAC over id, member, issue, window end and key id.

A token says that we sent this, to this member, then; it never carries truth about arms or outcomes, which
are read from the assignment table. Pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from service.recommendations.errors import TokenExpired, TokenForeign, TokenForged

_VERSION = "v1"
_MAC_BYTES = 16
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


@dataclass(frozen=True, slots=True)
class AttributionKeys:
    """The signing key by its id, and older ones that still verify."""

    current: str
    secrets: Mapping[str, bytes]
    _begun: Mapping[str, tuple[Any, Any]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Begin both hashes of an HMAC with each key (RFC 2104, section 4): copies cost a third of that.

        A key is at most a block of 64 bytes.
        """
        begun = {}
        for key_id, secret in self.secrets.items():
            block = secret.ljust(64, b"\0")
            begun[key_id] = hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))
        object.__setattr__(self, "_begun", begun)

    def sign(self, key_id: str, text: bytes) -> bytes:
        """Return the HMAC-SHA256 of a text by one of the keys."""
        inner, outer = self._begun[key_id]
        inner, outer = inner.copy(), outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        digest: bytes = outer.digest()
        return digest

    @classmethod
    def derive(cls, secret_key: bytes, *, older: Sequence[bytes] = ()) -> AttributionKeys:
        """Return keys derived from application keys, the first of which signs."""
        derived = [
            hmac.digest(hashlib.sha256(one).digest(), b"tidemark/attribution", "sha256")
            for one in (secret_key, *older)
        ]
        secrets = {hashlib.sha256(b"id" + key).hexdigest()[:8]: key for key in derived}
        return cls(current=next(iter(secrets)), secrets=secrets)


@dataclass(frozen=True, slots=True)
class Attribution:
    """What a token says once it is believed."""

    recommendation_id: str
    issued_at: datetime
    window_end: datetime


def sign_token(
    keys: AttributionKeys,
    *,
    recommendation_id: str,
    member_id: str | None,
    issued_at: datetime,
    window_end: datetime,
) -> str:
    """Return the token `v1.<payload>.<hmac>`; times are kept to the second."""
    key_id = keys.current
    fields = [
        recommendation_id,
        _member_mark(keys, key_id, member_id),
        int(issued_at.timestamp()),
        int(window_end.timestamp()),
        key_id,
    ]
    payload = _encode(orjson.dumps(fields))
    return f"{_VERSION}.{payload}.{_mac(keys, key_id, payload)}"


def verify_token(
    keys: AttributionKeys,
    token: str,
    *,
    member_id: str | None,
    now: datetime,
    recommendation_id: str | None = None,
) -> Attribution:
    """Return what a token says, if it was made here, for this member, and its window is not over.

    With `recommendation_id`, it must also be that recommendation's.

    Raises:
        TokenForged: not a token of ours, or changed.
        TokenForeign: another member's, or another recommendation's.
        TokenExpired: the window it was good for has ended.
    """
    version, _, rest = token.partition(".")
    payload, _, mac = rest.partition(".")
    fields = _decode_fields(payload)
    if version != _VERSION or fields is None:
        raise TokenForged
    key_id = fields[4]
    # As bytes: a comparison of texts refuses what is not ASCII instead of telling it apart.
    if key_id not in keys.secrets or not hmac.compare_digest(
        _mac(keys, key_id, payload).encode(), mac.encode("utf-8", "surrogatepass")
    ):
        raise TokenForged
    if not hmac.compare_digest(fields[1], _member_mark(keys, key_id, member_id)):
        raise TokenForeign
    if recommendation_id is not None and recommendation_id != fields[0]:
        raise TokenForeign
    attribution = Attribution(
        fields[0], datetime.fromtimestamp(fields[2], UTC), datetime.fromtimestamp(fields[3], UTC)
    )
    if now >= attribution.window_end:
        raise TokenExpired
    return attribution


def _member_mark(keys: AttributionKeys, key_id: str, member_id: str | None) -> str:
    """Return a mark of the member that says nothing to whoever cannot make it."""
    if member_id is None:
        return ""
    return keys.sign(key_id, b"member/" + member_id.encode())[:8].hex()


def _mac(keys: AttributionKeys, key_id: str, payload: str) -> str:
    text = f"{_VERSION}.{payload}".encode("utf-8", "surrogatepass")
    return _encode(keys.sign(key_id, text)[:_MAC_BYTES])


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode_fields(payload: str) -> tuple[str, str, int, int, str] | None:
    try:
        raw = base64.urlsafe_b64decode(payload.encode("ascii") + b"=" * (-len(payload) % 4))
        fields = orjson.loads(raw)
    except (ValueError, binascii.Error):
        return None
    shape = (str, str, int, int, str)
    if not isinstance(fields, list) or len(fields) != len(shape):
        return None
    if not all(isinstance(value, kind) for value, kind in zip(fields, shape, strict=True)):
        return None
    return fields[0], fields[1], fields[2], fields[3], fields[4]
