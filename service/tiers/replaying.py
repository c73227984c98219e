"""One member folded from all their facts: what should be, now or at a moment of the past."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row

from service.activity.rules import TierFact
from service.kit.clock import last_moment, local_day
from service.programme.operations import Programme
from service.tiers import store
from service.tiers.errors import AsOfInFuture, NoMembership
from service.tiers.fold import MemberFold
from service.tiers.lives import read_life
from service.tiers.rulesets import recall_timeline
from service.tiers.spans import Pin
from service.tiers.standing import Standing, see_standing


@dataclass(frozen=True, slots=True)
class Replay:
    """A member's fold, the facts it was made of, by time, and the rows of all their pins."""

    member: MemberFold
    facts: list[TierFact]
    pins: list[Row[Any]]
    day: date
    as_of: datetime

    def see(self) -> Standing:
        """Return where the member stood."""
        return see_standing(self.member, day=self.day, as_of=self.as_of, looks_ahead=True)


def past_moment(as_of: datetime | date | None, *, now: datetime, programme: Programme) -> datetime | None:
    """Return the moment of the past that is asked for, None for the present; a day means its end.

    Raises:
        AsOfInFuture: it lies ahead.
    """
    if as_of is None:
        return None
    if isinstance(as_of, datetime):
        if as_of > now:
            raise AsOfInFuture
        return as_of
    today = local_day(now, timezone=programme.timezone)
    if as_of > today:
        raise AsOfInFuture
    if as_of == today:
        return None
    return last_moment(as_of, timezone=programme.timezone)


def replay_member(
    conn: Connection, *, member_key: int, moment: datetime | None, now: datetime, programme: Programme
) -> Replay:
    """Fold a member's facts in effect by a moment; for the present (None) those a little ahead of us too.

    Raises:
        NoMembership: there was none by then.
    """
    at = now if moment is None else moment
    life = read_life(conn, member_key=member_key)
    facts = [fact for fact in life.known_facts(by=at) if moment is None or fact.at <= moment]
    if not facts and life.begins_at(by=at) > at:
        raise NoMembership
    if moment is not None:
        life = life.until(moment)
    pins = list(store.list_pins(conn, member_keys=[member_key]))
    day = local_day(at, timezone=programme.timezone)
    member = life.fold(
        timeline=recall_timeline(conn),
        programme=programme,
        until=day,
        pins=[Pin(row.pin_key, row.tier, row.starts_at, row.ended_at) for row in pins],
        at=at,
    )
    return Replay(member, facts, pins, max(day, member.last_day), at)
