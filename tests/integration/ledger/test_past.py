"""The books as of any past time, and statements between two."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from service.ledger import operations as ledger
from tests.integration.ledger.books import DAY, TAIPEI, Books
from tests.integration.ledger.test_spending import give_back


def as_of(books: Books, day: float) -> ledger.Points:
    return ledger.get_points_at(books.conn, member_key=books.member_key, at=books.when(day), programme=TAIPEI)


def statement(
    books: Books, since: float, until: float, *, after: tuple[datetime, int] | None = None, limit: int = 100
) -> ledger.Statement:
    return ledger.get_statement(
        books.conn,
        member_key=books.member_key,
        since=books.when(since),
        until=books.when(until),
        after=after,
        limit=limit,
    )


def live_through(books: Books) -> dict[float, ledger.Points]:
    """Do a little of everything, and return what could be read after each step."""
    seen = {}
    books.earn(1, 10_000, expires=20)
    seen[0.5] = books.read(at=0.5)
    books.adjust(40, at=1, expires=6)
    hold_id = books.hold(30, at=2, ttl=3)
    books.hold(10, at=2.5, ttl=4)
    seen[3] = books.read(at=3)
    books.capture(hold_id, 20, at=4, order=7)
    seen[5] = books.read(at=5)
    # Days 6, 6.5 and 7: an expiry, the end of a hold with another, and a release; nothing posts them yet.
    seen[6] = books.read(at=6)
    seen[6.5] = books.read(at=6.5)
    seen[8] = books.read(at=8)
    give_back(books, 7, 1, 5, at=9)
    seen[10] = books.read(at=10)
    books.take_back(1, 2, 5_000, at=11)
    seen[12] = books.read(at=12)
    books.adjust(-30, at=13)
    seen[14] = books.read(at=14)
    seen[25] = books.read(at=25)
    seen[60] = books.read(at=60)
    return seen


def test_what_was_read_then_is_what_is_told_of_then_whether_or_not_it_was_posted_since(
    conn: Connection,
) -> None:
    books = Books(conn)
    seen = live_through(books)
    assert {day: as_of(books, day) for day in seen} == seen
    books.lock(at=70)
    assert {day: as_of(books, day) for day in seen} == seen
    assert as_of(books, -1) == ledger.Points(0, 0, 0, 0, 0, (), 0)
    assert ledger.check_laws(conn) == []


def test_a_late_order_is_part_of_the_past_it_belongs_to(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, at=0, now=30)
    assert (as_of(books, 3).pending, as_of(books, 3).available) == (100, 0)
    assert (as_of(books, 10).pending, as_of(books, 10).available) == (0, 100)
    assert as_of(books, 30) == books.read(at=30)


def test_a_lot_that_revived_had_its_old_expiry_before(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(40, expires=5)
    books.capture(books.hold(30), order=1)
    give_back(books, 1, 1, 0, at=20)
    assert as_of(books, 2).expiring == (ledger.Expiring(10, "2026-03-06"),)
    assert as_of(books, 10).available == 0
    assert as_of(books, 20).available == 30


def test_what_was_owed_then_is_told_of_then(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, pending_days=0)
    books.adjust(-60, at=1)
    books.take_back(1, 1, 0, at=2, policy="allow_negative")
    books.earn(2, 4_000, at=3, pending_days=2)
    assert [(as_of(books, day).available, as_of(books, day).debt) for day in (1, 2, 4, 5)] == [
        (40, 0),
        (-60, 60),
        (-60, 60),
        (-20, 20),
    ]
    books.lock(at=9)
    assert as_of(books, 5) == as_of(books, 9) == books.read(at=9)


def test_a_statement_runs_from_what_was_there_to_what_there_is(conn: Connection) -> None:
    books = Books(conn)
    live_through(books)
    books.lock(at=30)
    whole = statement(books, -1, 40)
    assert whole.opening == ledger.Figures(0, 0, 0)
    kinds = [line.kind for line in whole.lines]
    assert kinds[:8] == ["earn", "adjust", "hold", "hold", "capture", "expire", "unhold", "expire"]
    assert [line.occurred_at for line in whole.lines] == sorted(line.occurred_at for line in whole.lines)
    running = (0, 0, 0)
    for line in whole.lines:
        change, after = line.change, line.balance
        running = (
            running[0] + change.available,
            running[1] + change.pending,
            running[2] + change.held,
        )
        assert (after.available, after.pending, after.held) == running
    assert whole.closing == whole.lines[-1].balance
    part = statement(books, 2, 5)
    assert [line.kind for line in part.lines] == ["hold", "hold", "capture"]
    assert part.opening == whole.lines[1].balance
    assert part.closing == part.lines[-1].balance


def test_the_pages_of_a_statement_are_the_whole_of_it(conn: Connection) -> None:
    books = Books(conn)
    live_through(books)
    whole = statement(books, -1, 40)
    paged: list[ledger.Line] = []
    after = None
    while True:
        piece = statement(books, -1, 40, after=after, limit=3)
        assert (piece.opening, piece.closing) == (whole.opening, whole.closing)
        if not piece.lines:
            break
        paged += piece.lines
        after = (paged[-1].occurred_at, paged[-1].transaction_key)
    assert tuple(paged) == whole.lines


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["earn", "adjust", "hold", "take", "capture"]),
            st.integers(1, 80),
            st.integers(1, 12),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_every_moment_that_was_read_can_be_read_again(
    conn: Connection, steps: list[tuple[str, int, int]]
) -> None:
    savepoint = conn.begin_nested()
    try:
        books = Books(conn)
        holds: list[str] = []
        seen: dict[float, ledger.Points] = {}
        day = 0.0
        for number, (verb, points, wait) in enumerate(steps, start=1):
            there = books.read(at=day).available
            if verb == "earn":
                books.earn(number, points * 100, at=day, pending_days=wait % 4, expires=day + 2 * wait)
            elif verb == "adjust":
                books.adjust(points, at=day, expires=day + wait)
            elif there >= points and verb == "hold":
                holds.append(books.hold(points, at=day, ttl=wait))
            elif there >= points and verb == "take":
                books.adjust(-points, at=day)
            elif verb == "capture" and holds:
                hold = ledger.get_hold(conn, hold_id=holds[-1], now=books.when(day))
                if hold.state == "open":
                    books.capture(holds[-1], min(points, hold.points), at=day)
            seen[day] = books.read(at=day)
            seen[day + wait / 8] = books.read(at=day + wait / 8)
            day += wait / 4
        assert {at: as_of(books, at) for at in seen} == seen
        books.lock(at=day + 1)
        assert {at: as_of(books, at) for at in seen} == seen
        assert books.when(0) + day * DAY == books.when(day)
    finally:
        savepoint.rollback()
