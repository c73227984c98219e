"""Tell other systems of tiers, in the transaction that changes them: codes, days and numbers, no names."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection

from service.kit import outbox
from service.kit.clock import format_time
from service.tiers.fold import MemberFold
from service.tiers.rules import RuleSet
from service.tiers.spans import Change
from service.tiers.needs import needs_to_stay
from service.tiers.standing import needs_json


def tell_changes(conn: Connection, changes: Iterable[Change], *, member_key: int, rules: RuleSet) -> None:
    """Emit `member.tier.changed` for each movement; the beginning of a membership is none."""
    for change in changes:
        if change.from_rank is not None:
            tell_move(
                conn,
                member_key=member_key,
                rules=rules,
                ranks=(change.from_rank, change.to_rank),
                cause=change.cause,
                effective_at=change.effective_at,
            )


def tell_move(
    conn: Connection,
    *,
    member_key: int,
    rules: RuleSet,
    ranks: tuple[int, int],
    cause: str,
    effective_at: datetime,
) -> None:
    """Emit `member.tier.changed` for one movement between two ranks."""
    payload = {
        "from": rules.tiers[ranks[0]].code,
        "to": rules.tiers[ranks[1]].code,
        "cause": cause,
        "effective_at": format_time(effective_at),
        "ruleset_version": rules.version,
    }
    outbox.emit(
        conn, topic="member.tier.changed", member_key=member_key, payload=payload, occurred_at=effective_at
    )


def tell_risk(
    conn: Connection, member: MemberFold, *, member_key: int, rules: RuleSet, now: datetime
) -> None:
    """Emit `member.tier.at_risk`, with what is short, for a grace that began and is still running."""
    if not member.at_risk or not member.notices:
        return
    notice = member.notices[-1]
    tier = rules.tiers[notice.rank]
    needs = [need for need in needs_to_stay(tier, notice.metrics) if not need.met]
    payload = {
        "tier": tier.code,
        "at_risk_since": notice.on.isoformat(),
        "falls_on": notice.falls_on.isoformat(),
        "shortfall": needs_json(needs, currency=rules.currency),
        "ruleset_version": rules.version,
    }
    outbox.emit(conn, topic="member.tier.at_risk", member_key=member_key, payload=payload, occurred_at=now)
