"""Every statement of one member's account: locking, posting, reading.

A posting moves points from one account to another, so every transaction sums to zero by construction.
Whoever writes holds the member's row of `balances` first; the projections (balances, lots) are then
changed by the same statement that writes the entry behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from service.kit.db import run
from service.ledger.readable import effective_sql
from service.ledger.rules import Lot, Move, OrderRecord, rule_from_json


@dataclass(frozen=True, slots=True)
class Entry:
    """The head of a transaction: what happened, when, and what it refers to; `rule` is JSON text."""

    member_key: int
    kind: str
    occurred_at: datetime
    recorded_at: datetime
    order_key: int | None = None
    refund_key: int | None = None
    rule: str | None = None
    shortfall: int = 0
    reason: str | None = None
    actor: str | None = None
    import_key: int | None = None
    hold_id: UUID | None = None
    spend_id: UUID | None = None
    event_key: int | None = None

    def params(self) -> dict[str, Any]:
        """Return the statement's parameters."""
        return {name: getattr(self, name) for name in self.__slots__}


_OPEN = text(
    "INSERT INTO balances (member_key) SELECT unnest(CAST(:member_keys AS bigint[])) "
    "ON CONFLICT (member_key) DO NOTHING"
)

# What is due is read from the locked row itself: whoever waited for the lock sees it fresh, which a
# subquery on the lots would not (it keeps the snapshot from before the wait).
_LOCK = text(
    "SELECT member_key, pending, available, held, debt, lifetime_earned, merged_into, "
    "coalesce(next_due_at <= :now, false) AS is_due "
    "FROM balances WHERE member_key = :member_key FOR NO KEY UPDATE"
)

# `direct` is what is available at once and so pays the debt first; the account is locked by the caller.
# An order that has earned before changes nothing here: everything hangs on the entry.
_EARN = text("""
WITH entry AS (
    INSERT INTO ledger_transactions
        (member_key, kind, occurred_at, recorded_at, order_key, rule, reason, actor, import_key, event_key)
    VALUES (:member_key, :kind, :occurred_at, :recorded_at, :order_key, CAST(:rule AS jsonb),
            :reason, :actor, :import_key, :event_key)
    ON CONFLICT (order_key, kind, refund_key) WHERE kind IN ('earn', 'reverse') AND order_key IS NOT NULL
    DO NOTHING
    RETURNING transaction_key
), paying AS (
    SELECT e.transaction_key, least(b.debt, CAST(:direct AS bigint)) AS paid
    FROM entry e, balances b WHERE b.member_key = :member_key AND :points > 0
), account AS (
    UPDATE balances SET
        pending = pending + :points - :direct, available = available + :direct - paid, debt = debt - paid,
        lifetime_earned = lifetime_earned + :points,
        next_due_at = least(next_due_at, CAST(:due_at AS timestamptz))
    FROM paying WHERE member_key = :member_key
), lot AS (
    INSERT INTO lots
        (member_key, order_key, earned_at, available_at, expires_at, earned, remaining, pending, rolls)
    SELECT :member_key, :order_key, :occurred_at, :available_at, :expires_at, :points, :points - paid,
           CAST(:direct AS bigint) = 0, :rolls
    FROM paying RETURNING lot_key
), posted AS (
    INSERT INTO postings (transaction_key, posting_no, member_key, from_account, to_account, points, lot_key)
    SELECT p.transaction_key, 1, :member_key, 'issued',
           CASE WHEN CAST(:direct AS bigint) = 0 THEN 'pending' ELSE 'available' END, :points, lot.lot_key
    FROM paying p, lot
    UNION ALL
    SELECT p.transaction_key, 2, :member_key, 'available', 'debt', p.paid, lot.lot_key
    FROM paying p, lot WHERE p.paid > 0
)
SELECT transaction_key FROM entry
""")

