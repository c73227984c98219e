"""Points set aside for a checkout: captured, released, or free again of themselves."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, text

from service.ledger import operations as ledger
from service.ledger.errors import CaptureAboveHold, HoldEnded, HoldNotFound, InsufficientPoints
from tests.integration.ledger.books import Books


def test_what_is_held_is_not_available_and_is_taken_from_what_expires_soonest(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(60)
    books.adjust(40, expires=10)
    books.hold(70)
    points = books.read()
    assert (points.available, points.held, points.expiring) == (30, 70, ())
    assert books.moves() == [
        ("available", -40, books.when(10)),
        ("held", 40, books.when(10)),
        ("available", -30, None),
        ("held", 30, None),
    ]
    assert books.figures() == (30, 0, 0)


def test_holding_more_than_is_available_is_refused_and_all_of_it_is_not(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(50)
    books.earn(1, 10_000)
    with pytest.raises(InsufficientPoints, match="50 points are available, 51 were asked for"):
        books.hold(51)
    books.hold(50)
    with pytest.raises(InsufficientPoints):
        books.hold(1)
    assert books.figures() == (0, 100, 0)


def test_a_capture_spends_what_was_held(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(100, expires=10)
    hold = books.capture(books.hold(30), at=0.5)
    assert (hold.state, hold.captured, hold.order_id, hold.ended_at) == (
        "captured",
        30,
        "o1",
        books.when(0.5),
    )
    assert books.moves() == [("held", -30, books.when(10)), ("redeemed", 30, books.when(10))]
    assert books.read(at=0.5).held == 0
    assert books.figures(at=0.5) == (70, 0, 0)
    assert books.read(at=0.5).lifetime_earned == 100


def test_a_partial_capture_frees_the_rest_which_expires_last(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(20, expires=10)
    books.adjust(20, expires=20)
    hold = books.capture(books.hold(40), 25, at=0.5)
    assert (hold.points, hold.captured) == (40, 25)
    assert books.figures(at=0.5) == (15, 0, 0)
    assert books.read(at=0.5).expiring == (ledger.Expiring(15, "2026-03-21"),)


def test_capturing_more_than_was_held_is_refused(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(100)
    hold_id = books.hold(30)
    with pytest.raises(CaptureAboveHold, match="30 points were set aside, 31 were asked for"):
        books.capture(hold_id, 31)
    assert books.capture(hold_id, 30).captured == 30


def test_a_release_puts_points_back_into_their_lots(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(20, expires=10)
    books.adjust(20, expires=20)
    before = books.read()
    hold_id = books.hold(30)
    assert books.release(hold_id, at=0.5).state == "released"
    assert books.read() == before
    assert books.figures() == (40, 0, 0)


def test_a_capture_or_release_that_is_repeated_changes_nothing_and_another_is_refused(
    conn: Connection,
) -> None:
    books = Books(conn)
    books.adjust(100)
    captured, released = books.hold(30), books.hold(20)
    first = books.capture(captured)
    freed = books.release(released)
    before = books.entries()
    assert books.capture(captured, at=0.2) == books.capture(captured, 30, at=0.2) == first
    assert books.release(released, at=0.2) == freed
    with pytest.raises(HoldEnded):
        books.capture(captured, 29)
    with pytest.raises(HoldEnded):
        books.capture(captured, order_id="o2")
    with pytest.raises(HoldEnded):
        books.release(captured)
    with pytest.raises(HoldEnded):
        books.capture(released)
    assert books.entries() == before


def test_a_hold_past_its_time_is_free_at_once_in_every_read_before_anything_is_posted(
    conn: Connection,
) -> None:
    books = Books(conn)
    books.adjust(100, expires=30)
    hold_id = books.hold(60, ttl=2)
    assert (books.read(at=1.9).available, books.read(at=1.9).held) == (40, 60)
    after = books.read(at=2)
    assert (after.available, after.held) == (100, 0)
    assert after.expiring == (ledger.Expiring(100, "2026-03-31"),)
    hold = ledger.get_hold(conn, hold_id=hold_id, now=books.when(2))
    assert (hold.state, hold.ended_at) == ("expired", books.when(2))
    assert books.kinds() == ["adjust", "hold"]
    with pytest.raises(HoldEnded, match="expired at 2026-03-03"):
        books.capture(hold_id, at=2)
    with pytest.raises(HoldEnded):
        books.release(hold_id, at=2)


def test_the_next_write_posts_the_end_of_a_hold_dated_when_its_time_was_over(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(100)
    books.hold(60, ttl=2)
    books.adjust(-100, at=5)
    assert books.kinds() == ["adjust", "hold", "unhold", "adjust"]
    assert books.entries()[1].occurred_at == books.when(2)
    assert books.figures(at=5) == (0, 0, 0)


def test_the_sweep_of_releases_frees_holds(engine: Engine) -> None:
    with engine.begin() as conn:
        for member in range(1, 6):
            books = Books(conn, member_key=member)
            books.adjust(100)
            books.hold(60, ttl=2)
    freed = 0
    for _ in range(10):
        with engine.begin() as conn:
            freed += ledger.release_due(conn, now=Books(conn).when(3), limit=2).freed
    assert freed == 5
    with engine.connect() as conn:
        assert {conn.scalar(text("SELECT sum(held) FROM balances"))} == {0}
        assert Books(conn).figures(at=3) == (100, 0, 0)


def test_held_points_do_not_expire_before_their_hold_ends(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(100, expires=2)
    captured, abandoned = books.hold(30, at=1, ttl=3), books.hold(20, at=1, ttl=4)
    assert (books.read(at=2).available, books.read(at=2).held) == (0, 50)
    assert books.capture(captured, at=3).captured == 30
    assert books.figures(at=3) == (0, 0, 0)
    assert ledger.get_hold(conn, hold_id=abandoned, now=books.when(4)).state == "open"
    assert (books.read(at=5).available, books.read(at=5).held) == (0, 0)
    books.lock(at=9)
    assert [(entry.kind, entry.occurred_at) for entry in reversed(books.entries())][-3:] == [
        ("capture", books.when(3)),
        ("unhold", books.when(5)),
        ("expire", books.when(5)),
    ]
    assert books.figures(at=9) == (0, 0, 0)


def test_what_is_released_after_its_expiry_expires_then(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(100, expires=2)
    hold_id = books.hold(30, at=1, ttl=3)
    books.release(hold_id, at=3)
    assert [(entry.kind, entry.occurred_at) for entry in reversed(books.entries())][-3:] == [
        ("expire", books.when(2)),
        ("unhold", books.when(3)),
        ("expire", books.when(3)),
    ]
    assert books.figures(at=3) == (0, 0, 0)


def test_points_that_a_hold_frees_pay_the_debt_first(conn: Connection) -> None:
    for freed in ("released", "expired"):
        savepoint = conn.begin_nested()
        books = Books(conn)
        books.earn(1, 10_000, pending_days=0)
        hold_id = books.hold(70)
        assert books.take_back(1, 1, 0, policy="allow_negative") == ledger.TakenBack(100, 0, 70)
        assert books.figures() == (-70, 0, 70)
        if freed == "released":
            books.release(hold_id)
        assert books.figures(at=1) == (0, 0, 0)
        assert books.lock(at=1).debt == 0
        assert books.figures(at=1) == (0, 0, 0)
        savepoint.rollback()


def test_a_refund_does_not_take_what_is_held(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, pending_days=0)
    hold_id = books.hold(70)
    assert books.take_back(1, 1, 0) == ledger.TakenBack(30, 70)
    assert books.figures() == (0, 0, 0)
    assert books.capture(hold_id).captured == 70
    assert books.figures() == (0, 0, 0)


def test_a_hold_that_does_not_exist_is_not_found(conn: Connection) -> None:
    books = Books(conn)
    for hold_id in ("hold_019aa6c0f0d07b1f8d0f3f0a5f1e2d3c", "hold_1", "red_1", "hold_"):
        with pytest.raises(HoldNotFound):
            books.capture(hold_id)


def test_of_fifty_callers_who_hold_30_of_100_exactly_three_succeed(engine: Engine) -> None:
    with engine.begin() as conn:
        Books(conn).adjust(100)

    def hold(_: int) -> str:
        try:
            with engine.begin() as conn:
                Books(conn).hold(30)
        except InsufficientPoints:
            return "refused"
        return "held"

    with ThreadPoolExecutor(50) as pool:
        assert Counter(pool.map(hold, range(50))) == {"held": 3, "refused": 47}
    with engine.connect() as conn:
        assert Books(conn).figures() == (10, 0, 0)


def test_of_many_who_capture_and_release_a_hold_one_wins(engine: Engine) -> None:
    with engine.begin() as conn:
        Books(conn).adjust(100)
        hold_id = Books(conn).hold(30)

    def end(number: int) -> str:
        try:
            with engine.begin() as conn:
                books = Books(conn)
                done = books.release(hold_id) if number % 2 else books.capture(hold_id, order_id=f"o{number}")
        except HoldEnded:
            return "refused"
        return done.state

    with ThreadPoolExecutor(20) as pool:
        outcomes = Counter(pool.map(end, range(20)))
    assert outcomes in ({"captured": 1, "refused": 19}, {"released": 10, "refused": 10})
    with engine.connect() as conn:
        assert Books(conn).figures() == (70 if outcomes["captured"] else 100, 0, 0)


@pytest.mark.parametrize(
    ("damage", "detail"),
    [
        ("UPDATE lots SET held = held - 1", "lot"),
        ("UPDATE point_holds SET points = points + 1", "its postings say"),
        ("UPDATE point_hold_lots SET points = points + 1", "its open holds 41"),
        ("UPDATE point_holds SET state = 'released', ended_at = now()", "its postings say"),
        ("UPDATE balances SET next_due_at = NULL", "later than the end of hold"),
    ],
)
def test_a_hold_changed_behind_the_books_back_is_found(conn: Connection, damage: str, detail: str) -> None:
    books = Books(conn)
    books.adjust(100)
    books.hold(40)
    assert ledger.check_laws(conn) == []
    conn.execute(text(damage))
    found = ledger.check_laws(conn)
    assert {violation.law for violation in found} == {"P1"}
    assert any(detail in violation.detail for violation in found)
