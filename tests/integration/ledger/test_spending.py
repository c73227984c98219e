"""Points that paid for an order come back with its refunds, to the lots they came from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from service.ledger import operations as ledger
from tests.integration.ledger.books import TAIPEI, Books


def give_back(books: Books, order: int, refund: int | None, left: int, *, at: float = 1) -> int:
    """Refund an order so that points for `left` of it stay spent."""
    return ledger.return_spent_points(
        books.conn,
        member_key=books.member_key,
        order_key=order,
        refund_key=refund,
        points_left=left,
        occurred_at=books.when(at),
        timezone=TAIPEI.timezone,
        now=books.when(at),
    )


def spend(books: Books, points: int, *, order: int = 1, at: float = 0) -> None:
    books.capture(books.hold(points, at=at), at=at, order=order, order_id=f"o{order}")


def test_a_full_refund_puts_everything_back_where_it_came_from(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(20, expires=10)
    books.adjust(20, expires=20)
    before = books.read()
    spend(books, 30)
    assert give_back(books, 1, 1, 0) == 30
    assert books.read(at=1) == before
    assert books.figures(at=1) == (40, 0, 0)
    assert books.entries()[0].kind == "restore"


def test_partial_refunds_are_cumulative_and_give_back_first_what_expires_last(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(20, expires=10)
    books.adjust(20, expires=20)
    spend(books, 30)
    assert give_back(books, 1, 1, 15) == 15
    assert books.read(at=1).expiring == (ledger.Expiring(5, "2026-03-11"), ledger.Expiring(20, "2026-03-21"))
    assert give_back(books, 1, 2, 0, at=2) == 15
    assert give_back(books, 1, 3, 0, at=3) == 0
    assert books.figures(at=3) == (40, 0, 0)


def test_a_refund_gives_back_once(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(40)
    spend(books, 30)
    assert give_back(books, 1, None, 10) == 20
    before = books.entries()
    assert give_back(books, 1, None, 0) == 0
    assert books.entries() == before
    assert ledger.get_returned(conn, member_key=1, refund_key=None, order_key=1) == 20
    assert ledger.get_spending(conn, member_key=1, order_key=1).returned == 20


def test_a_lot_that_expired_meanwhile_revives_for_thirty_days(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(40, expires=5)
    spend(books, 30)
    assert give_back(books, 1, 1, 0, at=50) == 30
    assert books.read(at=50).expiring == (ledger.Expiring(30, "2026-05-20"),)
    assert books.figures(at=78) == (30, 0, 0)
    assert books.figures(at=80) == (0, 0, 0)
    moved = conn.execute(text("SELECT expires_before, expires_after FROM lot_expiries")).one()
    assert moved.expires_before == books.when(5)
    assert moved.expires_after.isoformat() == "2026-05-19T16:00:00+00:00"
    savepoint = conn.begin_nested()
    with pytest.raises(DBAPIError, match="append-only"):
        conn.execute(text("DELETE FROM lot_expiries"))
    savepoint.rollback()
    conn.execute(text("UPDATE lots SET expires_at = expires_at + interval '1 day'"))
    assert any("the entry that moved it" in found.detail for found in ledger.check_laws(conn))


def test_what_comes_back_pays_the_debt_first(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, pending_days=0)
    spend(books, 100, order=2)
    books.take_back(1, 1, 0, at=1, policy="allow_negative")
    assert books.figures(at=1) == (-100, 0, 100)
    assert give_back(books, 2, 2, 40) == 60
    assert books.figures(at=1) == (-40, 0, 40)
    assert give_back(books, 2, 3, 0) == 40
    assert books.figures(at=1) == (0, 0, 0)


def test_an_order_that_points_did_not_pay_gives_nothing_back(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, pending_days=0)
    assert ledger.get_spending(conn, member_key=1, order_key=1) == ledger.OrderSpending()
    assert give_back(books, 1, 1, 0) == 0
    assert books.kinds() == ["earn"]


@given(
    lots=st.lists(st.tuples(st.integers(1, 60), st.none() | st.integers(1, 30)), min_size=1, max_size=4),
    share=st.integers(1, 100),
    lefts=st.lists(st.integers(0, 100), max_size=5),
)
def test_however_an_order_is_refunded_what_comes_back_is_exact(
    conn: Connection, lots: list[tuple[int, int | None]], share: int, lefts: list[int]
) -> None:
    savepoint = conn.begin_nested()
    try:
        books = Books(conn)
        for points, expires in lots:
            books.adjust(points, expires=expires)
        whole = sum(points for points, _ in lots)
        spent = max(1, whole * share // 100)
        spend(books, spent)
        back = 0
        for refund, percent in enumerate([*sorted(lefts, reverse=True), 0], start=1):
            left = spent * percent // 100
            back += give_back(books, 1, refund, left, at=0.5)
            assert back == spent - left
            assert ledger.check_laws(conn) == []
        assert books.read(at=0.5).available == whole
    finally:
        savepoint.rollback()
