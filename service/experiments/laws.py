"""The laws E1 and E2 on live data: arms are as they were drawn, and what was shown can be traced to them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from service.experiments import store_laws


@dataclass(frozen=True, slots=True)
class Violation:
    """A row that breaks a law: which law, what is wrong, and where to look."""

    law: str
    detail: str
    experiment: str | None
    member_key: int | None
    anonymous_id: str | None
    recommendation_id: str | None

    def to_json(self) -> dict[str, object]:
        """Return the row as a report shows it."""
        return {
            "law": self.law,
            "detail": self.detail,
            "experiment": self.experiment,
            "member_key": self.member_key,
            "anonymous_id": self.anonymous_id,
            "recommendation_id": self.recommendation_id,
        }


def check_laws(conn: Connection) -> list[Violation]:
    """Return what breaks the laws E1 or E2, up to 1,000 rows for each check; empty when all is well.

    One assignment per experiment and member is the shelf's own key; what is looked at is whether it is the
    one that the member's id draws, and whether every answer names a version, an arm and an assignment.
    """
    return [
        Violation(
            law,
            row.detail,
            row.experiment,
            row.member_key,
            row.anonymous_id,
            None if row.exposure_id is None else f"rec_{row.exposure_id.hex}",
        )
        for law, row in store_laws.list_violations(conn)
    ]
