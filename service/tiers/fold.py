"""One member's facts, folded into where the member stands and every movement on the way. Pure.

The same `MemberFold` rates one fact after the stored state (the live path), the days nobody bought
anything (reviews), and all facts from the start (replay, imports, late facts): so they cannot disagree.

Of what falls on one moment the rules change first, then comes what is due on the day that begins there, then
a pin ends, a pin starts, a merge takes effect, and facts come last.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from datetime import date, datetime

from service.activity.rules import TierFact
from service.kit.clock import zone
from service.tiers.judge import Judge
from service.tiers.spans import Carrier, Merge, Moment, Pin, Span, TierState
from service.tiers.timeline import RuleTimeline, carry_rank
from service.tiers.window import RunningWindow


class MemberFold(Judge):
    """Rates one member, forward in time only."""

    __slots__ = ("_event_at", "_event_day", "_pins")

    @classmethod
    def begin(
        cls,
        *,
        timeline: RuleTimeline,
        timezone: str,
        started_at: datetime,
        joined_at: datetime,
        pins: Sequence[Pin] = (),
    ) -> MemberFold:
        """Open a membership in the base tier at `started_at`."""
        place = zone(timezone)
        day = started_at.astimezone(place).toordinal()
        member = cls(
            timeline=timeline,
            place=timeline.place_at(started_at),
            timezone=timezone,
            window=RunningWindow(),
            span=Span(0, started_at, day, None, None, None),
            through=started_at,
            due=None,
            joined=joined_at.astimezone(place).toordinal(),
        )
        member._expect(
            [
                pin._replace(starts_at=max(pin.starts_at, started_at))
                for pin in pins
                if pin.ends_at > started_at
            ]
        )
        moment = Moment(day, started_at, "enrol")
        member._record(None, 0, moment, member._measure(day))
        member._rate(moment)
        return member

    @classmethod
    def resume(
        cls,
        *,
        timeline: RuleTimeline,
        timezone: str,
        state: TierState,
        window: RunningWindow,
        joined_at: datetime | None,
        pins: Sequence[Pin] = (),
    ) -> MemberFold:
        """Go on from a stored state and the days that a rating looks at, both as of `state.through`.

        `joined_at` may be None where no rule set of the timeline asks for it. `pins` are those of the
        member; a state that is pinned can do without, and then its end names no pin.
        """
        place = zone(timezone)
        number = timeline.place_of(state.ruleset_version)
        rank, since = state.rank, state.since
        if state.rated_rank is not None and state.rated_since is not None:
            rank, since = state.rated_rank, state.rated_since
        since_day = since.astimezone(place).toordinal()
        unqualified, stands_until = _ordinal(state.unqualified_since), _ordinal(state.stands_until)
        span = Span(rank, since, since_day, unqualified, None, stands_until)
        if state.carrier_order_key is not None:
            carrier = Carrier(state.carrier_order_key, None, since_day, number, rank, 0, span)
            span = Span(rank, since, since_day, unqualified, carrier, stands_until)
        member = cls(
            timeline=timeline,
            place=number,
            timezone=timezone,
            window=window,
            span=span,
            through=state.through,
            due=_ordinal(state.next_review_on),
            joined=None if joined_at is None else joined_at.astimezone(place).toordinal(),
        )
        if state.pinned_until is not None:
            tier = member.rules.tiers[state.rank].code
            member._pin = next(
                (pin for pin in reversed(pins) if pin.starts_at <= state.through),
                Pin(None, tier, state.since, state.pinned_until),
            )
            member._held = (state.rank, state.since)
        member._expect([pin for pin in pins if pin.starts_at > state.through])
        return member

    @property
    def last_day(self) -> date:
        """The last day rated."""
        return date.fromordinal(self._day)

    @property
    def pin(self) -> Pin | None:
        """What holds the member at a tier now, whatever the rating."""
        return self._pin

    @property
    def rated(self) -> Span:
        """The rating, which a pin may hide."""
        return self._span

    @property
    def since(self) -> datetime:
        """When the tier held now was reached."""
        return self._span.since if self._held is None else self._held[1]

    @property
    def next_review_on(self) -> date | None:
        """The first later day on which time alone could change the outcome."""
        return _date(self._due)

    def state(self) -> TierState:
        """Return what is to be stored."""
        span, held, pin = self._span, self._held, self._pin
        rank, since = (span.rank, span.since) if held is None else held
        return TierState(
            rank=rank,
            since=since,
            ruleset_version=self._rules.version,
            unqualified_since=_date(span.unqualified_since),
            carrier_order_key=span.carrier.order_key if span.carrier else None,
            through=self._through,
            next_review_on=_date(self._due),
            stands_until=_date(span.stands_until),
            rated_rank=None if held is None else span.rank,
            rated_since=None if held is None else span.since,
            pinned_until=None if pin is None else pin.ends_at,
        )

    def window_on(self, day: date) -> tuple[date, date]:
        """Return the first day of the window that ends with `day`, and the first one after it.

        Of windows with periods, the first day of the next period.
        """
        first, after = self._period(day.toordinal())
        return date.fromordinal(first), date.fromordinal(after)

    def ahead(self) -> MemberFold:
        """Return a second fold of this member, to look at the days to come under the rules of today.

        No fact may be taken by either any more.
        """
        twin = copy(self)
        twin._timeline = RuleTimeline(self._timeline.entries[: self._place + 1])
        twin._window, twin._pins = self._window.ahead(), list(self._pins)
        twin.changes, twin.notices, twin.held = [], [], []
        twin._look_ahead()
        return twin

    def catch_up(self, day: date, *, at: datetime | None = None) -> None:
        """Rate every day up to `day` on which the outcome can change by the passing of time.

        With `at`, a moment of that day, rules and pins that change after it are left alone.
        """
        self._bring_forward(day.toordinal(), at)

    def rate_on(self, day: date) -> None:
        """Rate a day whether or not anything is due; by law T2 it changes nothing that is not due."""
        self.catch_up(day)
        if day.toordinal() >= self._day:
            self._rate(Moment(day.toordinal(), None, "roll_off"))

    def take(self, fact: TierFact) -> None:
        """Rate a fact at its own moment, after everything due before it."""
        at = fact.at
        day = max(self.day_of(at), self._day)
        if (self._due is not None and self._due <= day) or (
            self._event_at is not None and self._event_at <= at
        ):
            self._bring_forward(day, at)
        if fact.cause == "order":
            self.held.append((fact, self.tier))
        self._history.append(fact)
        self._window.take(fact)
        self._through = max(self._through, at)
        moment = Moment(day, at, fact.cause, fact)
        if fact.cause == "refund" and self._carried_by(fact.order_key):
            self._reconsider_rise(moment)
        self._rate(moment)

    def _bring_forward(self, day: int, at: datetime | None) -> None:
        """Do, in order of time, what is due up to a day and what rules and pins change up to a moment."""
        while True:
            due, event_at = self._due, self._event_at
            if event_at is None or self._event_day > day or (at is not None and event_at > at):
                if due is None or due > day:
                    return
            elif due is None or due > self._event_day or self._is_first(event_at, due):
                self._meet(event_at)
                continue
            self._rate_due(due)

    def _is_first(self, event_at: datetime, due: int) -> bool:
        """Say whether rules change at the very beginning of a day that is due: they then apply to it."""
        return (
            due == self._event_day and self._rules_change_at() == event_at and event_at == self._midnight(due)
        )

    def _rate_due(self, day: int) -> None:
        span, told = self._span, self._told
        self._rate(Moment(day, None, "roll_off"))
        if span is not self._span or told != self._told:
            self._through = max(self._through, self._midnight(day))

    def _expect(self, pins: Sequence[Pin]) -> None:
        """Take note of pins to come, the next one last."""
        self._pins = sorted(pins, key=lambda pin: pin.starts_at, reverse=True)
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Find the next moment at which rules or pins change."""
        at = self._rules_change_at()
        if self._pin is not None and (at is None or self._pin.ends_at < at):
            at = self._pin.ends_at
        if self._pins and (at is None or self._pins[-1].starts_at < at):
            at = self._pins[-1].starts_at
        self._event_at = at
        self._event_day = 0 if at is None else self.day_of(at)

    def _rules_change_at(self) -> datetime | None:
        entries = self._timeline.entries
        return entries[self._place + 1].starts_at if self._place + 1 < len(entries) else None

    def _meet(self, at: datetime) -> None:
        if self._rules_change_at() == at:
            self._change_rules(Moment(self._event_day, at, "rule_change"))
        else:
            self._change_pin(at, self._event_day)
        self._through = max(self._through, at)
        self._look_ahead()

    def _change_rules(self, moment: Moment) -> None:
        """Set the member on the ladder that takes over, and rate there."""
        old, before, changes = self._rules, self.rank, len(self.changes)
        self._span = self._carry(self._span, self._place)
        self._adopt(self._place + 1)
        if self._held is not None and self._pin is not None:
            rank = carry_rank(before, old, self._rules)
            moved = self._rules.tiers[rank].code != old.tiers[before].code
            self._held = (rank, self._moment_of(moment) if moved else self._held[1])
        if self.tier.code != old.tiers[before].code:
            self._record((before, old), self.rank, moment, self._measure(moment.day))
        self._rate(moment)
        while len(self.changes) > changes + 1 and self.changes[-1].to_rank > self.changes[-2].to_rank:
            # Set down and risen at once is one movement.
            last, first = self.changes.pop(), self.changes.pop()
            self.changes.append(replace(last, from_rank=first.from_rank, from_tier=first.from_tier))

    def _change_pin(self, at: datetime, day: int) -> None:
        """End a pin, start one, or both at once, as one movement of the tier held."""
        left, since = (self.rank, self._rules), self.state().since
        ended, self._pin, self._held = self._pin, None, None
        if ended is not None and ended.ends_at > at:
            ended = None
        if self._pins and self._pins[-1].starts_at == at:
            pin = self._pin = self._pins.pop()
            rank = self._timeline.rank_of(pin.tier, place=self._place)
            self._held = (rank, since if rank == left[0] else at)
        key = self._pin.key if self._pin is not None else ended.key if ended is not None else None
        moment = Moment(day, at, "manual", pin_key=key)
        if self.rank != left[0]:
            self._record(left, self.rank, moment, self._measure(day))
        # Out from under a pin, whoever is at risk has not been told.
        self._told = self._told if self._pin is not None else 0
        self._rate(moment)

    def _become(self, before: MemberFold, at: datetime) -> None:
        """Take over from the fold before a merge, with one movement if the tier differs."""
        moment = Moment(self.day_of(at), at, "merge")
        self.changes, self.notices, self.held = before.changes, before.notices, before.held
        if self.tier.code != before.tier.code:
            left = (before.rank, before.rules)
            self._record(left, self.rank, moment, self._measure(moment.day))
        self._through = max(self._through, at)
        self._told = 0
        self._rate(moment)


