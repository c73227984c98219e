"""Tell other systems of tiers, in the transaction that changes them: codes, days and numbers, no names."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection

from service.kit import outbox
from service.kit.clock import format_time
from service.tiers.fold import MemberFold
from service.tiers.needs import needs_to_stay
from service.tiers.spans import Change
from service.tiers.standing import needs_json


def tell_changes(conn: Connection, changes: Iterable[Change], *, member_key: int) -> None:
    """Emit `member.tier.changed` for each movement; the beginning of a membership is none."""
    for change in changes:
        if change.from_tier is not None:
            _tell_move(conn, change, member_key=member_key, from_tier=change.from_tier, cause=change.cause)


def tell_correction(
    conn: Connection,
    member: MemberFold,
    *,
    member_key: int,
    believed_tier: str,
    was_at_risk: bool,
    cause: str,
    now: datetime,
) -> None:
    """Tell what folding a member again means for today; its steps in the past are in the log."""
    moved = member.tier.code != believed_tier
    if moved:
        last = member.changes[-1]
        _tell_move(conn, last, member_key=member_key, from_tier=believed_tier, cause=cause)
    if not was_at_risk or moved:
        tell_risk(conn, member, member_key=member_key, now=now)


def _tell_move(conn: Connection, change: Change, *, member_key: int, from_tier: str, cause: str) -> None:
    payload = {
        "from": from_tier,
        "to": change.to_tier,
        "cause": cause,
        "effective_at": format_time(change.effective_at),
        "ruleset_version": change.rules.version,
    }
    outbox.emit(
        conn,
        topic="member.tier.changed",
        member_key=member_key,
        payload=payload,
        occurred_at=change.effective_at,
    )


def tell_risk(conn: Connection, member: MemberFold, *, member_key: int, now: datetime) -> None:
    """Emit `member.tier.at_risk`, with what is short, for a grace that is still running.

    Of several notices that are due at once the last one alone is told.
    """
    if not member.at_risk or not member.notices:
        return
    notice = member.notices[-1]
    needs = [need for need in needs_to_stay(notice.tier, notice.metrics) if not need.met]
    payload = {
        "tier": notice.tier.code,
        "notice": notice.kind,
        "at_risk_since": notice.since.isoformat(),
        "falls_on": notice.falls_on.isoformat(),
        "shortfall": needs_json(needs, currency=notice.rules.currency),
        "ruleset_version": notice.rules.version,
    }
    outbox.emit(conn, topic="member.tier.at_risk", member_key=member_key, payload=payload, occurred_at=now)
