"""The database itself refuses to change what was posted."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

LEDGER = ("ledger_transactions", "postings")


@pytest.mark.parametrize("table", LEDGER)
@pytest.mark.parametrize("statement", ["UPDATE {} SET member_key = 1", "DELETE FROM {}", "TRUNCATE {}"])
def test_postings_are_never_changed(conn: Connection, table: str, statement: str) -> None:
    with pytest.raises(IntegrityError, match="append-only"):
        conn.execute(text(statement.format(table)))
