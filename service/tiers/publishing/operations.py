"""The verbs of rule sets: draft, change, discard, publish, withdraw, compare.

Those that every kind of versions has are `RULESETS`'; here are the ones that know what a rule set is.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from service.kit.audit import Actor
from service.kit.drafting import Draft
from service.tiers.publishing.diff import Change, Side, compare_rulesets
from service.tiers.publishing.drafts import (
    RULESETS,
    Ruleset,
    find_evidence,
    list_findings,
    read_or_refuse,
)
from service.tiers.publishing.release import Publishing, publish_ruleset, settle_states
from service.tiers.publishing.rules import Evidence
from service.tiers.rules import parse_ruleset

__all__ = [
    "RULESETS",
    "Actor",
    "Draft",
    "Evidence",
    "Publishing",
    "Ruleset",
    "compare",
    "find_evidence",
    "list_findings",
    "publish_ruleset",
    "read_or_refuse",
    "settle_states",
]


def compare(
    conn: Connection, *, version: int, against: int | None, now: datetime
) -> tuple[Ruleset, Ruleset, list[Change]]:
    """Return what differs from another version (None: the one in force) to this one, and both.

    Raises:
        UnknownRuleset: one of them is not there.
    """
    old, new = RULESETS.find_sides(conn, version=version, against=against, now=now)
    sides = [Side(parse_ruleset(one.definition, version=one.version), one.definition) for one in (old, new)]
    return old, new, compare_rulesets(*sides)
