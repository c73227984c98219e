"""A member seen whole, put together from what the rooms below know."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from service.experiments import operations as experiments
from service.kit.clock import format_time, local_day
from service.kit.ids import new_uuid
from service.kit.money import to_text
from service.kit.pagination import encode_cursor, page
from service.kit.sealing import Sealer
from service.ledger import operations as ledger
from service.members import operations as members
from service.members.errors import UnknownMember
from service.members.rules import Member
from service.profiles import store
from service.programme.operations import Programme
from service.recommendations import operations as recommendations
from service.recommendations.operations import Policy, Serving, Surface
from service.rewards import operations as rewards
from service.rewards.operations import Affordable
from service.tiers import operations as tiers

_SHOWN_EXPIRIES = 5
_SHOWN_REWARDS = 5
# The card is the same for everybody: no model decides it.
_CARD = Policy(
    name="card", version="1", model_name=None, model_version=None, trained_through=None, fallback=None
)


def get_profile(
    conn: Connection, *, member_id: str, sealer: Sealer, programme: Programme, locale: str, now: datetime
) -> dict[str, Any]:
    """Return everything held about a member, with a summary of tier and points.

    Raises:
        UnknownMember: nobody has this id.
    """
    profile = members.get_profile(conn, member_id=member_id, sealer=sealer)
    key = profile.member.member_key
    held = tiers.get_held_tier(conn, member_key=key)
    points = ledger.get_points(conn, member_key=key, now=now, programme=programme)
    return {
        "member_id": profile.member.member_id,
        "joined_at": format_time(profile.member.joined_at),
        "locale": profile.member.locale,
        "store_id": profile.store_id,
        "name": profile.name,
        "email": profile.email,
        "phone": profile.phone,
        "birthday": profile.birthday.isoformat() if profile.birthday else None,
        "consent": profile.consent,
        "attributes": profile.attributes,
        "referred_by": profile.referred_by,
        "acquisition": profile.acquisition,
        "created_at": format_time(profile.created_at),
        "updated_at": format_time(profile.updated_at),
        "merged_ids": list(profile.merged_ids),
        "tier": {"tier": held.code, "name": held.name.get(locale) or held.code, "rank": held.rank},
        "points": {"available": points.available, "pending": points.pending, "held": points.held},
    }


def list_members(
    conn: Connection, *, after: str, limit: int, email: str | None, sealer: Sealer
) -> dict[str, Any]:
    """Return a page of members by id, optionally only those with exactly this e-mail address."""
    found = members.list_members(conn, after=after, limit=limit + 1, email=email, sealer=sealer)
    cursors = [encode_cursor(member.member_id) for member in found]
    merged = [member.merged_into for member in found if member.merged_into is not None]
    survivors = members.find_ids(conn, member_keys=merged) if merged else {}
    rows = [_row(member, survivors.get(member.merged_into or 0)) for member in found]
    return page(rows, limit=limit, cursors=cursors)


def _row(member: Member, merged_into: str | None) -> dict[str, Any]:
    return {
        "member_id": member.member_id,
        "joined_at": format_time(member.joined_at),
        "locale": member.locale,
        "merged_into": merged_into,
    }


def get_card(
    conn: Connection,
    *,
    member_id: str,
    serving: Serving,
    programme: Programme,
    channel: str,
    locale: str,
    traceparent: str | None,
    now: datetime,
) -> dict[str, Any]:
    """Return what a storefront shows of a member in one call; writes nothing and enrols nobody.

    Raises:
        UnknownMember: nobody has this id.
    """
    lookback_days, today = tiers.longest_lookback(), local_day(now, timezone=programme.timezone)
    row = store.find_card(conn, member_id=member_id, today=today, lookback_days=lookback_days, now=now)
    subject = experiments.read_subject(row, member_id=member_id)
    member_key = subject.member_key
    if member_key is None:
        raise UnknownMember(f"no member has the id {member_id}")
    tier, progress, explanation = tiers.get_standing_in_short(
        conn,
        member_key=member_key,
        stored=tiers.Stored(row, row.days, lookback_days),
        now=now,
        today=today,
        programme=programme,
        locale=locale,
    )
    points = ledger.read_points(row.points or (), programme=programme)
    affordable: Sequence[Affordable] = ()
    if row.least_points is not None and row.least_points <= points.available:
        affordable = rewards.list_affordable(
            conn,
            member_key=member_key,
            tier=tier["tier"],
            points=points.available,
            limit=_SHOWN_REWARDS,
            locale=locale,
            now=now,
        )
    return {
        "member_id": subject.member_id,
        "locale": locale,
        "tier": tier,
        "progress": progress,
        "points": {
            "available": points.available,
            "pending": points.pending,
            "held": points.held,
            "expiring": [{"points": lot.points, "on": lot.on} for lot in points.expiring[:_SHOWN_EXPIRIES]],
            "value": to_text(points.value_minor, currency=programme.currency),
        },
        "rewards": [
            {"code": reward.code, "name": reward.name, "kind": reward.kind, "points": reward.points}
            for reward in affordable
        ],
        "explanation": explanation,
        "measurement": recommendations.measure(
            serving=serving,
            subject=subject,
            answer_id=f"card_{new_uuid(now).hex}",
            policy=_CARD,
            surface=Surface(placement="card", channel=channel),
            traceparent=traceparent,
            now=now,
        ),
    }
