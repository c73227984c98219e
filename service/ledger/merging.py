"""Two members become one: everything that one account holds goes over to the other, to the point."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from service.ledger import store, store_merging
from service.ledger.accounts import Balance, lock_row, read_due
from service.ledger.errors import AlreadyMerged, MergeIntoSelf
from service.ledger.rules import Lot, Move, allocate
from service.ledger.store import Entry


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
    payable = min(source.debt + target.debt, source.available + target.available)
    if payable > 0:
        reachable = store.list_available_lots(conn, member_key=into_member_key, points=payable)
        draws, _ = allocate(payable, reachable)
        paid = [Move("available", "debt", draw.points, draw.lot_key) for draw in draws]
        store.post(conn, entry=survivor, moves=paid)
    return read_due(conn, row=lock_row(conn, member_key=into_member_key, now=now), now=now)


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
