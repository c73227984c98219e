"""Awards: once per order, pending, then available, with the rule on record."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from service.ledger import operations as ledger
from tests.integration.ledger.books import DAY, START, TAIPEI, Books


def test_an_order_earns_pending_points_that_become_available_as_the_return_period_ends(
    conn: Connection,
) -> None:
    books = Books(conn)
    assert books.earn(1, 10_050) == 100
    assert books.figures(at=6.9) == (0, 100, 0)
    assert books.figures(at=7) == (100, 0, 0)


def test_without_a_return_period_points_are_available_at_once(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, pending_days=0)
    assert books.figures() == (100, 0, 0)
    assert books.kinds() == ["earn"]


def test_replaying_the_order_pays_once_and_answers_the_same(conn: Connection) -> None:
    books = Books(conn)
    first = ledger.earn_points(conn, **_award(minor=50_000))
    again = ledger.earn_points(conn, **_award(minor=50_000))
    assert again == first == ledger.Earned(500, first.transaction_key)
    other_content = ledger.earn_points(conn, **_award(minor=900))
    assert other_content == first
    assert books.figures() == (0, 500, 0)
    assert books.kinds() == ["earn"]


def test_the_first_answer_stands_after_a_refund(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000)
    books.take_back(1, 1, 0, at=1)
    assert books.earn(1, 10_000, at=2) == 100
    assert books.figures(at=2) == (0, 0, 0)


def test_the_database_itself_refuses_a_second_award_for_an_order(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000)
    books.earn(2, 10_000)
    with pytest.raises(IntegrityError, match="ux_ledger_transactions_once"):
        conn.execute(
            text(
                "INSERT INTO ledger_transactions (member_key, kind, occurred_at, recorded_at, order_key) "
                "VALUES (1, 'earn', now(), now(), 1)"
            )
        )


def test_an_order_that_earns_nothing_still_leaves_its_rule_on_record(conn: Connection) -> None:
    books = Books(conn)
    assert books.earn(1, 99) == 0
    (entry,) = books.entries()
    assert entry.postings == ()
    assert entry.rule == {
        "points": 1,
        "per_minor": 100,
        "multiplier_bp": 10_000,
        "tier": None,
        "eligible_minor": 99,
    }
    assert books.figures() == (0, 0, 0)


def test_the_multiplier_and_the_name_of_the_tier_are_recorded(conn: Connection) -> None:
    rule = ledger.EarningRule(points=1, per_minor=100, multiplier_bp=15_000, tier="gold")
    books = Books(conn, rule=rule)
    assert books.earn(1, 199) == 2
    recorded = books.entries()[0].rule
    assert recorded is not None
    assert (recorded["tier"], recorded["multiplier_bp"]) == ("gold", 15_000)


def test_an_order_that_comes_late_is_released_at_its_own_time(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, at=0, now=30)
    assert books.figures(at=30) == (100, 0, 0)
    assert books.lock(at=30).available == 100
    release = books.entries()[0]
    assert (release.kind, release.occurred_at, release.recorded_at) == (
        "release",
        books.when(7),
        books.when(30),
    )


def test_points_stay_whole_numbers_however_many_small_awards_there_are(conn: Connection) -> None:
    books = Books(conn, rule=ledger.EarningRule(points=1, per_minor=1, multiplier_bp=1_001))
    earned = [books.earn(order, 299, pending_days=0) for order in range(1, 21)]
    assert earned == [29] * 20
    assert books.figures() == (580, 0, 0)


def test_members_do_not_see_each_others_points(conn: Connection) -> None:
    ada, bob = Books(conn, member_key=1), Books(conn, member_key=2)
    ada.earn(1, 10_000)
    bob.earn(2, 20_000)
    assert ada.figures() == (0, 100, 0)
    assert bob.figures() == (0, 200, 0)
    assert [entry.order_key for entry in bob.entries()] == [2]


def test_a_member_without_an_account_has_nothing_and_reading_opens_none(conn: Connection) -> None:
    assert Books(conn).read() == ledger.Points(0, 0, 0, 0, 0, (), 0)
    assert conn.scalar(text("SELECT count(*) FROM balances")) == 0


def test_opening_an_account_twice_changes_nothing(conn: Connection) -> None:
    books = Books(conn)
    ledger.open_account(conn, member_key=1)
    books.adjust(5)
    ledger.open_accounts(conn, member_keys=[1, 2])
    assert books.figures() == (5, 0, 0)
    assert conn.scalar(text("SELECT count(*) FROM balances")) == 2


def test_a_crash_before_the_commit_leaves_nothing(engine: Engine) -> None:
    with engine.connect() as conn:
        Books(conn).earn(1, 10_000)
    with engine.connect() as conn:
        assert Books(conn).kinds() == []
        assert Books(conn).figures() == (0, 0, 0)


def test_an_award_within_a_locked_account_is_one_statement(conn: Connection) -> None:
    balance = ledger.lock_account(conn, member_key=1, now=START)
    ledger.earn_points(conn, **_award(minor=100), account=balance)
    assert ledger.get_points(conn, member_key=1, now=START, programme=TAIPEI).pending == 1


def _award(*, minor: int) -> dict[str, Any]:
    return {
        "member_key": 1,
        "order_key": 1,
        "eligible_minor": minor,
        "rule": ledger.EarningRule(points=1, per_minor=100),
        "occurred_at": START,
        "available_at": START + 7 * DAY,
        "expires_at": None,
        "now": START,
    }
