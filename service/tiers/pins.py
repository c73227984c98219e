"""Overrides: a tier that staff hold a member at until a day, for a reason, whatever the rating says."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row

from service.kit import audit
from service.kit.clock import local_day, local_midnight
from service.kit.errors import FieldError
from service.programme.operations import Programme
from service.tiers import store
from service.tiers.errors import NoMembership, NoOverride, OverrideInPast, UnknownTier
from service.tiers.rating import refold_member
from service.tiers.rulesets import recall_timeline


def pin_tier(
    conn: Connection,
    *,
    member_key: int,
    tier: str,
    until: date,
    reason: str,
    actor: str,
    request_id: str | None = None,
    now: datetime,
    programme: Programme,
) -> None:
    """Hold a member at a tier from now to the beginning of `until`, in place of an override that holds.

    The rating goes on underneath and stands at once when the override ends. The same override once more
    changes nothing.

    Raises:
        UnknownTier: not of the rule set in force. OverrideInPast: `until` is not a day to come.
        NoMembership: none was begun. NoActiveRuleset: none was published.
    """
    row = store.lock_state(conn, member_key=member_key)
    if row is None:
        raise NoMembership
    rules = recall_timeline(conn, stamp=row.stamp).at(now)
    if tier not in rules.codes:
        known = ", ".join(one.code for one in rules.tiers)
        raise UnknownTier(
            f"the rule set in force has the tiers {known}",
            errors=[FieldError(f"one of {known}", pointer="/tier")],
        )
    if until <= local_day(now, timezone=programme.timezone):
        raise OverrideInPast(errors=[FieldError("a day after today", pointer="/until")])
    held = find_pin(conn, member_key=member_key, at=now)
    ends_at = local_midnight(until, timezone=programme.timezone)
    if held is not None:
        if (held.tier, held.ends_at, held.reason) == (tier, ends_at, reason):
            return
        store.lift_pin(conn, pin_key=held.pin_key, actor=actor, now=now)
    store.add_pin(
        conn,
        values={
            "member_key": member_key,
            "tier": tier,
            "starts_at": now,
            "ends_at": ends_at,
            "reason": reason,
            "actor": actor,
        },
    )
    refold_member(conn, member_key=member_key, programme=programme, now=now, is_late=False)
    audit.record(
        conn,
        actor=actor,
        action="tier.pinned",
        subject=("member", None),
        member_key=member_key,
        before=_entry(held, programme),
        after={"tier": tier, "until": until.isoformat()},
        reason=reason,
        request_id=request_id,
        now=now,
    )


def lift_pin(
    conn: Connection,
    *,
    member_key: int,
    actor: str,
    request_id: str | None = None,
    now: datetime,
    programme: Programme,
) -> None:
    """End a member's override now: the rating underneath stands at once.

    Raises:
        NoOverride: none holds. NoMembership: none was begun.
    """
    if store.lock_state(conn, member_key=member_key) is None:
        raise NoMembership
    held = find_pin(conn, member_key=member_key, at=now)
    if held is None:
        raise NoOverride
    store.lift_pin(conn, pin_key=held.pin_key, actor=actor, now=now)
    refold_member(conn, member_key=member_key, programme=programme, now=now, is_late=False)
    audit.record(
        conn,
        actor=actor,
        action="tier.unpinned",
        subject=("member", None),
        member_key=member_key,
        before=_entry(held, programme),
        request_id=request_id,
        now=now,
    )


def find_pin(conn: Connection, *, member_key: int, at: datetime) -> Row[Any] | None:
    """Return the override that holds at a moment."""
    pins = store.list_pins(conn, member_keys=[member_key])
    return next((row for row in pins if row.starts_at <= at < row.ended_at), None)


def _entry(row: Row[Any] | None, programme: Programme) -> dict[str, object] | None:
    if row is None:
        return None
    until = local_day(row.ends_at, timezone=programme.timezone)
    return {"tier": row.tier, "until": until.isoformat()}
