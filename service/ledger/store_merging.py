"""Every statement of a merge of two accounts that its entries do not make themselves."""

from __future__ import annotations

from sqlalchemy import Connection, text

from service.ledger.rules import Lot

_OPEN_LOTS = text(
    "SELECT lot_key, order_key, remaining, pending, earned_at, expires_at, held FROM lots "
    "WHERE member_key = :member_key AND remaining > 0 ORDER BY lot_key"
)

# All lots, the empty ones too: what was spent from them may come back. The due times go with the lots.
_HAND_OVER = text("""
WITH lots_over AS (
    UPDATE lots SET member_key = :into_member_key WHERE member_key = :from_member_key
), holds_over AS (
    UPDATE point_holds SET member_key = :into_member_key WHERE member_key = :from_member_key
), source AS (
    SELECT next_due_at FROM balances WHERE member_key = :from_member_key
), due_over AS (
    UPDATE balances b SET next_due_at = least(b.next_due_at, source.next_due_at) FROM source
    WHERE b.member_key = :into_member_key
)
UPDATE balances SET merged_into = :into_member_key, next_due_at = NULL WHERE member_key = :from_member_key
""")


def list_open_lots(conn: Connection, *, member_key: int) -> list[Lot]:
    """Return every lot with something left, held points included."""
    return [
        Lot(row.lot_key, row.order_key, row.remaining, row.pending, row.earned_at, row.expires_at)
        for row in conn.execute(_OPEN_LOTS, {"member_key": member_key})
    ]


def list_held(conn: Connection, *, member_key: int) -> dict[int, int]:
    """Return what holds have set aside, by lot."""
    rows = conn.execute(_OPEN_LOTS, {"member_key": member_key})
    return {row.lot_key: row.held for row in rows if row.held}


def hand_over(conn: Connection, *, from_member_key: int, into_member_key: int) -> None:
    """Let lots and holds belong to another account, and say where they went."""
    values = {"from_member_key": from_member_key, "into_member_key": into_member_key}
    conn.execute(_HAND_OVER, values)
