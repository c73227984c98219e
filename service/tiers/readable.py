"""What later rooms may join: the tier each member stands at, as last written."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Text, literal_column, select

from service.tiers.models import tier_rulesets, tier_states

standing_rows = select(tier_states.c.member_key, tier_states.c.tier).subquery("standing_rows")
"""One row per member with a membership."""

state_rows = select(tier_states).subquery("state_rows")
"""What is stored of each member's rating; `service.tiers.operations.read_standing` reads it."""

# Who was published is in force from `effective_from` on; one retired before that never was.
PUBLISHED = (
    "effective_from IS NOT NULL AND state <> 'draft' AND (retired_at IS NULL OR retired_at > effective_from)"
)
# Tells one timeline from any other: published versions never change, and `xmin` names the transaction that
# wrote a row.
STAMP = (
    "(SELECT string_agg(version || '.' || CAST(xmin AS text), ' ' ORDER BY version) "  # noqa: S608
    f"FROM tier_rulesets WHERE {PUBLISHED})"
)
timeline_stamp: Any = literal_column(STAMP, Text)
"""What tells the present timeline of rule sets from any other."""

ruleset_rows = (
    select(tier_rulesets.c.version, tier_rulesets.c.effective_from)
    .where(tier_rulesets.c.effective_from.is_not(None))
    .subquery("ruleset_rows")
)
"""Every published rule set, from the moment it comes into force."""
