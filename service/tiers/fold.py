"""One member's facts, folded into where the member stands and every movement on the way. Pure.

The same `MemberFold` rates one fact after the stored state (the live path), the days nobody bought
anything (reviews), and all facts from the start (replay, imports, late facts): so they cannot disagree.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import date, datetime

from service.activity.rules import DayTotals, TierFact
from service.kit.clock import local_midnight, zone
from service.tiers.conditions import Metrics
from service.tiers.rules import RuleSet
from service.tiers.spans import Carrier, Change, Moment, RiskNotice, Span, TierState
from service.tiers.window import RunningWindow


class MemberFold:
    """Rates one member, forward in time only."""

    __slots__ = (
        "_at_risk",
        "_day",
        "_due",
        "_history",
        "_joined",
        "_rules",
        "_span",
        "_through",
        "_timezone",
        "_window",
        "_zone",
        "changes",
        "held",
        "notices",
    )

    def __init__(
        self,
        *,
        rules: RuleSet,
        timezone: str,
        window: RunningWindow,
        span: Span,
        through: datetime,
        due: int | None,
        joined: int | None,
    ) -> None:
        self._rules, self._timezone, self._zone = rules, timezone, zone(timezone)
        self._window, self._span, self._through, self._due = window, span, through, due
        self._joined = joined if rules.asks_for_tenure else None
        self._day = self.day_of(through)
        self._at_risk = span.unqualified_since is not None and self._day >= self._risk_day(span)
        self._history: list[TierFact] = []
        self.changes: list[Change] = []
        self.notices: list[RiskNotice] = []
        self.held: list[tuple[TierFact, int]] = []
        """Each order taken, with the rank held just before it."""

    @classmethod
    def begin(cls, *, rules: RuleSet, timezone: str, started_at: datetime, joined_at: datetime) -> MemberFold:
        """Open a membership in the base tier at `started_at`."""
        day = started_at.astimezone(zone(timezone)).toordinal()
        member = cls(
            rules=rules,
            timezone=timezone,
            window=RunningWindow(window_days=rules.window.days),
            span=Span(0, started_at, day, None, None),
            through=started_at,
            due=None,
            joined=joined_at.astimezone(zone(timezone)).toordinal(),
        )
        moment = Moment(day, started_at, "enrol")
        member._record(None, 0, moment, member.measure(date.fromordinal(day)))
        member._rate(moment)
        return member

    @classmethod
    def resume(
        cls,
        *,
        rules: RuleSet,
        timezone: str,
        state: TierState,
        totals: Sequence[DayTotals],
        joined_at: datetime | None,
    ) -> MemberFold:
        """Go on from a stored state and the day totals of the window, both as of `state.through`.

        `joined_at` may be None where the rule set does not ask for tenure.
        """
        place = zone(timezone)
        since_day = state.since.astimezone(place).toordinal()
        span = Span(state.rank, state.since, since_day, _ordinal(state.unqualified_since), None)
        if state.carrier_order_key is not None:
            span = span._replace(carrier=Carrier(state.carrier_order_key, None, since_day, span))
        return cls(
            rules=rules,
            timezone=timezone,
            window=RunningWindow(window_days=rules.window.days, totals=totals),
            span=span,
            through=state.through,
            due=_ordinal(state.next_review_on),
            joined=None if joined_at is None else joined_at.astimezone(place).toordinal(),
        )

    @property
    def rank(self) -> int:
        """The rank held now."""
        return self._span.rank

    @property
    def at_risk(self) -> bool:
        """Whether the grace before a fall was running on the last day rated."""
        return self._at_risk

    @property
    def last_day(self) -> date:
        """The last day rated."""
        return date.fromordinal(self._day)

    def day_of(self, moment: datetime) -> int:
        """Return the programme's day of a moment, as an ordinal."""
        return moment.astimezone(self._zone).toordinal()

    def state(self) -> TierState:
        """Return what is to be stored."""
        span = self._span
        return TierState(
            rank=span.rank,
            since=span.since,
            unqualified_since=_date(span.unqualified_since),
            carrier_order_key=span.carrier.order_key if span.carrier else None,
            through=self._through,
            next_review_on=_date(self._due),
        )

    def measure(self, day: date) -> Metrics:
        """Return the metrics of a day no earlier than the last one rated."""
        ordinal = day.toordinal()
        self._window.advance(ordinal)
        return self._window.measure(ordinal, joined=self._joined)

    def window_totals(self) -> list[tuple[int, int, int, int]]:
        """Return (day, goods, net spend, orders) of the days that count in the window, minor units."""
        return self._window.list_totals()

    def catch_up(self, day: date) -> None:
        """Rate every day up to `day` on which the outcome can change by the passing of time."""
        limit = day.toordinal()
        while self._due is not None and self._due <= limit:
            span, at_risk = self._span, self._at_risk
            on = self._due
            self._rate(Moment(on, None, "roll_off"))
            if span is not self._span or at_risk is not self._at_risk:
                self._through = max(self._through, self._midnight(on))

    def rate_on(self, day: date) -> None:
        """Rate a day whether or not anything is due; by law T2 it changes nothing that is not due."""
        self.catch_up(day)
        if day.toordinal() >= self._day:
            self._rate(Moment(day.toordinal(), None, "roll_off"))

    def take(self, fact: TierFact) -> None:
        """Rate a fact at its own moment, after everything due before it."""
        day = max(self.day_of(fact.at), self._day)
        self.catch_up(date.fromordinal(day))
        if fact.cause == "order":
            self.held.append((fact, self._span.rank))
        self._history.append(fact)
        self._window.advance(day)
        self._window.add(
            fact.day.toordinal(),
            goods_minor=fact.goods_delta,
            net_minor=fact.spend_delta - fact.unlinked_delta,
            orders=fact.orders_delta,
        )
        self._through = max(self._through, fact.at)
        moment = Moment(day, fact.at, fact.cause, fact)
        if fact.cause == "refund" and self._carried_by(fact.order_key):
            self._reconsider_rise(moment)
        self._rate(moment)

    def _carried_by(self, order_key: int | None) -> bool:
        carrier = self._span.carrier
        return order_key is not None and carrier is not None and carrier.order_key == order_key

    def _rate(self, moment: Moment) -> None:
        day = self._day = moment.day
        self._window.advance(day)
        metrics = self._window.measure(day, joined=self._joined)
        qualified = self._rules.qualified_rank(metrics)
        while qualified != self._span.rank:
            span = self._span
            if qualified > span.rank:
                self._rise(qualified, moment, metrics)
                break
            if self._rules.stands(span.rank, metrics):
                break
            if span.unqualified_since is None:
                span = self._span = span._replace(unqualified_since=day)
            if day < self._risk_day(span) + self._rules.downgrade.grace_days:
                self._watch(day, metrics)
                self._due = self._next_review(day)
                return
            self._fall(qualified, moment, metrics)
        self._at_risk = False
        if self._span.unqualified_since is not None:
            self._span = self._span._replace(unqualified_since=None)
        self._due = self._next_review(day)

    def _rise(self, rank: int, moment: Moment, metrics: Metrics) -> None:
        span, carrier = self._span, None
        if moment.fact is not None and moment.cause == "order":
            carrier = Carrier(moment.fact.order_key, len(self._history) - 1, moment.day, span)
        at = self._record(span.rank, rank, moment, metrics)
        self._span = Span(rank, at, moment.day, None, carrier)

    def _fall(self, qualified: int, moment: Moment, metrics: Metrics) -> None:
        rank = self._span.rank
        target = rank - 1 if self._rules.downgrade.policy == "one_step" else qualified
        at = self._record(rank, target, moment, metrics)
        self._span = Span(target, at, moment.day, None, None)
        self._at_risk = False

    def _watch(self, day: int, metrics: Metrics) -> None:
        risk = self._risk_day(self._span)
        if day >= risk and not self._at_risk:
            falls_on = date.fromordinal(risk + self._rules.downgrade.grace_days)
            self.notices.append(RiskNotice(self._span.rank, date.fromordinal(day), falls_on, metrics))
        self._at_risk = day >= risk

    def _reconsider_rise(self, moment: Moment) -> None:
        """Undo the rise that a refunded order carried, and those below it that were undone while it stood.

        The outcome is one movement at the refund's moment, without hold or grace for what is undone.
        """
        current, at_risk, changes, notices = self._span, self._at_risk, len(self.changes), len(self.notices)
        restored = current
        while restored.carrier is not None and not self._still_earned(restored.rank, restored.carrier):
            restored = restored.carrier.before
        if restored is current:
            return
        self._span, self._at_risk = restored, False
        self._rate(moment)
        del self.changes[changes:]
        if self._span.rank == current.rank:
            del self.notices[notices:]
            self._span, self._at_risk = current, at_risk
        else:
            metrics = self._window.measure(moment.day, joined=self._joined)
            self._record(current.rank, self._span.rank, moment, metrics)

    def _still_earned(self, rank: int, carrier: Carrier) -> bool:
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
        window = RunningWindow(window_days=self._rules.window.days)
        for fact in self._history[: carrier.fact_no + 1] + later:
            window.add(
                fact.day.toordinal(),
                goods_minor=fact.goods_delta,
                net_minor=fact.spend_delta - fact.unlinked_delta,
                orders=fact.orders_delta,
            )
        window.advance(carrier.day)
        metrics = window.measure(carrier.day, joined=self._joined)
        return self._rules.enters(rank, metrics)

    def _record(self, from_rank: int | None, to_rank: int, moment: Moment, metrics: Metrics) -> datetime:
        at = self._midnight(moment.day) if moment.at is None else moment.at
        fact = moment.fact
        order_key, refund_key = (None, None) if fact is None else (fact.order_key, fact.refund_key)
        self.changes.append(Change(from_rank, to_rank, at, moment.cause, metrics, order_key, refund_key))
        return at

    def _risk_day(self, span: Span) -> int:
        held_until = span.since_day + self._rules.downgrade.min_hold_days
        return held_until if span.unqualified_since is None else max(span.unqualified_since, held_until)

    def _midnight(self, day: int) -> datetime:
        return local_midnight(date.fromordinal(day), timezone=self._timezone)

    def _next_review(self, day: int) -> int | None:
        """Return the first later day on which time alone could change the outcome, or None.

        Conservative, and a function of (window, span, day) alone, so that replay finds the same one.
        """
        window, span, due = self._window, self._span, []
        leaving = window.next_leaving()
        if leaving is not None:
            due.append(leaving)
        recency = self._rules.recency_days
        last = window.last_active_day() if recency else None
        if last is not None:
            nearest = bisect_right(recency, day - last)
            if nearest < len(recency):
                due.append(last + recency[nearest])
        if self._joined is not None:
            tenure = self._rules.tenure_days
            nearest = bisect_right(tenure, day - self._joined)
            if nearest < len(tenure):
                due.append(self._joined + tenure[nearest])
        if span.unqualified_since is not None:
            risk = self._risk_day(span)
            due.append(risk if risk > day else risk + self._rules.downgrade.grace_days)
        return min(due, default=None)


