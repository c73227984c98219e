"""Prefixed UUIDv7 ids for what Tidemark makes itself (RFC 9562 §5.7)."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LAST_62 = (1 << 62) - 1
# One spelling only, and a time before the year 4200: UUID() itself takes signs, braces and blanks.
_UUID7 = re.compile(r"[0-3][0-9a-f]{11}7[0-9a-f]{3}[89ab][0-9a-f]{15}\Z", re.ASCII)


def new_uuid(now: datetime) -> UUID:
    """Return a UUIDv7: 48 bits of milliseconds, then 74 random bits."""
    return UUID(int=_draw(now))


def new_id(prefix: str, now: datetime) -> str:
    """Return an id such as `rec_019aa6c0f0d07b1f8d0f3f0a5f1e2d3c`."""
    return f"{prefix}_{_draw(now):032x}"


def _draw(now: datetime) -> int:
    milliseconds = (now - _EPOCH) // _MILLISECOND
    chance = int.from_bytes(os.urandom(10))
    return milliseconds << 80 | 0x7 << 76 | (chance >> 68) << 64 | 0b10 << 62 | chance & _LAST_62


def parse_id(prefix: str, value: str) -> tuple[UUID, datetime]:
    """Return the UUID of a prefixed id and the moment it was made.

    Raises:
        ValueError: not an id of that prefix.
    """
    head, _, tail = value.partition("_")
    if head != prefix or not _UUID7.match(tail):
        raise ValueError(f"not a {prefix}_ id")
    uuid = UUID(hex=tail)
    return uuid, _EPOCH + timedelta(milliseconds=uuid.int >> 80)
