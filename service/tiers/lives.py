"""What members are folded from: their facts, and those of whoever was merged into them since when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import groupby

from sqlalchemy import Connection

from service.activity import operations as activity
from service.activity.rules import TierFact
from service.kit.clock import local_day
from service.members import operations as members
from service.members.operations import Beginning, Part
from service.programme.operations import Programme
from service.tiers.fold import MemberFold, fold
from service.tiers.spans import Merge, Pin
from service.tiers.timeline import RuleTimeline


@dataclass(frozen=True, slots=True)
class Life:
    """Everything one membership is folded from, by time.

    `left_at` is when it ended by a merge: what came later belongs to the survivor. `absorbed` are the keys
    of those who were merged into this member, directly or through one another.
    """

    member_key: int
    joined_at: datetime
    facts: list[TierFact]
    merges: tuple[Merge, ...] = ()
    left_at: datetime | None = None
    absorbed: tuple[int, ...] = ()

    def known_facts(self, *, by: datetime | None) -> list[TierFact]:
        """Return the facts that count by a moment (None: all), in order of time."""
        merged = [merge for merge in self.merges if by is None or merge.at <= by]
        if not merged:
            return self.facts
        facts = [*self.facts, *(fact for merge in merged for fact in merge.facts)]
        return sorted(facts, key=TierFact.sort_key)

    def until(self, moment: datetime) -> Life:
        """Return it without the facts that come after a moment."""
        return replace(
            self,
            facts=[fact for fact in self.facts if fact.at <= moment],
            merges=tuple(
                merge._replace(facts=[fact for fact in merge.facts if fact.at <= moment])
                for merge in self.merges
            ),
        )

    def begins_at(self, *, by: datetime) -> datetime:
        """Return when the first of those who count by a moment joined."""
        return min([self.joined_at, *(merge.joined_at for merge in self.merges if merge.at <= by)])

    def fold(
        self,
        *,
        timeline: RuleTimeline,
        programme: Programme,
        until: date,
        pins: Sequence[Pin] = (),
        at: datetime | None = None,
    ) -> MemberFold:
        """Fold it up to a day, or up to `at` on that day; one that ended goes no further than its end."""
        if self.left_at is not None and (at is None or self.left_at < at):
            at = self.left_at
            until = min(until, local_day(at, timezone=programme.timezone))
        return fold(
            self.facts,
            timeline=timeline,
            timezone=programme.timezone,
            joined_at=self.joined_at,
            until=until,
            pins=pins,
            merges=self.merges,
            at=at,
        )


def read_life(conn: Connection, *, member_key: int) -> Life:
    """Return what a member who goes by its own id is folded from."""
    return next(stream_lives(conn, member_keys=[member_key]))


def stream_lives(conn: Connection, *, member_keys: Sequence[int]) -> Iterator[Life]:
    """Yield what members who go by their own ids are folded from, by ascending key."""
    beginnings = members.list_beginnings(conn, member_keys=member_keys)
    for key, by_origin in activity.stream_tier_facts_by_origin(conn, member_keys=list(beginnings)):
        yield _life(beginnings[key], by_origin.get(None, []), by_origin)


def list_ended_lives(conn: Connection, *, member_keys: Sequence[int]) -> list[Life]:
    """Return what members who were merged into others are folded from, up to then."""
    if not member_keys:
        return []
    survivors = members.find_survivors(conn, member_keys=member_keys)
    facts = dict(activity.stream_tier_facts_by_origin(conn, member_keys=sorted(set(survivors.values()))))
    lives = []
    for key, beginning in sorted(members.list_beginnings(conn, member_keys=member_keys).items()):
        by_origin = facts[survivors[key]]
        lives.append(_life(beginning, by_origin.get(key, []), by_origin))
    return lives


def _life(beginning: Beginning, own: list[TierFact], by_origin: activity.FactsByOrigin) -> Life:
    left_at = beginning.left_at
    merges = tuple(
        _merge(list(parts), by_origin, left_at)
        for _, parts in groupby(beginning.parts, key=lambda part: part.via_key)
    )
    return Life(
        member_key=beginning.member_key,
        # Whoever took somebody over was there by then, whatever was said of the joining since.
        joined_at=min([beginning.joined_at, *(merge.at for merge in merges)]),
        facts=_before(own, left_at),
        merges=merges,
        left_at=left_at,
        absorbed=tuple(part.origin_key for part in beginning.parts),
    )


def _merge(parts: Sequence[Part], by_origin: activity.FactsByOrigin, left_at: datetime | None) -> Merge:
    facts = [fact for part in parts for fact in by_origin.get(part.origin_key, ())]
    facts.sort(key=TierFact.sort_key)
    return Merge(parts[0].merged_at, _before(facts, left_at), min(part.joined_at for part in parts))


def _before(facts: list[TierFact], moment: datetime | None) -> list[TierFact]:
    return facts if moment is None else [fact for fact in facts if fact.at < moment]
