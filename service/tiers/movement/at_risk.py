"""Who is about to fall, when, and what each of them lacks to stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from service.kit.clock import format_time, local_day
from service.kit.errors import FieldError, Malformed
from service.kit.pagination import decode_cursor, encode_cursor
from service.kit.tables import Table
from service.programme.operations import Programme
from service.tiers.errors import UnknownTier
from service.tiers.movement import store_outlook
from service.tiers.needs import Need
from service.tiers.resuming import resume_members
from service.tiers.rulesets import recall_timeline
from service.tiers.standing import Standing, need_json, needs_json, see_standing
from service.tiers.timeline import RuleTimeline

_BATCH = 200
_MOST_BATCHES = 10
"""Candidates looked at for one page; where few of them qualify, the page is short and the list goes on."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some members at risk, who lost their footing longest ago first."""

    members: tuple[tuple[str, Standing], ...]
    next_cursor: str | None


def list_at_risk(
    conn: Connection,
    *,
    tier: str | None,
    within_days: int | None,
    limit: int,
    cursor: str | None,
    store_ids: Sequence[str] | None,
    now: datetime,
    programme: Programme,
) -> Page:
    """Return a page of members whose grace is running, each caught up to now in memory.

    `within_days` leaves out who falls later than that; a page may then be short although more follow. Who
    came to be at risk since the last review (every hour) is not known yet.

    Raises:
        Malformed: not a cursor of this list. UnknownTier: no rule set so far had this tier.
    """
    today = local_day(now, timezone=programme.timezone)
    after = _read_cursor(cursor)
    timeline = recall_timeline(conn)
    _check_tier(tier, timeline)
    until = today
    if within_days is not None:
        # Nobody falls earlier than a grace after the first unqualified day.
        until = min(today, today + timedelta(days=within_days - timeline.at(now).downgrade.grace_days))
    found: list[tuple[str, Standing]] = []
    for _ in range(_MOST_BATCHES):
        rows = store_outlook.list_unqualified(
            conn, tier=tier, until=until, after=after, limit=_BATCH, store_ids=store_ids
        )
        for row, member in resume_members(conn, rows, timeline=timeline, programme=programme, day=today):
            if len(found) == limit:
                return Page(tuple(found), encode_cursor(after[0].isoformat(), after[1]))
            after = (row.unqualified_since, row.member_key)
            member.catch_up(today, at=now)
            standing = see_standing(member, day=today, as_of=now)
            if _falls_within(standing, tier, today, within_days):
                found.append((row.member_id, standing))
        if len(rows) < _BATCH:
            return Page(tuple(found), None)
    return Page(tuple(found), encode_cursor(after[0].isoformat(), after[1]))


def _check_tier(tier: str | None, timeline: RuleTimeline) -> None:
    """Let a tier pass that somebody may hold: a misspelt one would seem to have nobody at risk."""
    if tier is None or any(tier in entry.rules.codes for entry in timeline.entries):
        return
    codes = ", ".join(one.code for one in timeline.entries[-1].rules.tiers)
    raise UnknownTier(errors=[FieldError(f"one of {codes}", parameter="tier")])


def _read_cursor(cursor: str | None) -> tuple[date, int]:
    key = decode_cursor(cursor, types=(str, int))
    if key is None:
        return date.min, 0
    try:
        return date.fromisoformat(key[0]), key[1]
    except ValueError as error:
        raise Malformed(errors=[FieldError("not a cursor of this list", parameter="cursor")]) from error


def _falls_within(standing: Standing, tier: str | None, today: date, within_days: int | None) -> bool:
    if not standing.at_risk or standing.falls_on is None or tier not in (None, standing.tier.code):
        return False
    return within_days is None or standing.falls_on <= today + timedelta(days=within_days)


def page_json(page: Page) -> dict[str, Any]:
    """Return a page in the shape of `GET /v1/tier-at-risk`."""
    data = [
        {
            "member_id": member_id,
            "tier": standing.tier.code,
            "since": format_time(standing.since),
            "at_risk_since": _iso(standing.at_risk_since),
            "falls_on": _iso(standing.falls_on),
            "to_stay": needs_json(standing.to_stay, currency=standing.currency),
        }
        for member_id, standing in page.members
    ]
    return {"data": data, "next_cursor": page.next_cursor}


def page_table(page: Page) -> Table:
    """Return a row for each member, `lacking` saying what is not met."""
    return Table(
        "tier-at-risk",
        ("member_id", "tier", "since", "at_risk_since", "falls_on", "lacking"),
        [
            (
                member_id,
                standing.tier.code,
                format_time(standing.since),
                _iso(standing.at_risk_since),
                _iso(standing.falls_on),
                "; ".join(_lack(need, standing.currency) for need in standing.to_stay if not need.met),
            )
            for member_id, standing in page.members
        ],
        page.next_cursor,
    )


def _lack(need: Need, currency: str) -> str:
    told = need_json(need, currency=currency)
    wanted = told["need"]
    text = " and ".join(map(str, wanted)) if isinstance(wanted, list) else wanted
    have = "undefined" if told["have"] is None else told["have"]
    return f"{told['metric']} {have}, needs {told['op']} {text}"


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
