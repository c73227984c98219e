"""What later rooms may join: the tier each member stands at, as last written."""

from __future__ import annotations

from sqlalchemy import select

from service.tiers.models import tier_states

standing_rows = select(tier_states.c.member_key, tier_states.c.tier).subquery("standing_rows")
"""One row per member with a membership."""
