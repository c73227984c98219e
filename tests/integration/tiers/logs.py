"""Logs of tier changes at random, with corrections and with members who left, and their plain reading."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from service.tiers import store
from tests.integration.tiers.shop import spend_ladder

START = datetime(2024, 3, 25, tzinfo=UTC)
"""The clocks of Europe change in the week after."""
DAYS = 60
TIERS = ("t0", "t1", "t2", "t3")
CAUSES = ("order", "refund", "roll_off", "rule_change", "manual")
ZONE = "Europe/London"


class Row(NamedTuple):
    """A row of the log."""

    from_tier: str | None
    to_tier: str
    effective_at: datetime
    recorded_at: datetime
    superseded_at: datetime | None
    cause: str


Move = tuple[str | None, str | None, datetime, str]


@dataclass
class Life:
    """One member's log."""

    member_id: str
    store_id: str | None
    left_at: datetime | None
    rows: list[Row] = field(default_factory=list)

    def moves(self, basis: str) -> list[Move]:
        """Return (from, to, at, cause) of every move while the member belonged, and of leaving."""
        found = self._effective() if basis == "effective" else self._believed()
        if self.left_at is not None:
            found = [move for move in found if move[2] < self.left_at]
            if found:
                found.append((found[-1][1], None, self.left_at, "left"))
        return found

    def _effective(self) -> list[Move]:
        standing = [row for row in self.rows if row.superseded_at is None]
        return [
            (row.from_tier, row.to_tier, row.effective_at, row.cause)
            for row in sorted(standing, key=lambda row: row.effective_at)
        ]

    def _believed(self) -> list[Move]:
        written = {row.recorded_at for row in self.rows}
        undone = {row.superseded_at for row in self.rows if row.superseded_at is not None}
        found: list[Move] = []
        tier: str | None = None
        for at in sorted(written | undone):
            known = [
                row
                for row in self.rows
                if row.recorded_at <= at and (row.superseded_at is None or row.superseded_at > at)
            ]
            last = max(enumerate(known), key=lambda pair: (pair[1].effective_at, pair[0]))[1]
            if last.to_tier != tier:
                found.append((tier, last.to_tier, at, last.cause if last.recorded_at == at else "late_fact"))
            tier = last.to_tier
        return found

    def tier_at(self, moment: datetime, basis: str) -> str | None:
        """Return the tier held just before a moment."""
        held = [move[1] for move in self.moves(basis) if move[2] < moment]
        return held[-1] if held else None

    def cohort(self, basis: str) -> str:
        """Return the month in which the membership began."""
        return f"{self.moves(basis)[0][2].astimezone(ZoneInfo(ZONE)):%Y-%m}"


def draw_lives(seed: int, *, members: int) -> list[Life]:
    """Return members with a history each; a third of them was corrected once, some left."""
    stream = random.Random(seed)
    return [_draw_life(stream, f"m{number}") for number in range(members)]


def _draw_life(stream: random.Random, member_id: str) -> Life:
    def moments(count: int) -> list[datetime]:
        # Midnights, where falls are dated, and ties among them.
        drawn = (stream.choice([0, 0, 23, 24 * stream.random()]) for _ in range(count))
        return sorted(START + timedelta(days=stream.randrange(DAYS), hours=hours) for hours in drawn)

    life = Life(
        member_id,
        stream.choice([None, "north", "south"]),
        START + timedelta(days=stream.uniform(1, DAYS * 1.2)) if stream.random() < 0.2 else None,
    )
    chain = _draw_chain(stream, moments(stream.randrange(1, 6)), None)
    if stream.random() < 0.3:
        # A bulk import: all of it written at once, later.
        written = [chain[-1][2] + timedelta(days=stream.randrange(4))] * len(chain)
    else:
        written = [move[2] for move in chain]
    life.rows = [
        Row(from_tier, to_tier, effective_at, at, None, cause)
        for (from_tier, to_tier, effective_at, cause), at in zip(chain, written, strict=True)
    ]
    if stream.random() < 0.35:
        _correct(stream, life, max(written) + timedelta(hours=stream.randrange(1, 200)))
    return life


