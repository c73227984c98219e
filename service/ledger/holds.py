"""Holds: points set aside for a checkout, for a limited time; captured when it is paid, else free again.

A hold that is past its time counts as free at once, whether or not anybody has posted that.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from service.kit import outbox
from service.kit.clock import format_time
from service.kit.errors import FieldError
from service.kit.ids import new_id, parse_id
from service.ledger import store, store_holds
from service.ledger.accounts import Balance, lock_account
from service.ledger.errors import CaptureAboveHold, HoldEnded, HoldNotFound, InsufficientPoints
from service.ledger.expiry import Expiry, keep_alive
from service.ledger.rules import Lot, Move, allocate, give_back
from service.ledger.store import Entry

PREFIX = "hold"


@dataclass(frozen=True, slots=True)
class Hold:
    """Points set aside; `captured` of them were spent, for `order_id`.

    `state` is open, captured, released or expired; `order_key` is the recorded order that they paid for.
    """

    hold_id: str
    member_key: int
    points: int
    captured: int
    state: str
    order_id: str | None
    order_key: int | None
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None

    @property
    def key(self) -> UUID:
        """Return the id without its prefix."""
        return UUID(hex=self.hold_id.removeprefix(f"{PREFIX}_"))


def hold_points(
    conn: Connection,
    *,
    member_key: int,
    points: int,
    ttl: timedelta,
    order_id: str | None = None,
    now: datetime,
) -> Hold:
    """Set points aside until `ttl` has passed, from what expires soonest.

    Raises:
        InsufficientPoints: fewer are available.
    """
    account = lock_account(conn, member_key=member_key, now=now)
    if account.available < points:
        raise InsufficientPoints(f"{account.available} points are available, {points} were asked for")
    lots = store.list_available_lots(conn, member_key=account.member_key, points=points)
    draws, _ = allocate(points, lots)
    hold_id = new_id(PREFIX, now)
    key, _ = parse_id(PREFIX, hold_id)
    expires_at = now + ttl
    entry = Entry(member_key=account.member_key, kind="hold", occurred_at=now, recorded_at=now, hold_id=key)
    moves = [Move("available", "held", draw.points, draw.lot_key) for draw in draws]
    store.post(conn, entry=entry, moves=moves, due_at=expires_at)
    store_holds.add_hold(
        conn,
        hold_id=key,
        member_key=account.member_key,
        points=points,
        order_id=order_id,
        draws=draws,
        expires_at=expires_at,
        now=now,
    )
    return Hold(hold_id, account.member_key, points, 0, "open", order_id, None, now, expires_at, None)


def get_hold(conn: Connection, *, hold_id: str, now: datetime) -> Hold:
    """Return a hold as it effectively stands.

    Raises:
        HoldNotFound: there is none.
    """
    key = _parse(hold_id)
    row = None if key is None else store_holds.find_hold(conn, hold_id=key, now=now)
    if row is None:
        raise HoldNotFound(f"no hold has the id {hold_id}")
    return _hold(row)


def capture_hold(
    conn: Connection,
    *,
    hold_id: str,
    points: int | None = None,
    order_id: str,
    order_key: int | None = None,
    now: datetime,
    account: Balance | None = None,
    expiry: Expiry | None = None,
) -> Hold:
    """Spend what a hold set aside, or `points` of it, for an order; the rest is free again.

    `order_key` is the order's, where it is recorded in the same transaction. Spending is activity: `expiry`
    is what points earned now would have. A repetition changes nothing.

    Raises:
        HoldNotFound: there is none. HoldEnded: it was captured otherwise, released, or its time is over.
        CaptureAboveHold: more is asked for than was set aside.
    """
    hold, account = _lock_hold(conn, hold_id, account, now)
    wanted = hold.points if points is None else points
    if wanted > hold.points:
        raise CaptureAboveHold(
            f"{hold.points} points were set aside, {wanted} were asked for",
            errors=[FieldError(f"more than {hold.points}", pointer="/points")],
        )
    if hold.state == "captured" and (hold.order_id, hold.captured) == (order_id, wanted):
        return hold
    _refuse_ended(hold)
    lots = store_holds.list_hold_lots(conn, hold_id=hold.key)
    draws, _ = allocate(wanted, lots)
    spent = [Move("held", "redeemed", draw.points, draw.lot_key) for draw in draws]
    taken = {draw.lot_key: draw.points for draw in draws}
    key = _end(
        conn,
        hold,
        account,
        state="captured",
        spent=spent,
        freed=[(lot, lot.remaining - taken.get(lot.lot_key, 0)) for lot in lots],
        order_id=order_id,
        order_key=order_key,
        now=now,
    )
    if expiry is not None:
        keep_alive(conn, member_key=account.member_key, transaction_key=key, expiry=expiry)
    outbox.emit(
        conn,
        topic="points.spent",
        member_key=account.member_key,
        payload={"hold_id": hold.hold_id, "order_id": order_id, "points": wanted},
        occurred_at=now,
    )
    return get_hold(conn, hold_id=hold_id, now=now)


def release_hold(conn: Connection, *, hold_id: str, now: datetime, account: Balance | None = None) -> Hold:
    """Free what a hold set aside; a repetition changes nothing.

    `account` is its member's, where the caller has locked it.

    Raises:
        HoldNotFound: there is none. HoldEnded: it was captured, or its time is over.
    """
    hold, account = _lock_hold(conn, hold_id, account, now)
    if hold.state == "released":
        return hold
    _refuse_ended(hold)
    lots = store_holds.list_hold_lots(conn, hold_id=hold.key)
    freed = [(lot, lot.remaining) for lot in lots]
    _end(conn, hold, account, state="released", spent=[], freed=freed, order_id=None, order_key=None, now=now)
    return get_hold(conn, hold_id=hold_id, now=now)


def _lock_hold(
    conn: Connection, hold_id: str, account: Balance | None, now: datetime
) -> tuple[Hold, Balance]:
    """Return a hold with its member's account locked; `account` where the caller has locked that.

    Raises:
        HoldNotFound: there is none.
    """
    hold = get_hold(conn, hold_id=hold_id, now=now)
    if account is None:
        account = lock_account(conn, member_key=hold.member_key, now=now)
        hold = get_hold(conn, hold_id=hold_id, now=now)
    return hold, account


def _refuse_ended(hold: Hold) -> None:
    if hold.state != "open":
        ended_at = format_time(hold.ended_at or hold.expires_at)
        raise HoldEnded(f"{hold.hold_id} was {hold.state} at {ended_at}".replace("was expired", "expired"))


def _end(
    conn: Connection,
    hold: Hold,
    account: Balance,
    *,
    state: str,
    spent: list[Move],
    freed: list[tuple[Lot, int]],
    order_id: str | None,
    order_key: int | None,
    now: datetime,
) -> int:
    """Post how a hold ends and return the entry's key.

    What is freed pays the debt first, and expires where its lot has meanwhile.
    """
    moves, lapsed = give_back(freed, account_from="held", debt=account.debt, now=now)
    head = Entry(
        member_key=account.member_key,
        kind="capture" if state == "captured" else "unhold",
        occurred_at=now,
        recorded_at=now,
        order_key=order_key,
        hold_id=hold.key,
    )
    key = store.post(conn, entry=head, moves=[*spent, *moves])
    for lot, points in lapsed:
        entry = Entry(
            member_key=account.member_key,
            kind="expire",
            occurred_at=now,
            recorded_at=now,
            order_key=lot.order_key,
        )
        store.post(conn, entry=entry, moves=[Move("available", "expired", points, lot.lot_key)])
    store_holds.end_hold(
        conn,
        hold_id=hold.key,
        state=state,
        captured=sum(move.points for move in spent),
        order_id=order_id,
        order_key=order_key,
        now=now,
    )
    return key


def _hold(row: Row[Any]) -> Hold:
    ended_at = row.expires_at if row.state == "expired" else row.ended_at
    return Hold(
        f"{PREFIX}_{row.hold_id.hex}",
        row.member_key,
        row.points,
        row.captured,
        row.state,
        row.order_id,
        row.order_key,
        row.created_at,
        row.expires_at,
        ended_at,
    )


def _parse(hold_id: str) -> UUID | None:
    try:
        key, _ = parse_id(PREFIX, hold_id)
    except ValueError:
        return None
    return key
