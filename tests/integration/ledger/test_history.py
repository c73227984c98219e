"""Imported history: true dates, corrections on later runs, nothing on identical ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from service.ledger import operations as ledger
from tests.integration.ledger.books import START, Books
from tests.integration.ledger.histories import PastOrder, balance_as_of, post

NOW = 400.0


def test_history_is_posted_with_the_dates_on_which_it_happened(conn: Connection) -> None:
    order = PastOrder(1, 10_000, at=1, refunds=((1, 3, 8_000), (2, 20, 5_000)), expires=366)
    assert post(conn, [order], now=NOW) == ledger.HistoryPosted(5, 0)
    books = Books(conn)
    story = [
        (entry.kind, (entry.occurred_at - START).days, entry.postings[-1].account, entry.postings[-1].points)
        for entry in reversed(books.entries())
    ]
    assert story == [
        ("earn", 1, "pending", 100),
        ("reverse", 3, "reversed", 20),
        ("release", 8, "available", 80),
        ("reverse", 20, "reversed", 30),
        ("expire", 366, "expired", 50),
    ]
    assert books.figures(at=NOW) == (0, 0, 0)


def test_points_that_are_not_due_yet_stay_as_they_are(conn: Connection) -> None:
    post(conn, [PastOrder(1, 10_000, at=0, expires=300), PastOrder(2, 5_000, at=10)], now=12)
    books = Books(conn)
    assert books.kinds() == ["earn", "release", "earn"]
    assert books.figures(at=12) == (100, 50, 0)
    assert books.figures(at=17) == (150, 0, 0)
    assert books.lock(at=300).available == 50
    assert books.figures(at=300) == (50, 0, 0)


def test_an_identical_second_run_posts_nothing(conn: Connection) -> None:
    orders = [
        PastOrder(1, 10_000, refunds=((1, 3, 5_000), (2, 9, 0)), expires=365),
        PastOrder(2, 99, at=2, refunds=((3, 4, 0),)),
        PastOrder(3, 7_777, at=395, multiplier_bp=12_500, member=2),
    ]
    assert post(conn, orders, now=NOW).transactions > 0
    before = balance_as_of(conn, NOW)
    assert post(conn, orders, now=NOW, import_key=2) == ledger.HistoryPosted(0, 0)
    assert post(conn, orders, now=NOW + 50, import_key=3).corrections == 0
    assert balance_as_of(conn, NOW) == before
    assert ledger.check_laws(conn) == []


def test_a_refund_that_comes_in_a_later_piece_gives_the_same_history(conn: Connection) -> None:
    whole = PastOrder(1, 10_050, refunds=((1, 3, 6_700), (2, 9, 3_350), (3, 380, 0)), expires=365)
    first = replace(whole, refunds=(whole.refunds[1],))
    first = replace(first, refunds=((2, 9, 6_700),))
    savepoint = conn.begin_nested()
    post(conn, [whole], now=NOW)
    expected = [balance_as_of(conn, day) for day in range(0, 401, 2)]
    savepoint.rollback()
    post(conn, [first], now=NOW)
    ledger.expire_due(conn, now=Books(conn).when(NOW), limit=10)
    posted = post(conn, [whole], now=NOW, import_key=2)
    assert posted.corrections > 0
    assert [balance_as_of(conn, day) for day in range(0, 401, 2)] == expected
    assert Books(conn).figures(at=NOW) == (0, 0, 0)
    assert Books(conn).read(at=NOW).lifetime_earned == 0
    assert post(conn, [whole], now=NOW, import_key=3) == ledger.HistoryPosted(0, 0)


def test_another_tier_in_a_later_piece_is_corrected_and_its_rule_recorded(conn: Connection) -> None:
    order = PastOrder(1, 10_000)
    post(conn, [order], now=NOW)
    golden = replace(order, multiplier_bp=15_000)
    assert post(conn, [golden], now=NOW, import_key=2) == ledger.HistoryPosted(2, 2)
    books = Books(conn)
    assert books.figures(at=NOW) == (150, 0, 0)
    assert books.take_back(1, 9, 5_000, at=NOW).points == 75
    refunded = replace(order, refunds=((9, NOW, 5_000),))
    assert post(conn, [refunded], now=NOW, import_key=3) == ledger.HistoryPosted(1, 1)
    assert books.figures(at=NOW) == (50, 0, 0)


def test_a_rule_that_earns_the_same_is_still_recorded_once(conn: Connection) -> None:
    order = PastOrder(1, 150)
    post(conn, [order], now=NOW)
    richer = replace(order, multiplier_bp=12_000)
    assert post(conn, [richer], now=NOW, import_key=2) == ledger.HistoryPosted(1, 1)
    assert post(conn, [richer], now=NOW, import_key=3) == ledger.HistoryPosted(0, 0)
    assert Books(conn).figures(at=NOW) == (1, 0, 0)


def test_an_order_that_earned_nothing_may_earn_after_a_correction_and_lose_it_again(conn: Connection) -> None:
    order = PastOrder(1, 60)
    post(conn, [order], now=NOW)
    assert Books(conn).figures(at=NOW) == (0, 0, 0)
    post(conn, [replace(order, multiplier_bp=20_000)], now=NOW)
    assert Books(conn).figures(at=NOW) == (1, 0, 0)
    post(conn, [order], now=NOW)
    assert Books(conn).figures(at=NOW) == (0, 0, 0)


def test_orders_that_earned_live_are_left_alone(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, at=NOW - 1)
    before = books.entries()
    assert post(conn, [PastOrder(1, 99_000), PastOrder(2, 5_000)], now=NOW).corrections == 0
    assert [entry for entry in books.entries() if entry.order_key == 1] == before
    assert books.figures(at=NOW) == (50, 100, 0)


def test_a_live_refund_of_an_imported_order_is_not_taken_twice(conn: Connection) -> None:
    order = PastOrder(1, 10_000)
    post(conn, [order], now=20)
    books = Books(conn)
    books.take_back(1, 1, 6_000, at=21)
    assert post(conn, [order], now=22, import_key=2) == ledger.HistoryPosted(0, 0)
    known = replace(order, refunds=((1, 21, 6_000),))
    assert post(conn, [known], now=22, import_key=3) == ledger.HistoryPosted(0, 0)
    later = replace(order, refunds=((1, 21, 6_000), (2, 23, 1_000)))
    assert post(conn, [later], now=24, import_key=4) == ledger.HistoryPosted(1, 0)
    assert books.figures(at=24) == (10, 0, 0)
    assert post(conn, [later], now=24, import_key=5) == ledger.HistoryPosted(0, 0)


def test_a_correction_after_the_points_were_spent_takes_others_and_then_falls_short(conn: Connection) -> None:
    order = PastOrder(1, 10_000)
    post(conn, [order], now=20)
    books = Books(conn)
    books.adjust(-100, at=21)
    books.adjust(30, at=22)
    refunded = replace(order, refunds=((1, 10, 0),))
    assert post(conn, [refunded], now=23, import_key=2) == ledger.HistoryPosted(1, 0)
    assert books.figures(at=23) == (0, 0, 0)
    assert books.entries()[-1].kind == "earn"
    assert [entry.shortfall for entry in books.entries() if entry.refund_key == 1] == [70]
    assert post(conn, [refunded], now=24, import_key=3) == ledger.HistoryPosted(0, 0)


def test_a_correction_upwards_of_points_partly_spent_gives_the_difference(conn: Connection) -> None:
    order = PastOrder(1, 10_000)
    post(conn, [order], now=20)
    books = Books(conn)
    books.adjust(-100, at=21)
    golden = replace(order, multiplier_bp=15_000)
    assert post(conn, [golden], now=22, import_key=2) == ledger.HistoryPosted(1, 1)
    assert books.figures(at=22) == (50, 0, 0)
    assert post(conn, [golden], now=22, import_key=3) == ledger.HistoryPosted(0, 0)


def test_imported_points_pay_a_debt_first(conn: Connection) -> None:
    books = Books(conn)
    books.earn(9, 3_000, pending_days=0)
    books.adjust(-30)
    books.take_back(9, 9, 0, policy="allow_negative")
    assert books.figures() == (-30, 0, 30)
    orders = [PastOrder(1, 2_000), PastOrder(2, 2_000, at=1)]
    post(conn, orders, now=20)
    assert books.figures(at=20) == (10, 0, 0)
    assert post(conn, orders, now=20, import_key=2) == ledger.HistoryPosted(0, 0)


def test_a_refund_after_the_expiry_leaves_the_balance_alone(conn: Connection) -> None:
    orders = [PastOrder(1, 10_000, expires=100, refunds=((1, 200, 0),)), PastOrder(2, 5_000, at=150)]
    post(conn, orders, now=NOW)
    books = Books(conn)
    assert books.figures(at=NOW) == (50, 0, 0)
    assert books.read(at=NOW).lifetime_earned == 50


def test_a_cancellation_is_posted_and_corrected_like_a_refund(conn: Connection) -> None:
    cancelled = PastOrder(1, 10_000, refunds=((5, 2, 8_000), (None, 3, 0)))
    post(conn, [cancelled, PastOrder(2, 5_000)], now=20)
    books = Books(conn)
    assert books.figures(at=20) == (50, 0, 0)
    assert ledger.get_taken_back(conn, member_key=1, refund_key=None, order_key=1).points == 80
    assert post(conn, [cancelled], now=20, import_key=2) == ledger.HistoryPosted(0, 0)
    books.take_back(2, None, 0, at=21)
    known = PastOrder(2, 5_000, refunds=((None, 21, 0),))
    assert post(conn, [known], now=22, import_key=3) == ledger.HistoryPosted(0, 0)
    assert books.figures(at=22) == (0, 0, 0)


def test_dates_of_an_existing_lot_are_not_rewritten_by_a_later_run(conn: Connection) -> None:
    post(conn, [PastOrder(1, 10_000)], now=20)
    assert post(conn, [PastOrder(1, 10_000, expires=10)], now=21, import_key=2) == ledger.HistoryPosted(0, 0)
    assert Books(conn).figures(at=21) == (100, 0, 0)


def test_nothing_staged_posts_nothing_and_the_table_can_be_used_again(conn: Connection) -> None:
    assert post(conn, [], now=NOW) == ledger.HistoryPosted(0, 0)
    assert post(conn, [PastOrder(1, 100)], now=NOW).transactions == 2
    assert conn.scalar(text("SELECT count(*) FROM ledger_history")) == 0


@pytest.mark.parametrize(
    "orders",
    [
        [PastOrder(1, 100), PastOrder(1, 100)],
        [PastOrder(1, -1)],
        [PastOrder(1, 100, refunds=((1, 1, 50), (1, 2, 40)))],
    ],
)
def test_an_impossible_history_is_refused_whole(conn: Connection, orders: list[PastOrder]) -> None:
    savepoint = conn.begin_nested()
    with pytest.raises(IntegrityError):
        post(conn, orders, now=NOW)
    savepoint.rollback()
    assert Books(conn).kinds() == []


def test_a_refund_without_its_order_posts_nothing(conn: Connection) -> None:
    ledger.create_history_table(conn)
    row = PastOrder(1, 100, refunds=((1, 1, 50),)).rows()[1]
    conn.execute(
        text(
            "INSERT INTO ledger_history (member_key, order_key, refund_key, occurred_at, eligible_minor) "
            "VALUES (:member_key, :order_key, :refund_key, :occurred_at, :eligible_minor)"
        ),
        row,
    )
    posted = ledger.post_history(conn, now=Books(conn).when(NOW), import_key=1)
    assert posted == ledger.HistoryPosted(0, 0)
