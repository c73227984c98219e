"""Two accounts become one, and may become two again, to the point."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from service.ledger import store, store_merging
from service.ledger.accounts import Balance, lock_row, read_due
from service.ledger.errors import AlreadyMerged, MergedPointsHeld, MergeIntoSelf
from service.ledger.rules import Lot, Move, allocate
from service.ledger.store import Entry
from service.ledger.store_merging import Traces


def lock_two(conn: Connection, *, member_keys: tuple[int, int], now: datetime) -> None:
    """Lock two members' own accounts, merged or not, by ascending key."""
    for key in sorted(set(member_keys)):
        lock_row(conn, member_key=key, now=now)


def merge_accounts(
    conn: Connection,
    *,
    from_member_key: int,
    into_member_key: int,
    now: datetime,
    reason: str,
    actor: str,
) -> Balance:
    """Move lots, pending and held points, debt and lifetime sum of an account to another; return its balance.

    Lots keep their dates and orders, holds their time. The sum of both accounts stays the same; what one
    of them owes is paid from what the other has. Afterwards whatever concerns the account that was merged
    goes to the survivor.

    Raises:
        MergeIntoSelf: both are the same. AlreadyMerged: one of them was merged before.
    """
    if from_member_key == into_member_key:
        raise MergeIntoSelf
    rows = {
        key: lock_row(conn, member_key=key, now=now) for key in sorted((from_member_key, into_member_key))
    }
    if any(row.merged_into is not None for row in rows.values()):
        raise AlreadyMerged
    balances = {key: read_due(conn, row=row, now=now) for key, row in rows.items()}
    source, target = balances[from_member_key], balances[into_member_key]
    lots = store_merging.list_open_lots(conn, member_key=from_member_key)
    held = store_merging.list_held(conn, member_key=from_member_key)
    head = Entry(
        member_key=from_member_key,
        kind="merge",
        occurred_at=now,
        recorded_at=now,
        reason=reason,
        actor=actor,
    )
    out = _moves_out(source, lots, held)
    store.post(conn, entry=head, moves=out)
    store_merging.hand_over(conn, from_member_key=from_member_key, into_member_key=into_member_key)
    survivor = Entry(
        member_key=into_member_key,
        kind="merge",
        occurred_at=now,
        recorded_at=now,
        reason=reason,
        actor=actor,
    )
    back = [Move(move.to_account, move.from_account, move.points, move.lot_key) for move in out]
    store.post(conn, entry=survivor, moves=back)
    _pay_debt(conn, survivor, min(source.debt + target.debt, source.available + target.available))
    return read_due(conn, row=lock_row(conn, member_key=into_member_key, now=now), now=now)


def unmerge_accounts(
    conn: Connection,
    *,
    from_member_key: int,
    into_member_key: int,
    family: Sequence[int],
    order_keys: Sequence[int],
    event_keys: Sequence[int] = (),
    merged_at: datetime,
    now: datetime,
    reason: str,
    actor: str,
) -> tuple[Balance, Balance]:
    """Give an account that was merged back what is left of its own; return its balance and the survivor's.

    Its own are the lots that it, or one of its `family`, brought, and those earned since on `order_keys` and
    `event_keys`, its orders and events. What was spent of a lot stays spent. A debt that the merge itself
    paid stands again with whoever brought it; what was paid since stays paid. The sum of both accounts stays
    the same.

    Raises:
        MergedPointsHeld: a hold of the survivor is open.
    """
    rows = {
        key: lock_row(conn, member_key=key, now=now) for key in sorted((from_member_key, into_member_key))
    }
    survivor = read_due(conn, row=rows[into_member_key], now=now)
    if survivor.held:
        raise MergedPointsHeld(f"{survivor.held} points are set aside by holds that are open")
    traces = store_merging.find_traces(
        conn,
        member_key=into_member_key,
        merged_at=merged_at,
        order_keys=order_keys,
        event_keys=event_keys,
    )
    lots = store_merging.list_lots_of(
        conn, member_key=into_member_key, family=family, order_keys=order_keys, event_keys=event_keys
    )
    again = [Move("debt", "available", points, key) for key, points in sorted(traces.paid.items())]
    debt = min(survivor.debt + sum(traces.paid.values()), traces.debt)
    out = _moves_home(lots, traces, debt)
    entries = [
        Entry(key, "unmerge", occurred_at=now, recorded_at=now, reason=reason, actor=actor)
        for key in (into_member_key, from_member_key)
    ]
    store.post(conn, entry=entries[0], moves=[*again, *out])
    store_merging.hand_back(
        conn,
        from_member_key=from_member_key,
        into_member_key=into_member_key,
        lot_keys=[lot.lot_key for lot in lots],
        family=family,
        order_keys=order_keys,
    )
    back = [Move(move.to_account, move.from_account, move.points, move.lot_key) for move in out]
    store.post(conn, entry=entries[1], moves=back)
    balances = []
    for entry in reversed(entries):
        account = read_due(conn, row=lock_row(conn, member_key=entry.member_key, now=now), now=now)
        _pay_debt(conn, entry, min(account.debt, account.available))
        balances.append(read_due(conn, row=lock_row(conn, member_key=entry.member_key, now=now), now=now))
    return balances[0], balances[1]


def _pay_debt(conn: Connection, entry: Entry, points: int) -> None:
    """Pay what an account owes from what it has."""
    if points <= 0:
        return
    draws, _ = allocate(points, store.list_available_lots(conn, member_key=entry.member_key, points=points))
    paid = [Move("available", "debt", draw.points, draw.lot_key) for draw in draws]
    store.post(conn, entry=entry, moves=paid)


def _moves_home(lots: Sequence[Lot], traces: Traces, debt: int) -> list[Move]:
    """Return the moves that take from the survivor what is the other's; each reversed gives it back."""
    moves = []
    for lot in lots:
        points = lot.remaining + traces.paid.get(lot.lot_key, 0)
        if points:
            moves.append(Move("pending" if lot.pending else "available", "merged", points, lot.lot_key))
    if debt:
        moves.append(Move("merged", "debt", debt))
    if traces.lifetime > 0:
        moves.append(Move("merged", "issued", traces.lifetime))
    elif traces.lifetime < 0:
        moves.append(Move("issued", "merged", -traces.lifetime))
    return moves


def _moves_out(account: Balance, lots: Sequence[Lot], held: dict[int, int]) -> list[Move]:
    """Return the moves that empty an account; each reversed fills another with the same."""
    moves = []
    for lot in lots:
        free = lot.remaining - held.get(lot.lot_key, 0)
        if free:
            moves.append(Move("pending" if lot.pending else "available", "merged", free, lot.lot_key))
        if lot.lot_key in held:
            moves.append(Move("held", "merged", held[lot.lot_key], lot.lot_key))
    if account.debt:
        moves.append(Move("merged", "debt", account.debt))
    # What was ever given and taken back counts for the survivor from now on.
    if account.lifetime_earned > 0:
        moves.append(Move("merged", "issued", account.lifetime_earned))
    elif account.lifetime_earned < 0:
        moves.append(Move("issued", "merged", -account.lifetime_earned))
    return moves