def _ordinal(day: date | None) -> int | None:
    return None if day is None else day.toordinal()


def _date(day: int | None) -> date | None:
    return None if day is None else date.fromordinal(day)


def fold(
    facts: Sequence[TierFact], *, rules: RuleSet, timezone: str, joined_at: datetime, until: date
) -> MemberFold:
    """Fold a member's facts, sorted by `TierFact.sort_key`, and the days up to `until`, from the start.

    The membership begins at the joining or at the first fact, whichever is earlier.
    """
    started_at = min(joined_at, facts[0].at) if facts else joined_at
    member = MemberFold.begin(rules=rules, timezone=timezone, started_at=started_at, joined_at=joined_at)
    for fact in facts:
        member.take(fact)
    member.catch_up(until)
    return member


def follows(state: TierState, facts: Sequence[TierFact]) -> bool:
    """Say whether sorted facts can be rated from a stored state, or the member has to be folded again.

    Not when one is as old as what was rated already, and not when one refunds the order that carried the
    member up: whether that rise stands can only be told from the facts that led to it.
    """
    if facts[0].at <= state.through:
        return False
    orders = {fact.order_key for fact in facts if fact.cause == "order"} | {state.carrier_order_key}
    return not any(
        fact.cause == "refund" and fact.order_key is not None and fact.order_key in orders for fact in facts
    )
