"""Lists in pages by keyset: stable under writes, and as cheap on page 1,000 as on page 1."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, TypeVar

import orjson

from service.kit.errors import FieldError, Malformed

DEFAULT_LIMIT = 50
MAX_LIMIT = 500

T = TypeVar("T")


def encode_cursor(*key: object) -> str:
    """Return an opaque cursor for the sort key of the last row of a page."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def decode_cursor(cursor: str | None, *, types: Sequence[type]) -> list[Any] | None:
    """Return the sort key that a cursor holds, or None for the first page.

    Raises:
        Malformed: not a cursor of this list.
    """
    if cursor is None:
        return None
    try:
        key = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        key = None
    if not isinstance(key, list) or len(key) != len(types) or not all(map(_fits, key, types)):
        raise Malformed(errors=[FieldError("not a cursor of this list", parameter="cursor")])
    return key


def _fits(value: object, kind: type) -> bool:
    """Tell whether a forged value would still be one that PostgreSQL takes."""
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    if isinstance(value, int):
        return abs(value) < 2**63
    return not isinstance(value, str) or "\x00" not in value


def page(rows: Sequence[T], *, limit: int, cursors: Sequence[str]) -> dict[str, Any]:
    """Return `{"data", "next_cursor"}` from up to `limit` + 1 rows and each row's own cursor."""
    more = len(rows) > limit
    return {"data": list(rows[:limit]), "next_cursor": cursors[limit - 1] if more else None}
