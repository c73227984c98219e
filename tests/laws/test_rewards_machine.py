"""Law R1 for every history: all verbs of rewards and vouchers at any time, against a shop kept in a list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import hypothesis.stateful as stateful
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from service.ledger import operations as ledger
from service.ledger.errors import InsufficientPoints
from service.rewards import operations as rewards
from service.rewards.errors import (
    RedemptionEnded,
    RewardLimitReached,
    RewardOutOfStock,
    StockBelowTaken,
    VoucherCancelled,
    VoucherExpired,
    VoucherNotReserved,
    VoucherOfOtherMember,
    VoucherReserved,
    VoucherUsed,
)
from service.rewards.rules import Cart, CartLine
from tests.conftest import SCALE
from tests.integration.ledger.books import START, TAIPEI

MEMBERS = (1, 2, 3)
VALUE = 5_000
KINDS = {"fifty": "voucher_amount", "gift": "gift_certificate", "cup": "product"}
HANDED_OVER = {"cup"}
LIMIT = 4
MACHINE = settings(max_examples=12 * SCALE, stateful_step_count=min(150, 60 * SCALE))
WAITS = st.sampled_from([0, 0, 0, 1, 5, 24, 72])
members = st.sampled_from(MEMBERS)
codes = st.sampled_from(sorted(KINDS))
numbers = st.integers(0, 11)


@dataclass
class ModelTaken:
    """One taking of a reward, as a shopkeeper would note it; times in hours."""

    redemption_id: str
    code: str | None
    reward: str
    member: int
    points: int
    expires_at: datetime | None
    state: str = "issued"
    reserved_for: str | None = None
    reserved_until: datetime | None = None
    balance: int | None = None

    def stands(self, now: datetime) -> str:
        state = self.state
        if state == "reserved" and self.reserved_until is not None and self.reserved_until <= now:
            state = "issued"
        if state == "issued" and self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return state

    def refusal(self, order_id: str, member: int, now: datetime) -> type[Exception] | None:
        """Return why it cannot be used for an order."""
        if self.reward != "gift" and member != self.member:
            return VoucherOfOtherMember
        state = self.stands(now)
        if state == "reserved" and self.reserved_for != order_id:
            return VoucherReserved
        ended = {"used": VoucherUsed, "expired": VoucherExpired, "cancelled": VoucherCancelled}
        return ended.get(state)


@dataclass
class ModelOrder:
    """An order that a voucher paid for; `left` percent of its goods are not refunded."""

    order_id: str
    order_key: int
    taken: ModelTaken
    paid: int
    left: int = 100
    returned: int = 0
    is_back: bool = False


class RewardsMachine(stateful.RuleBasedStateMachine):
    """Plays verbs on the database and on the model; refusals must agree, and so must every figure."""

    def __init__(self, conn: Connection) -> None:
        super().__init__()
        self.conn = conn
        self.savepoint = conn.begin_nested()
        self.now = START
        self.programme = TAIPEI
        self.points = dict.fromkeys(MEMBERS, 0)
        self.stock: dict[str, int | None] = {}
        self.taken: list[ModelTaken] = []
        self.orders: list[ModelOrder] = []
        self.refunds = 0

    def teardown(self) -> None:
        try:
            assert rewards.check_laws(self.conn) == []
            assert ledger.check_laws(self.conn) == []
            given = [one.code for one in self.taken if one.code is not None]
            assert len(set(given)) == len(given)
        finally:
            self.savepoint.rollback()

    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    def agree(self, refusal: type[Exception] | None, act: Callable[[], Any]) -> Any:
        """Do something that must be refused so, or not at all; nothing of what is refused stays."""
        step = self.conn.begin_nested()
        if refusal is not None:
            with pytest.raises(refusal) as refused:
                act()
            step.rollback()
            assert refused.type is refusal
            return None
        done = act()
        step.commit()
        return done

    def standing(self, reward: str) -> list[ModelTaken]:
        return [one for one in self.taken if one.reward == reward and one.state != "cancelled"]

    def pick(self, number: int) -> ModelTaken | None:
        return self.taken[-1 - number] if number < len(self.taken) else None

    @stateful.initialize()
    def start(self) -> None:
        """Two rewards with little in stock and one without any count; points for everybody."""
        for code, stock in (("fifty", 3), ("gift", 2), ("cup", None)):
            self.put(code, stock)
        for member in MEMBERS:
            self.give(0, member, 60)

    def put(self, code: str, stock: int | None) -> None:
        body: dict[str, Any] = {
            "name": {"en": code},
            "kind": KINDS[code],
            "points": 10,
            "value": None if code in HANDED_OVER else VALUE // 100,
            "stock": stock,
            "per_member_limit": LIMIT,
            "valid_days": 3,
            "code_pool": None,
        }
        refusal = StockBelowTaken if stock is not None and stock < len(self.standing(code)) else None
        self.agree(
            refusal,
            lambda: rewards.put_reward(
                self.conn,
                code=code,
                body=body,
                programme=self.programme,
                actor="test",
                request_id=None,
                now=self.now,
            ),
        )
        if refusal is None:
            self.stock[code] = stock

    @stateful.rule(wait=WAITS, code=codes, stock=st.none() | st.integers(0, 8))
    def restock(self, wait: int, code: str, stock: int | None) -> None:
        self.wait(wait)
        self.put(code, stock)

    @stateful.rule(wait=WAITS, member=members, points=st.integers(1, 30))
    def give(self, wait: int, member: int, points: int) -> None:
        self.wait(wait)
        ledger.adjust_points(
            self.conn,
            member_key=member,
            points=points,
            reason="start",
            actor="test",
            expires_at=None,
            now=self.now,
        )
        self.points[member] += points

    @stateful.rule(wait=WAITS, member=members, code=codes)
    def redeem(self, wait: int, member: int, code: str) -> None:
        self.wait(wait)
        standing = self.standing(code)
        stock, mine = self.stock[code], [one for one in standing if one.member == member]
        refusal: type[Exception] | None = None
        if stock is not None and len(standing) >= stock:
            refusal = RewardOutOfStock
        elif len(mine) >= LIMIT:
            refusal = RewardLimitReached
        elif self.points[member] < 10:
            refusal = InsufficientPoints
        done = self.agree(
            refusal,
            lambda: rewards.redeem(
                self.conn, member_key=member, reward=code, programme=self.programme, now=self.now
            ),
        )
        if done is not None:
            self.points[member] -= 10
            balance = VALUE if code == "gift" else None
            self.taken.append(
                ModelTaken(
                    done.redemption_id, done.voucher_code, code, member, 10, done.expires_at, balance=balance
                )
            )

    @stateful.rule(wait=WAITS, number=numbers)
    def cancel(self, wait: int, number: int) -> None:
        self.wait(wait)
        one = self.pick(number)
        if one is None:
            return
        state = one.stands(self.now)
        refusal: type[Exception] | None = None
        if state == "reserved":
            refusal = VoucherReserved
        elif state in {"used", "expired"} or (one.balance not in {None, VALUE}):
            refusal = RedemptionEnded
        self.agree(
            refusal,
            lambda: rewards.cancel_redemption(
                self.conn,
                redemption_id=one.redemption_id,
                reason="a mistake",
                actor="test",
                request_id=None,
                programme=self.programme,
                now=self.now,
            ),
        )
        if refusal is None and state != "cancelled":
            one.state = "cancelled"
            self.points[one.member] += one.points

    @stateful.rule(wait=WAITS, number=numbers)
    def hand_over(self, wait: int, number: int) -> None:
        self.wait(wait)
        one = self.pick(number)
        if one is None:
            return
        state = one.stands(self.now)
        refusal: type[Exception] | None = None
        if state == "reserved":
            refusal = VoucherReserved
        elif state in {"cancelled", "expired"} or (one.balance is not None and state != "used"):
            refusal = RedemptionEnded
        self.agree(
            refusal,
            lambda: rewards.use_redemption(self.conn, redemption_id=one.redemption_id, now=self.now),
        )
        if refusal is None and state == "issued":
            one.state = "used"

    @stateful.rule(
        wait=WAITS, number=numbers, member=members, order=st.integers(0, 3), hours=st.integers(1, 90)
    )
    def reserve(self, wait: int, number: int, member: int, order: int, hours: int) -> None:
        self.wait(wait)
        one = self.pick(number)
        if one is None or one.code is None:
            return
        code, order_id = one.code, f"cart-{number}-{order}"
        refusal = one.refusal(order_id, member, self.now)
        self.agree(
            refusal,
            lambda: rewards.reserve_voucher(
                self.conn,
                code=code,
                order_id=order_id,
                member_key=member,
                cart=None,
                ttl=timedelta(hours=hours),
                now=self.now,
            ),
        )
        if refusal is None:
            one.state, one.reserved_for = "reserved", order_id
            one.reserved_until = self.now + timedelta(hours=hours)

    @stateful.rule(wait=WAITS, number=numbers, right=st.booleans())
    def release(self, wait: int, number: int, right: bool) -> None:
        self.wait(wait)
        one = self.pick(number)
        if one is None or one.code is None:
            return
        code, state = one.code, one.stands(self.now)
        order_id = one.reserved_for if right and one.reserved_for else "another"
        refusal = None
        if state != "issued" and (state != "reserved" or one.reserved_for != order_id):
            refusal = VoucherNotReserved
        self.agree(
            refusal,
            lambda: rewards.release_voucher(self.conn, code=code, order_id=order_id, now=self.now),
        )
        if refusal is None:
            one.state, one.reserved_for, one.reserved_until = "issued", None, None

    @stateful.rule(
        wait=WAITS, number=numbers, member=members, minor=st.integers(1, 9_000), kept=st.booleans()
    )
    def order(self, wait: int, number: int, member: int, minor: int, kept: bool) -> None:
        """Place an order that names a voucher: the one it is kept for, or another."""
        self.wait(wait)
        one = self.pick(number)
        if one is None or one.code is None:
            return
        code, order_id = one.code, f"order-{len(self.orders)}"
        if kept and one.stands(self.now) == "reserved" and one.reserved_for:
            order_id = one.reserved_for
        if any(earlier.order_id == order_id for earlier in self.orders):
            return
        cart = Cart((CartLine("tea", frozenset(), minor),))
        refusal = one.refusal(order_id, member, self.now)
        paid = self.agree(refusal, lambda: self.pay(code, order_id, member, cart))
        if paid is None:
            return
        assert paid == min(minor, VALUE if one.balance is None else one.balance)
        one.reserved_for = one.reserved_until = None
        one.state = "used"
        if one.balance is not None:
            one.balance -= paid
            one.state = "issued" if one.balance else "used"
        self.orders.append(ModelOrder(order_id, self.record(order_id, member), one, paid))

    def pay(self, code: str, order_id: str, member: int, cart: Cart) -> int:
        payments = rewards.vouchers_paid(
            self.conn, codes=[code], order_id=order_id, member_key=member, cart=cart, now=self.now
        )
        rewards.pay_with_vouchers(self.conn, payments=payments, order_id=order_id, now=self.now)
        return sum(payment.paid_minor for payment in payments)

    def record(self, order_id: str, member: int) -> int:
        """Write an order's id alone, without the member that its key would need."""
        self.conn.execute(text("SET LOCAL session_replication_role = replica"))
        key = self.conn.execute(
            text(
                "INSERT INTO order_keys (order_id, member_key, placed_at, content_hash) "
                "VALUES (:order_id, :member, :now, '') RETURNING order_key"
            ),
            {"order_id": order_id, "member": member, "now": self.now},
        ).scalar_one()
        self.conn.execute(text("SET LOCAL session_replication_role = origin"))
        return int(key)

    @stateful.rule(wait=WAITS, number=st.integers(0, 5), percent=st.sampled_from([10, 25, 50, 100]))
    def refund(self, wait: int, number: int, percent: int) -> None:
        self.give_back(wait, number, percent, cancelled=False)

    @stateful.rule(wait=WAITS, number=st.integers(0, 5))
    def call_off(self, wait: int, number: int) -> None:
        self.give_back(wait, number, 100, cancelled=True)

    def give_back(self, wait: int, number: int, percent: int, *, cancelled: bool) -> None:
        self.wait(wait)
        if number >= len(self.orders):
            return
        order = self.orders[-1 - number]
        if order.left == 0:
            return
        order.left = max(0, order.left - percent)
        self.refunds += 1
        one = order.taken
        returned = rewards.return_vouchers(
            self.conn,
            order_key=order.order_key,
            refund_key=None if cancelled else self.refunds,
            left_of=lambda whole: whole * order.left // 100,
            all_refunded=order.left == 0,
            occurred_at=self.now,
            timezone=TAIPEI.timezone,
            now=self.now,
        )
        wanted = 0
        if one.balance is not None:
            wanted = order.paid - order.returned - order.paid * order.left // 100
            one.balance += wanted
        elif order.left == 0 and not order.is_back:
            wanted, order.is_back = order.paid, True
        assert returned == wanted
        order.returned += wanted
        if wanted or order.is_back:
            self.revive(one)

    def revive(self, one: ModelTaken) -> None:
        if one.stands(self.now) != "reserved":
            one.state, one.reserved_for, one.reserved_until = "issued", None, None
        if one.expires_at is not None and one.expires_at <= self.now:
            shown = rewards.get_redemption(self.conn, redemption_id=one.redemption_id, now=self.now)
            assert shown.expires_at is not None
            assert timedelta(days=29) < shown.expires_at - self.now <= timedelta(days=30)
            one.expires_at = shown.expires_at

    @stateful.rule(wait=WAITS, limit=st.integers(1, 5))
    def sweep(self, wait: int, limit: int) -> None:
        self.wait(wait)
        rewards.expire_due(self.conn, now=self.now, limit=limit)

    @stateful.invariant()
    def every_figure_agrees(self) -> None:
        for member in MEMBERS:
            points = ledger.get_points(self.conn, member_key=member, now=self.now, programme=self.programme)
            assert points.available == self.points[member]
        for one in self.taken:
            shown = rewards.get_redemption(self.conn, redemption_id=one.redemption_id, now=self.now)
            assert (shown.state, shown.balance_minor) == (one.stands(self.now), one.balance)
            kept = one.reserved_for if shown.state == "reserved" else None
            assert shown.reserved_for == kept
        for code, stock in self.stock.items():
            taken = len(self.standing(code))
            shelf = rewards.get_reward(self.conn, code=code, programme=self.programme)
            assert (shelf["stock"], shelf["taken"]) == (stock, taken)
            assert stock is None or taken <= stock


def test_rewards_and_vouchers_agree_with_a_shop_kept_in_a_list(conn: Connection) -> None:
    ends: list[int] = []

    class Played(RewardsMachine):
        def __init__(self) -> None:
            super().__init__(conn)

        def teardown(self) -> None:
            super().teardown()
            ends.append(len(self.taken))

    stateful.run_state_machine_as_test(Played, settings=MACHINE)
    assert len(ends) >= MACHINE.max_examples
    assert sum(ends) > 0
