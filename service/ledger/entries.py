"""The entries of a ledger as they are told: each with both sides of its postings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row

from service.ledger import store_entries
from service.ledger.past import Line


@dataclass(frozen=True, slots=True)
class SignedPosting:
    """One side of a posting: points into (+) or out of (−) an account, and the lot they belong to."""

    account: str
    points: int
    lot_key: int | None
    available_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Transaction:
    """One entry of the ledger; its postings sum to zero."""

    transaction_key: int
    kind: str
    occurred_at: datetime
    recorded_at: datetime
    order_key: int | None
    refund_key: int | None
    rule: Mapping[str, Any] | None
    shortfall: int
    reason: str | None
    actor: str | None
    hold_id: str | None
    postings: tuple[SignedPosting, ...]


def list_transactions(
    conn: Connection, *, member_key: int, before: tuple[datetime, int] | None, limit: int
) -> list[Transaction]:
    """Return up to `limit` transactions before (`occurred_at`, `transaction_key`), newest first."""
    rows = store_entries.list_transactions(conn, member_key=member_key, before=before, limit=limit)
    return [_transaction(list(group)) for _, group in groupby(rows, key=lambda row: int(row.transaction_key))]


def name_references(
    conn: Connection, *, transactions: Sequence[Transaction | Line]
) -> tuple[dict[int, str], dict[int, str]]:
    """Return the merchant's ids, by key, of the orders and of the refunds that transactions refer to."""
    order_keys = sorted({entry.order_key for entry in transactions if entry.order_key is not None})
    refund_keys = sorted({entry.refund_key for entry in transactions if entry.refund_key is not None})
    return (
        store_entries.find_order_ids(conn, order_keys=order_keys) if order_keys else {},
        store_entries.find_refund_ids(conn, refund_keys=refund_keys) if refund_keys else {},
    )


def _transaction(rows: Sequence[Row[Any]]) -> Transaction:
    head = rows[0]
    postings = tuple(
        SignedPosting(account, points, row.lot_key, row.available_at, row.expires_at)
        for row in rows
        if row.posting_no is not None
        for account, points in ((row.from_account, -row.points), (row.to_account, row.points))
    )
    return Transaction(
        transaction_key=head.transaction_key,
        kind=head.kind,
        occurred_at=head.occurred_at,
        recorded_at=head.recorded_at,
        order_key=head.order_key,
        refund_key=head.refund_key,
        rule=head.rule,
        shortfall=head.shortfall,
        reason=head.reason,
        actor=head.actor,
        hold_id=None if head.hold_id is None else f"hold_{head.hold_id.hex}",
        postings=postings,
    )
