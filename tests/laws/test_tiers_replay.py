"""Laws T1 and T2 on pure histories: any order of arrival, any rhythm of reviews, one outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.activity.rules import DayTotals, TierFact
from service.kit.clock import local_day
from service.tiers.fold import MemberFold, fold, follows
from service.tiers.rules import parse_ruleset
from service.tiers.spans import Change, Merge, Pin, TierState
from service.tiers.timeline import RuleTimeline
from service.tiers.window import RunningWindow
from tests.conftest import SCALE
from tests.laws.tier_oracle import Verdict, simulate
from tests.laws.tier_worlds import END, NAMES, START, World, changing_worlds, worlds

Shown = tuple[str | None, str, datetime, str]
HISTORIES = settings(max_examples=200 * SCALE)


def timeline_of(world: World) -> RuleTimeline:
    return RuleTimeline.of(
        (starts_at, parse_ruleset(definition, version=version))
        for version, (starts_at, definition) in enumerate(world.rulesets, start=1)
    )


def pins_of(world: World) -> list[Pin]:
    return [Pin(key, *pin) for key, pin in enumerate(world.pins, start=1)]


def folded(world: World, *, until: date | None = None) -> MemberFold:
    return fold(
        world.facts,
        timeline=timeline_of(world),
        timezone=world.timezone,
        joined_at=world.joined_at,
        until=until or world.end,
        pins=pins_of(world),
        merges=[Merge(*merge) for merge in world.merges],
    )


def lived_through(world: World) -> Verdict:
    return simulate(
        world.rulesets,
        world.facts,
        timezone=world.timezone,
        joined_at=world.joined_at,
        until=world.end,
        pins=world.pins,
        merges=world.merges,
    )


def shown(changes: Sequence[Change]) -> list[Shown]:
    return [(change.from_tier, change.to_tier, change.effective_at, change.cause) for change in changes]


def assert_same(member: MemberFold, verdict: Verdict) -> None:
    assert shown(member.changes) == verdict.moves
    state = member.state()
    assert (member.tier.code, state.since, state.unqualified_since, state.stands_until) == (
        verdict.tier,
        verdict.since,
        verdict.unqualified,
        verdict.stands_until,
    )
    rated = member.rules.tiers[member.rated.rank].code
    assert (rated, member.rated.since) == (verdict.rated, verdict.rated_since)
    assert (state.pinned_until, state.ruleset_version) == (verdict.pinned_until, verdict.version)
    assert [
        (notice.kind, notice.tier.code, notice.on, notice.falls_on) for notice in member.notices
    ] == verdict.notices


@given(worlds())
@settings(max_examples=50 * SCALE)
def test_the_fold_agrees_with_living_through_every_day(world: World) -> None:
    assert_same(folded(world), lived_through(world))


def told_twice() -> World:
    """At risk under one rule set, standing by a promise of the next, and at risk again when that is over."""
    spend, recency = (
        {"metric": "net_spend", "op": ">=", "value": "1"},
        {"metric": "days_since_last_visit", "op": "<=", "value": 11},
    )

    def rules(window: dict[str, object], enter: Mapping[str, object]) -> dict[str, object]:
        tiers = [{"code": "t0", "names": NAMES}, {"code": "t1", "names": NAMES, "enter": enter}]
        down = {"policy": "one_step", "grace_days": 0, "min_hold_days": 0}
        return {
            "currency": "TWD", "window": window, "tiers": tiers, "downgrade": down, "review_cadence": "weekly"
        }  # fmt: skip

    at = START + timedelta(days=25)
    order = TierFact(at, at.date(), "order", "o1", 1, None, 50, 50, 1, 0)
    rulesets = [
        (START - timedelta(days=2), rules({"kind": "rolling", "days": 10}, recency)),
        (START + timedelta(days=36), rules({"kind": "calendar_year"}, spend)),
    ]
    end = END + timedelta(days=365)
    return World(rulesets, "UTC", START, [(at, order)], end, pins=[], merges=[])


@given(changing_worlds())
@example(told_twice())
@HISTORIES
def test_t1_the_fold_agrees_with_every_day_under_changing_rules_and_pins(world: World) -> None:
    assert_same(folded(world), lived_through(world))


@given(changing_worlds(merging=True))
@settings(max_examples=100 * SCALE)
def test_a_merge_is_the_fold_of_both_lives_from_the_start(world: World) -> None:
    assert_same(folded(world), lived_through(world))


@given(changing_worlds())
@HISTORIES
def test_t2_reviewing_every_day_gives_the_same_as_reviewing_when_due(world: World) -> None:
    due_only = folded(world)
    started = min([world.joined_at, *(fact.at for fact in world.facts)])
    daily = MemberFold.begin(
        timeline=timeline_of(world),
        timezone=world.timezone,
        started_at=started,
        joined_at=world.joined_at,
        pins=pins_of(world),
    )
    day = local_day(started, timezone=world.timezone)
    waiting = world.facts
    while day <= world.end:
        while waiting and local_day(waiting[0].at, timezone=world.timezone) == day:
            daily.take(waiting.pop(0))
        daily.rate_on(day)
        day += timedelta(days=1)
    assert shown(daily.changes) == shown(due_only.changes)
    assert daily.notices == due_only.notices
    assert daily.state() == due_only.state()


class Believer:
    """Rates facts as they arrive, from the stored state where it can and from the start where it must."""

    def __init__(self, world: World) -> None:
        self.world, self.timeline, self.pins = world, timeline_of(world), pins_of(world)
        self.known: list[TierFact] = []
        begun = MemberFold.begin(
            timeline=self.timeline,
            timezone=world.timezone,
            started_at=world.joined_at,
            joined_at=world.joined_at,
            pins=self.pins,
        )
        self.changes: list[Change] = []
        self.keep(begun, local_day(world.joined_at, timezone=world.timezone))

    def learn(self, fact: TierFact, today: date) -> None:
        in_order = follows(self.state, [fact], timeline=self.timeline)
        if in_order:
            member = self.resume()
            self.known.append(fact)
            member.take(fact)
        else:
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
            window=RunningWindow(rows),
            joined_at=self.world.joined_at,
            pins=self.pins,
        )

    def replay(self, until: date) -> MemberFold:
        return fold(
            sorted(self.known, key=TierFact.sort_key),
            timeline=self.timeline,
            timezone=self.world.timezone,
            joined_at=self.world.joined_at,
            until=until,
            pins=self.pins,
        )

    def keep(self, member: MemberFold, today: date) -> None:
        member.catch_up(today)
        self.changes += member.changes
        self.state = member.state()


def standing(state: TierState) -> tuple[object, ...]:
    return (
        state.rank,
        state.since,
        state.ruleset_version,
        state.unqualified_since,
        state.carrier_order_key,
        state.next_review_on,
        state.stands_until,
        state.rated_rank,
        state.rated_since,
        state.pinned_until,
    )


@given(changing_worlds(), st.data())
@HISTORIES
def test_t1_whatever_order_facts_arrive_in_the_stored_state_is_the_fold_of_all(
    world: World, data: st.DataObject
) -> None:
    believer = Believer(world)
    for received_at, fact in world.arrivals:
        today = local_day(received_at, timezone=world.timezone)
        if data.draw(st.booleans()):
            believer.review(today, everyone=data.draw(st.booleans()))
        believer.learn(fact, today)
        replay = believer.replay(today)
        assert standing(believer.state) == standing(replay.state())
        assert shown(believer.changes) == shown(replay.changes)
    believer.review(world.end, everyone=False)
    assert standing(believer.state) == standing(folded(world).state())


@given(worlds())
def test_a_state_that_is_due_but_not_reviewed_is_the_fold_up_to_the_day_before(world: World) -> None:
    member = folded(world, until=START.date())
    state = member.state()
    if state.next_review_on is not None:
        again = folded(world, until=state.next_review_on - timedelta(days=1))
        assert again.state() == state
