"""One member's books, spoken to in short: what the ledger's tests share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import Connection

from service.ledger import operations as ledger
from service.programme.operations import PointsExpiry, Programme, ProgrammeSettings

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
TAIPEI = Programme(
    currency="TWD",
    timezone="Asia/Taipei",
    settings=ProgrammeSettings(
        version=1,
        return_period_days=7,
        points_expiry=PointsExpiry("none"),
        earn_points=1,
        earn_per_minor=100,
        shortfall_policy="clamp",
        point_value_minor=30,
    ),
)
ONE_PER_UNIT = ledger.EarningRule(points=1, per_minor=100)


@dataclass
class Books:
    """The books of one member on a connection; every verb takes place at `at`, days after START."""

    conn: Connection
    member_key: int = 1
    rule: ledger.EarningRule = field(default=ONE_PER_UNIT)

    def when(self, at: float) -> datetime:
        return START + at * DAY

    def earn(
        self,
        order: int,
        minor: int,
        *,
        at: float = 0,
        pending_days: float = 7,
        expires: float | None = None,
        now: float | None = None,
    ) -> int:
        """Earn on an order; `expires` in days after START."""
        return ledger.earn_points(
            self.conn,
            member_key=self.member_key,
            order_key=order,
            eligible_minor=minor,
            rule=self.rule,
            occurred_at=self.when(at),
            available_at=self.when(at + pending_days),
            expires_at=None if expires is None else self.when(expires),
            now=self.when(at if now is None else now),
        ).points

    def take_back(
        self,
        order: int,
        refund: int | None,
        left: int,
        *,
        at: float = 0,
        policy: Literal["clamp", "allow_negative"] = "clamp",
    ) -> ledger.TakenBack:
        return ledger.take_back_points(
            self.conn,
            member_key=self.member_key,
            order_key=order,
            refund_key=refund,
            eligible_left_minor=left,
            occurred_at=self.when(at),
            policy=policy,
            now=self.when(at),
        )

    def adjust(self, points: int, *, at: float = 0, expires: float | None = None) -> int:
        return ledger.adjust_points(
            self.conn,
            member_key=self.member_key,
            points=points,
            reason="goodwill",
            actor="ada",
            expires_at=None if expires is None else self.when(expires),
            now=self.when(at),
        )

    def hold(self, points: int, *, at: float = 0, ttl: float = 1, order_id: str | None = None) -> str:
        """Set points aside for `ttl` days and return the hold's id."""
        return ledger.hold_points(
            self.conn,
            member_key=self.member_key,
            points=points,
            ttl=ttl * DAY,
            order_id=order_id,
            now=self.when(at),
        ).hold_id

    def capture(
        self,
        hold_id: str,
        points: int | None = None,
        *,
        at: float = 0,
        order_id: str = "o1",
        order: int | None = None,
    ) -> ledger.Hold:
        return ledger.capture_hold(
            self.conn,
            hold_id=hold_id,
            points=points,
            order_id=order_id,
            order_key=order,
            now=self.when(at),
        )

    def release(self, hold_id: str, *, at: float = 0) -> ledger.Hold:
        return ledger.release_hold(self.conn, hold_id=hold_id, now=self.when(at))

    def lock(self, *, at: float = 0) -> ledger.Balance:
        return ledger.lock_account(self.conn, member_key=self.member_key, now=self.when(at))

    def read(self, *, at: float = 0) -> ledger.Points:
        return ledger.get_points(self.conn, member_key=self.member_key, now=self.when(at), programme=TAIPEI)

    def entries(self, *, limit: int = 100) -> list[ledger.Transaction]:
        return ledger.list_transactions(self.conn, member_key=self.member_key, before=None, limit=limit)

    def kinds(self) -> list[str]:
        """What happened, oldest first."""
        return [entry.kind for entry in reversed(self.entries())]

    def moves(self, number: int = 0) -> list[tuple[str, int, datetime | None]]:
        """What an entry (0: the last) changed: account, points, and when the lot expires."""
        return [(p.account, p.points, p.expires_at) for p in self.entries()[number].postings]

    def figures(self, *, at: float = 0) -> tuple[int, int, int]:
        """Available, pending and debt, once the laws have been found to hold."""
        assert ledger.check_laws(self.conn) == []
        points = self.read(at=at)
        return points.available, points.pending, points.debt
