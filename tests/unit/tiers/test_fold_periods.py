"""Tiers of calendar years and of years of membership: earned any day, kept until a period's end."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from service.tiers.fold import MemberFold
from service.tiers.rules import RuleSet
from tests.unit.tiers.histories import ladder, leaf, lived, moves, order, refund, spend

CALENDAR = {"kind": "calendar_year"}
JOINING = {"kind": "membership_year", "anchor": "joining"}
TIER = {"kind": "membership_year", "anchor": "tier"}
START = date(2024, 1, 1)


def day(when: date) -> int:
    """Return how many days after 1 January 2024 a day is."""
    return (when - START).days


def told(member: MemberFold) -> list[tuple[int | None, int, date]]:
    return [(left, reached, at.date()) for left, reached, at, _ in moves(member)]


def until(facts: list[Any], rules: RuleSet, when: date, **options: Any) -> MemberFold:
    return lived(facts, rules, until=day(when), **options)


def test_a_tier_earned_this_year_stands_until_the_end_of_the_next() -> None:
    rules = ladder(*spend(100), window=CALENDAR)
    facts = [order(1, day(date(2024, 5, 1)), 120)]
    state = until(facts, rules, date(2024, 5, 1)).state()
    assert (state.rank, state.stands_until) == (1, date(2026, 1, 1))
    assert told(until(facts, rules, date(2025, 12, 31))) == [(0, 1, date(2024, 5, 1))]
    assert told(until(facts, rules, date(2026, 1, 1)))[1:] == [(1, 0, date(2026, 1, 1))]


def test_what_was_bought_last_year_does_not_count_towards_a_rise_this_year() -> None:
    rules = ladder(*spend(100), window=CALENDAR)
    facts = [order(1, day(date(2024, 12, 31)), 60), order(2, day(date(2025, 1, 1)), 60)]
    assert until(facts, rules, date(2025, 2, 1)).rank == 0
    assert until([*facts, order(3, day(date(2025, 2, 1)), 40)], rules, date(2025, 2, 1)).rank == 1


def test_keep_is_judged_once_on_the_period_that_closed() -> None:
    rules = ladder(*spend(100), keeps={1: leaf("net_spend", ">=", "50")}, window=CALENDAR)
    facts = [order(1, day(date(2024, 5, 1)), 120), order(2, day(date(2025, 12, 31)), 50)]
    state = until(facts, rules, date(2026, 1, 1)).state()
    assert (state.rank, state.stands_until, state.unqualified_since) == (1, date(2027, 1, 1), None)
    # Nothing more is asked of the member before the next close.
    assert until(facts, rules, date(2026, 12, 31)).rank == 1
    assert until(facts, rules, date(2027, 1, 1)).rank == 0


def test_a_period_that_closed_badly_leads_to_hold_and_grace_and_can_be_made_good() -> None:
    rules = ladder(*spend(100), window=CALENDAR, grace_days=30)
    facts = [order(1, day(date(2024, 5, 1)), 120)]
    member = until(facts, rules, date(2026, 1, 15))
    assert member.at_risk
    assert member.state().unqualified_since == date(2026, 1, 1)
    assert [notice.falls_on for notice in member.notices] == [date(2026, 1, 31)]
    saved = until([*facts, order(2, day(date(2026, 1, 20)), 100)], rules, date(2026, 6, 1))
    assert (saved.rank, saved.state().stands_until) == (1, date(2027, 1, 1))
    assert not saved.at_risk
    fallen = until([*facts, order(2, day(date(2026, 2, 1)), 99)], rules, date(2026, 6, 1))
    assert told(fallen)[-1] == (1, 0, date(2026, 1, 31))


def test_a_tier_reached_by_a_fall_stands_until_the_end_of_that_period() -> None:
    rules = ladder(*spend(100, 200, 300), window=CALENDAR)
    member = until([order(1, day(date(2024, 5, 1)), 300)], rules, date(2028, 6, 1))
    assert told(member) == [
        (0, 3, date(2024, 5, 1)),
        (3, 2, date(2026, 1, 1)),
        (2, 1, date(2027, 1, 1)),
        (1, 0, date(2028, 1, 1)),
    ]


def test_a_fall_to_what_one_qualifies_for_looks_at_the_closed_and_the_running_period() -> None:
    rules = ladder(*spend(100, 200, 300), window=CALENDAR, policy="to_qualified", grace_days=20)
    first = order(1, day(date(2024, 5, 1)), 300)
    by_closed = until([first, order(2, day(date(2025, 5, 1)), 120)], rules, date(2026, 3, 1))
    assert told(by_closed)[-1] == (3, 1, date(2026, 1, 21))
    by_running = until(
        [first, order(2, day(date(2025, 5, 1)), 120), order(3, day(date(2026, 1, 5)), 220)],
        rules,
        date(2026, 3, 1),
    )
    assert told(by_running)[-1] == (3, 2, date(2026, 1, 21))


def test_a_year_of_membership_returns_with_the_joining() -> None:
    rules = ladder(*spend(100), window=JOINING)
    joined = datetime(2024, 3, 10, tzinfo=UTC)
    facts = [order(1, day(date(2025, 3, 9)), 60), order(2, day(date(2025, 3, 10)), 60)]
    assert until(facts, rules, date(2025, 6, 1), joined_at=joined).rank == 0
    facts.append(order(3, day(date(2026, 3, 9)), 40))
    member = until(facts, rules, date(2026, 3, 9), joined_at=joined)
    assert (member.rank, member.state().stands_until) == (1, date(2027, 3, 10))


def test_a_year_that_begins_with_the_tier_stands_one_year_from_reaching_it() -> None:
    rules = ladder(*spend(100, 250), window=TIER)
    facts = [
        order(1, day(date(2024, 2, 1)), 120),
        order(2, day(date(2025, 1, 20)), 130),
        order(3, day(date(2025, 2, 10)), 130),
    ]
    # The order that reaches a tier is the first of its year.
    second = until(facts, rules, date(2025, 1, 20))
    assert (second.rank, second.state().stands_until) == (2, date(2026, 1, 20))
    assert until(facts, rules, date(2025, 2, 10)).measure(date(2025, 2, 10)).net_spend_minor == 26000
    assert until(facts, rules, date(2026, 1, 20)).rank == 2
    assert told(until(facts, rules, date(2027, 1, 20)))[-1] == (2, 1, date(2027, 1, 20))


def test_a_refund_that_undoes_a_rise_opens_the_window_of_the_tier_before_again() -> None:
    rules = ladder(*spend(100, 250), window=TIER)
    first = order(1, day(date(2024, 2, 1)), 120)
    second = order(2, day(date(2024, 6, 1)), 200)
    member = until([first, second, refund(second, day(date(2024, 7, 1)), 100)], rules, date(2024, 7, 1))
    assert told(member) == [(0, 1, date(2024, 2, 1)), (1, 2, date(2024, 6, 1)), (2, 1, date(2024, 7, 1))]
    assert member.state().since == first.at
    assert member.state().stands_until == date(2025, 2, 1)
    assert member.measure(date(2024, 7, 1)).net_spend_minor == 22000


def test_a_refund_in_the_next_period_undoes_no_judgement_of_the_one_that_closed() -> None:
    rules = ladder(*spend(100), keeps={1: leaf("net_spend", ">=", "50")}, window=CALENDAR)
    second = order(2, day(date(2025, 6, 1)), 80)
    facts = [order(1, day(date(2024, 5, 1)), 120), second]
    facts.append(refund(second, day(date(2026, 2, 1)), 80))
    assert until(facts, rules, date(2026, 12, 31)).rank == 1


def test_the_end_of_a_period_is_the_midnight_of_the_programmes_zone() -> None:
    rules = ladder(*spend(100), window=CALENDAR)
    last = datetime(2024, 12, 31, 16, 30, tzinfo=UTC)
    facts = [order(1, 0, 60, moment=last - timedelta(hours=1), timezone="Asia/Taipei")]
    facts.append(order(2, 0, 60, moment=last, timezone="Asia/Taipei"))
    # In Taipei the second is of the new year.
    assert until(facts, rules, date(2025, 1, 5), timezone="Asia/Taipei").rank == 0
