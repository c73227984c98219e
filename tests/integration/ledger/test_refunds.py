"""Take-backs: what a refund takes, from where, and once."""

from __future__ import annotations

from typing import Literal

import pytest
from sqlalchemy import Connection

from service.ledger import operations as ledger
from tests.integration.ledger.books import Books


def test_a_full_refund_takes_back_exactly_what_the_order_earned(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_050)
    assert books.take_back(1, 1, 0, at=1) == ledger.TakenBack(100, 0)
    assert books.figures(at=1) == (0, 0, 0)
    assert books.read(at=1).lifetime_earned == 0


def test_a_second_partial_refund_is_not_lost(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_050)
    assert books.take_back(1, 1, 6_700, at=1).points == 33
    assert books.take_back(1, 2, 3_350, at=2).points == 34
    assert books.take_back(1, 3, 0, at=3).points == 33
    assert books.figures(at=3) == (0, 0, 0)


def test_the_same_take_back_twice_changes_nothing_and_answers_the_same(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000)
    first = books.take_back(1, 1, 5_000, at=1)
    before = books.entries()
    assert books.take_back(1, 1, 5_000, at=2) == first == ledger.TakenBack(50, 0)
    assert books.entries() == before
    assert books.take_back(1, 2, 0, at=2) == ledger.TakenBack(50, 0)


def test_a_repeated_take_back_that_fell_short_answers_the_same(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, pending_days=0)
    books.adjust(-80)
    first = books.take_back(1, 1, 0, policy="allow_negative")
    assert first == ledger.TakenBack(100, 0, 80)
    assert books.take_back(1, 1, 0, policy="clamp") == first
    assert books.figures() == (-80, 0, 80)


def test_the_rule_on_record_is_used_and_not_todays(conn: Connection) -> None:
    books = Books(conn, rule=ledger.EarningRule(points=2, per_minor=100))
    books.earn(1, 10_000)
    books.rule = ledger.EarningRule(points=1, per_minor=100)
    books.earn(2, 10_000)
    assert books.take_back(1, 1, 0, at=1).points == 200
    assert books.figures(at=1) == (0, 100, 0)


def test_points_of_the_refunded_order_go_before_those_that_expire_sooner(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, pending_days=0, expires=10)
    books.earn(2, 10_000, pending_days=0)
    books.take_back(2, 1, 0, at=1)
    assert books.figures(at=1) == (100, 0, 0)
    assert books.figures(at=10) == (0, 0, 0)


def test_what_was_spent_is_taken_from_pending_points_then_from_what_expires_soonest(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, pending_days=0, expires=5)
    books.adjust(-100)
    books.earn(2, 3_000, pending_days=0, expires=20)
    books.earn(3, 3_000, pending_days=0, expires=10)
    books.earn(4, 3_000, pending_days=7)
    assert books.take_back(1, 1, 0, at=1) == ledger.TakenBack(90, 10)
    assert books.figures(at=1) == (0, 0, 0)
    drawn = [posting for posting in books.entries()[0].postings if posting.points < 0]
    assert [posting.account for posting in drawn] == ["pending", "available", "available"]
    assert [posting.expires_at for posting in drawn] == [None, books.when(10), books.when(20)]


def test_a_shortfall_is_reported_once_and_recorded_when_the_policy_clamps(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, pending_days=0)
    books.adjust(-100)
    assert books.take_back(1, 1, 5_000, at=1) == ledger.TakenBack(0, 50)
    assert books.entries()[0].shortfall == 50
    books.adjust(40, at=2)
    assert books.take_back(1, 2, 0, at=3) == ledger.TakenBack(40, 10)
    assert books.figures(at=3) == (0, 0, 0)


def test_a_debt_is_paid_first_by_the_points_that_become_available_next(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, pending_days=0)
    books.adjust(-100)
    assert books.take_back(1, 1, 0, at=1, policy="allow_negative") == ledger.TakenBack(100, 0, 100)
    assert books.figures(at=1) == (-100, 0, 100)
    books.earn(2, 6_000, at=2)
    books.earn(3, 6_000, at=3)
    assert books.figures(at=3) == (-100, 120, 100)
    assert books.figures(at=9) == (-40, 60, 40)
    assert books.figures(at=10) == (20, 0, 0)
    assert books.lock(at=10).available == 20
    assert books.figures(at=10) == (20, 0, 0)


def test_a_gift_pays_the_debt_first(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 1_000, pending_days=0)
    books.adjust(-10)
    books.take_back(1, 1, 0, policy="allow_negative")
    books.adjust(4)
    assert books.figures() == (-6, 0, 6)
    books.adjust(10)
    assert books.figures() == (4, 0, 0)


def test_points_that_pay_a_debt_do_not_expire_afterwards(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 1_000, pending_days=0)
    books.adjust(-10)
    books.take_back(1, 1, 0, policy="allow_negative")
    books.earn(2, 3_000, at=1, expires=20)
    assert books.figures(at=30) == (0, 0, 0)
    books.lock(at=30)
    expiry, release = books.entries()[:2]
    assert [posting.points for posting in release.postings] == [-30, 30, -10, 10]
    assert [posting.points for posting in expiry.postings] == [-20, 20]
    assert books.figures(at=30) == (0, 0, 0)


