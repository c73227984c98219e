"""What is outstanding, read set-based, against every member's own books at the same moment."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from sqlalchemy import Connection, text

from service.kit.clock import local_day, local_midnight
from service.ledger import operations as ledger
from service.ledger.rules import add_months
from service.tiers.liability import store
from tests.integration.ledger.books import TAIPEI


def check_liability(conn: Connection, *, at: datetime) -> None:
    """Check that the liability report has what all members have together, and accounts for every point."""
    first = local_day(store.find_first_lot(conn) or at, timezone=TAIPEI.timezone).replace(day=1)
    months = [add_months(first, months=months) for months in range(60)]
    starts = [local_midnight(month, timezone=TAIPEI.timezone) for month in months]
    rows = store.read_books(conn, at=at, starts=starts)
    found: Counter[str] = Counter()
    opened: Counter[int] = Counter()
    for row in rows:
        if row.issued is not None:
            opened[row.earned_in] += row.issued - row.used - row.flow_gone - row.taken
            continue
        for name in ("pending", "available", "held", "owed"):
            found[name] += row._mapping[name]
        if row.earned_in is not None:
            opened[row.earned_in] -= row.pending + row.available + row.held + row.paid + row.gone
    assert not any(opened.values()), "issued = used + expired + taken back + outstanding, for every month"
    expected: Counter[str] = Counter()
    for member_key in conn.scalars(text("SELECT member_key FROM balances ORDER BY member_key")).all():
        points = ledger.get_points_at(conn, member_key=member_key, at=at, programme=TAIPEI)
        expected["pending"] += points.pending
        expected["available"] += points.available + points.debt
        expected["held"] += points.held
        expected["owed"] += points.debt
    assert +found == +expected
