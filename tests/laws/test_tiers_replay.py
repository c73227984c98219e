"""Laws T1 and T2 on pure histories: any order of arrival, any rhythm of reviews, one outcome."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.activity.rules import DayTotals, TierFact
from service.kit.clock import local_day
from service.tiers.fold import MemberFold, fold, follows
from service.tiers.rules import RuleSet, parse_ruleset
from service.tiers.spans import Change, TierState
from service.tiers.timeline import RuleTimeline
from tests.laws.tier_oracle import simulate
from tests.laws.tier_worlds import LENGTH_DAYS, START, World, worlds

END = (START + timedelta(days=LENGTH_DAYS + 90)).date()


def folded(world: World, *, until: date = END) -> MemberFold:
    return fold(
        world.facts,
        timeline=RuleTimeline.always(parse_ruleset(world.definition, version=1)),
        timezone=world.timezone,
        joined_at=world.joined_at,
        until=until,
    )


def shown(changes: Sequence[Change]) -> list[tuple[int | None, int, datetime, str]]:
    return [(change.from_rank, change.to_rank, change.effective_at, change.cause) for change in changes]


@given(worlds())
def test_the_fold_agrees_with_living_through_every_day(world: World) -> None:
    member = folded(world)
    verdict = simulate(
        world.definition, world.facts, timezone=world.timezone, joined_at=world.joined_at, until=END
    )
    assert shown(member.changes) == verdict.moves
    state = member.state()
    assert (state.rank, state.since, state.unqualified_since) == (
        verdict.rank,
        verdict.since,
        verdict.unqualified,
    )


@given(worlds())
def test_t2_reviewing_every_day_gives_the_same_as_reviewing_when_due(world: World) -> None:
    due_only = folded(world)
    rules = parse_ruleset(world.definition, version=1)
    started = min([world.joined_at, *(fact.at for fact in world.facts)])
    daily = MemberFold.begin(
        timeline=RuleTimeline.always(rules),
        timezone=world.timezone,
        started_at=started,
        joined_at=world.joined_at,
    )
    day = local_day(started, timezone=world.timezone)
    waiting = world.facts
    while day <= END:
        daily.rate_on(day)
        while waiting and local_day(waiting[0].at, timezone=world.timezone) == day:
            daily.take(waiting.pop(0))
            daily.rate_on(day)
        day += timedelta(days=1)
    assert shown(daily.changes) == shown(due_only.changes)
    assert daily.notices == due_only.notices
    assert daily.state() == due_only.state()


class Believer:
    """Rates facts as they arrive, from the stored state where it can and from the start where it must."""

    def __init__(self, world: World, rules: RuleSet) -> None:
        self.world, self.timeline = world, RuleTimeline.always(rules)
        self.known: list[TierFact] = []
        begun = MemberFold.begin(
            timeline=RuleTimeline.always(rules),
            timezone=world.timezone,
            started_at=world.joined_at,
            joined_at=world.joined_at,
        )
        self.state, self.changes = begun.state(), list(begun.changes)
        self.refolds = 0

    def learn(self, fact: TierFact, today: date) -> None:
        in_order = follows(self.state, [fact], timeline=self.timeline)
        if in_order:
            member = self.resume()
            self.known.append(fact)
            member.take(fact)
        else:
            self.refolds += 1
            self.known.append(fact)
            self.changes = []
            member = self.replay(today)
        self.keep(member, today)

    def review(self, today: date, *, everyone: bool) -> None:
        member = self.resume()
        if everyone:
            member.rate_on(today)
        self.keep(member, today)

    def resume(self) -> MemberFold:
        totals: dict[date, list[int]] = {}
        for fact in self.known:
            day = totals.setdefault(fact.day, [0, 0, 0, 0])
            for index, delta in enumerate(
                (fact.goods_delta, fact.spend_delta, fact.orders_delta, fact.unlinked_delta)
            ):
                day[index] += delta
        rows = [DayTotals(day, *total) for day, total in sorted(totals.items())]
        return MemberFold.resume(
            timeline=self.timeline,
            timezone=self.world.timezone,
            state=self.state,
            totals=rows,
            joined_at=self.world.joined_at,
        )

    def replay(self, until: date) -> MemberFold:
        return fold(
            sorted(self.known, key=TierFact.sort_key),
            timeline=self.timeline,
            timezone=self.world.timezone,
            joined_at=self.world.joined_at,
            until=until,
        )

    def keep(self, member: MemberFold, today: date) -> None:
        member.catch_up(today)
        self.changes += member.changes
        self.state = member.state()


def standing(state: TierState) -> tuple[object, ...]:
    return (state.rank, state.since, state.unqualified_since, state.carrier_order_key, state.next_review_on)


@given(worlds(), st.data())
def test_t1_whatever_order_facts_arrive_in_the_stored_state_is_the_fold_of_all(
    world: World, data: st.DataObject
) -> None:
    believer = Believer(world, parse_ruleset(world.definition, version=1))
    for received_at, fact in world.arrivals:
        today = local_day(received_at, timezone=world.timezone)
        if data.draw(st.booleans()):
            believer.review(today, everyone=data.draw(st.booleans()))
        believer.learn(fact, today)
        replay = believer.replay(today)
        assert standing(believer.state) == standing(replay.state())
        assert shown(believer.changes) == shown(replay.changes)
    believer.review(END, everyone=False)
    assert standing(believer.state) == standing(folded(world).state())


@given(worlds())
def test_a_state_that_is_due_but_not_reviewed_is_the_fold_up_to_the_day_before(world: World) -> None:
    member = folded(world, until=START.date())
    state = member.state()
    if state.next_review_on is not None:
        again = folded(world, until=state.next_review_on - timedelta(days=1))
        assert again.state() == state
