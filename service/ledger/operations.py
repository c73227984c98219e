"""The verbs of the ledger.

Every write locks the member's account first and posts what has become due. A caller that has locked it
already in the same transaction passes what `lock_account` returned as `account`, which saves that step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection

from service.kit.clock import local_day
from service.kit.db import dumps
from service.ledger import store
from service.ledger.accounts import Balance, lock_account, open_account, open_accounts
from service.ledger.adjusting import adjust_points
from service.ledger.entries import SignedPosting, Transaction, list_transactions, name_references
from service.ledger.expiry import (
    Expiry,
    Extended,
    announce_expiring,
    expiry_of,
    extend_lot,
    keep_alive,
)
from service.ledger.history import HistoryPosted, create_history_table, post_history
from service.ledger.holds import Hold, capture_hold, get_hold, hold_points, release_hold
from service.ledger.laws import Violation, check_laws
from service.ledger.merging import lock_two, merge_accounts, unmerge_accounts
from service.ledger.past import Figures, Line, Statement, get_points_at, get_statement
from service.ledger.points import Expiring, Points
from service.ledger.rules import (
    EarningRule,
    allocate,
    available_from,
    expires_from,
    points_for,
    points_to_take_back,
    reversals,
    rule_to_json,
)
from service.ledger.spending import (
    OrderSpending,
    find_order_hold,
    get_returned,
    get_spending,
    lock_spenders,
    pay_with_hold,
    redeem_points,
    return_spent_points,
    unredeem_points,
)
from service.ledger.store import Entry
from service.ledger.sweeps import Swept, expire_due, release_due
from service.programme.operations import Programme, get_programme

__all__ = [
    "Balance",
    "Earned",
    "EarningRule",
    "Expiring",
    "Expiry",
    "Extended",
    "Figures",
    "HistoryPosted",
    "Hold",
    "Line",
    "OrderPoints",
    "OrderSpending",
    "Points",
    "SignedPosting",
    "Statement",
    "Swept",
    "TakenBack",
    "Transaction",
    "Violation",
    "adjust_points",
    "announce_expiring",
    "available_from",
    "capture_hold",
    "check_laws",
    "create_history_table",
    "earn_for_event",
    "earn_points",
    "expire_due",
    "expires_from",
    "expiry_of",
    "extend_lot",
    "find_order_hold",
    "get_hold",
    "get_order_points",
    "get_points",
    "get_points_at",
    "get_returned",
    "get_spending",
    "get_statement",
    "get_taken_back",
    "hold_points",
    "list_transactions",
    "lock_account",
    "lock_spenders",
    "lock_two",
    "merge_accounts",
    "name_references",
    "open_account",
    "open_accounts",
    "pay_with_hold",
    "points_for",
    "post_history",
    "read_points",
    "redeem_points",
    "release_due",
    "release_hold",
    "return_spent_points",
    "sum_earned",
    "take_back_points",
    "unmerge_accounts",
    "unredeem_points",
]

ShortfallPolicy = Literal["clamp", "allow_negative"]


@dataclass(frozen=True, slots=True)
class Earned:
    """What an order earned: the first time and every time it is repeated."""

    points: int
    transaction_key: int


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What a refund took back: `points` in all, of which `debt` is owed; `shortfall` could not be taken."""

    points: int
    shortfall: int
    debt: int = 0


@dataclass(frozen=True, slots=True)
class OrderPoints:
    """What an order holds: earned and taken back so far, by which rule, on what amount, from when."""

    rule: EarningRule
    eligible_minor: int
    earned: int
    reversed: int
    available_at: datetime | None
    terms: Mapping[str, Any] | None = None


def earn_points(
    conn: Connection,
    *,
    member_key: int,
    order_key: int,
    eligible_minor: int,
    rule: EarningRule,
    occurred_at: datetime,
    available_at: datetime,
    expires_at: datetime | None,
    now: datetime,
    account: Balance | None = None,
    rolls: bool = False,
    terms: Mapping[str, Any] | None = None,
    granted: int | None = None,
) -> Earned:
    """Award an order's points: pending until `available_at`, or at once when that is not after `occurred_at`.

    With `rolls`, `expires_at` comes of inactivity: later activity moves it on, and this order moves what the
    member has of that kind on to it.

    The rule and `eligible_minor` (programme minor units) are recorded even when they earn nothing, because
    refunds are computed from them. Where the award has terms of its own, they are recorded too, and `granted`
    is what they come to. An order earns once: a repetition changes nothing and returns the first.
    """
    account = account or lock_account(conn, member_key=member_key, now=now)
    member_key = account.member_key
    points = points_for(eligible_minor, rule) if granted is None else granted
    entry = Entry(
        member_key=member_key,
        kind="earn",
        occurred_at=occurred_at,
        recorded_at=now,
        order_key=order_key,
        rule=dumps(rule_to_json(rule, eligible_minor=eligible_minor, terms=terms, granted=granted)),
    )
    key = store.earn(
        conn, entry=entry, points=points, available_at=available_at, expires_at=expires_at, rolls=rolls
    )
    if key is not None:
        keep_alive(conn, member_key=member_key, transaction_key=key, expiry=Expiry(expires_at, rolls))
        return Earned(points, key)
    _, first, _ = store.get_order(conn, member_key=member_key, order_key=order_key, refund_key=None)
    return Earned(first.first_earned, first.earn_key)