def test_a_refund_after_the_expiry_of_its_points_takes_others_then_falls_short(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, pending_days=1, expires=10)
    books.adjust(30, at=11)
    assert books.take_back(1, 1, 0, at=12) == ledger.TakenBack(30, 70)
    assert books.kinds() == ["earn", "release", "expire", "adjust", "reverse"]
    assert books.figures(at=12) == (0, 0, 0)


def test_a_refund_of_an_order_the_ledger_never_saw_takes_nothing(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000)
    assert books.take_back(2, 1, 0) == ledger.TakenBack(0, 0)
    assert books.figures() == (0, 100, 0)
    assert books.take_back(1, 2, 0) == ledger.TakenBack(100, 0)


def test_a_refund_that_costs_no_point_is_still_on_record(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_050)
    assert books.take_back(1, 1, 10_001, at=1) == ledger.TakenBack(0, 0)
    assert books.entries()[0].kind == "reverse"
    assert books.entries()[0].refund_key == 1
    assert books.figures(at=1) == (0, 100, 0)


def test_cancelled_then_completed_again_takes_only_what_is_gone(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000)
    books.take_back(1, 1, 5_000, at=1)
    assert books.take_back(1, 2, 8_000, at=2) == ledger.TakenBack(0, 0)
    assert books.figures(at=2) == (0, 50, 0)


def test_a_cancellation_takes_once_beside_the_refunds_before_it(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000)
    assert books.take_back(1, 1, 7_000, at=1) == ledger.TakenBack(30, 0)
    assert books.take_back(1, None, 0, at=2) == ledger.TakenBack(70, 0)
    assert books.take_back(1, None, 0, at=3) == ledger.TakenBack(70, 0)
    assert books.kinds() == ["earn", "reverse", "reverse"]
    assert books.figures(at=3) == (0, 0, 0)


def test_what_a_refund_or_a_cancellation_took_back_can_be_asked_for_later(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, pending_days=0)
    books.earn(2, 5_000, pending_days=0)
    books.adjust(-60)
    books.take_back(1, 7, 0)
    books.take_back(2, 7, 0)
    books.earn(3, 1_000)
    books.take_back(3, None, 0)
    assert ledger.get_taken_back(conn, member_key=1, refund_key=7) == ledger.TakenBack(90, 60)
    assert ledger.get_taken_back(conn, member_key=1, refund_key=8) == ledger.TakenBack(0, 0)
    cancelled = ledger.get_taken_back(conn, member_key=1, refund_key=None, order_key=3)
    assert cancelled == ledger.TakenBack(10, 0)


def test_an_order_tells_what_its_points_came_to_and_by_which_rule(conn: Connection) -> None:
    rule = ledger.EarningRule(points=1, per_minor=100, multiplier_bp=15_000, tier="gold")
    books = Books(conn, rule=rule)
    books.earn(1, 10_000)
    books.take_back(1, 1, 6_000, at=1)
    books.lock(at=30)
    assert ledger.get_order_points(conn, member_key=1, order_key=1) == ledger.OrderPoints(
        rule=rule, eligible_minor=10_000, earned=150, reversed=60, available_at=books.when(7)
    )
    books.earn(2, 0)
    nothing = ledger.get_order_points(conn, member_key=1, order_key=2)
    assert nothing is not None
    assert (nothing.earned, nothing.available_at) == (0, None)
    assert ledger.get_order_points(conn, member_key=1, order_key=3) is None


@pytest.mark.parametrize("policy", ["clamp", "allow_negative"])
def test_a_refund_takes_its_own_lots_then_the_soonest_and_passes_over_what_is_held(
    conn: Connection, policy: Literal["clamp", "allow_negative"]
) -> None:
    books = Books(conn)
    books.adjust(10, expires=5)
    held = books.hold(10, ttl=2)
    books.earn(1, 10_000, pending_days=0, expires=30)
    own = books.hold(40, ttl=2)
    books.adjust(15, expires=20)
    books.adjust(5)
    books.adjust(7, expires=10)
    taken = books.take_back(1, 1, 0, at=1, policy=policy)
    assert [(at, -points) for account, points, at in books.moves() if account == "available"] == [
        (books.when(30), 60),
        (books.when(10), 7),
        (books.when(20), 15),
        (None, 5),
    ]
    assert taken == (ledger.TakenBack(87, 13) if policy == "clamp" else ledger.TakenBack(100, 0, 13))
    assert books.figures(at=1) == ((0, 0, 0) if policy == "clamp" else (-13, 0, 13))
    assert {ledger.get_hold(conn, hold_id=one, now=books.when(1)).state for one in (held, own)} == {"open"}
    books.release(own, at=1.5)
    assert books.figures(at=1.5) == ((40, 0, 0) if policy == "clamp" else (27, 0, 0))
