"""The statement that opens an answer about rewards."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from service.experiments.readable import subject
from service.kit.db import run
from service.ledger.readable import effective_points
from service.members.readable import known_rows
from service.recommendations.store_taken import packed_history, profiling

# Who asks, on which side of the hold-out, what points they have, whether we may look at what they bought, and
# what that was.
_OPENING = subject.add_columns(
    effective_points(known_rows.c.member_key).label("points"),
    profiling.label("profiling"),
    packed_history(with_categories=True).label("history"),
)


def find_opening(
    conn: Connection, *, member_id: str, timezone: str, locale: str, now: datetime, looked_since: datetime
) -> Row[Any]:
    """Return the one row that opens an answer."""
    values = {
        "member_id": member_id,
        "timezone": timezone,
        "locale": locale,
        "now": now,
        "looked_since": looked_since,
    }
    return run(conn, _OPENING, values).one()