_POST = text("""
WITH moves AS (
    SELECT * FROM unnest(CAST(:numbers AS smallint[]), CAST(:froms AS text[]), CAST(:tos AS text[]),
                         CAST(:amounts AS bigint[]), CAST(:lot_keys AS bigint[]))
        AS m (posting_no, from_account, to_account, points, lot_key)
), account AS (
    UPDATE balances SET pending = pending + :pending, available = available + :available,
        held = held + :held, debt = debt + :debt, lifetime_earned = lifetime_earned + :lifetime,
        next_due_at = least(next_due_at, CAST(:due_at AS timestamptz))
    WHERE member_key = :member_key
), entry AS (
    INSERT INTO ledger_transactions
        (member_key, kind, occurred_at, recorded_at, order_key, refund_key, rule, shortfall, reason, actor,
         import_key, hold_id, spend_id)
    VALUES (:member_key, :kind, :occurred_at, :recorded_at, :order_key, :refund_key, CAST(:rule AS jsonb),
            :shortfall, :reason, :actor, :import_key, :hold_id, :spend_id)
    RETURNING transaction_key
), lotted AS (
    UPDATE lots l SET remaining = l.remaining + d.change, held = l.held + d.held,
        earned = l.earned + d.issued
    FROM (
        SELECT lot_key, sum(CASE from_account WHEN 'issued' THEN points ELSE 0 END
                            - CASE to_account WHEN 'issued' THEN points ELSE 0 END) AS issued,
               sum(CASE WHEN to_account IN ('pending', 'available', 'held') THEN points ELSE 0 END
                   - CASE WHEN from_account IN ('pending', 'available', 'held') THEN points ELSE 0 END)
                   AS change,
               sum(CASE to_account WHEN 'held' THEN points ELSE 0 END
                   - CASE from_account WHEN 'held' THEN points ELSE 0 END) AS held
        FROM moves WHERE lot_key IS NOT NULL GROUP BY lot_key
    ) d WHERE l.lot_key = d.lot_key
), posted AS (
    INSERT INTO postings (transaction_key, posting_no, member_key, from_account, to_account, points, lot_key)
    SELECT e.transaction_key, m.posting_no, :member_key, m.from_account, m.to_account, m.points, m.lot_key
    FROM entry e, moves m
)
SELECT transaction_key FROM entry
""")

# When lots expire changes by an entry alone; the account is locked by the caller.
_CHANGE_EXPIRIES = text("""
WITH changed AS (
    SELECT l.lot_key, l.expires_at AS expires_before, c.expires_after
    FROM unnest(CAST(:lot_keys AS bigint[]), CAST(:expiries AS timestamptz[])) AS c (lot_key, expires_after)
    JOIN lots l ON l.lot_key = c.lot_key
), entered AS (
    INSERT INTO lot_expiries (transaction_key, lot_key, expires_before, expires_after)
    SELECT :transaction_key, lot_key, expires_before, expires_after FROM changed
)
UPDATE lots l SET expires_at = c.expires_after FROM changed c WHERE l.lot_key = c.lot_key
""")

# Only the lots that the draw can reach, in the order of rules.allocate: a member of many years has hundreds.
_LOTS = text("""
SELECT lot_key, order_key, free AS remaining, pending, earned_at, expires_at
FROM (
    SELECT *, remaining - held AS free,
           sum(remaining - held) OVER (ORDER BY expires_at NULLS LAST, earned_at, lot_key) - remaining + held
               AS before
    FROM lots WHERE member_key = :member_key AND remaining > 0 AND remaining > held AND NOT pending
) l
WHERE before < :points
""")

