"""Every statement of points that were spent outside an order."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from service.kit.db import run
from service.ledger.rules import Lot

_UNRETURNED = text("""
SELECT l.lot_key, l.member_key, l.order_key, p.points, l.earned_at, l.expires_at
FROM ledger_transactions t JOIN postings p USING (transaction_key) JOIN lots l USING (lot_key)
WHERE t.spend_id = :spend_id AND t.kind = 'redeem' AND NOT EXISTS (
    SELECT FROM ledger_transactions r WHERE r.spend_id = t.spend_id AND r.kind = 'unredeem')
ORDER BY l.lot_key
""")


def list_unreturned(conn: Connection, *, spend_id: UUID) -> list[tuple[int, Lot]]:
    """Return what was spent of each lot, as `remaining`, with its owner; nothing once it was given back."""
    return [
        (row.member_key, Lot(row.lot_key, row.order_key, row.points, False, row.earned_at, row.expires_at))
        for row in run(conn, _UNRETURNED, {"spend_id": spend_id})
    ]
