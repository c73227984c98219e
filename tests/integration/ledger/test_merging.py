"""Two accounts become one, to the point, and stay one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, text

from service.ledger import operations as ledger
from service.ledger.errors import AlreadyMerged, MergedPointsHeld, MergeIntoSelf
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


def unmerge(
    conn: Connection,
    source: int = 1,
    target: int = 2,
    *,
    merged: float = 0,
    at: float,
    orders: Sequence[int] = (),
) -> tuple[ledger.Balance, ledger.Balance]:
    return ledger.unmerge_accounts(
        conn,
        from_member_key=source,
        into_member_key=target,
        family=[source],
        order_keys=orders,
        merged_at=Books(conn).when(merged),
        now=Books(conn).when(at),
        reason="two after all",
        actor="ada",
    )


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


def test_an_undone_merge_gives_each_what_is_left_of_its_own(conn: Connection) -> None:
    ada, bea = two(conn)
    ada.earn(1, 10_000)
    ada.adjust(40, expires=10)
    bea.adjust(7)
    merge(conn, at=1)
    bea.earn(2, 3_000, at=2)
    bea.earn(3, 2_000, at=2)
    ada.capture(ada.hold(45, at=3), at=3)
    back, left = unmerge(conn, merged=1, at=4, orders=[1, 2])
    assert (back.available, back.pending, back.lifetime_earned) == (0, 130, 170)
    assert (left.available, left.pending, left.lifetime_earned) == (2, 20, 27)
    assert ledger.check_laws(conn) == []
    # They are two again: what is earned, refunded and due is each one's own.
    ada.adjust(5, at=5)
    assert ada.take_back(2, 1, 0, at=5).points == 30
    assert (ada.figures(at=8), bea.figures(at=9.5)) == ((105, 0, 0), (22, 0, 0))
    assert ledger.check_laws(conn) == []


@pytest.mark.parametrize("source", [1, 2])
def test_a_debt_that_a_merge_paid_stands_again_with_whoever_brought_it(conn: Connection, source: int) -> None:
    ada, bea = two(conn)
    ada.earn(1, 10_000, pending_days=0)
    ada.adjust(-80)
    ada.take_back(1, 1, 0, policy="allow_negative")
    bea.adjust(50, expires=10)
    before = ada.figures(), bea.figures()
    merge(conn, source, 3 - source, at=1)
    unmerge(conn, source, 3 - source, merged=1, at=2, orders=[1] if source == 1 else [])
    assert (ada.figures(), bea.figures()) == before
    assert ledger.check_laws(conn) == []


def test_points_given_back_to_a_lot_that_expired_meanwhile_expire(conn: Connection) -> None:
    ada, bea = two(conn)
    ada.earn(1, 10_000, pending_days=0)
    ada.adjust(-80)
    ada.take_back(1, 1, 0, policy="allow_negative")
    bea.adjust(50, expires=10)
    merge(conn, at=1)
    unmerge(conn, merged=1, at=20, orders=[1])
    assert (ada.figures(at=20), bea.figures(at=20)) == ((-80, 0, 80), (0, 0, 0))
    assert ledger.check_laws(conn) == []


def test_while_points_are_held_a_merge_stands(conn: Connection) -> None:
    ada, bea = two(conn)
    ada.adjust(10)
    merge(conn)
    bea.hold(3, at=1, ttl=1)
    with pytest.raises(MergedPointsHeld):
        unmerge(conn, at=1.5)
    unmerge(conn, at=2.5)
    assert (ada.figures(at=3), bea.figures(at=3)) == ((10, 0, 0), (0, 0, 0))


def test_a_second_merge_and_a_second_undoing_add_up_too(conn: Connection) -> None:
    ada, bea = two(conn)
    ada.earn(1, 10_000, pending_days=0)
    bea.adjust(7)
    for turn in range(3):
        merge(conn, at=1 + 2 * turn)
        assert bea.figures(at=1 + 2 * turn) == (107, 0, 0)
        unmerge(conn, merged=1 + 2 * turn, at=2 + 2 * turn, orders=[1])
        assert (ada.figures(at=2 + 2 * turn), bea.figures(at=2 + 2 * turn)) == ((100, 0, 0), (7, 0, 0))
    assert ada.read(at=9).lifetime_earned == 100
    assert ledger.check_laws(conn) == []


def test_a_merged_account_with_something_in_it_is_found(conn: Connection) -> None:
    ada, _ = two(conn)
    ada.adjust(10)
    merge(conn)
    conn.execute(text("UPDATE lots SET member_key = 1"))
    assert "P5" in {violation.law for violation in ledger.check_laws(conn)}
