"""Each rule of rating, on histories short enough to check by hand (days count from 1 January 2024)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from service.activity.rules import TierFact
from service.kit.clock import local_midnight
from service.tiers.fold import MemberFold, follows
from service.tiers.spans import TierState
from service.tiers.timeline import RuleTimeline
from service.tiers.window import RunningWindow
from tests.unit.tiers.histories import (
    JOINED,
    at,
    ladder,
    leaf,
    lived,
    moves,
    on,
    order,
    refund,
    spend,
    unlinked,
)

SPEND = ladder(*spend(100, 300))
ALWAYS = RuleTimeline.always(SPEND)


def test_a_membership_begins_in_the_base_tier_at_joining() -> None:
    member = lived([], SPEND)
    state = member.state()
    assert [(change.from_rank, change.to_rank, change.cause) for change in member.changes] == [
        (None, 0, "enrol")
    ]
    assert (state.rank, state.since, state.next_review_on) == (0, JOINED, None)


def test_a_membership_begins_at_the_first_fact_when_that_is_earlier() -> None:
    member = lived([order(1, -3, 10)], SPEND)
    assert member.changes[0].effective_at == at(-3)
    assert member.state().since == at(-3)


def test_a_rise_is_effective_at_the_orders_own_time() -> None:
    member = lived([order(1, 5, 120)], SPEND, until=5)
    assert moves(member) == [(0, 1, at(5), "order")]
    assert member.changes[-1].order_key == 1
    assert member.state().since == at(5)


def test_one_order_may_rise_several_tiers() -> None:
    assert moves(lived([order(1, 5, 300)], SPEND, until=5)) == [(0, 2, at(5), "order")]


def test_what_an_order_was_placed_at_is_the_tier_held_before_it() -> None:
    member = lived([order(1, 5, 120), order(2, 6, 10)], SPEND, until=6)
    assert [(fact.order_key, tier.rank) for fact, tier in member.held] == [(1, 0), (2, 1)]


def test_days_that_leave_the_window_let_a_member_fall_on_the_due_day() -> None:
    rules = ladder(*spend(100), window_days=30, grace_days=10)
    member = lived([order(1, 5, 120)], rules)
    # Day 5 leaves the window on day 35; ten days of grace follow.
    assert moves(member) == [(0, 1, at(5), "order"), (1, 0, at(45, hour=0), "roll_off")]
    assert member.state().since == at(45, hour=0)


def test_re_qualifying_in_grace_clears_it() -> None:
    rules = ladder(*spend(100), window_days=30, grace_days=10)
    member = lived([order(1, 5, 120), order(2, 40, 100)], rules, until=69)
    assert moves(member) == [(0, 1, at(5), "order")]
    assert member.state().unqualified_since is None
    assert [notice.on for notice in member.notices] == [on(35)]


def test_a_fall_does_not_come_before_the_minimum_hold_and_grace_follows_it() -> None:
    rules = ladder(*spend(100), window_days=30, grace_days=10, min_hold_days=50)
    member = lived([order(1, 5, 120)], rules)
    # Unqualified from day 35, protected until day 55, at risk from there, down ten days later.
    assert moves(member)[-1] == (1, 0, at(65, hour=0), "roll_off")
    assert [(notice.on, notice.falls_on) for notice in member.notices] == [(on(55), on(65))]
    held = lived([order(1, 5, 120)], rules, until=54).state()
    assert (held.unqualified_since, held.next_review_on) == (on(35), on(55))


def test_each_step_down_starts_a_hold_and_a_grace_of_its_own() -> None:
    rules = ladder(*spend(100, 300), window_days=30, grace_days=10, min_hold_days=20)
    member = lived([order(1, 5, 300)], rules)
    assert moves(member) == [
        (0, 2, at(5), "order"),
        (2, 1, at(45, hour=0), "roll_off"),
        # Unqualified for t1 from day 45 on: held until 65, grace until 75.
        (1, 0, at(75, hour=0), "roll_off"),
    ]
    assert [notice.on for notice in member.notices] == [on(35), on(65)]


def test_without_hold_and_grace_steps_follow_one_another_at_once() -> None:
    rules = ladder(*spend(100, 300), window_days=30)
    midnight = at(35, hour=0)
    assert moves(lived([order(1, 5, 300)], rules))[1:] == [
        (2, 1, midnight, "roll_off"),
        (1, 0, midnight, "roll_off"),
    ]


def test_to_qualified_falls_all_the_way() -> None:
    rules = ladder(*spend(100, 300, 900), window_days=30, policy="to_qualified", grace_days=5)
    member = lived([order(1, 5, 900), order(2, 20, 100)], rules, until=40)
    assert moves(member)[-1] == (3, 1, at(40, hour=0), "roll_off")


def test_keep_may_be_easier_than_enter() -> None:
    rules = ladder(leaf("net_spend", ">=", "100"), keeps={1: leaf("net_spend", ">=", "50")}, window_days=30)
    kept = lived([order(1, 5, 100), order(2, 20, 60)], rules, until=49)
    assert kept.state().rank == 1
    assert lived([order(1, 5, 100), order(2, 20, 40)], rules, until=49).state().rank == 0


def test_recency_alone_makes_a_member_fall() -> None:
    both = {"all": [leaf("active_days", ">=", 2), leaf("days_since_last_visit", "<=", 20)]}
    member = lived([order(1, 5), order(2, 8)], ladder(both))
    assert moves(member) == [(0, 1, at(8), "order"), (1, 0, at(29, hour=0), "roll_off")]


def test_an_order_after_a_gap_may_lower_the_fit() -> None:
    rhythm = {"all": [leaf("active_days", ">=", 2), leaf("visit_interval_days", "<=", 10)]}
    member = lived([order(1, 0), order(2, 10), order(3, 60)], ladder(rhythm), until=60)
    assert moves(member) == [(0, 1, at(10), "order"), (1, 0, at(60), "order")]


def test_a_day_that_leaves_may_raise_a_member_without_any_order() -> None:
    rhythm = {"all": [leaf("active_days", ">=", 2), leaf("visit_interval_days", "<=", 10)]}
    member = lived([order(1, 0), order(2, 60), order(3, 65)], ladder(rhythm, window_days=80), until=90)
    assert moves(member) == [(0, 1, at(80, hour=0), "roll_off")]
    assert member.state().carrier_order_key is None


def test_days_since_joining_count_as_a_metric() -> None:
    member = lived([], ladder(leaf("member_days", ">=", 30)))
    assert moves(member) == [(0, 1, at(30, hour=0), "roll_off")]


def test_a_tier_that_asks_for_nothing_is_entered_at_joining() -> None:
    member = lived([], ladder(leaf("orders", "<=", 3)))
    assert moves(member) == [(0, 1, JOINED, "enrol")]


# Refunds


def test_a_linked_refund_takes_from_its_orders_day_and_only_from_then_on() -> None:
    first, second = order(1, 5, 60), order(2, 9, 60)
    member = lived([first, second, refund(first, 20, 30, last=False)], ladder(*spend(100)), until=20)
    assert moves(member) == [(0, 1, at(9), "order"), (1, 0, at(20, hour=15), "refund")]
    metrics = member.measure(on(20))
    assert (metrics.active_days, metrics.net_spend_minor) == (2, 9000)


def test_an_unlinked_refund_lowers_spend_and_touches_no_active_day() -> None:
    member = lived([order(1, 5, 60), order(2, 9, 60), unlinked(20, 200)], ladder(*spend(100)), until=20)
    metrics = member.measure(on(20))
    assert (metrics.active_days, metrics.net_spend_minor, metrics.orders) == (2, -8000, 2)
    assert moves(member)[-1] == (1, 0, at(20, hour=15), "refund")


def test_a_refund_may_lower_a_member_at_risk_and_the_fall_then_is_a_roll_off() -> None:
    first, second = order(1, 5, 120), order(2, 6, 10)
    rules = ladder(*spend(100), grace_days=10)
    carried_elsewhere = [first, second, refund(second, 10)]
    assert moves(lived(carried_elsewhere, rules, until=50)) == [(0, 1, at(5), "order")]
    loose = [order(1, 5, 60), order(2, 6, 60), order(3, 7, 1), unlinked(10, 50)]
    member = lived(loose, rules, until=50)
    assert moves(member) == [(0, 1, at(6), "order"), (1, 0, at(20, hour=0), "roll_off")]


def test_refunding_the_order_that_carried_a_member_up_undoes_the_rise_at_once() -> None:
    first, second = order(1, 5, 60), order(2, 9, 60)
    rules = ladder(*spend(100), grace_days=30, min_hold_days=90)
    member = lived([first, second, refund(second, 12)], rules, until=12)
    assert moves(member)[-1] == (1, 0, at(12, hour=15), "refund")
    change = member.changes[-1]
    assert (change.order_key, change.refund_key is not None) == (2, True)
    # Back to the state before, with the stay that had begun at joining.
    assert member.state().since == JOINED


def test_refunding_another_order_gets_hold_and_grace_as_ever() -> None:
    first, second = order(1, 5, 60), order(2, 9, 60)
    rules = ladder(*spend(100), grace_days=30, min_hold_days=90)
    member = lived([first, second, refund(first, 12)], rules, until=200)
    # Unqualified from day 12, protected to 9 + 90, grace to 129.
    assert moves(member)[-1] == (1, 0, at(129, hour=0), "roll_off")


def test_a_partial_refund_of_the_carrier_that_leaves_enough_changes_nothing() -> None:
    carrier = order(1, 5, 150)
    rules = ladder(*spend(100))
    member = lived([carrier, refund(carrier, 8, 40, last=False)], rules, until=8)
    assert moves(member) == [(0, 1, at(5), "order")]


def test_partial_refunds_of_the_carrier_add_up() -> None:
    carrier = order(1, 5, 150)
    parts = [refund(carrier, 8, 40, last=False), refund(carrier, 9, 40, last=False)]
    member = lived([carrier, *parts], ladder(*spend(100), min_hold_days=90), until=9)
    assert moves(member)[-1] == (1, 0, at(9, hour=15), "refund")


def test_what_was_bought_since_does_not_save_the_rise_but_may_earn_the_tier_anew() -> None:
    carrier, later = order(1, 5, 150), order(2, 7, 120)
    member = lived([carrier, later, refund(carrier, 9)], ladder(*spend(100), min_hold_days=90), until=9)
    # The same tier is earned by what is left: the stay goes on untouched.
    assert moves(member) == [(0, 1, at(5), "order")]
    assert member.state().since == at(5)


def test_an_undone_rise_of_two_tiers_may_leave_one_of_them() -> None:
    carrier, later = order(1, 5, 400), order(2, 7, 120)
    rules = ladder(*spend(100, 300), min_hold_days=90, grace_days=30)
    member = lived([carrier, later, refund(carrier, 9)], rules, until=9)
    assert moves(member) == [(0, 2, at(5), "order"), (2, 1, at(9, hour=15), "refund")]
    assert member.state().since == at(9, hour=15)


def test_an_undone_rise_goes_back_to_the_span_before_it_and_its_carrier() -> None:
    first, second = order(1, 5, 100), order(2, 9, 200)
    member = lived([first, second, refund(second, 12)], SPEND, until=12)
    assert moves(member)[-1] == (2, 1, at(12, hour=15), "refund")
    state = member.state()
    assert (state.since, state.carrier_order_key) == (at(5), 1)


@pytest.mark.parametrize("order_of_refunds", [(0, 1), (1, 0)])
def test_rises_undone_one_below_the_other_end_the_same_whichever_is_refunded_first(
    order_of_refunds: tuple[int, int],
) -> None:
    bought = [order(1, 5, 100), order(2, 9, 250)]
    rules = ladder(*spend(100, 300), min_hold_days=90, grace_days=30)
    refunds = [refund(bought[index], 12 + place) for place, index in enumerate(order_of_refunds)]
    member = lived([*bought, *refunds], rules, until=20)
    assert member.state().rank == 0
    assert member.state().since == JOINED


def test_a_rise_undone_returns_a_member_who_was_at_risk_to_being_at_risk() -> None:
    rules = ladder(*spend(100, 300), window_days=30, grace_days=20)
    first, second = order(1, 5, 100), order(2, 36, 400)
    member = lived([first, second, refund(second, 38)], rules, until=38)
    state = member.state()
    # t1 had been unqualified since day 35: the twenty days of grace run on from there.
    assert (state.rank, state.unqualified_since, state.next_review_on) == (1, on(35), on(55))


def test_a_rise_undone_after_the_grace_below_it_had_run_out_falls_in_one_movement() -> None:
    rules = ladder(*spend(100, 300), window_days=30, grace_days=5)
    first, second = order(1, 5, 100), order(2, 36, 400)
    member = lived([first, second, refund(second, 60)], rules, until=60)
    assert moves(member)[-1] == (2, 0, at(60, hour=15), "refund")
    assert member.state().since == at(60, hour=15)


def test_a_rise_counts_its_order_net_of_refunds_but_others_as_they_stood_then() -> None:
    first, second = order(1, 5, 60), order(2, 9, 60)
    third = order(3, 10, 200)
    rules = ladder(*spend(100), min_hold_days=90, grace_days=30)
    # The first order came back before the carrier's cent did: at the rise it still stood.
    member = lived(
        [first, second, third, refund(first, 12), refund(second, 13, 1, last=False)], rules, until=13
    )
    assert member.state().rank == 1
    assert moves(member) == [(0, 1, at(9), "order")]


def test_after_a_fall_the_order_that_once_carried_the_member_is_an_order_like_any_other() -> None:
    carrier = order(1, 5, 300)
    rules = ladder(*spend(100, 300), keeps={1: leaf("orders", ">=", 1)}, window_days=40, grace_days=5)
    kept = order(2, 20, 10)
    member = lived([carrier, kept, refund(carrier, 52)], rules, until=52)
    assert moves(member) == [(0, 2, at(5), "order"), (2, 1, at(50, hour=0), "roll_off")]


def test_a_cancelled_order_is_undone_like_a_refund_of_all_of_it() -> None:
    carrier = order(1, 5, 150)
    cancellation = replace(refund(carrier, 5, hour=18), refund_key=None, source_id="o1")
    assert moves(lived([carrier, cancellation], ladder(*spend(100)), until=5)) == [
        (0, 1, at(5), "order"),
        (1, 0, at(5, hour=18), "refund"),
    ]


# Days and zones


def test_a_fall_is_dated_at_the_programmes_midnight_across_a_clock_change() -> None:
    zone = "Europe/London"
    bought = order(1, 0, moment=datetime(2024, 3, 20, 12, tzinfo=UTC), local=date(2024, 3, 20))
    rules = ladder(*spend(100), window_days=30)
    member = lived([bought], rules, until=500, timezone=zone)
    # Thirty days later summer time has begun: midnight is at 23:00 UTC the evening before.
    assert moves(member)[-1] == (1, 0, datetime(2024, 4, 18, 23, tzinfo=UTC), "roll_off")


def test_where_midnight_does_not_exist_the_day_begins_at_its_first_moment() -> None:
    zone = "Asia/Beirut"
    bought = order(1, 0, moment=datetime(2024, 3, 1, 12, tzinfo=UTC), local=date(2024, 3, 1))
    member = lived([bought], ladder(*spend(100), window_days=30), until=500, timezone=zone)
    assert moves(member)[-1][2] == datetime(2024, 3, 30, 22, tzinfo=UTC)
    assert local_midnight(date(2024, 3, 31), timezone=zone) == datetime(2024, 3, 30, 22, tzinfo=UTC)


def test_the_day_of_a_rating_is_the_programmes_and_the_day_of_an_order_its_stores() -> None:
    # 20:00 UTC on day 5 is already day 6 in Taipei.
    bought = order(1, 5, 120, hour=20, timezone="Asia/Taipei")
    assert bought.day == on(6)
    member = lived([bought], ladder(*spend(100), window_days=30), timezone="Asia/Taipei")
    assert moves(member)[-1][2] == local_midnight(on(36), timezone="Asia/Taipei")


def test_a_store_ahead_of_the_programme_counts_at_once() -> None:
    ahead = order(1, 5, 120, local=on(6))
    member = lived([ahead], ladder(*spend(100), window_days=30))
    assert moves(member) == [(0, 1, at(5), "order"), (1, 0, at(36, hour=0), "roll_off")]


def test_a_year_from_a_leap_day_is_365_days() -> None:
    leap = order(1, 0, moment=datetime(2024, 2, 29, 9, tzinfo=UTC), local=date(2024, 2, 29))
    member = lived([leap], ladder(*spend(100)), until=800)
    assert moves(member)[-1][2] == datetime(2025, 2, 28, tzinfo=UTC)


def test_a_fall_due_today_comes_before_what_is_bought_today() -> None:
    rules = ladder(*spend(100), window_days=30)
    member = lived([order(1, 5, 120), order(2, 35, 120)], rules, until=36)
    assert moves(member) == [
        (0, 1, at(5), "order"),
        (1, 0, at(35, hour=0), "roll_off"),
        (0, 1, at(35), "order"),
    ]


# When to look again


def test_the_next_review_is_the_first_day_on_which_time_alone_could_matter() -> None:
    both = {"all": [leaf("active_days", ">=", 2), leaf("days_since_last_visit", "<=", 20)]}
    rules = ladder(both, window_days=100, grace_days=7)
    assert lived([order(1, 5)], rules, until=5).state().next_review_on == on(26)
    assert lived([order(1, 5)], rules, until=26).state().next_review_on == on(105)
    assert lived([order(1, 5), order(2, 8)], rules, until=29).state().next_review_on == on(36)


def test_nothing_is_due_for_a_member_who_never_bought() -> None:
    assert lived([], SPEND, until=5000).state().next_review_on is None


def test_a_late_review_dates_the_fall_on_its_due_day_and_reviews_of_every_day_agree() -> None:
    rules = ladder(*spend(100, 300), window_days=30, grace_days=10, min_hold_days=20)
    late = lived([order(1, 5, 300)], rules, until=400)
    daily = lived([order(1, 5, 300)], rules, until=5)
    for day in range(6, 401):
        daily.rate_on(on(day))
    assert moves(daily) == moves(late)
    assert daily.state() == late.state()
    assert daily.notices == late.notices


def test_a_notice_of_risk_is_given_once() -> None:
    rules = ladder(*spend(100), window_days=30, grace_days=10)
    member = lived([order(1, 5, 120), order(2, 36, 10), order(3, 37, 10)], rules, until=44)
    assert [notice.on for notice in member.notices] == [on(35)]


# Going on from what is stored


def _stored(member: MemberFold) -> TierState:
    return member.state()


def test_a_fact_as_old_as_what_was_rated_folds_the_member_again() -> None:
    state = _stored(lived([order(1, 5, 120)], SPEND, until=5))
    assert state.through == at(5)
    assert not follows(state, [order(2, 4)], timeline=ALWAYS)
    assert not follows(state, [order(2, 5)], timeline=ALWAYS)
    assert follows(state, [order(2, 6)], timeline=ALWAYS)


def test_a_refund_of_the_carrier_folds_the_member_again() -> None:
    first, second = order(1, 5, 120), order(2, 6, 10)
    state = _stored(lived([first, second], SPEND, until=6))
    assert state.carrier_order_key == 1
    assert not follows(state, [refund(first, 8)], timeline=ALWAYS)
    assert follows(state, [refund(second, 8)], timeline=ALWAYS)
    third = order(3, 9, 500)
    assert not follows(state, [third, refund(third, 9)], timeline=ALWAYS)


def test_a_review_that_changes_something_makes_facts_before_it_late() -> None:
    rules = ladder(*spend(100), window_days=30, grace_days=10)
    state = _stored(lived([order(1, 5, 120)], rules, until=36))
    assert state.through == at(35, hour=0)
    assert not follows(state, [order(2, 34)], timeline=ALWAYS)


def test_a_rise_read_from_storage_cannot_be_reconsidered_without_its_facts() -> None:
    carrier = order(1, 5, 120)
    state = _stored(lived([carrier], SPEND, until=5))
    resumed = MemberFold.resume(
        timeline=ALWAYS, timezone="UTC", state=state, window=RunningWindow(), joined_at=None
    )
    with pytest.raises(RuntimeError, match="facts that led to it"):
        resumed.take(refund(carrier, 8))


def test_facts_of_one_moment_are_ordered_by_the_merchants_ids_not_by_arrival() -> None:
    one, two = order(1, 5, 100), order(2, 5, 100)
    assert one.at == two.at
    ahead = lived([one, two], SPEND, until=5)
    behind = lived([two, one], SPEND, until=5)
    assert ahead.state() == behind.state()
    assert ahead.state().carrier_order_key == 1


def test_an_order_and_its_cancellation_of_the_same_moment_are_taken_in_that_order() -> None:
    bought = order(1, 5, 120)
    cancelled = TierFact(bought.at, bought.day, "refund", "o1", 1, None, -12000, -12000, -1, 0)
    member = lived([cancelled, bought], SPEND, until=5)
    assert [change[:2] for change in moves(member)] == [(0, 1), (1, 0)]
    assert member.state().through == bought.at + timedelta(0)
