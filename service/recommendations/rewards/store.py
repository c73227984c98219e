"""The statement that opens an answer about rewards."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from service.experiments.readable import subject
from service.kit.db import run
from service.members.readable import consent_rows, known_rows

# Who asks, on which side of the hold-out, and whether we may look at what they bought.
_OPENING = subject.add_columns(
    select(consent_rows.c.profiling)
    .where(consent_rows.c.member_key == known_rows.c.member_key)
    .scalar_subquery()
    .label("profiling")
)


def find_opening(conn: Connection, *, member_id: str) -> Row[Any]:
    """Return the one row that opens an answer."""
    return run(conn, _OPENING, {"member_id": member_id}).one()