def _ordinal(day: date | None) -> int | None:
    return None if day is None else day.toordinal()


def _date(day: int | None) -> date | None:
    return None if day is None else date.fromordinal(day)


def fold(
    facts: Sequence[TierFact],
    *,
    timeline: RuleTimeline,
    timezone: str,
    joined_at: datetime,
    until: date,
    pins: Sequence[Pin] = (),
    merges: Sequence[Merge] = (),
    at: datetime | None = None,
) -> MemberFold:
    """Fold a member's facts, sorted by `TierFact.sort_key`, and the days up to `until`, from the start.

    The membership begins at the joining or at the first fact, whichever is earlier. With a merge, both
    members' facts are folded from the start and take effect at its moment; `held` lists the orders of the
    surviving member alone up to there. With `at`, a moment of `until`, rules, pins and merges that come
    after it are left alone.
    """
    member, taken = _begin(facts, timeline, timezone, joined_at, pins), 0
    for merge in sorted(merges, key=lambda merge: merge.at):
        if member.day_of(merge.at) > until.toordinal() or (at is not None and merge.at > at):
            break
        _take_before(member, facts, taken, merge.at)
        facts = sorted([*facts, *merge.facts], key=TierFact.sort_key)
        joined_at = min(joined_at, merge.joined_at)
        union = _begin(facts, timeline, timezone, joined_at, pins)
        taken = _take_before(union, facts, 0, merge.at)
        union._become(member, merge.at)
        member = union
    for fact in facts[taken:]:
        member.take(fact)
    member.catch_up(until, at=at)
    return member


