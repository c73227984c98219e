"""What every fact is checked for, and where its day is counted."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from service.kit.clock import FUTURE_TOLERANCE
from service.kit.errors import FieldError, FutureTime
from service.programme.operations import Programme, StoreRef, ensure_stores


def refuse_future(at: datetime, *, now: datetime, pointer: str) -> None:
    """Refuse a time that lies in the future, allowing for clocks that differ.

    Raises:
        FutureTime: it is more than five minutes ahead.
    """
    if at > now + FUTURE_TOLERANCE:
        ahead = timedelta(seconds=int((at - now).total_seconds()))
        raise FutureTime(f"{ahead} ahead of our clock", errors=[FieldError("in the future", pointer=pointer)])


def store_of(conn: Connection, store_id: str | None, programme: Programme, now: datetime) -> StoreRef:
    """Return the store a fact names, added if it is new; none named means the programme's zone."""
    if store_id is None:
        return StoreRef(None, programme.timezone)
    return ensure_stores(conn, store_ids=[store_id], programme=programme, now=now)[store_id]
