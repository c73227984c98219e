"""What later rooms may join: a member's key, id and language, and nothing personal."""

from __future__ import annotations

from sqlalchemy import Boolean, cast, false, func, select, true

from service.members.models import members

member_rows = select(members.c.member_key, members.c.member_id, members.c.locale).subquery("member_rows")
"""Every member."""

consent_rows = select(
    members.c.member_key,
    # Never asked is not a refusal of being answered personally; being written to needs to be granted.
    func.coalesce(cast(members.c.consent_profiling["granted"].astext, Boolean), true()).label("profiling"),
    func.coalesce(cast(members.c.consent_marketing["granted"].astext, Boolean), false()).label("marketing"),
    members.c.erased_at.is_(None).label("is_here"),
).subquery("consent_rows")
"""What each member agreed to: to be answered personally, and to be written to."""

joining_rows = select(members.c.member_key, members.c.joined_at, members.c.store_key).subquery("joining_rows")
"""When each member joined, and where."""

leaving_rows = (
    select(members.c.member_key, members.c.erased_at.label("left_at"))
    .where(members.c.erased_at.is_not(None))
    .subquery("leaving_rows")
)
"""Whose membership ended, and when: erasing a person is the only way to leave. An index holds these alone."""

agreement_rows = select(
    members.c.member_key,
    members.c.consent_marketing["granted"].as_boolean().label("marketing"),
    members.c.consent_profiling["granted"].as_boolean().label("profiling"),
).subquery("agreement_rows")
"""What each member agreed to; null where it was never asked."""
