"""Law R1 on live data: nothing was taken more often than there is of it, and no code given twice."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from service.rewards import store_laws


@dataclass(frozen=True, slots=True)
class Violation:
    """A row that breaks the law: what is wrong, and where to look."""

    law: str
    detail: str
    reward: str | None
    redemption_id: str | None
    member_key: int | None
    transaction_key: int | None

    def to_json(self) -> dict[str, object]:
        """Return the row as a report shows it."""
        return {
            "law": self.law,
            "detail": self.detail,
            "reward": self.reward,
            "redemption_id": self.redemption_id,
            "member_key": self.member_key,
            "transaction_key": self.transaction_key,
        }


def check_laws(conn: Connection) -> list[Violation]:
    """Return what breaks law R1, up to 1,000 rows for each check; empty when all is well."""
    return [
        Violation(
            "R1",
            row.detail,
            row.reward,
            None if row.redemption_id is None else f"red_{row.redemption_id.hex}",
            row.member_key,
            row.transaction_key,
        )
        for row in store_laws.list_violations(conn)
    ]
