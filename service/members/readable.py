"""What later rooms may join: a member's key, id and language, and nothing personal."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    CTE,
    Subquery,
    Text,
    and_,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)

from service.members.models import consent_changes, member_merges, members

member_rows = select(members.c.member_key, members.c.member_id, members.c.locale).subquery("member_rows")
"""Every member, also who was merged into another."""

_asked, _survivor = members.alias("asked"), members.alias("survivor")
known_rows = (
    select(
        _asked.c.member_id.label("asked_id"),
        func.coalesce(_asked.c.merged_into, _asked.c.member_key).label("member_key"),
        func.coalesce(_survivor.c.member_id, _asked.c.member_id).label("member_id"),
    )
    .select_from(_asked.outerjoin(_survivor, _survivor.c.member_key == _asked.c.merged_into))
    .subquery("known_rows")
)
"""Every id with the member it stands for: who was merged goes by the survivor's key and id."""

joining_rows = select(
    members.c.member_key,
    func.least(members.c.joined_at, members.c.belongs_since).label("joined_at"),
    members.c.store_key,
).subquery("joining_rows")
"""When each member joined, the first of those merged into one, and where."""


def joining_rows_before(moment: datetime) -> Subquery:
    """Return `joining_rows` as they were just before a moment: of members merged by then."""
    owners, merged = owners_at(moment), members.alias("merged")
    first = (
        select(owners.c.owner_key, func.min(merged.c.joined_at).label("joined_at"))
        .select_from(owners.join(merged, merged.c.member_key == owners.c.origin_key))
        .group_by(owners.c.owner_key)
        .subquery("first_of_merged")
    )
    return (
        select(
            members.c.member_key,
            func.least(members.c.joined_at, first.c.joined_at).label("joined_at"),
            members.c.store_key,
        )
        .select_from(members.outerjoin(first, first.c.owner_key == members.c.member_key))
        .subquery("joining_rows_before")
    )


merged_rows = (
    select(members.c.member_key, members.c.merged_at)
    .where(members.c.merged_at.is_not(None))
    .subquery("merged_rows")
)
"""Who goes by another member now; an index holds these alone."""

leaving_rows = union_all(
    select(
        members.c.member_key,
        members.c.erased_at.label("left_at"),
        cast(null(), Text).label("cause"),
    ).where(members.c.erased_at.is_not(None), members.c.merged_at.is_(None)),
    select(members.c.member_key, members.c.merged_at, literal("merge", Text)).where(
        members.c.merged_at.is_not(None)
    ),
).subquery("leaving_rows")
"""Whose membership ended, when, and by what: a person is erased (no cause), or merged into another.

Two indexes hold these alone.
"""


def owners_at(moment: datetime) -> CTE:
    """Return whose the facts sent for a merged member were just before a moment: origin_key, owner_key.

    Only of members that stand merged by then: what was sent for any other was its own.
    """
    standing = and_(member_merges.c.undone_at.is_(None), member_merges.c.merged_at < moment)
    steps = select(
        member_merges.c.from_key.label("origin_key"), member_merges.c.into_key.label("owner_key")
    ).where(standing)
    line = steps.cte(recursive=True)
    further = member_merges.alias("further")
    line = line.union_all(
        select(line.c.origin_key, further.c.into_key).select_from(
            line.join(
                further,
                and_(
                    further.c.from_key == line.c.owner_key,
                    further.c.undone_at.is_(None),
                    further.c.merged_at < moment,
                ),
            )
        )
    )
    onward = member_merges.alias("onward")
    goes_on = (
        select(onward.c.from_key)
        .where(
            onward.c.from_key == line.c.owner_key, onward.c.undone_at.is_(None), onward.c.merged_at < moment
        )
        .exists()
    )
    return select(line.c.origin_key, line.c.owner_key).where(~goes_on).cte()


consent_rows = select(
    members.c.member_key,
    members.c.consent_marketing["granted"].as_boolean().label("marketing"),
    members.c.consent_profiling["granted"].as_boolean().label("profiling"),
).subquery("consent_rows")
"""What each member agreed to; null where it was never asked."""

withdrawal_rows = (
    select(
        func.coalesce(members.c.merged_into, consent_changes.c.member_key).label("member_key"),
        consent_changes.c.changed_at.label("withdrawn_at"),
    )
    .select_from(consent_changes.outerjoin(members, members.c.member_key == consent_changes.c.member_key))
    .where(
        consent_changes.c.purpose == "marketing", consent_changes.c.was_granted, ~consent_changes.c.granted
    )
    .subquery("withdrawal_rows")
)
"""Who took back the consent to marketing, and when: a yes that became a no.

Few, and in an index of their own.
"""
