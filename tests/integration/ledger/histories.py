"""Imported history in short: orders and refunds staged as an importer would."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, text

from service.ledger import operations as ledger
from tests.integration.ledger.books import DAY, START

_STAGE = text(
    "INSERT INTO ledger_history VALUES (:member_key, :order_key, :refund_key, :occurred_at, :eligible_minor, "
    ":rule_points, :rule_per_minor, :multiplier_bp, :tier, :available_at, :expires_at)"
)


@dataclass(frozen=True)
class PastOrder:
    """An order as an importer knows it; days after START. `refunds` are (key, day, minor units left);
    the key None is the cancellation."""

    order: int
    minor: int
    at: float = 0
    refunds: tuple[tuple[int | None, float, int], ...] = ()
    member: int = 1
    pending_days: float = 7
    expires: float | None = None
    multiplier_bp: int = 10_000

    def rows(self) -> list[dict[str, object]]:
        """Return the rows to stage."""
        refund_row = dict.fromkeys(
            ("rule_points", "rule_per_minor", "multiplier_bp", "tier", "available_at", "expires_at")
        )
        placed = START + self.at * DAY
        head = {"member_key": self.member, "order_key": self.order}
        return [
            head
            | {
                "refund_key": None,
                "occurred_at": placed,
                "eligible_minor": self.minor,
                "rule_points": 1,
                "rule_per_minor": 100,
                "multiplier_bp": self.multiplier_bp,
                "tier": "base",
                "available_at": placed + self.pending_days * DAY,
                "expires_at": None if self.expires is None else START + self.expires * DAY,
            }
        ] + [
            head
            | refund_row
            | {"refund_key": refund, "occurred_at": START + timedelta(days=at), "eligible_minor": left}
            for refund, at, left in self.refunds
        ]


def post(
    conn: Connection, orders: Iterable[PastOrder], *, now: float, import_key: int = 1
) -> ledger.HistoryPosted:
    """Stage orders and post them."""
    ledger.create_history_table(conn)
    rows = [row for order in orders for row in order.rows()]
    if rows:
        conn.execute(_STAGE, rows)
    return ledger.post_history(conn, now=START + now * DAY, import_key=import_key)


def balance_as_of(conn: Connection, day: float) -> dict[str, int]:
    """Return each account's sum over the postings dated up to a day."""
    rows = conn.execute(
        text(
            "SELECT side.account, CAST(sum(side.points) AS bigint) AS points "
            "FROM postings p JOIN ledger_transactions t USING (transaction_key), "
            "LATERAL (VALUES (p.from_account, -p.points), (p.to_account, p.points)) side (account, points) "
            "WHERE t.occurred_at <= :moment GROUP BY side.account"
        ),
        {"moment": START + day * DAY},
    )
    return {row.account: row.points for row in rows if row.points}
