"""The books only grow: the database refuses anything else, and what was changed behind its back is found."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from service.ledger import operations as ledger
from tests.integration.ledger.books import Books


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE postings SET points = points + 1",
        "UPDATE postings SET points = 1 WHERE false",
        "DELETE FROM postings",
        "TRUNCATE postings",
        "UPDATE ledger_transactions SET reason = 'nicer'",
        "DELETE FROM ledger_transactions",
        "TRUNCATE ledger_transactions",
        "TRUNCATE ledger_transactions, postings CASCADE",
    ],
)
def test_the_database_refuses_to_change_or_remove_an_entry(conn: Connection, statement: str) -> None:
    books = Books(conn)
    books.adjust(50)
    before = books.entries()
    savepoint = conn.begin_nested()
    with pytest.raises(DBAPIError, match="append-only"):
        conn.execute(text(statement))
    savepoint.rollback()
    assert books.entries() == before


def test_adding_an_entry_is_what_is_allowed(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(50)
    books.adjust(-50)
    assert books.figures() == (0, 0, 0)
    assert books.kinds() == ["adjust", "adjust"]


@pytest.mark.parametrize(
    ("postings", "constraint"),
    [
        ("(99, 1, 1, 'issued', 'available', 0, NULL)", "ck_postings_positive"),
        ("(99, 1, 1, 'available', 'available', 5, NULL)", "ck_postings_moves"),
        ("(99, 1, 1, 'issued', 'pocket', 5, NULL)", "ck_postings_known_accounts"),
    ],
)
def test_a_posting_that_is_no_transfer_is_refused(conn: Connection, postings: str, constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        conn.execute(text(f"INSERT INTO postings VALUES {postings}"))


def test_the_database_refuses_an_overdraft_whoever_writes_it(conn: Connection) -> None:
    Books(conn).adjust(50)
    with pytest.raises(IntegrityError, match="ck_balances_not_negative"):
        conn.execute(text("UPDATE balances SET available = available - 51"))


@pytest.mark.parametrize(
    ("damage", "law", "detail"),
    [
        ("UPDATE balances SET available = available + 1", "P1", "not the sum of its postings"),
        ("UPDATE balances SET lifetime_earned = 0", "P1", "not the sum of its postings"),
        ("UPDATE lots SET remaining = remaining - 1", "P1", "lot"),
        ("UPDATE lots SET pending = NOT pending", "P1", "open lots"),
        ("DELETE FROM lots", "P1", "lot"),
        ("DELETE FROM balances", "P1", "balance"),
        ("UPDATE balances SET next_due_at = NULL", "P1", "next due time"),
        (
            "INSERT INTO postings VALUES (99, 1, 1, 'issued', 'available', 5, NULL)",
            "P1",
            "without its transaction",
        ),
        ("UPDATE balances SET debt = 1", "P2", "debt 1"),
    ],
)
def test_what_is_changed_behind_the_ledgers_back_is_found(
    conn: Connection, damage: str, law: str, detail: str
) -> None:
    books = Books(conn)
    books.earn(1, 10_000)
    books.adjust(50)
    assert ledger.check_laws(conn) == []
    conn.execute(text(damage))
    found = [violation for violation in ledger.check_laws(conn) if violation.law == law]
    assert any(detail in violation.detail for violation in found)
    assert {violation.member_key for violation in found} == {1}