# The order's entries summed, a take-back for this refund (null: the cancellation) if there is one, and the
# open lots that taking all of it back could reach; what is held is out of reach.
_ORDER = text("""
WITH entries AS (
    SELECT t.transaction_key, t.kind, t.refund_key, t.rule, t.shortfall, p.issued, p.reversed, p.owed
    FROM ledger_transactions t LEFT JOIN LATERAL (
        SELECT sum(CASE WHEN from_account = 'issued' THEN points
                        WHEN to_account = 'issued' THEN -points END) AS issued,
               sum(CASE WHEN to_account = 'reversed' THEN points
                        WHEN from_account = 'reversed' THEN -points END) AS reversed,
               sum(points) FILTER (WHERE from_account = 'debt') AS owed
        FROM postings WHERE transaction_key = t.transaction_key
    ) p ON true
    WHERE t.order_key = :order_key
), marked AS (
    SELECT *, kind = 'reverse' AND refund_key IS NOT DISTINCT FROM CAST(:refund_key AS bigint) AS is_repeat
    FROM entries
), record AS (
    SELECT (array_agg(rule ORDER BY transaction_key DESC) FILTER (WHERE rule IS NOT NULL))[1] AS rule,
           CAST(coalesce(sum(issued), 0) AS bigint) AS earned,
           CAST(coalesce(sum(reversed), 0) AS bigint) AS reversed,
           CAST(coalesce(sum(shortfall), 0) AS bigint) AS shortfall,
           coalesce(bool_or(is_repeat), false) AS is_repeat,
           CAST(coalesce(sum(reversed) FILTER (WHERE is_repeat), 0) AS bigint) AS first_points,
           CAST(coalesce(sum(shortfall) FILTER (WHERE is_repeat), 0) AS bigint) AS first_shortfall,
           CAST(coalesce(sum(owed) FILTER (WHERE is_repeat), 0) AS bigint) AS first_debt,
           min(transaction_key) FILTER (WHERE kind = 'earn') AS earn_key,
           CAST(coalesce(sum(issued) FILTER (WHERE kind = 'earn'), 0) AS bigint) AS first_earned
    FROM marked
)
SELECT r.*, l.lot_key, l.order_key, l.free AS remaining, l.pending, l.earned_at, l.expires_at
FROM record r LEFT JOIN (
    SELECT *, remaining - held AS free,
           sum(remaining - held) OVER (
               ORDER BY (order_key IS NOT DISTINCT FROM :order_key) DESC, pending DESC, expires_at NULLS LAST,
                        earned_at, lot_key) - remaining + held AS before
    FROM lots WHERE member_key = :member_key AND remaining > 0 AND remaining > held
) l ON l.before < r.earned
""")

_LOT_OF_ORDER = text("SELECT min(available_at) FROM lots WHERE order_key = :order_key")

_EARNED_BY_ORDER = text(
    "SELECT order_key, sum(earned) AS points FROM lots "
    "WHERE order_key = ANY(CAST(:order_keys AS bigint[])) GROUP BY order_key"
)

_TAKEN_BACK = text("""
SELECT CAST(coalesce(sum(p.points), 0) AS bigint) AS points,
       CAST(coalesce(sum(p.owed), 0) AS bigint) AS debt,
       CAST(coalesce(sum(t.shortfall), 0) AS bigint) AS shortfall
FROM ledger_transactions t LEFT JOIN LATERAL (
    SELECT sum(points) AS points, sum(points) FILTER (WHERE from_account = 'debt') AS owed
    FROM postings WHERE transaction_key = t.transaction_key
) p ON true
WHERE (t.member_key = :member_key OR t.order_key = ANY (CAST(:order_keys AS bigint[])))
  AND t.kind = 'reverse' AND t.refund_key = :refund_key
""")

_EFFECTIVE = text(effective_sql(":member_key"))


def open_accounts(conn: Connection, *, member_keys: Sequence[int]) -> None:
    """Open the accounts that do not exist yet."""
    conn.execute(_OPEN, {"member_keys": list(member_keys)})


def lock(conn: Connection, *, member_key: int, now: datetime) -> Row[Any] | None:
    """Lock a member's balances row; `is_due` says whether something may have to be posted first."""
    return run(conn, _LOCK, {"member_key": member_key, "now": now}).one_or_none()


def earn(
    conn: Connection,
    *,
    entry: Entry,
    points: int,
    available_at: datetime,
    expires_at: datetime | None,
    rolls: bool = False,
) -> int | None:
    """Write an award with its lot; return its key, or None when the order has earned before."""
    at_once = available_at <= entry.occurred_at
    values = entry.params() | {
        "points": points,
        "direct": points if at_once else 0,
        "available_at": available_at,
        "expires_at": expires_at,
        "due_at": expires_at if at_once else available_at,
        "rolls": rolls,
    }
    return run(conn, _EARN, values).scalar_one_or_none()


