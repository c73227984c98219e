"""What later rooms may join: the tier each member stands at, as last written."""

from __future__ import annotations

from sqlalchemy import select

from service.tiers.models import tier_rulesets, tier_states

standing_rows = select(tier_states.c.member_key, tier_states.c.tier).subquery("standing_rows")
"""One row per member with a membership."""

ruleset_rows = (
    select(tier_rulesets.c.version, tier_rulesets.c.effective_from)
    .where(tier_rulesets.c.effective_from.is_not(None))
    .subquery("ruleset_rows")
)
"""Every published rule set, from the moment it comes into force."""
