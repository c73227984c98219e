"""Tell other systems of tiers, in the transaction that changes them: codes, days and numbers, no names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from sqlalchemy import Connection

from service.kit import outbox
from service.kit.clock import format_time
from service.kit.outbox import Event
from service.tiers.fold import MemberFold
from service.tiers.needs import needs_to_stay
from service.tiers.spans import Change
from service.tiers.standing import needs_json


def tell_changes(conn: Connection, changes: Iterable[Change], *, member_key: int) -> None:
    """Emit `member.tier.changed` for each movement; the beginning of a membership is none."""
    outbox.emit_all(conn, events=list(_moves(changes, member_key)))


def tell_risk(conn: Connection, member: MemberFold, *, member_key: int, now: datetime) -> None:
    """Emit `member.tier.at_risk`, with what is short, for a grace that is still running.

    Of several notices that are due at once the last one alone is told.
    """
    outbox.emit_all(conn, events=list(_risks(member, member_key, now)))


def events_of(member: MemberFold, *, member_key: int, now: datetime) -> Iterator[Event]:
    """Yield what both of them would emit for a fold, for many members to be told of at once."""
    yield from _moves(member.changes, member_key)
    yield from _risks(member, member_key, now)


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
        move = _move(last, member_key=member_key, from_tier=believed_tier, cause=cause)
        outbox.emit_all(conn, events=[move])
    if not was_at_risk or moved:
        tell_risk(conn, member, member_key=member_key, now=now)


def _moves(changes: Iterable[Change], member_key: int) -> Iterator[Event]:
    for change in changes:
        if change.from_tier is not None:
            yield _move(change, member_key=member_key, from_tier=change.from_tier, cause=change.cause)


def _move(change: Change, *, member_key: int, from_tier: str, cause: str) -> Event:
    payload = {
        "from": from_tier,
        "to": change.to_tier,
        "cause": cause,
        "effective_at": format_time(change.effective_at),
        "ruleset_version": change.rules.version,
    }
    return Event("member.tier.changed", member_key, payload, change.effective_at)


def _risks(member: MemberFold, member_key: int, now: datetime) -> Iterator[Event]:
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
    yield Event("member.tier.at_risk", member_key, payload, now)
