"""Every statement of a merge of two accounts that its entries do not make themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

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

# What the survivor's entries of a merge moved: what of its debt was brought, what they paid of it lot by lot,
# and what was brought of the lifetime sum.
_TRACES = text("""
WITH entries AS (
    SELECT transaction_key FROM ledger_transactions
    WHERE member_key = :member_key AND occurred_at = :merged_at AND kind = 'merge'
)
SELECT p.transaction_key, p.from_account, p.to_account, p.lot_key, p.points
FROM entries JOIN postings p USING (transaction_key)
WHERE p.from_account = 'debt' OR p.to_account = 'debt' OR 'issued' IN (p.from_account, p.to_account)
""")
_LAST_ENTRY = text(
    "SELECT max(transaction_key) FROM ledger_transactions "
    "WHERE member_key = :member_key AND occurred_at = :merged_at AND kind = 'merge'"
)
_LIFETIME_SINCE = text("""
SELECT CAST(coalesce(sum(CASE WHEN p.from_account IN ('issued', 'reversed') THEN p.points ELSE 0 END
                         - CASE WHEN p.to_account IN ('issued', 'reversed') THEN p.points ELSE 0 END), 0)
            AS bigint)
FROM ledger_transactions t JOIN postings p USING (transaction_key)
WHERE (t.order_key = ANY (CAST(:order_keys AS bigint[])) OR t.event_key = ANY (CAST(:event_keys AS bigint[])))
  AND t.member_key = :member_key AND t.transaction_key > :after
""")
# Whose a lot is says its order or its event, or the account that its first points were posted to.
_LOTS_OF = text("""
SELECT l.lot_key, l.order_key, l.remaining, l.pending, l.earned_at, l.expires_at FROM lots l
WHERE l.member_key = :member_key AND (
    l.order_key = ANY (CAST(:order_keys AS bigint[]))
    OR l.lot_key IN (SELECT p.lot_key FROM ledger_transactions t JOIN postings p USING (transaction_key)
                     WHERE t.event_key = ANY (CAST(:event_keys AS bigint[])))
    OR (SELECT p.member_key FROM postings p WHERE p.lot_key = l.lot_key
        ORDER BY p.transaction_key, p.posting_no LIMIT 1) = ANY (CAST(:family AS bigint[])))
ORDER BY l.lot_key
""")
_HAND_BACK = text("""
WITH lots_back AS (
    UPDATE lots SET member_key = :from_member_key WHERE lot_key = ANY (CAST(:lot_keys AS bigint[]))
), holds_back AS (
    UPDATE point_holds h SET member_key = :from_member_key
    WHERE h.member_key = :into_member_key AND (
        h.order_key = ANY (CAST(:order_keys AS bigint[]))
        OR EXISTS (SELECT FROM ledger_transactions t WHERE t.hold_id = h.hold_id AND t.kind = 'hold'
                   AND t.member_key = ANY (CAST(:family AS bigint[]))))
)
UPDATE balances SET merged_into = NULL WHERE member_key = :from_member_key
""")
# No hold is open: what is due next are lots alone. One that was given points back may be due already.
_REFRESH_DUE = text("""
UPDATE balances b SET next_due_at = (
    SELECT min(CASE WHEN l.pending THEN l.available_at ELSE l.expires_at END) FROM lots l
    WHERE l.member_key = b.member_key AND (l.remaining > 0 OR l.lot_key = ANY (CAST(:lot_keys AS bigint[]))))
WHERE b.member_key = ANY (CAST(:member_keys AS bigint[]))
""")


@dataclass(frozen=True, slots=True)
class Traces:
    """What a merge brought to the survivor besides lots, and what it paid of debts, by lot."""

    debt: int
    lifetime: int
    paid: dict[int, int]


def find_traces(
    conn: Connection,
    *,
    member_key: int,
    merged_at: datetime,
    order_keys: Sequence[int],
    event_keys: Sequence[int],
) -> Traces:
    """Return what a merge left behind, with the lifetime sum of some orders' and events' entries since."""
    values = {"member_key": member_key, "merged_at": merged_at}
    debt = lifetime = 0
    paid: dict[int, int] = {}
    for row in conn.execute(_TRACES, values):
        if row.from_account == "debt":
            debt += row.points
        elif row.to_account == "debt":
            paid[row.lot_key] = paid.get(row.lot_key, 0) + row.points
        else:
            lifetime += row.points if row.from_account == "issued" else -row.points
    after = conn.execute(_LAST_ENTRY, values).scalar_one()
    since = conn.execute(
        _LIFETIME_SINCE,
        {
            "member_key": member_key,
            "order_keys": list(order_keys),
            "event_keys": list(event_keys),
            "after": after or 0,
        },
    ).scalar_one()
    return Traces(debt, lifetime + since, paid)


def list_lots_of(
    conn: Connection,
    *,
    member_key: int,
    family: Sequence[int],
    order_keys: Sequence[int],
    event_keys: Sequence[int],
) -> list[Lot]:
    """Return a survivor's lots, empty ones too, that merged accounts brought or their facts earned since."""
    values = {
        "member_key": member_key,
        "family": list(family),
        "order_keys": list(order_keys),
        "event_keys": list(event_keys),
    }
    return [
        Lot(row.lot_key, row.order_key, row.remaining, row.pending, row.earned_at, row.expires_at)
        for row in conn.execute(_LOTS_OF, values)
    ]


def hand_back(
    conn: Connection,
    *,
    from_member_key: int,
    into_member_key: int,
    lot_keys: Sequence[int],
    family: Sequence[int],
    order_keys: Sequence[int],
) -> None:
    """Let lots, and the holds that were for them, belong to a merged account again, and open it."""
    values = {
        "from_member_key": from_member_key,
        "into_member_key": into_member_key,
        "lot_keys": list(lot_keys),
        "family": list(family),
        "order_keys": list(order_keys),
    }
    conn.execute(_HAND_BACK, values)
    conn.execute(
        _REFRESH_DUE, {"member_keys": [from_member_key, into_member_key], "lot_keys": list(lot_keys)}
    )


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
