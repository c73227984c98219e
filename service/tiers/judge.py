"""One member judged on one day under the rule set in force: rise, undo a rise, stand, be at risk, fall. Pure.

`MemberFold` (fold.py) brings it forward in time; here is what a rating does on the day it has come to.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date, datetime

from service.activity.rules import TierFact
from service.kit.clock import local_midnight, zone
from service.tiers.carrying import carry_span, end_of_next_period, end_of_period
from service.tiers.conditions import Metrics
from service.tiers.periods import RollingWindow, period_of
from service.tiers.rules import RuleSet, Tier
from service.tiers.spans import Carrier, Change, Moment, Pin, RiskNotice, Span
from service.tiers.timeline import RuleTimeline
from service.tiers.window import RunningWindow

_TOLD_FIRST, _TOLD_AGAIN = 1, 2


class Judge:
    """The rating of one member as it stands, and the verdict on the day it has come to."""

    __slots__ = (
        "_day",
        "_due",
        "_held",
        "_history",
        "_joined",
        "_pin",
        "_place",
        "_restarts",
        "_rolling_days",
        "_rules",
        "_span",
        "_tenure",
        "_through",
        "_timeline",
        "_timezone",
        "_told",
        "_window",
        "_zone",
        "changes",
        "held",
        "notices",
    )

    def __init__(
        self,
        *,
        timeline: RuleTimeline,
        place: int,
        timezone: str,
        window: RunningWindow,
        span: Span,
        through: datetime,
        due: int | None,
        joined: int | None,
    ) -> None:
        self._timeline, self._timezone, self._zone = timeline, timezone, zone(timezone)
        self._window, self._span, self._through, self._due = window, span, through, due
        self._joined = joined
        self._day = self.day_of(through)
        self._adopt(place)
        self._pin: Pin | None = None
        # While pinned: rank and beginning of the tier held; the span is the rating underneath.
        self._held: tuple[int, datetime] | None = None
        self._history: list[TierFact] = []
        self._told = 0
        if span.unqualified_since is not None:
            self._told = self._due_telling(self._day, self._risk_day(span))
        self.changes: list[Change] = []
        self.notices: list[RiskNotice] = []
        self.held: list[tuple[TierFact, Tier]] = []
        """Each order taken, with the tier held just before it."""

    def _adopt(self, place: int) -> None:
        """Judge by the rule set of a place in the timeline from now on."""
        self._place = place
        rules = self._rules = self._timeline.entries[place].rules
        self._rolling_days, self._restarts = rules.rolling_days, rules.restarts
        self._tenure = self._joined if rules.asks_for_tenure else None

    @property
    def rules(self) -> RuleSet:
        """The rule set in force on the last day rated."""
        return self._rules

    @property
    def rank(self) -> int:
        """The rank held now."""
        return self._span.rank if self._held is None else self._held[0]

    @property
    def tier(self) -> Tier:
        """The tier held now."""
        return self._rules.tiers[self.rank]

    @property
    def at_risk(self) -> bool:
        """Whether the grace before a fall was running on the last day rated."""
        return self._told > 0 and self._pin is None

    def day_of(self, moment: datetime) -> int:
        """Return the programme's day of a moment, as an ordinal."""
        return moment.astimezone(self._zone).toordinal()

    def measure(self, day: date) -> Metrics:
        """Return the metrics of a day no earlier than the last one rated."""
        return self._measure(day.toordinal())

    def _measure(self, day: int) -> Metrics:
        self._window.move(self._first_day(day))
        return self._window.measure(day, joined=self._tenure)

    def _first_day(self, day: int) -> int:
        return self._period(day)[0] if self._rolling_days is None else day - self._rolling_days + 1

    def _period(self, day: int) -> tuple[int, int]:
        """Return the first day of the period that holds `day`, and of the next; as if rolling were one."""
        window = self._rules.window
        if isinstance(window, RollingWindow):
            return day - window.days + 1, day + 1
        return period_of(window, day, joined=self._joined or 0, since=self._span.since_day)

    def _rate(self, moment: Moment) -> None:
        day = self._day = moment.day
        rules, window, rolling = self._rules, self._window, self._rolling_days
        window.move(self._period(day)[0] if rolling is None else day - rolling + 1)
        metrics = window.measure(day, joined=self._tenure)
        qualified = rules.qualified_rank(metrics)
        while qualified != self._span.rank:
            span = self._span
            if qualified > span.rank:
                self._rise(qualified, moment, metrics)
            elif rules.stands(span.rank, metrics) or self._stands_by_period(span, day):
                break
            else:
                if span.unqualified_since is None:
                    span = self._span = span._replace(unqualified_since=day)
                if day < rules.fall_day(self._risk_day(span)):
                    self._watch(day, metrics)
                    self._due = self._next_review(day)
                    return
                self._fall(qualified, moment, metrics)
            if self._restarts:
                metrics = self._measure(day)
                qualified = rules.qualified_rank(metrics)
        self._told = 0
        span = self._span
        if span.unqualified_since is not None or span.stands_until is not None:
            self._settle(span, day)
        self._due = self._next_review(day)

    def _stands_by_period(self, span: Span, day: int) -> bool:
        """Say whether a period protects a tier, or closed well enough to be kept for the next one."""
        if span.stands_until is None:
            return False
        if day < span.stands_until:
            return True
        if span.unqualified_since is not None:
            return False
        closed = self._measure_closed(day)
        return self._rules.qualified_rank(closed) >= span.rank or self._rules.stands(span.rank, closed)

    def _measure_closed(self, day: int) -> Metrics:
        """Return the metrics of the last period that closed before `day`, on its last day."""
        last = self._period(day)[0] - 1
        return self._window.measure_closed(self._period(last)[0], last, joined=self._tenure)

    def _settle(self, span: Span, day: int) -> None:
        """Note that the tier stands: whatever was counted towards a fall is over."""
        if span.stands_until is None:
            self._span = span._replace(unqualified_since=None)
        elif day >= span.stands_until:
            self._span = span._replace(unqualified_since=None, stands_until=self._period(day)[1])

    def _rise(self, rank: int, moment: Moment, metrics: Metrics) -> None:
        span, day, carrier, fact = self._span, moment.day, None, moment.fact
        if fact is not None and moment.cause == "order":
            first = self._first_day(day)
            carrier = Carrier(fact.order_key, len(self._history) - 1, day, self._place, rank, first, span)
        at = self._moment_of(moment)
        self._note(rank, moment, metrics)
        until = end_of_next_period(self._rules, day, joined=self._joined, since=day)
        self._span = Span(rank, at, day, None, carrier, until)

    def _fall(self, qualified: int, moment: Moment, metrics: Metrics) -> None:
        rank, day = self._span.rank, moment.day
        target = rank - 1
        if self._rules.downgrade.policy == "to_qualified":
            target = qualified
            if self._rolling_days is None:
                closed = self._rules.qualified_rank(self._measure_closed(day))
                target = min(rank - 1, max(qualified, closed))
        at = self._moment_of(moment)
        self._note(target, moment, metrics)
        until = end_of_period(self._rules, day, joined=self._joined, since=day) if target else None
        self._span = Span(target, at, day, None, None, until)
        self._told = 0

    def _carried_by(self, order_key: int | None) -> bool:
        carrier = self._span.carrier
        return order_key is not None and carrier is not None and carrier.order_key == order_key

    def _reconsider_rise(self, moment: Moment) -> None:
        """Undo the rise that a refunded order carried, and those below it that were undone while it stood.

        The outcome is one movement at the refund's moment, without hold or grace for what is undone.
        """
        current, told, changes, notices = self._span, self._told, len(self.changes), len(self.notices)
        restored = current
        while restored.carrier is not None and not self._still_earned(restored.carrier):
            restored = self._bring_back(restored.carrier)
        if restored is current:
            return
        self._span, self._told = restored, 0
        self._rate(moment)
        del self.changes[changes:]
        if self._span.rank == current.rank:
            del self.notices[notices:]
            self._span, self._told = current, told
        elif self._pin is None:
            self._record((current.rank, self._rules), self._span.rank, moment, self._measure(moment.day))

    def _bring_back(self, carrier: Carrier) -> Span:
        """Return the stay before a rise as it would stand under the rules of today."""
        span = carrier.before
        for place in range(carrier.place, self._place):
            span = self._carry(span, place)
        return span

    def _still_earned(self, carrier: Carrier) -> bool:
        """Say whether a rise would have happened with its order net of every refund of it so far."""
        if carrier.fact_no is None:
            raise RuntimeError("a rise can be reconsidered only with the facts that led to it")
        later = [
            fact
            for fact in self._history[carrier.fact_no + 1 :]
            if fact.cause == "refund" and fact.order_key == carrier.order_key
        ]
        if not later:
            return True
        rules, window = self._timeline.entries[carrier.place].rules, RunningWindow()
        for fact in self._history[: carrier.fact_no + 1] + later:
            window.take(fact)
        window.move(carrier.first)
        joined = self._joined if rules.asks_for_tenure else None
        return rules.enters(carrier.rank, window.measure(carrier.day, joined=joined))

    def _carry(self, span: Span, place: int) -> Span:
        """Return a stay under the rule set of a place as it stands under the one that comes next."""
        here, following = self._timeline.entries[place : place + 2]
        return carry_span(
            span,
            old=here.rules,
            new=following.rules,
            at=following.starts_at,
            day=self.day_of(following.starts_at),
            joined=self._joined,
        )

    def _watch(self, day: int, metrics: Metrics) -> None:
        """Tell of the risk on its first day, and again shortly before the fall; not while a pin holds."""
        span = self._span
        risk = self._risk_day(span)
        due = self._due_telling(day, risk)
        if due > self._told and self._pin is None and span.unqualified_since is not None:
            self.notices.append(
                RiskNotice(
                    kind="reminder" if self._told else "first",
                    tier=self._rules.tiers[span.rank],
                    on=date.fromordinal(day),
                    since=date.fromordinal(risk),
                    falls_on=date.fromordinal(self._rules.fall_day(risk)),
                    metrics=metrics,
                    rules=self._rules,
                )
            )
        self._told = due

    def _due_telling(self, day: int, risk: int) -> int:
        """Return what a member at risk from a day on is to have been told by `day`."""
        if day < risk:
            return 0
        again = reminder_day(self._rules, risk)
        return _TOLD_FIRST if again is None or day < again else _TOLD_AGAIN

    def _note(self, to_rank: int, moment: Moment, metrics: Metrics) -> None:
        """Record a movement of the rating, unless a pin hides it."""
        if self._pin is None:
            self._record((self._span.rank, self._rules), to_rank, moment, metrics)

    def _record(
        self, left: tuple[int, RuleSet] | None, to_rank: int, moment: Moment, metrics: Metrics
    ) -> None:
        """Record a movement of the tier held, from a rank of a ladder; from nothing at the beginning."""
        fact = moment.fact
        self.changes.append(
            Change(
                from_rank=None if left is None else left[0],
                to_rank=to_rank,
                effective_at=self._moment_of(moment),
                cause=moment.cause,
                metrics=metrics,
                order_key=None if fact is None else fact.order_key,
                refund_key=None if fact is None else fact.refund_key,
                pin_key=moment.pin_key,
                from_tier=None if left is None else left[1].tiers[left[0]].code,
                rules=self._rules,
            )
        )

    def _moment_of(self, moment: Moment) -> datetime:
        return self._midnight(moment.day) if moment.at is None else moment.at

    def _midnight(self, day: int) -> datetime:
        return local_midnight(date.fromordinal(day), timezone=self._timezone)

    def _risk_day(self, span: Span) -> int:
        held_until = span.since_day + self._rules.downgrade.min_hold_days
        return held_until if span.unqualified_since is None else max(span.unqualified_since, held_until)

    def _next_review(self, day: int) -> int | None:
        """Return the first later day on which time alone could change the outcome, or None.

        Conservative, and a function of (window, span, pin, day) alone, so that replay finds the same one.
        """
        window, rules, span, due = self._window, self._rules, self._span, []
        rolling, counting = self._rolling_days, window.first_counting()
        if counting is not None:
            due.append(self._period(day)[1] if rolling is None else counting + rolling)
        recency = rules.recency_days
        last = window.last_active_day() if recency else None
        if last is not None:
            nearest = bisect_right(recency, day - last)
            if nearest < len(recency):
                due.append(last + recency[nearest])
        if self._tenure is not None:
            nearest = bisect_right(rules.tenure_days, day - self._tenure)
            if nearest < len(rules.tenure_days):
                due.append(self._tenure + rules.tenure_days[nearest])
        if span.unqualified_since is not None:
            due.append(next_step(self._rules, day, self._risk_day(span)))
        elif span.stands_until is not None:
            due.append(span.stands_until)
        if self._pin is not None:
            due.append(max(day + 1, self.day_of(self._pin.ends_at)))
        return min(due, default=None)


def next_step(rules: RuleSet, day: int, risk: int) -> int:
    """Return the next day in the course of a fall: of the risk, the reminder, the fall itself (ordinals)."""
    if day < risk:
        return risk
    again = reminder_day(rules, risk)
    return again if again is not None and day < again else rules.fall_day(risk)


def reminder_day(rules: RuleSet, risk: int) -> int | None:
    """Return the day on which a member at risk from a day on is told again; None: is not."""
    notice_days = rules.downgrade.notice_days
    day = rules.fall_day(risk) - notice_days
    return day if notice_days and day > risk else None
