"""The window of days a rating looks at, kept summed up while days go by and facts come in. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from copy import copy

from service.activity.rules import DayTotals, TierFact
from service.tiers.conditions import Metrics


class RunningWindow:
    """Totals of a member's days from the first day of the window on.

    Days are proleptic ordinals (`date.toordinal`). The window has no last day: a store east of the
    programme's zone is a day ahead, and what is known of it counts. Days that have left are remembered.
    """

    __slots__ = ("_active_days", "_days", "_first", "_low", "_net_minor", "_orders", "_totals")

    def __init__(self, totals: Iterable[DayTotals] = ()) -> None:
        self._first = 0
        self._low = 0
        self._active_days = self._net_minor = self._orders = 0
        self._days: list[int] = []
        # day → [goods, net spend, orders]
        self._totals: dict[int, list[int]] = {}
        for total in totals:
            self.add(
                total.day.toordinal(),
                goods_minor=total.goods_minor,
                net_minor=total.spend_minor - total.unlinked_minor,
                orders=total.orders,
            )

    @classmethod
    def of_rows(cls, rows: Iterable[Sequence[int]]) -> RunningWindow:
        """Return a window of days given as (ordinal, goods, spend, orders, unlinked), each once, by day."""
        window = cls()
        days, totals = window._days, window._totals
        for day, goods_minor, spend_minor, orders, unlinked_minor in rows:
            net_minor = spend_minor - unlinked_minor
            days.append(day)
            totals[day] = [goods_minor, net_minor, orders]
            window._active_days += goods_minor > 0
            window._net_minor += net_minor
            window._orders += orders
        return window

    def ahead(self) -> RunningWindow:
        """Return a window of the same days to be moved on alone; nothing may be added to either."""
        return copy(self)

    def take(self, fact: TierFact) -> None:
        """Add to the totals of a fact's day."""
        self.add(
            fact.day.toordinal(),
            goods_minor=fact.goods_delta,
            net_minor=fact.spend_delta - fact.unlinked_delta,
            orders=fact.orders_delta,
        )

    def add(self, day: int, *, goods_minor: int, net_minor: int, orders: int) -> None:
        """Add to the totals of one day; amounts may be negative."""
        known = self._totals.get(day)
        if known is None:
            known = self._totals[day] = [0, 0, 0]
            if self._days and day < self._days[-1]:
                insort(self._days, day)
            else:
                self._days.append(day)
            if day < self._first:
                self._low += 1
        was_active = known[0] > 0
        known[0] += goods_minor
        known[1] += net_minor
        known[2] += orders
        if day >= self._first:
            self._net_minor += net_minor
            self._orders += orders
            self._active_days += (known[0] > 0) - was_active

    def move(self, first: int) -> None:
        """Make `first` the first day inside, mostly forward; back where a rise was undone."""
        if first == self._first:
            return
        if first < self._first:
            self._move_back(first)
        self._first = first
        days, low = self._days, self._low
        while low < len(days) and days[low] < first:
            goods_minor, net_minor, orders = self._totals[days[low]]
            self._net_minor -= net_minor
            self._orders -= orders
            self._active_days -= goods_minor > 0
            low += 1
        self._low = low

    def _move_back(self, first: int) -> None:
        while self._low and self._days[self._low - 1] >= first:
            self._low -= 1
            goods_minor, net_minor, orders = self._totals[self._days[self._low]]
            self._net_minor += net_minor
            self._orders += orders
            self._active_days += goods_minor > 0

    def measure(self, day: int, *, joined: int | None) -> Metrics:
        """Return the metrics of `day`; `joined` None leaves tenure out."""
        first, last = self._ends()
        return Metrics(
            self._active_days,
            last - first,
            max(0, day - last) if self._active_days else None,
            self._net_minor,
            self._orders,
            None if joined is None else max(0, day - joined),
        )

    def measure_closed(self, first: int, last: int, *, joined: int | None) -> Metrics:
        """Return the metrics that the days `first` to `last` alone give on `last`."""
        inside = self._days[bisect_left(self._days, first) : bisect_left(self._days, last + 1)]
        active = [day for day in inside if self._totals[day][0] > 0]
        return Metrics(
            len(active),
            active[-1] - active[0] if active else 0,
            last - active[-1] if active else None,
            sum(self._totals[day][1] for day in inside),
            sum(self._totals[day][2] for day in inside),
            None if joined is None else max(0, last - joined),
        )

    def _ends(self) -> tuple[int, int]:
        if not self._active_days:
            return 0, 0
        days, totals, first, last = self._days, self._totals, self._low, len(self._days) - 1
        while totals[days[first]][0] <= 0:
            first += 1
        while totals[days[last]][0] <= 0:
            last -= 1
        return days[first], days[last]

    def first_counting(self) -> int | None:
        """Return the first day inside that counts for anything."""
        for index in range(self._low, len(self._days)):
            if any(self._totals[self._days[index]]):
                return self._days[index]
        return None

    def last_active_day(self) -> int | None:
        """Return the latest active day inside."""
        return self._ends()[1] if self._active_days else None

    def list_totals(self) -> list[tuple[int, int, int, int]]:
        """Return (day, goods, net spend, orders) of every day inside that counts, by day."""
        return [
            (day, totals[0], totals[1], totals[2])
            for day in self._days[self._low :]
            if any(totals := self._totals[day])
        ]
