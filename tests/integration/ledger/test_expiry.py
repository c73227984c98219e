"""Expiry that moves with activity or by hand, and the notices ahead of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from service.ledger import operations as ledger
from service.ledger.errors import ExpiryNotAcceptable, LotNotFound, LotNotOpen
from service.programme.operations import PointsExpiry
from tests.integration.ledger.books import DAY, START, TAIPEI, Books

IDLE = PointsExpiry("after_inactivity", months=6)


def buy(books: Books, order: int, minor: int, *, at: float, now: float | None = None) -> None:
    """Earn on an order in a programme whose points expire after six months of inactivity."""
    expiry = expiry_at(books, at)
    ledger.earn_points(
        books.conn,
        member_key=books.member_key,
        order_key=order,
        eligible_minor=minor,
        rule=books.rule,
        occurred_at=books.when(at),
        available_at=books.when(at),
        expires_at=expiry.at,
        rolls=expiry.rolls,
        now=books.when(at if now is None else now),
    )


def expiry_at(books: Books, at: float) -> ledger.Expiry:
    return ledger.expiry_of(books.when(at).date(), expiry=IDLE, timezone=TAIPEI.timezone)


def lot_of(conn: Connection, *, order: int | None = None) -> Any:
    return conn.execute(
        text("SELECT * FROM lots WHERE order_key IS NOT DISTINCT FROM :order ORDER BY lot_key LIMIT 1"),
        {"order": order},
    ).one()


def extend(books: Books, lot_key: int, until: float | None, *, at: float = 1) -> ledger.Extended:
    return ledger.extend_lot(
        books.conn,
        member_key=books.member_key,
        lot_key=lot_key,
        expires_at=None if until is None else books.when(until),
        reason="the shop was closed",
        actor="ada",
        now=books.when(at),
    )


def announce(conn: Connection, *, at: float, notice_days: int = 30) -> list[tuple[int, int, str]]:
    """Announce, and return member, points and day of each event."""
    expiry = PointsExpiry("none", notice_days=notice_days)
    programme = replace(TAIPEI, settings=replace(TAIPEI.settings, points_expiry=expiry))
    last = conn.scalar(text("SELECT coalesce(max(event_key), 0) FROM outbox"))
    while ledger.announce_expiring(conn, now=START + at * DAY, programme=programme, limit=2):
        pass
    rows = conn.execute(
        text(
            "SELECT member_key, payload FROM outbox WHERE topic = 'points.expiring' AND event_key > :last "
            "ORDER BY event_key"
        ),
        {"last": last},
    )
    return [(row.member_key, row.payload["points"], row.payload["on"]) for row in rows]


def test_points_expire_after_so_many_months_without_anything_bought_or_spent(conn: Connection) -> None:
    books = Books(conn)
    buy(books, 1, 10_000, at=0)
    buy(books, 2, 5_000, at=100)
    assert books.read(at=100).expiring == (ledger.Expiring(150, "2026-12-09"),)
    books.capture(books.hold(30, at=200), at=200, order=3)
    before = books.read(at=200)
    assert before.expiring == (ledger.Expiring(120, "2026-12-09"),)
    hold_id = books.hold(20, at=220)
    ledger.capture_hold(
        conn, hold_id=hold_id, order_id="o4", expiry=expiry_at(books, 220), now=books.when(220)
    )
    assert books.read(at=220).expiring == (ledger.Expiring(100, "2027-04-07"),)
    assert books.figures(at=400) == (100, 0, 0)
    assert books.figures(at=403) == (0, 0, 0)


def test_activity_moves_no_other_expiry_and_none_to_an_earlier_time(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(10, expires=300)
    buy(books, 1, 10_000, at=50)
    late = books.read(at=60).expiring
    buy(books, 2, 5_000, at=10, now=60)
    assert [one.on for one in books.read(at=60).expiring] == ["2026-09-11", "2026-10-20", "2026-12-26"]
    assert late == (ledger.Expiring(100, "2026-10-20"), ledger.Expiring(10, "2026-12-26"))
    assert books.figures(at=60) == (160, 0, 0)


def test_each_move_stands_behind_an_entry_and_a_second_order_of_the_day_moves_nothing(
    conn: Connection,
) -> None:
    books = Books(conn)
    buy(books, 1, 10_000, at=0)
    buy(books, 2, 5_000, at=0.01)
    assert conn.scalar(text("SELECT count(*) FROM lot_expiries")) == 0
    buy(books, 3, 5_000, at=5)
    moved = conn.execute(
        text("SELECT t.order_key, count(*) FROM lot_expiries JOIN ledger_transactions t "
             "USING (transaction_key) GROUP BY t.order_key")
    ).all()  # fmt: skip
    assert [tuple(row) for row in moved] == [(3, 2)]
    assert ledger.check_laws(conn) == []


def test_turning_expiry_on_costs_nobody_a_point_before_one_full_period(conn: Connection) -> None:
    for expiry in (
        PointsExpiry("rolling_months", months=1),
        PointsExpiry("end_of_period", period="month", periods=1),
        PointsExpiry("after_inactivity", months=1),
    ):
        savepoint = conn.begin_nested()
        books = Books(conn)
        books.earn(1, 10_000, pending_days=0)
        switched_on = 30
        for order in range(2, 6):
            day = books.when(switched_on + order).date()
            its = ledger.expiry_of(day, expiry=expiry, timezone=TAIPEI.timezone)
            assert its.at is not None
            books.earn(order, 10_000, at=switched_on + order, pending_days=0, expires=(its.at - START) / DAY)
        for day_after in range(25):
            assert books.read(at=switched_on + 5 + day_after).available == 500
        assert books.figures(at=switched_on + 90) == (100, 0, 0)
        savepoint.rollback()


def test_staff_extend_what_is_left_of_a_lot(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(40, expires=10)
    books.adjust(-15)
    lot_key = lot_of(conn).lot_key
    extended = extend(books, lot_key, 20)
    assert (extended.points, extended.expires_before, extended.expires_at) == (
        25,
        books.when(10),
        books.when(20),
    )
    assert books.figures(at=15) == (25, 0, 0)
    (entry, *_) = books.entries()
    assert (entry.kind, entry.reason, entry.actor, entry.postings) == (
        "extend", "the shop was closed", "ada", (),
    )  # fmt: skip
    assert extend(books, lot_key, None, at=16).expires_at is None
    assert books.read(at=1000).expiring == ()
    assert books.figures(at=1000) == (25, 0, 0)
    logged = conn.execute(text("SELECT action, reason, actor FROM audit_log")).all()
    assert [row.action for row in logged].count("points.extended") == 2


def test_a_lot_can_only_be_made_to_last_longer_and_only_while_something_is_left(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(40, expires=10)
    lot_key = lot_of(conn).lot_key
    for until in (10, 9, 0.5):
        with pytest.raises(ExpiryNotAcceptable):
            extend(books, lot_key, until)
    with pytest.raises(LotNotFound):
        extend(Books(conn, member_key=2), lot_key, 20)
    with pytest.raises(LotNotFound):
        extend(books, 10**9, 20)
    with pytest.raises(LotNotOpen):
        extend(books, lot_key, 30, at=11)
    books.adjust(5, at=12)
    forever = conn.scalar(text("SELECT max(lot_key) FROM lots"))
    with pytest.raises(ExpiryNotAcceptable):
        extend(books, forever or 0, 30, at=12)
    assert books.figures(at=12) == (5, 0, 0)


def test_an_extension_changed_behind_the_books_back_is_found(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(40, expires=10)
    extend(books, lot_of(conn).lot_key, 20)
    conn.execute(text("UPDATE lots SET expires_at = NULL"))
    (found,) = ledger.check_laws(conn)
    assert (found.law, found.lot_key) == ("P1", lot_of(conn).lot_key)
    assert found.transaction_key is not None


def test_points_are_announced_once_before_they_expire_and_again_when_that_moves(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(40, expires=40)
    books.adjust(5, expires=40.1)
    books.adjust(7, expires=60)
    for member in range(2, 6):
        Books(conn, member_key=member).adjust(9, expires=40)
    assert announce(conn, at=9) == []
    told = announce(conn, at=11)
    assert sorted(told) == [(1, 45, "2026-04-10"), *((member, 9, "2026-04-10") for member in range(2, 6))]
    assert announce(conn, at=12) == []
    extend(books, lot_of(conn).lot_key, 50, at=13)
    assert announce(conn, at=14) == []
    assert announce(conn, at=25) == [(1, 40, "2026-04-20")]
    assert announce(conn, at=35) == [(1, 7, "2026-04-30")]
    assert ledger.check_laws(conn) == []


def test_what_is_held_is_announced_when_it_is_free_again_and_no_notice_is_given_where_none_is_wanted(
    conn: Connection,
) -> None:
    books = Books(conn)
    books.adjust(40, expires=10)
    hold_id = books.hold(40, ttl=3)
    assert announce(conn, at=1) == []
    books.release(hold_id, at=2)
    assert announce(conn, at=2, notice_days=0) == []
    assert announce(conn, at=2, notice_days=5) == []
    assert announce(conn, at=6, notice_days=5) == [(1, 40, "2026-03-11")]
    assert announce(conn, at=11) == []


def test_an_announcement_leaves_accounts_alone_that_somebody_holds(engine: Engine) -> None:
    with engine.begin() as conn:
        for member in (1, 2):
            Books(conn, member_key=member).adjust(9, expires=20)
    with engine.connect() as holder:
        Books(holder).lock()
        with engine.begin() as conn:
            assert announce(conn, at=1) == [(2, 9, "2026-03-21")]
    with engine.begin() as conn:
        assert announce(conn, at=1) == [(1, 9, "2026-03-21")]
