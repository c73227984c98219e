"""The ledger played by anybody at any time, against books kept by hand: lots in a list, no database."""

from __future__ import annotations

from dataclasses import dataclass, field

NEVER = 10**9


@dataclass
class ModelLot:
    """Points earned together, times in hours: `pending` and `free` can be used, `held` is set aside."""

    key: int
    order: int | None
    earned_at: int
    available_at: int
    expires_at: int
    pending: int = 0
    free: int = 0
    held: int = 0

    def turn(self, own: int | None = None) -> tuple[bool, bool, int, int, int]:
        """In which turn it is drawn on."""
        return (
            own is None or self.order != own,
            self.pending == 0,
            self.expires_at,
            self.earned_at,
            self.key,
        )


@dataclass
class ModelHold:
    """Points set aside, by lot."""

    expires_at: int
    shares: dict[int, int]
    state: str = "open"
    freed: set[int] = field(default_factory=set)

    def points(self) -> int:
        return sum(self.shares.values())


@dataclass
class ModelOrder:
    """What an order earned, what was taken back, and what points paid for it, by lot."""

    minor: int
    earned: int
    taken: int = 0
    short: int = 0
    left: int = 100
    cancelled: bool = False
    spent: dict[int, int] = field(default_factory=dict)
    returned: dict[int, int] = field(default_factory=dict)


@dataclass
class ModelAccount:
    """One member's books."""

    lots: dict[int, ModelLot] = field(default_factory=dict)
    holds: dict[str, ModelHold] = field(default_factory=dict)
    debt: int = 0
    lifetime: int = 0

    def catch_up(self, now: int) -> None:
        """Let everything happen that is due, in the order of time."""
        while True:
            due: list[tuple[int, int, str]] = [
                (lot.available_at, lot.key, "") for lot in self.lots.values() if lot.pending
            ]
            for hold_id, hold in self.holds.items():
                if hold.state == "open":
                    due += [(hold.expires_at, key, hold_id) for key in hold.shares if key not in hold.freed]
            moment, key, hold_id = min(due, default=(NEVER, 0, ""))
            if moment > now:
                break
            lot = self.lots[key]
            if hold_id:
                hold = self.holds[hold_id]
                hold.freed.add(key)
                lot.held -= hold.shares[key]
                self.free(lot, hold.shares[key])
            else:
                points, lot.pending = lot.pending, 0
                self.free(lot, points)
        for hold in self.holds.values():
            if hold.state == "open" and hold.expires_at <= now:
                hold.state = "expired"
        self.expire(now)

    def expire(self, now: int) -> None:
        for lot in self.lots.values():
            if lot.expires_at <= now:
                lot.free = 0

    def free(self, lot: ModelLot, points: int) -> None:
        """Make points of a lot available: the debt is paid first."""
        paid = min(points, self.debt)
        self.debt -= paid
        lot.free += points - paid

    def available(self) -> int:
        return sum(lot.free for lot in self.lots.values())

    def figures(self) -> tuple[int, int, int, int, int]:
        """Available net of debt, pending, held, debt, and everything ever given less everything taken."""
        return (
            self.available() - self.debt,
            sum(lot.pending for lot in self.lots.values()),
            sum(lot.held for lot in self.lots.values()),
            self.debt,
            self.lifetime,
        )

    def draw(self, points: int, *, own: int | None = None, pending: bool = False) -> dict[int, int]:
        """Take points out of lots, in their turn; return what came of which."""
        taken: dict[int, int] = {}
        for lot in sorted(self.lots.values(), key=lambda lot: lot.turn(own)):
            there = lot.pending if lot.pending else lot.free
            part = min(points, there if pending or not lot.pending else 0)
            if part:
                taken[lot.key] = part
                points -= part
                if lot.pending:
                    lot.pending -= part
                else:
                    lot.free -= part
        return taken

    def earn(self, lot: ModelLot, points: int, *, at_once: bool) -> None:
        self.lifetime += points
        if points == 0:
            return
        self.lots[lot.key] = lot
        if at_once:
            self.free(lot, points)
        else:
            lot.pending = points

    def hold(self, hold_id: str, points: int, *, until: int) -> None:
        shares = self.draw(points)
        for key, part in shares.items():
            self.lots[key].held += part
        self.holds[hold_id] = ModelHold(until, shares)

    def end(self, hold: ModelHold, *, capture: int, now: int) -> dict[int, int]:
        """Spend `capture` of a hold, free the rest; return what was spent of which lot."""
        spent: dict[int, int] = {}
        left = capture
        for lot in sorted((self.lots[key] for key in hold.shares), key=lambda lot: lot.turn()):
            part = min(left, hold.shares[lot.key])
            left -= part
            if part:
                spent[lot.key] = part
            lot.held -= hold.shares[lot.key]
            self.free(lot, hold.shares[lot.key] - part)
        hold.state = "captured" if capture else "released"
        self.expire(now)
        return spent

    def take_back(
        self, order: ModelOrder, number: int, left: int, *, allow_debt: bool
    ) -> tuple[int, int, int]:
        """Take back what an order earned on what is refunded; return points, shortfall and debt."""
        wanted = max(0, order.earned - order.taken - order.short - min(left, order.minor) // 100)
        found = sum(self.draw(wanted, own=number, pending=True).values())
        owed = wanted - found if allow_debt else 0
        self.debt += owed
        self.lifetime -= found + owed
        order.taken += found + owed
        order.short += wanted - found - owed
        return found + owed, wanted - found - owed, owed

    def give_back(self, order: ModelOrder, left: int, *, now: int, revived_until: int) -> int:
        """Put spent points back to their lots, but for `left`; return how many."""
        points = wanted = max(0, sum(order.spent.values()) - sum(order.returned.values()) - left)
        back: list[tuple[ModelLot, int]] = []
        for lot in sorted(
            (self.lots[key] for key in order.spent), key=lambda lot: lot.turn()[2:], reverse=True
        ):
            part = min(points, order.spent[lot.key] - order.returned.get(lot.key, 0))
            if part:
                order.returned[lot.key] = order.returned.get(lot.key, 0) + part
                points -= part
                back.append((lot, part))
                if lot.expires_at <= now:
                    lot.expires_at = revived_until
        for lot, part in sorted(back, key=lambda one: one[0].turn()[2:]):
            self.free(lot, part)
        return wanted

    def merge(self, other: ModelAccount) -> None:
        """Take over everything that another account holds."""
        self.lots |= other.lots
        self.holds |= other.holds
        self.debt += other.debt
        self.lifetime += other.lifetime
        other.lots, other.holds, other.debt, other.lifetime = {}, {}, 0, 0
        payable = min(self.debt, self.available())
        self.draw(payable)
        self.debt -= payable
