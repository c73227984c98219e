"""An account of a tier adds up: to the metrics that decided it, and to what then happens by itself."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from service.activity.rules import TierFact
from service.kit.clock import local_day, local_midnight
from service.tiers.conditions import holds
from service.tiers.explanation import explain_to_member, explain_to_staff
from service.tiers.fold import MemberFold, fold
from service.tiers.grounds.rules import OUTLOOK_DAYS, Account, Override, give_account
from service.tiers.periods import RollingWindow
from service.tiers.standing import see_standing
from tests.conftest import SCALE
from tests.laws.sound import assert_sound_chinese, assert_sound_english
from tests.laws.test_tiers_replay import pins_of, timeline_of
from tests.laws.tier_worlds import World, changing_worlds, worlds

HISTORIES = settings(max_examples=200 * SCALE)
LIVES = st.one_of(worlds(), changing_worlds())


def folded_on(world: World, facts: list[TierFact], until: date, version: int | None = None) -> MemberFold:
    """Fold some facts and the days up to one, as if no rule set had come after a version."""
    timeline = timeline_of(world)
    return fold(
        facts,
        timeline=timeline if version is None else timeline.until(version),
        timezone=world.timezone,
        joined_at=world.joined_at,
        until=until,
        pins=pins_of(world),
    )


def account_of(world: World, ahead: int) -> tuple[Account, list[TierFact]]:
    """Return the account of some day of a life, and the facts by then."""
    started = min([world.joined_at, *(fact.at for fact in world.facts)])
    day = local_day(started, timezone=world.timezone) + timedelta(days=ahead)
    moment = local_midnight(day + timedelta(days=1), timezone=world.timezone) - timedelta(microseconds=1)
    facts = [fact for fact in world.facts if fact.at <= moment]
    assume(facts or world.joined_at <= moment)
    member = folded_on(world, facts, day)
    seen_on = max(day, member.last_day)
    pin = member.pin
    override = None
    if pin is not None:
        override = Override(local_day(pin.ends_at, timezone=world.timezone), "an apology", "amy")
    standing = see_standing(member, day=seen_on, as_of=moment)
    return give_account(member, facts, standing=standing, override=override), facts


@HISTORIES
@given(LIVES, st.integers(0, 120))
def test_what_is_listed_adds_up_to_the_metrics(world: World, ahead: int) -> None:
    account, _ = account_of(world, ahead)
    metrics = account.standing.metrics
    goods: dict[date, int] = {}
    for fact in account.counted:
        if fact.kind == "order":
            goods[fact.day] = goods.get(fact.day, 0) + fact.goods_left_minor
    assert sum(fact.net_left_minor for fact in account.counted) == metrics.net_spend_minor
    assert sum(fact.goods_left_minor > 0 for fact in account.counted) == metrics.orders
    assert sum(minor > 0 for minor in goods.values()) == metrics.active_days
    assert len({(fact.kind, fact.fact_id) for fact in account.counted}) == len(account.counted)


@HISTORIES
@given(LIVES, st.integers(0, 120))
def test_what_leaves_leaves_the_rest_behind(world: World, ahead: int) -> None:
    account, _ = account_of(world, ahead)
    gone: set[str] = set()
    for leaving in account.leaving:
        assert leaving.on > account.standing.window_from
        gone |= {fact.fact_id for fact in leaving.facts}
        left = [fact for fact in account.counted if fact.leaves_on > leaving.on]
        assert leaving.after.net_spend_minor == sum(fact.net_left_minor for fact in left)
        assert leaving.after.orders == sum(fact.goods_left_minor > 0 for fact in left)
        assert leaving.before.net_spend_minor - leaving.net_minor == leaving.after.net_spend_minor
        assert (leaving.enough is None) is not isinstance(account.rules.window, RollingWindow)
    assert gone == {fact.fact_id for fact in account.counted if fact.counts}


@HISTORIES
@given(LIVES, st.integers(0, 120))
def test_a_tier_stands_for_the_reason_given(world: World, ahead: int) -> None:
    account, _ = account_of(world, ahead)
    standing, rules = account.standing, account.rules
    rated = standing.rated or standing.tier
    qualifies = rules.enters(rated.rank, standing.metrics) or rules.stands(rated.rank, standing.metrics)
    assert (account.reason == "override") is (standing.pinned_until is not None)
    if account.reason in ("enter", "keep"):
        assert qualifies
        assert all(need.met for need in account.branch)
    elif account.reason == "base":
        assert rated.rank == 0
    elif account.reason != "override":
        assert not qualifies
        assert (account.reason == "period") is (standing.unqualified_since is None)
        assert (account.reason == "grace") is standing.at_risk
    assert account.qualified.enter is None or holds(account.qualified.enter, standing.metrics)


@HISTORIES
@given(LIVES, st.integers(0, 120))
def test_the_outlook_is_what_happens_if_neither_purchase_nor_rule_comes(world: World, ahead: int) -> None:
    account, facts = account_of(world, ahead)
    day = account.standing.day
    later = folded_on(world, facts, day + timedelta(days=OUTLOOK_DAYS), account.rules.version)
    happened = [
        (date.fromordinal(later.day_of(change.effective_at)), change.to_tier)
        for change in later.changes
        if date.fromordinal(later.day_of(change.effective_at)) > day
    ]
    foretold = [
        (step.on, step.tier.code) for step in account.outlook if step.kind == "tier" and step.on > day
    ]
    assert foretold == happened[: len(foretold)]
    assert len(foretold) == len(happened) or len(account.outlook) == 24


@HISTORIES
@given(LIVES, st.integers(0, 120))
def test_every_account_is_told_in_sound_english_and_chinese(world: World, ahead: int) -> None:
    account, _ = account_of(world, ahead)
    for tell in (explain_to_member, explain_to_staff):
        assert_sound_english(tell(account, locale="en"))
        assert_sound_chinese(tell(account, locale="zh-Hant").replace("an apology", "致歉"))
