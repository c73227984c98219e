"""Rules that change, tiers that staff pin, cadence, notices and merges in one member's fold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from service.activity.rules import TierFact
from service.tiers.fold import MemberFold, fold, is_overtaken
from service.tiers.rules import RuleSet
from service.tiers.spans import Merge, Pin
from service.tiers.timeline import RuleTimeline
from tests.unit.tiers.histories import JOINED, at, ladder, leaf, moves, on, order, refund, spend

FIRST = ladder(*spend(100, 300), window_days=30, grace_days=10)


def under(
    facts: Sequence[TierFact],
    *changes: tuple[datetime, RuleSet],
    first: RuleSet = FIRST,
    until: int = 20,
    **options: Any,
) -> MemberFold:
    """Fold facts under a first rule set and those that came into force later."""
    return fold(
        sorted(facts, key=TierFact.sort_key),
        timeline=RuleTimeline.of([(at(-1), first), *changes]),
        timezone="UTC",
        joined_at=JOINED,
        until=on(until),
        **options,
    )


def codes(member: MemberFold) -> list[tuple[str | None, str, datetime, str]]:
    """Return (from, to, when, cause) of every movement after the joining, tiers by code."""
    return [
        (change.from_tier, change.to_tier, change.effective_at, change.cause)
        for change in member.changes
        if change.from_tier is not None
    ]


# Rules that change


def test_easier_rules_raise_at_the_moment_they_come_into_force() -> None:
    easier = ladder(*spend(50, 110), window_days=30, version=2)
    member = under([order(1, 1, 120)], (at(5), easier))
    assert moves(member)[-1] == (1, 2, at(5), "rule_change")
    assert member.changes[-1].rules.version == 2
    assert member.state().ruleset_version == 2


def test_harder_rules_give_their_own_grace_from_the_day_they_come_into_force() -> None:
    harder = ladder(*spend(150), window_days=30, grace_days=4, version=2)
    member = under([order(1, 1, 120)], (at(5), harder))
    assert [(notice.on, notice.falls_on) for notice in member.notices] == [(on(5), on(9))]
    assert moves(member)[-1] == (1, 0, at(9, hour=0), "roll_off")


def test_a_clock_that_runs_goes_on_under_rules_with_the_same_ladder() -> None:
    slower = ladder(*spend(100, 300), window_days=30, grace_days=15, version=2)
    # Unqualified since day 31; ten days of grace became fifteen.
    member = under([order(1, 1, 120)], (at(35), slower), until=60)
    assert moves(member)[-1] == (1, 0, at(46, hour=0), "roll_off")


def test_rules_that_change_at_midnight_apply_to_what_is_due_on_that_day() -> None:
    easier = ladder(*spend(0, 300), window_days=30, version=2)
    # Under the first rules the fall was due on day 41.
    member = under([order(1, 1, 120)], (at(41, hour=0), easier), until=60)
    assert [change[3] for change in moves(member)] == ["order"]
    later = under([order(1, 1, 120)], (at(41, hour=1), easier), until=60)
    assert [change[3] for change in moves(later)] == ["order", "roll_off", "rule_change"]


def test_a_tier_is_followed_by_its_code_and_its_beginning_stays() -> None:
    renumbered = ladder(*spend(50, 110, 500), window_days=30, codes=("new", "t1", "t2"), version=2)
    member = under([order(1, 1, 120)], (at(5), renumbered))
    assert codes(member) == [("t0", "t1", at(1), "order")]
    assert (member.rank, member.state().since) == (2, at(1))


def test_who_held_a_removed_tier_lands_below_it_with_a_new_beginning_and_a_grace() -> None:
    without = ladder(*spend(500), window_days=30, grace_days=10, codes=("t1",), version=2)
    member = under([order(1, 1, 400)], (at(5), without), until=16)
    assert codes(member)[1:] == [
        ("t2", "t1", at(5), "rule_change"),
        ("t1", "t0", at(15, hour=0), "roll_off"),
    ]
    assert member.changes[2].from_rank == 2


def test_landing_and_rising_at_once_is_one_movement() -> None:
    renamed = ladder(*spend(100, 300), window_days=30, codes=("t1", "best"), version=2)
    member = under([order(1, 1, 400)], (at(5), renamed))
    assert codes(member)[1:] == [("t2", "best", at(5), "rule_change")]


def test_a_refund_after_the_change_judges_the_rise_by_the_rules_of_the_rise() -> None:
    carrier = order(1, 1, 120)
    harder = ladder(*spend(200, 300), window_days=30, grace_days=10, version=2)
    stands = under([carrier, refund(carrier, 6, 20)], (at(5), harder), until=7)
    assert moves(stands) == [(0, 1, at(1), "order")]
    undone = under([carrier, refund(carrier, 6, 21)], (at(5), harder), until=7)
    assert moves(undone)[-1] == (1, 0, at(6, hour=15), "refund")


def test_a_rise_undone_goes_back_to_where_the_tier_before_is_found_today() -> None:
    first, second = order(1, 1, 120), order(2, 2, 300)
    harder = ladder(*spend(400, 500, 600), window_days=30, grace_days=10, codes=("x", "t1", "t2"), version=2)
    member = under([first, second, refund(second, 6, 300)], (at(5), harder), until=7)
    assert codes(member)[-1] == ("t2", "t1", at(6, hour=15), "refund")
    assert (member.rank, member.state().since) == (2, at(1))


def test_a_tier_that_comes_under_a_period_stands_at_least_until_its_end() -> None:
    yearly = ladder(*spend(200), window={"kind": "calendar_year"}, version=2)
    member = under([order(1, 1, 120)], (at(35), yearly), until=60)
    # At risk under the first rules; the year that runs protects it now.
    state = member.state()
    assert (state.rank, state.unqualified_since, state.stands_until) == (1, None, on(366))
    assert moves(under([order(1, 1, 120)], (at(35), yearly), until=366))[-1] == (
        1,
        0,
        at(366, hour=0),
        "roll_off",
    )


def test_a_state_rated_past_a_change_of_rules_is_overtaken() -> None:
    state = under([order(1, 6, 120)], until=6).state()
    for day, overtaken in ((5, True), (6, True), (7, False)):
        second = ladder(*spend(50), version=2)
        timeline = RuleTimeline.of([(at(-1), FIRST), (at(day), second)])
        assert is_overtaken(state, timeline=timeline) is overtaken


# Pins


def test_a_pin_hides_the_rating_and_its_end_reveals_it() -> None:
    pinned = Pin(7, "t2", at(3), at(12, hour=0))
    member = under([order(1, 1, 120), order(2, 5, 10)], pins=[pinned], until=20)
    assert moves(member)[1:] == [(1, 2, at(3), "manual"), (2, 1, at(12, hour=0), "manual")]
    assert [change.pin_key for change in member.changes] == [None, None, 7, 7]
    assert [tier.code for _, tier in member.held] == ["t0", "t2"]


def test_a_pin_to_the_tier_held_moves_nobody_and_keeps_its_beginning() -> None:
    pinned = Pin(7, "t1", at(3), at(60, hour=0))
    member = under([order(1, 1, 120)], pins=[pinned], until=45)
    assert moves(member) == [(0, 1, at(1), "order")]
    state = member.state()
    # The rating underneath has fallen by now.
    assert (state.rank, state.since, state.rated_rank) == (1, at(1), 0)


def test_of_one_moment_the_end_of_a_pin_comes_after_what_is_due_and_before_the_facts() -> None:
    pinned = Pin(7, "t2", at(3), at(41, hour=0))
    member = under([order(1, 1, 120), order(2, 41, 400, moment=at(41, hour=0))], pins=[pinned], until=41)
    assert moves(member)[1:] == [
        (1, 2, at(3), "manual"),
        (2, 0, at(41, hour=0), "manual"),
        (0, 2, at(41, hour=0), "order"),
    ]


@pytest.mark.parametrize("tier", ["t9", "t2"])
def test_a_pin_to_a_tier_that_is_gone_holds_what_remains_below_it(tier: str) -> None:
    shorter = ladder(*spend(100), window_days=30, version=2)
    pinned = Pin(7, tier, at(6), at(12, hour=0))
    member = under([order(1, 1, 10)], (at(5), shorter), pins=[pinned], until=7)
    assert member.tier.code == ("t1" if tier == "t2" else "t0")


# Cadence and notices


def test_falls_wait_for_the_day_of_the_cadence_and_rises_do_not() -> None:
    weekly = ladder(*spend(100), window_days=30, grace_days=10, cadence="weekly")
    # Day 41 is a Sunday.
    assert on(41).isoweekday() == 7
    member = under([order(1, 1, 120)], first=weekly, until=60)
    assert moves(member) == [(0, 1, at(1), "order"), (1, 0, at(42, hour=0), "roll_off")]
    assert [notice.falls_on for notice in member.notices] == [on(42)]
    saved = under([order(1, 1, 120), order(2, 41, 100)], first=weekly, until=60)
    assert moves(saved) == [(0, 1, at(1), "order")]


def test_a_member_at_risk_is_told_on_the_first_day_and_again_before_the_fall() -> None:
    rules = ladder(*spend(100), window_days=30, grace_days=10, notice_days=3)
    member = under([order(1, 1, 120)], first=rules, until=60)
    assert [(notice.kind, notice.on, notice.since, notice.falls_on) for notice in member.notices] == [
        ("first", on(31), on(31), on(41)),
        ("reminder", on(38), on(31), on(41)),
    ]
    assert under([order(1, 1, 120)], first=rules, until=32).state().next_review_on == on(38)


def test_a_reminder_that_would_come_with_the_first_notice_is_left_out() -> None:
    rules = ladder(*spend(100), window_days=30, grace_days=5, notice_days=7)
    assert rules.downgrade.notice_days == 5
    member = under([order(1, 1, 120)], first=rules, until=60)
    assert [notice.kind for notice in member.notices] == ["first"]


def test_who_re_qualifies_is_not_reminded() -> None:
    rules = ladder(*spend(100), window_days=30, grace_days=10, notice_days=3)
    member = under([order(1, 1, 120), order(2, 35, 100)], first=rules, until=45)
    assert [notice.kind for notice in member.notices] == ["first"]


def test_a_member_is_told_anew_when_another_fall_threatens() -> None:
    rules = ladder(*spend(100, 300), window_days=30, grace_days=10, notice_days=3)
    member = under([order(1, 1, 400)], first=rules, until=60)
    assert [(notice.kind, notice.tier.code, notice.on) for notice in member.notices] == [
        ("first", "t2", on(31)),
        ("reminder", "t2", on(38)),
        ("first", "t1", on(41)),
        ("reminder", "t1", on(48)),
    ]


# Merges


def test_a_merge_folds_both_lives_from_the_start_and_moves_the_tier_at_its_moment() -> None:
    merge = Merge(at(10), [order(9, 2, 70)], at(0))
    member = under([order(1, 1, 60)], merges=[merge], until=20)
    assert moves(member) == [(0, 1, at(10), "merge")]
    # In the union the tier was reached by the order of day 2.
    assert (member.state().since, member.state().carrier_order_key) == (at(2), 9)


def test_a_refund_after_a_merge_undoes_a_rise_of_the_other_member() -> None:
    carrier = order(9, 2, 120)
    merge = Merge(at(10), [carrier, refund(carrier, 12)], at(0))
    member = under([order(1, 1, 60)], merges=[merge], until=20)
    assert moves(member) == [(0, 1, at(10), "merge"), (1, 0, at(12, hour=15), "refund")]


def test_a_merge_that_lies_ahead_changes_nothing_yet() -> None:
    merge = Merge(at(30), [order(9, 2, 500)], at(0))
    assert moves(under([order(1, 1, 60)], merges=[merge], until=20)) == []


def test_a_merge_makes_the_earlier_joining_count() -> None:
    rules = ladder(leaf("member_days", ">=", 15))
    merge = Merge(at(10), [], at(-10))
    member = under([], first=rules, merges=[merge], until=12)
    assert moves(member) == [(0, 1, at(10), "merge")]
