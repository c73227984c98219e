"""Laws P1 to P5 for every history: all verbs at any time, against books kept by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import hypothesis.stateful as stateful
from hypothesis import settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from service.kit.clock import local_day, local_midnight
from service.ledger import operations as ledger
from service.ledger.errors import (
    AlreadyMerged,
    CaptureAboveHold,
    ExpiryNotAcceptable,
    HoldEnded,
    InsufficientPoints,
    LotNotOpen,
    MergeIntoSelf,
)
from tests.conftest import SCALE
from tests.integration.ledger.books import START, TAIPEI, Books
from tests.laws.ledger_liability import check_liability
from tests.laws.ledger_machine import NEVER, ModelAccount, ModelHold, ModelLot, ModelOrder

HOUR = timedelta(hours=1)
MEMBERS = (1, 2, 3)
MACHINE = settings(max_examples=12 * SCALE, stateful_step_count=min(200, 80 * SCALE))
WAITS = st.sampled_from([0, 0, 0, 1, 3, 5, 24, 24, 70, 24 * 9])
members = st.sampled_from(MEMBERS)
numbers = st.integers(0, 8)


class LedgerMachine(stateful.RuleBasedStateMachine):
    """Plays verbs on the database and on the model; refusals must agree, and so must every figure."""

    def __init__(self, conn: Connection) -> None:
        super().__init__()
        self.conn = conn
        self.savepoint = conn.begin_nested()
        self.now = 0
        self.steps = 0
        self.accounts = {member: ModelAccount() for member in MEMBERS}
        self.merged: dict[int, int] = {}
        self.orders: dict[int, tuple[int, ModelOrder]] = {}
        self.holds: list[str] = []
        self.refunds = 0
        self.spendings = 1_000

    def teardown(self) -> None:
        try:
            assert ledger.check_laws(self.conn) == []
            for hours in {0, self.now // 3, self.now // 2, self.now}:
                check_liability(self.conn, at=START + hours * HOUR)
        finally:
            self.savepoint.rollback()

    def wait(self, hours: int) -> None:
        self.now += hours
        self.steps += 1
        for account in self.accounts.values():
            account.catch_up(self.now)

    def root(self, member: int) -> int:
        while member in self.merged:
            member = self.merged[member]
        return member

    def books(self, member: int) -> Books:
        return Books(self.conn, member_key=member)

    @property
    def day(self) -> float:
        return self.now / 24

    def newest_lot(self) -> int:
        return int(self.conn.scalar(text("SELECT coalesce(max(lot_key), 0) FROM lots")) or 0)

    @stateful.initialize()
    def start(self) -> None:
        """Give everybody something to lose: soon, later, and never."""
        for member in MEMBERS:
            for lasts in (24 * 4, 24 * 30, None):
                self.adjust(0, member, 60, lasts)

    @stateful.rule(
        wait=WAITS,
        member=members,
        minor=st.integers(0, 20_000),
        pending=st.sampled_from([0, 0, 24, 24 * 7]),
        lasts=st.none() | st.integers(1, 24 * 60),
        late=st.sampled_from([0, 0, 0, 30, 24 * 10]),
    )
    def earn(self, wait: int, member: int, minor: int, pending: int, lasts: int | None, late: int) -> None:
        self.wait(wait)
        order, at = len(self.orders) + 1, self.now - late
        expires_at = NEVER if lasts is None else at + lasts

        def earn() -> int:
            return self.books(member).earn(
                order,
                minor,
                at=at / 24,
                pending_days=pending / 24,
                expires=None if lasts is None else expires_at / 24,
                now=self.day,
            )

        points = earn()
        assert points == minor // 100
        lot_key = self.newest_lot()
        assert earn() == points
        assert self.newest_lot() == lot_key
        account = self.accounts[self.root(member)]
        lot = ModelLot(lot_key, order, at, at + pending, expires_at)
        account.earn(lot, points, at_once=pending == 0)
        account.catch_up(self.now)
        self.orders[order] = (member, ModelOrder(minor, points))

    @stateful.rule(
        wait=WAITS, member=members, points=st.integers(-80, 80), lasts=st.none() | st.integers(1, 900)
    )
    def adjust(self, wait: int, member: int, points: int, lasts: int | None) -> None:
        self.wait(wait)
        if points == 0:
            return
        account, books = self.accounts[self.root(member)], self.books(member)
        expires_at = NEVER if lasts is None else self.now + lasts
        if points < 0 and account.available() < -points:
            self.refused(InsufficientPoints, lambda: books.adjust(points, at=self.day))
            return
        books.adjust(points, at=self.day, expires=None if lasts is None or points < 0 else expires_at / 24)
        if points < 0:
            account.lifetime += points
            account.draw(-points)
        else:
            account.earn(
                ModelLot(self.newest_lot(), None, self.now, self.now, expires_at), points, at_once=True
            )

    @stateful.rule(wait=WAITS, member=members, percent=st.integers(1, 110), ttl=st.integers(1, 24 * 12))
    def hold(self, wait: int, member: int, percent: int, ttl: int) -> None:
        self.wait(wait)
        account, books = self.accounts[self.root(member)], self.books(member)
        points = max(1, account.available() * percent // 100)
        if account.available() < points:
            self.refused(InsufficientPoints, lambda: books.hold(points, at=self.day))
            return
        hold_id = books.hold(points, at=self.day, ttl=ttl / 24)
        account.hold(hold_id, points, until=self.now + ttl)
        self.holds.append(hold_id)

    @stateful.precondition(lambda self: bool(self.holds))
    @stateful.rule(wait=WAITS, number=numbers, percent=st.none() | st.integers(1, 105))
    def capture(self, wait: int, number: int, percent: int | None) -> None:
        """Spend a hold, or a part of it, on an order of its own."""
        self.wait(wait)
        hold_id, account, hold = self.pick(number)
        points = None if percent is None else -(-hold.points() * percent // 100)
        self.spendings += 1
        order, books, member = self.spendings, self.books(1), self.root(1)

        def capture() -> ledger.Hold:
            return books.capture(hold_id, points, at=self.day, order=order, order_id=f"o{order}")

        if points is not None and points > hold.points():
            self.refused(CaptureAboveHold, capture)
        elif hold.state != "open":
            self.refused(HoldEnded, capture)
        else:
            first = capture()
            assert capture() == first
            wanted = hold.points() if points is None else points
            bought = ModelOrder(0, 0)
            bought.spent = account.end(hold, capture=wanted, now=self.now)
            member = next(key for key, one in self.accounts.items() if one is account)
            self.orders[order] = (member, bought)

    @stateful.precondition(lambda self: bool(self.holds))
    @stateful.rule(wait=WAITS, number=numbers)
    def release(self, wait: int, number: int) -> None:
        self.wait(wait)
        hold_id, account, hold = self.pick(number)
        if hold.state in {"captured", "expired"}:
            self.refused(HoldEnded, lambda: self.books(1).release(hold_id, at=self.day))
            return
        first = self.books(1).release(hold_id, at=self.day)
        assert self.books(1).release(hold_id, at=self.day) == first
        if hold.state == "open":
            account.end(hold, capture=0, now=self.now)

    @stateful.precondition(lambda self: bool(self.orders))
    @stateful.rule(
        wait=WAITS,
        number=numbers,
        percent=st.integers(0, 100),
        allow_debt=st.booleans(),
        is_cancelled=st.booleans(),
    )
    def refund(self, wait: int, number: int, percent: int, allow_debt: bool, is_cancelled: bool) -> None:
        """Refund an order down to `percent` of it: what was spent comes back, then what was earned goes."""
        self.wait(wait)
        order = sorted(self.orders)[number % len(self.orders)]
        member, known = self.orders[order]
        self.refunds += 1
        refund = None if is_cancelled and not known.cancelled else self.refunds
        known.cancelled |= refund is None
        left = known.left = min(known.left, percent)
        account = self.accounts[self.root(member)]
        today = local_day(START + self.now * HOUR, timezone=TAIPEI.timezone)
        revived = local_midnight(today + timedelta(days=30), timezone=TAIPEI.timezone)
        keep = sum(known.spent.values()) * left // 100
        wanted = account.give_back(known, keep, now=self.now, revived_until=(revived - START) // HOUR)
        back = [self.give_back(member, order, refund, keep) for _ in range(2)]
        assert back == [wanted, 0]
        minor = known.minor * left // 100
        answer = account.take_back(known, order, minor, allow_debt=allow_debt)
        for _ in range(2):
            taken = self.books(member).take_back(
                order, refund, minor, at=self.day, policy="allow_negative" if allow_debt else "clamp"
            )
            assert (taken.points, taken.shortfall, taken.debt) == answer
        if known.short == 0 and known.minor:
            assert known.earned - known.taken == minor // 100
        assert 0 <= known.taken <= known.earned

    def give_back(self, member: int, order: int, refund: int | None, keep: int) -> int:
        moment = START + self.now * HOUR
        return ledger.return_spent_points(
            self.conn,
            member_key=member,
            order_key=order,
            refund_key=refund,
            points_left=keep,
            occurred_at=moment,
            timezone=TAIPEI.timezone,
            now=moment,
        )

    @stateful.rule(wait=WAITS, source=members, into=members, go=st.integers(0, 5))
    def merge(self, wait: int, source: int, into: int, go: int) -> None:
        if go:
            return  # Members are few: now and then is enough.
        self.wait(wait)

        def merge() -> ledger.Balance:
            return ledger.merge_accounts(
                self.conn,
                from_member_key=source,
                into_member_key=into,
                now=START + self.now * HOUR,
                reason="the same person",
                actor="ada",
            )

        if source == into:
            self.refused(MergeIntoSelf, merge)
        elif {source, into} & set(self.merged):
            self.refused(AlreadyMerged, merge)
        else:
            ours, theirs = self.accounts[into].figures(), self.accounts[source].figures()
            balance = merge()
            self.accounts[into].merge(self.accounts[source])
            self.merged[source] = into
            assert balance.available - balance.debt + balance.pending + balance.held == sum(
                ours[:3] + theirs[:3]
            )

    @stateful.rule(wait=WAITS, kind=st.sampled_from([ledger.release_due, ledger.expire_due]))
    def sweep(self, wait: int, kind: Callable[..., Any]) -> None:
        self.wait(wait)
        while kind(self.conn, now=START + self.now * HOUR, limit=3).members:
            pass

    @stateful.rule(wait=WAITS, member=members, number=numbers, longer=st.integers(-24, 24 * 30))
    def extend(self, wait: int, member: int, number: int, longer: int) -> None:
        self.wait(wait)
        account = self.accounts[self.root(member)]
        if not account.lots:
            return
        lot = account.lots[sorted(account.lots)[number % len(account.lots)]]
        until = (self.now if lot.expires_at == NEVER else lot.expires_at) + longer

        def extend() -> ledger.Extended:
            moment = START + self.now * HOUR
            return ledger.extend_lot(
                self.conn, member_key=member, lot_key=lot.key, expires_at=START + until * HOUR, reason="late",
                actor="ada", now=moment,
            )  # fmt: skip

        if lot.pending + lot.free + lot.held == 0:
            self.refused(LotNotOpen, extend)
        elif lot.expires_at == NEVER or until <= max(self.now, lot.expires_at):
            self.refused(ExpiryNotAcceptable, extend)
        else:
            extend()
            lot.expires_at = until

    def pick(self, number: int) -> tuple[str, ModelAccount, ModelHold]:
        # The newest ones first: they are more often open.
        hold_id = self.holds[-1 - number % len(self.holds)]
        account = next(one for one in self.accounts.values() if hold_id in one.holds)
        return hold_id, account, account.holds[hold_id]

    def refused(self, kind: type[Exception], verb: Callable[[], object]) -> None:
        before = self.conn.scalar(text("SELECT count(*) FROM ledger_transactions WHERE kind NOT IN "
                                       "('release', 'expire', 'unhold')"))  # fmt: skip
        try:
            verb()
        except kind:
            after = self.conn.scalar(text("SELECT count(*) FROM ledger_transactions WHERE kind NOT IN "
                                          "('release', 'expire', 'unhold')"))  # fmt: skip
            assert after == before
        else:
            raise AssertionError(f"not refused with {kind.__name__}")

    @stateful.invariant()
    def every_figure_is_that_of_the_model(self) -> None:
        for member, account in self.accounts.items():
            books = self.books(member)
            points = books.read(at=self.day)
            assert (
                points.available, points.pending, points.held, points.debt, points.lifetime_earned,
            ) == account.figures()  # fmt: skip
            expiring: dict[str, int] = {}
            for lot in account.lots.values():
                if lot.expires_at != NEVER and lot.free + lot.pending:
                    on = local_day(START + lot.expires_at * HOUR, timezone=TAIPEI.timezone).isoformat()
                    expiring[on] = expiring.get(on, 0) + lot.free + lot.pending
            assert {one.on: one.points for one in points.expiring} == expiring
            at_once = ledger.get_points_at(
                self.conn, member_key=member, at=books.when(self.day), programme=TAIPEI
            )
            assert at_once == points
        if self.steps % 10 == 9:
            assert ledger.check_laws(self.conn) == []
            check_liability(self.conn, at=START + self.now * HOUR)


def test_the_ledger_agrees_with_books_kept_by_hand_whatever_is_done_and_when(conn: Connection) -> None:
    ends: list[int] = []

    class Played(LedgerMachine):
        def __init__(self) -> None:
            super().__init__(conn)

        def teardown(self) -> None:
            super().teardown()
            ends.append(self.now)

    stateful.run_state_machine_as_test(Played, settings=MACHINE)
    assert len(ends) >= MACHINE.max_examples