def _begin(
    facts: Sequence[TierFact],
    timeline: RuleTimeline,
    timezone: str,
    joined_at: datetime,
    pins: Sequence[Pin],
) -> MemberFold:
    started_at = min(joined_at, facts[0].at) if facts else joined_at
    return MemberFold.begin(
        timeline=timeline, timezone=timezone, started_at=started_at, joined_at=joined_at, pins=pins
    )


def _take_before(member: MemberFold, facts: Sequence[TierFact], taken: int, moment: datetime) -> int:
    """Take the facts before a moment, bring the member up to it, and return how many facts were taken."""
    while taken < len(facts) and facts[taken].at < moment:
        member.take(facts[taken])
        taken += 1
    member.catch_up(date.fromordinal(member.day_of(moment)), at=moment)
    return taken


def follows(state: TierState, facts: Sequence[TierFact], *, timeline: RuleTimeline) -> bool:
    """Say whether sorted facts can be rated from a stored state, or the member has to be folded again.

    Not when one is as old as what was rated already, and not when one refunds the order that carried the
    member up: whether that rise stands can only be told from the facts that led to it.
    """
    if is_overtaken(state, timeline=timeline) or facts[0].at <= state.through:
        return False
    orders = {fact.order_key for fact in facts if fact.cause == "order"} | {state.carrier_order_key}
    return not any(
        fact.cause == "refund" and fact.order_key is not None and fact.order_key in orders for fact in facts
    )


def is_overtaken(state: TierState, *, timeline: RuleTimeline) -> bool:
    """Say whether rules came into force before something that was rated without knowing of them."""
    later = timeline.place_of(state.ruleset_version) + 1
    return later < len(timeline.entries) and timeline.entries[later].starts_at <= state.through
