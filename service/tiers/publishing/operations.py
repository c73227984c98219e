"""The verbs of rule sets: draft, change, discard, publish, withdraw, compare.

Every write holds the one lock of rule sets, so that of two publishes at once one sees what the other did.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from service.kit.audit import Actor
from service.kit.versioned import has_begun
from service.tiers.publishing.diff import Change, Side, compare_rulesets
from service.tiers.publishing.drafts import (
    Draft,
    Ruleset,
    change_draft,
    copy_of,
    discard_draft,
    draft_ruleset,
    find_evidence,
    get_ruleset,
    list_findings,
    list_rulesets,
    read_or_refuse,
)
from service.tiers.publishing.findings import Finding
from service.tiers.publishing.release import (
    Publishing,
    publish_ruleset,
    settle_states,
    withdraw_ruleset,
)
from service.tiers.publishing.rules import Evidence
from service.tiers.publishing.store import SHELF
from service.tiers.rules import parse_ruleset

__all__ = [
    "Actor",
    "Draft",
    "Evidence",
    "Finding",
    "Publishing",
    "Ruleset",
    "change_draft",
    "compare",
    "copy_of",
    "discard_draft",
    "draft_ruleset",
    "find_evidence",
    "get_ruleset",
    "list_findings",
    "list_rulesets",
    "publish_ruleset",
    "read_or_refuse",
    "settle_states",
    "withdraw_ruleset",
]


def compare(
    conn: Connection, *, version: int, against: int | None, now: datetime
) -> tuple[Ruleset, Ruleset, list[Change]]:
    """Return what differs from another version (None: the one in force) to this one, and both.

    Raises:
        UnknownRuleset: one of them is not there.
    """
    new = get_ruleset(conn, version=version, now=now)
    if against is None:
        begun = [row.version for row in SHELF.list_published(conn) if has_begun(row, now=now)]
        against = begun[-1] if begun else version
    old = get_ruleset(conn, version=against, now=now)
    sides = [Side(parse_ruleset(one.definition, version=one.version), one.definition) for one in (old, new)]
    return old, new, compare_rulesets(*sides)
