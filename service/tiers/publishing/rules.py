"""When a draft may be published, and from when on: decided from what is known, nothing looked up. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

from service.kit.errors import FieldError, Problem
from service.tiers.errors import (
    SimulationNeeded,
    SimulationNotDone,
    SimulationStale,
    TooManyDemotions,
)

MAX_AGE = timedelta(hours=24)
"""A simulation older than this no longer counts: members have moved meanwhile."""
GUARD = Fraction(5, 100)
"""The share of members that may be demoted without a word of confirmation."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What publishing looks at of a simulation; `demoted` of `members` end below the tier they hold."""

    simulation_id: str
    against_version: int
    definition_hash: bytes
    as_of: date
    state: str
    finished_at: datetime | None
    members: int
    demoted: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Evidence:
        """Read the evidence from its row; the share's own numbers go before the totals."""
        share = row["demoted_share"] or {}
        return cls(
            simulation_id=row["simulation_id"],
            against_version=row["against_version"],
            definition_hash=bytes(row["definition_hash"]),
            as_of=row["as_of"],
            state=row["state"],
            finished_at=row["finished_at"],
            members=int(share.get("denominator", row["members"] or 0)),
            demoted=int(share.get("numerator", row["demoted"] or 0)),
        )


def check_evidence(
    evidence: Evidence | None, *, definition_hash: bytes, replaces: int, today: date, now: datetime
) -> Evidence:
    """Return the evidence if a set may be published on it in place of the version `replaces`.

    Raises:
        SimulationNeeded: there is none. SimulationNotDone: it has no result.
        SimulationStale: the draft has changed since, it is too old, or about another set or another time.
    """
    if evidence is None:
        raise _refusal(
            SimulationNeeded,
            f"simulate this draft against version {replaces} first, look at who would move, and name the "
            "simulation here",
        )
    if evidence.state != "done" or evidence.finished_at is None:
        raise _refusal(SimulationNotDone, f"it is {evidence.state}; wait for it, or start another")
    if evidence.definition_hash != definition_hash:
        raise _refusal(SimulationStale, "the draft has changed since it was simulated; simulate it again")
    if evidence.against_version != replaces:
        raise _refusal(
            SimulationStale,
            f"it compares with version {evidence.against_version}, but this would replace version "
            f"{replaces}; simulate it against that one",
        )
    if evidence.as_of < today - timedelta(days=1):
        raise _refusal(
            SimulationStale,
            f"it is about the members of {evidence.as_of.isoformat()}; simulate the draft as of today",
        )
    if now - evidence.finished_at > MAX_AGE:
        raise _refusal(SimulationStale, "it is more than 24 hours old; simulate the draft again")
    return evidence


def _refusal(kind: type[Problem], detail: str) -> Problem:
    return kind(detail, errors=[FieldError(detail, pointer="/simulation_id")])


def check_demotions(evidence: Evidence, *, confirmed: bool) -> None:
    """Let a set pass that demotes few members, or whose demotions were confirmed.

    Raises:
        TooManyDemotions: tells how many of how many.
    """
    if confirmed or evidence.demoted <= GUARD * evidence.members:
        return
    percent = f"{100 * evidence.demoted / evidence.members:.1f}"
    raise TooManyDemotions(
        f"{evidence.demoted:,} of {evidence.members:,} members ({percent} %) would end below the tier they "
        f"hold; more than {int(GUARD * 100)} % have to be confirmed. Look at the simulation's samples, "
        "loosen the conditions to keep, or send confirm_demotions with a reason that you can answer for",
        errors=[FieldError("send true to confirm", pointer="/confirm_demotions")],
    )
