"""Points given and taken by hand."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine

from service.ledger import operations as ledger
from service.ledger.errors import InsufficientPoints
from tests.integration.ledger.books import Books


def test_points_given_are_available_at_once_and_say_who_gave_them_and_why(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(50)
    assert books.figures() == (50, 0, 0)
    (entry,) = books.entries()
    assert (entry.kind, entry.reason, entry.actor) == ("adjust", "goodwill", "ada")
    assert sum(posting.points for posting in entry.postings) == 0


def test_taking_more_than_is_available_is_refused_and_exactly_all_is_not(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(50)
    before = books.entries()
    with pytest.raises(InsufficientPoints, match="50 points are available, 51 were asked for"):
        books.adjust(-51)
    assert books.entries() == before
    books.adjust(-50)
    assert books.figures() == (0, 0, 0)


def test_pending_points_cannot_be_taken_by_hand_until_they_are_available(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000)
    with pytest.raises(InsufficientPoints):
        books.adjust(-1, at=6)
    books.adjust(-1, at=7)
    assert books.figures(at=7) == (99, 0, 0)


def test_expired_points_cannot_be_taken_by_hand(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(50, expires=10)
    with pytest.raises(InsufficientPoints):
        books.adjust(-1, at=10)
    assert books.figures(at=10) == (0, 0, 0)


def test_an_adjustment_by_nothing_is_refused(conn: Connection) -> None:
    with pytest.raises(ValueError, match="0 points"):
        Books(conn).adjust(0)


def test_the_points_that_expire_soonest_are_taken_first(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(10)
    books.adjust(10, expires=20)
    books.adjust(10, expires=10)
    books.adjust(-15)
    drawn = [(p.points, p.expires_at) for p in books.entries()[0].postings if p.points < 0]
    assert drawn == [(-10, books.when(10)), (-5, books.when(20))]
    assert books.figures() == (15, 0, 0)


def test_of_fifty_callers_who_take_30_of_100_exactly_three_succeed(engine: Engine) -> None:
    with engine.begin() as conn:
        Books(conn).adjust(100)

    def take(_: int) -> str:
        try:
            with engine.begin() as conn:
                Books(conn).adjust(-30, at=1)
        except InsufficientPoints:
            return "refused"
        return "taken"

    with ThreadPoolExecutor(50) as pool:
        outcomes = Counter(pool.map(take, range(50)))
    assert outcomes == {"taken": 3, "refused": 47}
    with engine.connect() as conn:
        assert Books(conn).figures(at=1) == (10, 0, 0)


def test_whoever_waited_for_the_account_sees_the_points_that_came_meanwhile(engine: Engine) -> None:
    with engine.begin() as conn:
        ledger.open_account(conn, member_key=1)
    with ThreadPoolExecutor(1) as pool, engine.connect() as first:
        transaction = first.begin()
        Books(first).lock()

        def take() -> int:
            with engine.begin() as conn:
                return Books(conn).adjust(-100, at=30)

        waiting = pool.submit(take)
        # Late order: already due when it is written, and the waiting caller started before it was.
        Books(first).earn(1, 10_000, at=0, now=30)
        transaction.commit()
        assert waiting.result(timeout=30) > 0
    with engine.connect() as conn:
        assert Books(conn).figures(at=30) == (0, 0, 0)


def test_fifty_identical_orders_at_once_earn_once(engine: Engine) -> None:
    def earn(_: int) -> int:
        with engine.begin() as conn:
            return Books(conn).earn(1, 10_000)

    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(earn, range(50))) == [100] * 50
    with engine.connect() as conn:
        assert Books(conn).figures() == (0, 100, 0)
        assert Books(conn).kinds() == ["earn"]


def test_the_same_refund_from_twenty_callers_takes_once(engine: Engine) -> None:
    with engine.begin() as conn:
        Books(conn).earn(1, 10_000)

    def take(_: int) -> ledger.TakenBack:
        with engine.begin() as conn:
            return Books(conn).take_back(1, 1, 4_000, at=1)

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(take, range(20))) == {ledger.TakenBack(60, 0)}
    with engine.connect() as conn:
        assert Books(conn).figures(at=1) == (0, 40, 0)
