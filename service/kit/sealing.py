"""Seal what is personal, and find it again by exact match without opening it."""

from __future__ import annotations

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"


class Sealer:
    """AES-256-GCM under a key derived from the application key; blind indexes are keyed HMAC-SHA-256."""

    def __init__(self, secret_key: bytes) -> None:
        self._aead = AESGCM(_derive(secret_key, b"seal"))
        self._index_key = _derive(secret_key, b"blind-index")

    def seal(self, text: str | None) -> bytes | None:
        """Return `text` sealed: one version byte, 12 bytes nonce, ciphertext and tag."""
        return None if text is None else self.seal_bytes(text.encode())

    def seal_bytes(self, content: bytes) -> bytes:
        """Return bytes sealed likewise."""
        nonce = os.urandom(12)
        return _VERSION + nonce + self._aead.encrypt(nonce, content, None)

    def open(self, sealed: bytes | None) -> str | None:
        """Return what was sealed.

        Raises:
            ValueError: sealed under another key, or damaged.
        """
        return None if sealed is None else self.open_bytes(sealed).decode()

    def open_bytes(self, sealed: bytes) -> bytes:
        """Return the bytes that were sealed.

        Raises:
            ValueError: sealed under another key, or damaged.
        """
        try:
            if sealed[:1] != _VERSION or len(sealed) < 1 + 12 + 16:
                raise InvalidTag
            return self._aead.decrypt(sealed[1:13], sealed[13:], None)
        except InvalidTag as error:
            raise ValueError("sealed under another application key, or damaged") from error

    def blind_index(self, text: str | None) -> bytes | None:
        """Return 32 bytes that are equal for equal text (letter case and outer blanks aside)."""
        if text is None:
            return None
        return hmac.digest(self._index_key, text.strip().casefold().encode(), "sha256")


def _derive(secret_key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(hashlib.sha256(secret_key).digest(), b"tidemark/" + purpose, "sha256")
