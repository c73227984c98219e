"""The window of days a rating looks at, kept summed up while days go by and facts come in. Pure."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

from service.activity.rules import DayTotals
from service.tiers.conditions import Metrics


class RunningWindow:
    """Totals of a member's days inside a rolling window that only ever moves forward.

    Days are proleptic ordinals (`date.toordinal`). The window of an evaluation day d holds (d − days, d]
    and every later day that already has facts: a store east of the programme's zone is a day ahead.
    """

    __slots__ = (
        "_active_days",
        "_days",
        "_floor",
        "_low",
        "_net_minor",
        "_orders",
        "_totals",
        "_window_days",
    )

    def __init__(self, *, window_days: int, totals: Iterable[DayTotals] = ()) -> None:
        self._window_days = window_days
        self._floor = 0
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

    def add(self, day: int, *, goods_minor: int, net_minor: int, orders: int) -> None:
        """Add to the totals of one day; amounts may be negative."""
        known = self._totals.get(day)
        if known is None:
            known = self._totals[day] = [0, 0, 0]
            if self._days and day < self._days[-1]:
                insort(self._days, day)
            else:
                self._days.append(day)
            if day <= self._floor:
                self._low += 1
        was_active = known[0] > 0
        known[0] += goods_minor
        known[1] += net_minor
        known[2] += orders
        if day > self._floor:
            self._net_minor += net_minor
            self._orders += orders
            self._active_days += (known[0] > 0) - was_active

    def advance(self, day: int) -> None:
        """Move the window forward to the one that ends with `day`."""
        floor = day - self._window_days
        if floor <= self._floor:
            return
        self._floor = floor
        days, low = self._days, self._low
        while low < len(days) and days[low] <= floor:
            goods_minor, net_minor, orders = self._totals[days[low]]
            self._net_minor -= net_minor
            self._orders -= orders
            self._active_days -= goods_minor > 0
            low += 1
        self._low = low

    def measure(self, day: int, *, joined: int | None) -> Metrics:
        """Return the metrics of `day`, to which the window was moved; `joined` None leaves tenure out."""
        first, last = self._ends()
        return Metrics(
            self._active_days,
            last - first,
            max(0, day - last) if self._active_days else None,
            self._net_minor,
            self._orders,
            None if joined is None else max(0, day - joined),
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

    def next_leaving(self) -> int | None:
        """Return the first later day on which a day that counts for anything will have left the window."""
        for index in range(self._low, len(self._days)):
            if any(self._totals[self._days[index]]):
                return self._days[index] + self._window_days
        return None

    def last_active_day(self) -> int | None:
        """Return the latest active day inside the window."""
        return self._ends()[1] if self._active_days else None

    def list_totals(self) -> list[tuple[int, int, int, int]]:
        """Return (day, goods, net spend, orders) of every day that counts in the window, by day."""
        return [
            (day, totals[0], totals[1], totals[2])
            for day in self._days[self._low :]
            if any(totals := self._totals[day])
        ]
