"""When points expire: by the programme's settings, by activity, by hand; and the notices ahead of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from service.kit import audit, outbox
from service.kit.clock import format_time, local_day
from service.kit.errors import FieldError
from service.kit.outbox import Event
from service.ledger import store, store_expiry
from service.ledger.accounts import lock_account
from service.ledger.errors import ExpiryNotAcceptable, LotNotFound, LotNotOpen
from service.ledger.rules import expires_from
from service.ledger.store import Entry
from service.programme.operations import PointsExpiry, Programme


@dataclass(frozen=True, slots=True)
class Expiry:
    """When points expire (None: never), and whether that moves on with the member's activity."""

    at: datetime | None
    rolls: bool = False


@dataclass(frozen=True, slots=True)
class Extended:
    """A lot that can be used for longer: what is left of it, and when it would have expired."""

    transaction_key: int
    lot_key: int
    points: int
    expires_before: datetime | None
    expires_at: datetime | None


def expiry_of(day: date, *, expiry: PointsExpiry, timezone: str) -> Expiry:
    """Return when points earned on a store-local day expire by the settings."""
    at = expires_from(
        day,
        model=expiry.model,
        months=expiry.months,
        period=expiry.period,
        periods=expiry.periods,
        timezone=timezone,
    )
    return Expiry(at, rolls=expiry.model == "after_inactivity")


def keep_alive(conn: Connection, *, member_key: int, transaction_key: int, expiry: Expiry) -> None:
    """Let activity keep a locked member's points that expire after inactivity, as the entry behind it says.

    `expiry` is that of what was done; where it does not roll, nothing changes.
    """
    if expiry.rolls and expiry.at is not None:
        store_expiry.move_rolling(
            conn, member_key=member_key, transaction_key=transaction_key, until=expiry.at
        )


def extend_lot(
    conn: Connection,
    *,
    member_key: int,
    lot_key: int,
    expires_at: datetime | None,
    reason: str,
    actor: str,
    now: datetime,
    request_id: str | None = None,
) -> Extended:
    """Let what is left of a lot be used for longer (None: for ever), by hand.

    Raises:
        LotNotFound: the member has no such lot. LotNotOpen: nothing is left of it.
        ExpiryNotAcceptable: it would not be longer.
    """
    account = lock_account(conn, member_key=member_key, now=now)
    lot = store_expiry.find_lot(conn, member_key=account.member_key, lot_key=lot_key)
    if lot is None:
        raise LotNotFound(f"the member has no lot lot_{lot_key}")
    if lot.remaining == 0:
        raise LotNotOpen(f"nothing is left of lot_{lot_key}")
    if lot.expires_at is None or (expires_at is not None and expires_at <= max(now, lot.expires_at)):
        place = FieldError("not later than it expires already", pointer="/expires_on")
        raise ExpiryNotAcceptable("points can only be made to last longer", errors=[place])
    entry = Entry(
        member_key=account.member_key,
        kind="extend",
        occurred_at=now,
        recorded_at=now,
        order_key=lot.order_key,
        reason=reason,
        actor=actor,
    )
    key = store.post(conn, entry=entry, moves=[])
    store.change_expiries(conn, transaction_key=key, expiries={lot_key: expires_at})
    extended = Extended(key, lot_key, lot.remaining, lot.expires_at, expires_at)
    _tell_extension(conn, entry, extended, request_id=request_id)
    return extended


def _tell_extension(conn: Connection, entry: Entry, extended: Extended, *, request_id: str | None) -> None:
    after = None if extended.expires_at is None else format_time(extended.expires_at)
    before = None if extended.expires_before is None else format_time(extended.expires_before)
    audit.record(
        conn,
        actor=entry.actor or "",
        action="points.extended",
        subject=("member", None),
        member_key=entry.member_key,
        before={"lot_id": f"lot_{extended.lot_key}", "expires_at": before},
        after={"lot_id": f"lot_{extended.lot_key}", "expires_at": after},
        reason=entry.reason,
        request_id=request_id,
        now=entry.recorded_at,
    )
    outbox.emit(
        conn,
        topic="points.extended",
        member_key=entry.member_key,
        payload={"points": extended.points, "expires_at": after},
        occurred_at=entry.occurred_at,
    )


def announce_expiring(conn: Connection, *, now: datetime, programme: Programme, limit: int) -> int:
    """Tell of points that expire within the days of notice, each expiry once; return how many members.

    One event for each member and day. Several may run at once: accounts that somebody else has locked are
    left to them; 0 means that nothing is left.
    """
    notice_days = programme.settings.points_expiry.notice_days
    if notice_days == 0:
        return 0
    until = now + timedelta(days=notice_days)
    member_keys = store_expiry.lock_unannounced(conn, now=now, until=until, limit=limit)
    if not member_keys:
        return 0
    rows = store_expiry.mark_announced(conn, member_keys=member_keys, now=now, until=until)
    outbox.emit_all(conn, events=_notices(rows, programme, now))
    return len(member_keys)


def _notices(rows: Sequence[Row[Any]], programme: Programme, now: datetime) -> list[Event]:
    sums: dict[tuple[int, str], int] = {}
    for row in rows:
        on = local_day(row.expires_at, timezone=programme.timezone).isoformat()
        sums[row.member_key, on] = sums.get((row.member_key, on), 0) + row.points
    return [
        Event("points.expiring", member_key, {"points": points, "on": on}, now)
        for (member_key, on), points in sorted(sums.items())
    ]