def earn_for_event(
    conn: Connection,
    *,
    account: Balance,
    event_key: int,
    kind: str,
    points: int,
    occurred_at: datetime,
    expiry: Expiry,
    now: datetime,
) -> int:
    """Award points for an event, available at once, and return the transaction's key; once per event.

    The caller has locked `account`; `kind` is the event's type and stands as the reason.
    """
    entry = Entry(
        member_key=account.member_key,
        kind="earn",
        occurred_at=occurred_at,
        recorded_at=now,
        reason=kind,
        event_key=event_key,
    )
    key = store.earn(
        conn,
        entry=entry,
        points=points,
        available_at=occurred_at,
        expires_at=expiry.at,
        rolls=expiry.rolls,
    )
    if key is None:
        raise RuntimeError("an award for an event never repeats one for an order")
    return key


def take_back_points(
    conn: Connection,
    *,
    member_key: int,
    order_key: int,
    refund_key: int | None,
    eligible_left_minor: int,
    occurred_at: datetime,
    policy: ShortfallPolicy,
    now: datetime,
    account: Balance | None = None,
    points_left: int | None = None,
) -> TakenBack:
    """Take back what an order earned on what has been refunded, by the rule recorded with the order.

    `eligible_left_minor` is what of the order's eligible amount is left after this refund and all others
    known; where the award had terms of its own, `points_left` is what they leave. Pending points go first,
    the order's own lots before others. What is missing becomes a reported shortfall (`clamp`) or a debt that
    later points pay (`allow_negative`). A refund takes once: a repetition changes nothing and returns the
    first answer. `refund_key` None is the order's cancellation.
    """
    account = account or lock_account(conn, member_key=member_key, now=now)
    member_key = account.member_key
    record, first, lots = store.get_order(
        conn, member_key=member_key, order_key=order_key, refund_key=refund_key
    )
    if first.is_repeat:
        return TakenBack(first.first_points, first.first_shortfall, first.first_debt)
    if record is None:
        return TakenBack(0, 0)
    wanted = points_to_take_back(record, eligible_left_minor=eligible_left_minor, points_left=points_left)
    draws, missing = allocate(wanted, lots, own_order_key=order_key)
    debt = missing if policy == "allow_negative" else 0
    entry = Entry(
        member_key=member_key,
        kind="reverse",
        occurred_at=occurred_at,
        recorded_at=now,
        order_key=order_key,
        refund_key=refund_key,
        shortfall=missing - debt,
    )
    store.post(conn, entry=entry, moves=reversals(draws, debt=debt))
    return TakenBack(wanted - missing + debt, missing - debt, debt)


def sum_earned(conn: Connection, *, order_keys: Sequence[int]) -> dict[int, int]:
    """Return what each of these orders earned, those that earned anything; refunds take nothing from it."""
    return store.sum_earned(conn, order_keys=order_keys) if order_keys else {}


def get_order_points(conn: Connection, *, member_key: int, order_key: int) -> OrderPoints | None:
    """Return what the ledger holds of an order, or None when it was never awarded."""
    record, _, _ = store.get_order(conn, member_key=member_key, order_key=order_key, refund_key=None)
    if record is None:
        return None
    available_at = store.find_available_at(conn, order_key=order_key)
    return OrderPoints(
        record.rule, record.eligible_minor, record.earned, record.reversed, available_at, record.terms
    )


def get_taken_back(
    conn: Connection,
    *,
    member_key: int,
    refund_key: int | None,
    order_key: int | None = None,
    order_keys: Sequence[int] = (),
) -> TakenBack:
    """Return what a refund took back when it came in, over all the orders it reduced.

    A cancellation has no `refund_key`: it is found by the order that was cancelled. With the `order_keys`
    that a refund reduced it is found also where the member was merged since.
    """
    if refund_key is None:
        if order_key is None:
            return TakenBack(0, 0)
        _, first, _ = store.get_order(conn, member_key=member_key, order_key=order_key, refund_key=None)
        return TakenBack(first.first_points, first.first_shortfall, first.first_debt)
    row = store.get_taken_back(conn, member_key=member_key, refund_key=refund_key, order_keys=order_keys)
    return TakenBack(row.points, row.shortfall, row.debt)


def get_points(
    conn: Connection, *, member_key: int, now: datetime, programme: Programme | None = None
) -> Points:
    """Return what a member effectively has at `now`; writes nothing and waits for nobody.

    `programme` gives the zone of the days and the value of a point; None means the one in force.
    """
    programme = programme or get_programme(conn)
    return read_points(store.read_effective(conn, member_key=member_key, now=now), programme=programme)


def read_points(rows: Sequence[Sequence[Any]], *, programme: Programme) -> Points:
    """Return what a member effectively has, from the rows of `readable.effective_points`."""
    available = pending = held = debt = lifetime_earned = 0
    expiring: dict[str, int] = {}
    spendable: dict[str, int] = {}
    for number, row in enumerate(rows):
        if not number:
            held, debt, lifetime_earned = row[:3]
        waits, lapsed, expires_at, points, paid, unheld = row[3:]
        held -= unheld
        debt -= paid
        if waits is None or lapsed:
            continue
        pending += points if waits else 0
        available += 0 if waits else points
        if expires_at is not None and points > 0:
            moment = datetime.fromisoformat(expires_at) if isinstance(expires_at, str) else expires_at
            on = local_day(moment, timezone=programme.timezone).isoformat()
            expiring[on] = expiring.get(on, 0) + points
            if not waits:
                spendable[on] = spendable.get(on, 0) + points
    available -= debt
    return Points(
        available=available,
        pending=pending,
        held=held,
        debt=debt,
        lifetime_earned=lifetime_earned,
        expiring=tuple(Expiring(points, on) for on, points in sorted(expiring.items())),
        value_minor=max(0, available) * programme.settings.point_value_minor,
        soonest=Expiring(spendable[first], first) if (first := min(spendable, default=None)) else None,
    )
