"""Imported history: what members' orders earned and refunds took back, posted with its true dates.

What the importer stages is the whole truth of an order as known now; only what the ledger lacks of it is
posted. The first run writes the history, a later one corrections, an identical one nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row

from service.ledger import store, store_due, store_history
from service.ledger.rules import Move, allocate, reversals
from service.ledger.store import Entry


@dataclass(frozen=True, slots=True)
class HistoryPosted:
    """How many transactions a run wrote, and how many of them correct what an earlier run wrote."""

    transactions: int
    corrections: int


def create_history_table(conn: Connection) -> None:
    """Create the temporary table `ledger_history`, which lives until the transaction ends.

    One row per order, with its rule and `refund_key` NULL:

    - `member_key`, `order_key`, `occurred_at` (when it was placed);
    - `eligible_minor`: the amount that earns, programme minor units;
    - `rule_points`, `rule_per_minor`, `multiplier_bp`, `tier`: the rule, as in `EarningRule`;
    - `available_at`, `expires_at` (NULL: never): of its lot; kept from the first run when they differ later;
    - `rolls` (default false): whether later activity moves `expires_at` on;
    - `rules_version` (NULL: those of the first start): which earning rules said so;
    - `terms` and `points`: of an award by terms of its own, what they are and what they come to.

    One row per refund or cancellation of such an order, whichever door it came by, without a rule:

    - `member_key`, `order_key`, `refund_key` (NULL: the cancellation), `occurred_at` (not in the future);
    - `eligible_minor`: what of the order's is *left* after this refund and all before it;
    - `points`: what the order's terms leave then, where it has terms of its own.

    Points are computed here, by the same arithmetic as for live orders.
    """
    store_history.create_tables(conn)


def post_history(
    conn: Connection,
    *,
    now: datetime,
    import_key: int,
    policy: Literal["clamp", "allow_negative"] = "clamp",
) -> HistoryPosted:
    """Make the ledger hold what `ledger_history` says, and empty that table.

    Awards, releases, expiries and take-backs are dated when they happened; a refund takes from its own
    order's points, in whichever state they were then. Orders that earned through another door than an
    import are left alone. Where points of an imported order have since been spent, or a live refund has
    drawn on them, the difference is settled like a live refund, by `policy`.
    """
    members = store_history.lock_members(conn, now=now)
    due = [row.member_key for row in members if row.is_due]
    if due:
        store_due.post_due(conn, member_keys=due, now=now)
    counts = {
        row.kind: row.transactions
        for row in store_history.post_differences(conn, now=now, import_key=import_key)
    }
    settled = [
        kind
        for order in store_history.list_entangled(conn)
        for kind in _settle(conn, order=order, policy=policy, now=now, import_key=import_key)
    ]
    settled += _pay_debts(conn, now=now, import_key=import_key)
    store_history.clear(conn)
    return HistoryPosted(
        transactions=sum(counts.values()) + len(settled),
        corrections=counts.get("correct", 0) + settled.count("correct"),
    )


def _settle(conn: Connection, *, order: Row[Any], policy: str, now: datetime, import_key: int) -> list[str]:
    """Bring one order whose points others have drawn on to what it should hold; return the kinds posted."""
    kinds = []
    for take in store_history.list_new_takes(conn, order_key=order.order_key):
        excess = max(0, _find_excess(conn, order=order))
        entry = Entry(
            member_key=order.member_key,
            kind="reverse",
            occurred_at=take.occurred_at,
            recorded_at=now,
            order_key=order.order_key,
            refund_key=take.refund_key,
            import_key=import_key,
        )
        _take(conn, entry=entry, points=min(take.points, excess), policy=policy)
        kinds.append(entry.kind)
    excess = _find_excess(conn, order=order)
    if excess == 0 and not order.is_rule_new:
        return kinds
    entry = Entry(
        member_key=order.member_key,
        kind="correct",
        occurred_at=order.occurred_at,
        recorded_at=now,
        order_key=order.order_key,
        rule=order.rule if order.is_rule_new else None,
        import_key=import_key,
    )
    if excess >= 0:
        _take(conn, entry=entry, points=excess, policy=policy)
    else:
        _give(conn, entry=entry, points=-excess, lot_key=order.lot_key)
    return [*kinds, entry.kind]


def _find_excess(conn: Connection, *, order: Row[Any]) -> int:
    record, _, _ = store.get_order(
        conn, member_key=order.member_key, order_key=order.order_key, refund_key=None
    )
    return (record.still_held() if record else 0) - int(order.points)


def _take(conn: Connection, *, entry: Entry, points: int, policy: str) -> None:
    _, _, lots = store.get_order(
        conn, member_key=entry.member_key, order_key=entry.order_key or 0, refund_key=None
    )
    draws, missing = allocate(points, lots, own_order_key=entry.order_key)
    debt = missing if policy == "allow_negative" else 0
    entry = replace(entry, shortfall=missing - debt)
    store.post(conn, entry=entry, moves=reversals(draws, debt=debt))


def _give(conn: Connection, *, entry: Entry, points: int, lot_key: int) -> None:
    lot = store_history.get_lot_state(conn, lot_key=lot_key)
    account, due_at = ("pending", lot.available_at) if lot.pending else ("available", lot.expires_at)
    store.post(conn, entry=entry, moves=[Move("issued", account, points, lot_key)], due_at=due_at)


def _pay_debts(conn: Connection, *, now: datetime, import_key: int) -> list[str]:
    """Pay what members owe from what has just become available, and return the kinds posted."""
    rows = store_history.list_indebted(conn)
    for row in rows:
        points = min(row.debt, row.available)
        lots = store.list_available_lots(conn, member_key=row.member_key, points=points)
        draws, _ = allocate(points, lots)
        entry = Entry(
            member_key=row.member_key,
            kind="correct",
            occurred_at=now,
            recorded_at=now,
            import_key=import_key,
        )
        moves = [Move("available", "debt", draw.points, draw.lot_key) for draw in draws]
        store.post(conn, entry=entry, moves=moves)
    return ["correct"] * len(rows)
