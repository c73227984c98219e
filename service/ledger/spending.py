"""Points that paid for an order: what was spent on it, and what of that its refunds gave back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from service.kit.clock import local_day, local_midnight
from service.ledger import store, store_entries, store_holds
from service.ledger.accounts import Balance, lock_account
from service.ledger.errors import HoldEnded, HoldNotFound, HoldNotKnown
from service.ledger.holds import Hold, capture_hold, get_hold
from service.ledger.rules import Lot, give_back, share_back
from service.ledger.store import Entry

REVIVED_DAYS = 30
"""How long points that come back can be used when their lot has expired meanwhile."""


@dataclass(frozen=True, slots=True)
class SpentLot:
    """What an order spent of a lot and got back so far; `lot.remaining` is what it has not got back."""

    lot: Lot
    spent: int


@dataclass(frozen=True, slots=True)
class OrderSpending:
    """Points spent on an order, and those of them that its refunds have given back."""

    points: int = 0
    returned: int = 0
    last_at: datetime | None = None
    lots: tuple[SpentLot, ...] = ()


def find_order_hold(conn: Connection, *, hold_id: str, account: Balance, now: datetime) -> Hold:
    """Return the hold that an order of a locked member names.

    Raises:
        HoldNotKnown: there is none, or it is another member's.
    """
    try:
        hold = get_hold(conn, hold_id=hold_id, now=now)
    except HoldNotFound as missing:
        raise HoldNotKnown(missing.detail) from None
    if hold.member_key != account.member_key:
        raise HoldNotKnown(f"{hold_id} sets aside points of another member")
    return hold


def pay_with_hold(
    conn: Connection,
    *,
    hold: Hold,
    order_id: str,
    order_key: int,
    account: Balance,
    now: datetime,
) -> int:
    """Spend a hold on an order that is being recorded, and return the points that paid for it.

    One that was captured for this order already is taken as it is.

    Raises:
        HoldEnded: it was captured for another order, released, or its time is over.
    """
    if hold.state == "captured" and hold.order_id == order_id and hold.order_key is None:
        store_holds.link_hold(conn, hold_id=hold.key, order_key=order_key)
        return hold.captured
    if hold.state == "captured":
        raise HoldEnded(f"{hold.hold_id} was captured for another order")
    paid = capture_hold(
        conn, hold_id=hold.hold_id, order_id=order_id, order_key=order_key, now=now, account=account
    )
    return paid.captured


def get_spending(conn: Connection, *, member_key: int, order_key: int) -> OrderSpending:
    """Return what was spent on an order, whether the order named its hold or the hold its order."""
    order_id = store_entries.find_order_ids(conn, order_keys=[order_key]).get(order_key)
    rows = store_holds.list_spent(conn, member_key=member_key, order_key=order_key, order_id=order_id)
    lots = tuple(
        SpentLot(
            Lot(
                row.lot_key,
                row.order_key,
                row.spent - row.returned,
                False,
                row.earned_at,
                row.expires_at,
            ),
            row.spent,
        )
        for row in rows
    )
    return OrderSpending(
        points=sum(one.spent for one in lots),
        returned=sum(one.spent - one.lot.remaining for one in lots),
        last_at=max((row.last_at for row in rows), default=None),
        lots=lots,
    )


def return_spent_points(
    conn: Connection,
    *,
    member_key: int,
    order_key: int,
    refund_key: int | None,
    points_left: int,
    occurred_at: datetime,
    timezone: str,
    now: datetime,
) -> int:
    """Give back what was spent on the part of an order that is refunded; return the points.

    `points_left` is what the part that is not refunded still costs, so refunds are cumulative and exact.
    Points go back to the lots they came from, those that expire last first. A lot that has expired can be
    used for 30 days more. A refund gives back once: `refund_key` None is the order's cancellation.
    """
    account = lock_account(conn, member_key=member_key, now=now)
    spending = get_spending(conn, member_key=account.member_key, order_key=order_key)
    wanted = spending.points - spending.returned - points_left
    if wanted <= 0 or store_holds.is_restored(conn, order_key=order_key, refund_key=refund_key):
        return 0
    revived = local_midnight(
        local_day(now, timezone=timezone) + timedelta(days=REVIVED_DAYS), timezone=timezone
    )
    lots, changed = [], {}
    for lot, points in share_back(wanted, [one.lot for one in spending.lots]):
        if lot.expires_at is not None and lot.expires_at <= now:
            changed[lot.lot_key] = revived
            lots.append((replace(lot, expires_at=revived), points))
        else:
            lots.append((lot, points))
    moves, _ = give_back(lots, account_from="redeemed", debt=account.debt, now=now)
    entry = Entry(
        member_key=account.member_key,
        kind="restore",
        occurred_at=max(occurred_at, spending.last_at or occurred_at),
        recorded_at=now,
        order_key=order_key,
        refund_key=refund_key,
    )
    due_at = min((lot.expires_at for lot, _ in lots if lot.expires_at is not None), default=None)
    key = store.post(conn, entry=entry, moves=moves, due_at=due_at)
    if changed:
        store.change_expiries(conn, transaction_key=key, expiries=changed)
    return wanted


def get_returned(
    conn: Connection, *, member_key: int, refund_key: int | None, order_key: int | None = None
) -> int:
    """Return what a refund gave back when it came in; a cancellation is found by its order."""
    return store_holds.get_returned(conn, member_key=member_key, refund_key=refund_key, order_key=order_key)
