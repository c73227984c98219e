"""The laws of the ledger on live data: what breaks one, with the postings behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from service.ledger import store_laws

# A report of so many broken rows shows the postings behind them; the rest are named alone.
_MOST_EXPLAINED = 100


@dataclass(frozen=True, slots=True)
class Violation:
    """A row that breaks a law: which law, what is wrong, and where to look.

    `postings` are those of the transaction, behind the lot, or of the member that it names (the last of
    them), oldest first.
    """

    law: str
    detail: str
    member_key: int | None
    transaction_key: int | None
    lot_key: int | None
    postings: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the row as a report shows it."""
        return {
            "law": self.law,
            "detail": self.detail,
            "member_key": self.member_key,
            "transaction_key": self.transaction_key,
            "lot_key": self.lot_key,
            "postings": list(self.postings),
        }


def check_laws(conn: Connection) -> list[Violation]:
    """Return what breaks the laws P1, P2, P4 or P5, up to 1,000 rows per check; empty when all is well."""
    return [
        Violation(
            law,
            row.detail,
            row.member_key,
            row.transaction_key,
            row.lot_key,
            store_laws.list_postings(
                conn,
                transaction_key=row.transaction_key,
                lot_key=row.lot_key,
                member_key=row.member_key,
            )
            if number < _MOST_EXPLAINED
            else (),
        )
        for number, (law, row) in enumerate(store_laws.list_violations(conn))
    ]