def post(conn: Connection, *, entry: Entry, moves: Sequence[Move], due_at: datetime | None = None) -> int:
    """Write a transaction with its postings and everything that follows from them; return its key.

    `due_at` is when something that comes with it becomes due: a lot that is added to, a hold that ends.
    """
    values = entry.params() | {
        "due_at": due_at,
        "numbers": list(range(1, len(moves) + 1)),
        "froms": [move.from_account for move in moves],
        "tos": [move.to_account for move in moves],
        "amounts": [move.points for move in moves],
        "lot_keys": [move.lot_key for move in moves],
        "pending": _change(moves, "pending"),
        "available": _change(moves, "available"),
        "held": _change(moves, "held"),
        "debt": -_change(moves, "debt"),
        "lifetime": -_change(moves, "issued") - _change(moves, "reversed"),
    }
    return int(run(conn, _POST, values).scalar_one())


def change_expiries(
    conn: Connection, *, transaction_key: int, expiries: Mapping[int, datetime | None]
) -> None:
    """Move the expiry of lots (lot key → moment, None: never), as an entry says."""
    values = {
        "transaction_key": transaction_key,
        "lot_keys": list(expiries),
        "expiries": list(expiries.values()),
    }
    conn.execute(_CHANGE_EXPIRIES, values)


def _change(moves: Sequence[Move], account: str) -> int:
    return sum(
        move.points * ((move.to_account == account) - (move.from_account == account)) for move in moves
    )


def list_available_lots(conn: Connection, *, member_key: int, points: int) -> list[Lot]:
    """Return the open lots that a draw of so many available points can reach."""
    return [_lot(row) for row in run(conn, _LOTS, {"member_key": member_key, "points": points})]


def get_order(
    conn: Connection, *, member_key: int, order_key: int, refund_key: int | None
) -> tuple[OrderRecord | None, Row[Any], list[Lot]]:
    """Return what is held of an order (None: nothing), its first answers, and the lots it could draw on."""
    rows = conn.execute(
        _ORDER, {"member_key": member_key, "order_key": order_key, "refund_key": refund_key}
    ).all()
    head = rows[0]
    record = None
    if head.rule is not None:
        rule, eligible_minor = rule_from_json(head.rule)
        record = OrderRecord(
            rule, eligible_minor, head.earned, head.reversed, head.shortfall, head.rule.get("terms")
        )
    return record, head, [_lot(row) for row in rows if row.lot_key is not None]


def sum_earned(conn: Connection, *, order_keys: Sequence[int]) -> dict[int, int]:
    """Return what each of these orders earned, those that have a lot."""
    rows = run(conn, _EARNED_BY_ORDER, {"order_keys": list(order_keys)})
    return {row.order_key: int(row.points) for row in rows}


def find_available_at(conn: Connection, *, order_key: int) -> datetime | None:
    """Return when an order's points become available; None when it earned none."""
    at: datetime | None = conn.execute(_LOT_OF_ORDER, {"order_key": order_key}).scalar_one()
    return at


def get_taken_back(
    conn: Connection, *, member_key: int, refund_key: int, order_keys: Sequence[int]
) -> Row[Any]:
    """Return the points, debt and shortfall that a refund came to, by its member or the orders it reduced."""
    values = {"member_key": member_key, "refund_key": refund_key, "order_keys": list(order_keys)}
    return conn.execute(_TAKEN_BACK, values).one()


def _lot(row: Row[Any]) -> Lot:
    return Lot(row.lot_key, row.order_key, row.remaining, row.pending, row.earned_at, row.expires_at)


def read_effective(conn: Connection, *, member_key: int, now: datetime) -> Sequence[Row[Any]]:
    """Return a member's open points as they effectively stand, grouped by state and expiry."""
    return run(conn, _EFFECTIVE, {"member_key": member_key, "now": now}).all()