def _draw_chain(stream: random.Random, moments: Sequence[datetime], tier: str | None) -> list[Any]:
    chain = []
    for at in moments:
        following = stream.choice([code for code in TIERS if code != tier])
        chain.append((tier, following, at, "enrol" if tier is None else stream.choice(CAUSES)))
        tier = following
    return chain


def _correct(stream: random.Random, life: Life, at: datetime) -> None:
    """Supersede the end of a log and write another one, or none."""
    kept = stream.randrange(1, len(life.rows) + 1)
    tail = life.rows[kept:]
    life.rows[kept:] = [row._replace(superseded_at=at) for row in tail]
    moments = [row.effective_at for row in tail][: stream.randrange(0, 3)]
    for from_tier, to_tier, effective_at, cause in _draw_chain(stream, moments, life.rows[kept - 1].to_tier):
        life.rows.append(Row(from_tier, to_tier, effective_at, at, None, cause))


def write_lives(conn: Connection, lives: Sequence[Life]) -> None:
    """Write rule set, stores, members and logs straight into their tables."""
    store.add_first_ruleset(conn, definition=spend_ladder(1, 2, 3), now=START)
    for name in ("north", "south"):
        conn.execute(
            text("INSERT INTO stores (store_id, created_at) VALUES (:name, :at)"), {"name": name, "at": START}
        )
    for life in lives:
        key = conn.execute(
            text(
                "INSERT INTO members (member_id, joined_at, store_key, created_at, updated_at, erased_at) "
                "VALUES (:member_id, :at, (SELECT store_key FROM stores WHERE store_id = :store_id), :at, "
                ":at, :left_at) RETURNING member_key"
            ),
            {"member_id": life.member_id, "at": START, "store_id": life.store_id, "left_at": life.left_at},
        ).scalar_one()
        for row in life.rows:
            conn.execute(
                text(
                    "INSERT INTO tier_changes (member_key, from_tier, to_tier, effective_at, recorded_at, "
                    "superseded_at, cause, ruleset_version, metrics) VALUES (:key, :from_tier, :to_tier, "
                    ":effective_at, :recorded_at, :superseded_at, :cause, 1, '{}')"
                ),
                {"key": key, **row._asdict()},
            )


def count_cohort(
    lives: Sequence[Life], start: datetime, end: datetime, *, basis: str, split: str | None
) -> tuple[Counter[tuple[str | None, str | None, str | None]], int]:
    """Return members by (from, to, part), and how many came and went in between."""
    found = Counter[tuple[str | None, str | None, str | None]]()
    passed = 0
    for life in lives:
        tiers = (life.tier_at(start, basis), life.tier_at(end, basis))
        inside = [move for move in life.moves(basis) if start <= move[2] < end and move[1] is not None]
        if tiers != (None, None):
            found[(*tiers, _part(life, basis, split, inside[-1][3] if inside else None))] += 1
        elif inside:
            passed += 1
    return found, passed


def count_events(
    lives: Sequence[Life], start: datetime, end: datetime, *, basis: str, split: str | None
) -> Counter[tuple[str | None, str | None, str | None]]:
    """Return moves by (from, to, part); who leaves, leaves by the cause of the move before."""
    found = Counter[tuple[str | None, str | None, str | None]]()
    for life in lives:
        cause = None
        for from_tier, to_tier, at, why in life.moves(basis):
            cause = cause if to_tier is None else why
            if start <= at < end:
                found[from_tier, to_tier, _part(life, basis, split, cause)] += 1
    return found


def _part(life: Life, basis: str, split: str | None, cause: str | None) -> str | None:
    return {None: None, "cause": cause, "cohort": life.cohort(basis), "store": life.store_id}[split]
