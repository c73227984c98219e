"""Accounts: opened with the member, locked by whoever writes, with everything due posted first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from service.ledger import store, store_due


@dataclass(frozen=True, slots=True)
class Balance:
    """A locked member's accounts, in points, with everything due posted.

    Debt stands only where nothing is available. `member_key` is that of the survivor where the account that
    was asked for has been merged.
    """

    member_key: int
    pending: int
    available: int
    held: int
    debt: int
    lifetime_earned: int


def open_account(conn: Connection, *, member_key: int) -> None:
    """Open a member's account; one that is open stays as it is."""
    store.open_accounts(conn, member_keys=[member_key])


def open_accounts(conn: Connection, *, member_keys: Sequence[int]) -> None:
    """Open the accounts of many members; those that are open stay as they are."""
    store.open_accounts(conn, member_keys=member_keys)


def lock_account(conn: Connection, *, member_key: int, now: datetime) -> Balance:
    """Lock a member's account until the transaction ends, post what is due, and return the balance.

    An account that was merged leads to the one that took it over.
    """
    row = lock_row(conn, member_key=member_key, now=now)
    while row.merged_into is not None:
        row = lock_row(conn, member_key=row.merged_into, now=now)
    return read_due(conn, row=row, now=now)


def read_due(conn: Connection, *, row: Row[Any], now: datetime) -> Balance:
    """Post what is due for a locked row and return its balance."""
    if row.is_due:
        (row,) = store_due.post_due(conn, member_keys=[row.member_key], now=now)
    return Balance(row.member_key, row.pending, row.available, row.held, row.debt, row.lifetime_earned)


def lock_row(conn: Connection, *, member_key: int, now: datetime) -> Row[Any]:
    """Lock a member's own row of balances, merged or not, opening the account where there is none."""
    row = store.lock(conn, member_key=member_key, now=now)
    if row is None:
        store.open_accounts(conn, member_keys=[member_key])
        row = store.lock(conn, member_key=member_key, now=now)
    if row is None:
        raise RuntimeError("an account that was just opened is gone")
    return row
