"""Two accounts become one, to the point, and stay one."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, text

from service.ledger import operations as ledger
from service.ledger.errors import AlreadyMerged, MergeIntoSelf
from tests.integration.ledger.books import TAIPEI, Books
from tests.integration.ledger.test_spending import give_back


def merge(conn: Connection, source: int = 1, target: int = 2, *, at: float = 0) -> ledger.Balance:
    return ledger.merge_accounts(
        conn,
        from_member_key=source,
        into_member_key=target,
        now=Books(conn).when(at),
        reason="the same person",
        actor="ada",
    )


def two(conn: Connection) -> tuple[Books, Books]:
    return Books(conn, member_key=1), Books(conn, member_key=2)


def test_lots_pending_and_held_points_move_with_their_dates(conn: Connection) -> None:
    ada, bea = two(conn)
    ada.earn(1, 10_000, expires=30)
    ada.adjust(40, expires=10)
    hold_id = ada.hold(25, ttl=5)
    bea.adjust(7)
    balance = merge(conn, at=1)
    assert (balance.available, balance.pending, balance.held) == (22, 100, 25)
    assert balance.lifetime_earned == 147
    assert ada.read(at=1) == ledger.Points(0, 0, 0, 0, 0, (), 0)
    assert bea.read(at=1).expiring == (ledger.Expiring(15, "2026-03-11"), ledger.Expiring(100, "2026-03-31"))
    assert bea.capture(hold_id, at=2).member_key == 2
    assert bea.figures(at=7) == (122, 0, 0)
    (entry, *_) = ada.entries()
    assert (entry.kind, entry.reason, entry.actor) == ("merge", "the same person", "ada")


def test_what_one_owes_is_paid_by_what_the_other_has(conn: Connection) -> None:
    for source, target in ((1, 2), (2, 1)):
        savepoint = conn.begin_nested()
        ada, bea = two(conn)
        ada.earn(1, 10_000, pending_days=0)
        ada.adjust(-80)
        ada.take_back(1, 1, 0, policy="allow_negative")
        bea.adjust(50, expires=10)
        balance = merge(conn, source, target)
        assert (balance.available, balance.debt) == (0, 30)
        assert Books(conn, member_key=target).figures() == (-30, 0, 30)
        savepoint.rollback()


def test_refunds_of_the_merged_members_orders_work_on_the_survivor(conn: Connection) -> None:
    ada, bea = two(conn)
    ada.earn(1, 10_000, pending_days=0)
    ada.adjust(30, expires=5)
    ada.capture(ada.hold(30), order=2)
    merge(conn, at=1)
    assert ada.take_back(1, 1, 4_000, at=2).points == 60
    assert bea.take_back(1, 2, 0, at=3).points == 40
    assert give_back(ada, 2, 3, 0, at=4) == 30
    assert bea.figures(at=4) == (30, 0, 0)
    assert ada.read(at=4).available == 0


def test_what_comes_for_the_merged_account_goes_to_the_survivor(conn: Connection) -> None:
    ada, bea = two(conn)
    merge(conn)
    merge(conn, 2, 3)
    ada.earn(1, 10_000, pending_days=0)
    ada.adjust(5)
    hold_id = ada.hold(20)
    assert ledger.get_hold(conn, hold_id=hold_id, now=ada.when(0)).member_key == 3
    assert Books(conn, member_key=3).figures() == (85, 0, 0)
    assert bea.figures() == (0, 0, 0)


def test_a_merge_into_oneself_or_a_second_time_is_refused(conn: Connection) -> None:
    ada, bea = two(conn)
    ada.adjust(10)
    bea.adjust(10)
    with pytest.raises(MergeIntoSelf):
        merge(conn, 1, 1)
    merge(conn)
    before = bea.entries()
    for source, target in ((1, 2), (1, 3), (3, 1)):
        with pytest.raises(AlreadyMerged):
            merge(conn, source, target)
    assert bea.entries() == before
    assert bea.figures() == (20, 0, 0)


def test_the_past_stays_with_whom_it_was(conn: Connection) -> None:
    ada, bea = two(conn)
    ada.adjust(10)
    bea.adjust(5)
    merge(conn, at=3)

    def as_of(member: int, day: float) -> int:
        at = ada.when(day)
        return ledger.get_points_at(conn, member_key=member, at=at, programme=TAIPEI).available

    assert [(as_of(1, day), as_of(2, day)) for day in (2, 3)] == [(10, 5), (0, 15)]


def test_merges_both_ways_at_once_merge_once(engine: Engine) -> None:
    with engine.begin() as conn:
        for books in two(conn):
            books.adjust(50)

    def run(number: int) -> str:
        try:
            with engine.begin() as conn:
                merge(conn, 1 + number % 2, 2 - number % 2)
        except AlreadyMerged:
            return "refused"
        return "merged"

    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(run, range(8))) == {"merged": 1, "refused": 7}
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT sum(available) FROM balances")) == 100
        assert ledger.check_laws(conn) == []


def test_a_merged_account_with_something_in_it_is_found(conn: Connection) -> None:
    ada, _ = two(conn)
    ada.adjust(10)
    merge(conn)
    conn.execute(text("UPDATE lots SET member_key = 1"))
    assert "P5" in {violation.law for violation in ledger.check_laws(conn)}
