"""Points that paid for an order or a reward: what was spent on it, and what of that was given back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection

from service.kit.clock import local_day, local_midnight
from service.ledger import store, store_entries, store_holds, store_spends
from service.ledger.accounts import Balance, lock_account
from service.ledger.errors import HoldEnded, HoldNotFound, HoldNotKnown, InsufficientPoints
from service.ledger.expiry import Expiry, keep_alive
from service.ledger.holds import Hold, capture_hold, get_hold, release_hold
from service.ledger.rules import Lot, Move, allocate, give_back, share_back
from service.ledger.store import Entry

REVIVED_DAYS = 30
"""How long points that come back can be used when their lot has expired meanwhile."""


@dataclass(frozen=True, slots=True)
class SpentLot:
    """What an order spent of a lot and got back so far; `lot.remaining` is what it has not got back.

    `member_key` is whose lot it is: another's, where members were one when the order was placed.
    """

    lot: Lot
    spent: int
    member_key: int


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
    points: int,
    order_id: str,
    order_key: int,
    account: Balance,
    now: datetime,
) -> int:
    """Spend `points` of a hold on an order that is being recorded, and return those that paid for it.

    The rest is free again at once, all of it where the order takes none. One that was captured for this order
    already is taken as it is.

    Raises:
        HoldEnded: it was captured for another order, released, or its time is over.
    """
    if hold.state == "captured" and hold.order_id == order_id and hold.order_key is None:
        store_holds.link_hold(conn, hold_id=hold.key, order_key=order_key)
        return hold.captured
    if hold.state == "captured":
        raise HoldEnded(f"{hold.hold_id} was captured for another order")
    if points == 0 and hold.state == "open":
        release_hold(conn, hold_id=hold.hold_id, now=now, account=account)
        return 0
    paid = capture_hold(
        conn,
        hold_id=hold.hold_id,
        points=points,
        order_id=order_id,
        order_key=order_key,
        now=now,
        account=account,
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
            row.member_key,
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
    shares = share_back(wanted, [one.lot for one in spending.lots])
    owners = {one.lot.lot_key: one.member_key for one in spending.lots}
    for owner in sorted({owners[lot.lot_key] for lot, _ in shares}):
        its = account if owner == account.member_key else lock_account(conn, member_key=owner, now=now)
        entry = Entry(
            member_key=owner,
            kind="restore",
            occurred_at=max(occurred_at, spending.last_at or occurred_at),
            recorded_at=now,
            order_key=order_key,
            refund_key=refund_key,
        )
        own = [(lot, points) for lot, points in shares if owners[lot.lot_key] == owner]
        _restore(conn, entry, own, debt=its.debt, timezone=timezone)
    return wanted


def _restore(
    conn: Connection, entry: Entry, shares: Sequence[tuple[Lot, int]], *, debt: int, timezone: str
) -> None:
    """Give points back to the lots of one account; those that have expired can be used for 30 days more."""
    lots, changed = _revive(shares, timezone, entry.recorded_at)
    moves, _ = give_back(lots, account_from="redeemed", debt=debt, now=entry.recorded_at)
    key = store.post(conn, entry=entry, moves=moves, due_at=_soonest(lots))
    if changed:
        store.change_expiries(conn, transaction_key=key, expiries=changed)


def redeem_points(
    conn: Connection,
    *,
    account: Balance,
    points: int,
    spend_id: UUID,
    now: datetime,
    expiry: Expiry | None = None,
) -> int:
    """Spend available points of a locked member on something that is no order; return the entry's key.

    They come from what expires soonest. Spending is activity: `expiry` is what points earned now would have.
    `spend_id` names what they were spent on, once.

    Raises:
        InsufficientPoints: fewer are available.
    """
    if account.available < points:
        raise InsufficientPoints(f"{account.available} points are available, {points} were asked for")
    lots = store.list_available_lots(conn, member_key=account.member_key, points=points)
    draws, _ = allocate(points, lots)
    entry = Entry(
        member_key=account.member_key, kind="redeem", occurred_at=now, recorded_at=now, spend_id=spend_id
    )
    moves = [Move("available", "redeemed", draw.points, draw.lot_key) for draw in draws]
    key = store.post(conn, entry=entry, moves=moves)
    if expiry is not None:
        keep_alive(conn, member_key=account.member_key, transaction_key=key, expiry=expiry)
    return key


def lock_spenders(conn: Connection, *, member_key: int, spend_id: UUID, now: datetime) -> None:
    """Lock a member's account and those whose points a spend took, by ascending key."""
    owners = {owner for owner, _ in store_spends.list_unreturned(conn, spend_id=spend_id)}
    for key in sorted(owners | {member_key}):
        lock_account(conn, member_key=key, now=now)


def unredeem_points(
    conn: Connection,
    *,
    spend_id: UUID,
    timezone: str,
    reason: str,
    actor: str,
    now: datetime,
) -> int:
    """Give all points of a spend back to the lots they came from; return how many, 0 when they were before.

    Each lot is its present owner's: two members may have been one, or two, meanwhile. A lot that has expired
    meanwhile can be used for 30 days more. What is owed is paid first.
    """
    taken = store_spends.list_unreturned(conn, spend_id=spend_id)
    for owner in sorted({owner for owner, _ in taken}):
        account = lock_account(conn, member_key=owner, now=now)
        shares = [(lot, lot.remaining) for its, lot in taken if its == owner]
        entry = Entry(
            member_key=account.member_key,
            kind="unredeem",
            occurred_at=now,
            recorded_at=now,
            spend_id=spend_id,
            reason=reason,
            actor=actor,
        )
        _restore(conn, entry, shares, debt=account.debt, timezone=timezone)
    return sum(lot.remaining for _, lot in taken)


def _revive(
    shares: Sequence[tuple[Lot, int]], timezone: str, now: datetime
) -> tuple[list[tuple[Lot, int]], dict[int, datetime | None]]:
    """Return what goes back to each lot, expired ones with a new expiry, and which expiries that moves."""
    revived = local_midnight(
        local_day(now, timezone=timezone) + timedelta(days=REVIVED_DAYS), timezone=timezone
    )
    changed: dict[int, datetime | None] = {
        lot.lot_key: revived for lot, _ in shares if lot.expires_at is not None and lot.expires_at <= now
    }
    lots = [
        (replace(lot, expires_at=revived) if lot.lot_key in changed else lot, points)
        for lot, points in shares
    ]
    return lots, changed


def _soonest(lots: Sequence[tuple[Lot, int]]) -> datetime | None:
    return min((lot.expires_at for lot, _ in lots if lot.expires_at is not None), default=None)


def get_returned(
    conn: Connection,
    *,
    member_key: int,
    refund_key: int | None,
    order_key: int | None = None,
    order_keys: Sequence[int] = (),
) -> int:
    """Return what a refund gave back when it came in; a cancellation is found by its order.

    With the `order_keys` that it reduced it is found also where the member was merged since.
    """
    return store_holds.get_returned(
        conn, member_key=member_key, refund_key=refund_key, order_key=order_key, order_keys=order_keys
    )
