"""If nothing more is bought: who moves when, folded forward in memory; nothing is written but the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection

from service.kit.clock import format_time, local_day, local_midnight
from service.kit.tables import Table
from service.programme.operations import Programme
from service.tiers import store_bulk
from service.tiers.errors import NoForecast
from service.tiers.movement import store_outlook
from service.tiers.movement.rules import Ladder
from service.tiers.reports import Report, ask_report
from service.tiers.resuming import resume_members
from service.tiers.rulesets import recall_timeline
from service.tiers.spans import Change
from service.tiers.timeline import RuleTimeline

KIND = "forecast"
NIGHTLY_DAYS = 92
"""How far ahead the forecast of every night looks."""
LONGEST_DAYS = 366
FOLDED_AT_ONCE = 2_000
"""With no more members than this to fold, a forecast is made in the request itself."""
_CHUNK = 2_000


Way = Literal["up", "down"]
_Kind = tuple[str, str, str, Way, str, str | None]


class Move(NamedTuple):
    """Moves of one day between two tiers, of members of one store (None: of none)."""

    on: str
    from_tier: str
    to_tier: str
    direction: Way
    cause: str
    store_id: str | None
    members: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """Every move after day `as_of` up to day `until`, if nothing more is bought."""

    as_of: date
    until: date
    computed_at: datetime
    moves: tuple[Move, ...]


def see_forecast(
    conn: Connection, *, days: int, store_ids: Sequence[str] | None, now: datetime, programme: Programme
) -> Forecast:
    """Return the forecast of the days to come: made now for a small membership, else the last one kept.

    `store_ids` leaves out the members of other stores, and of none.

    Raises:
        NoForecast: there are too many members to fold now, and none was kept that looks so far ahead.
    """
    today = local_day(now, timezone=programme.timezone)
    if _is_small(conn, until=today + timedelta(days=days), programme=programme):
        as_of, computed_at = today, now
        moves = list_moves(conn, as_of=today, days=days, programme=programme)
    else:
        row = store_outlook.find_forecast(conn, days=days)
        if row is None:
            raise NoForecast
        as_of, computed_at = row.as_of, row.computed_at
        moves = [Move(**move) for move in row.result["moves"]]
    last = as_of + timedelta(days=days)
    wanted = [
        move
        for move in moves
        if move.on <= last.isoformat() and (store_ids is None or move.store_id in store_ids)
    ]
    return Forecast(as_of, last, computed_at, tuple(wanted))


def ask_forecast(conn: Connection, *, days: int, now: datetime, programme: Programme) -> Report:
    """Have the worker make today's forecast, unless it was made already."""
    today = local_day(now, timezone=programme.timezone)
    return ask_report(conn, kind=KIND, parameters={"days": days}, as_of=today, today=today, now=now)


def ask_nightly(conn: Connection, *, now: datetime, programme: Programme) -> Report | None:
    """Have the worker make the forecast of the day, unless few enough may move to make it when asked."""
    today = local_day(now, timezone=programme.timezone)
    if _is_small(conn, until=today + timedelta(days=NIGHTLY_DAYS), programme=programme):
        return None
    return ask_forecast(conn, days=NIGHTLY_DAYS, now=now, programme=programme)


def answer_forecast(
    conn: Connection, *, parameters: Mapping[str, Any], as_of: date, programme: Programme
) -> dict[str, Any]:
    """Return a forecast as its report keeps it."""
    moves = list_moves(conn, as_of=as_of, days=parameters["days"], programme=programme)
    return {"moves": [move._asdict() for move in moves]}


def list_moves(conn: Connection, *, as_of: date, days: int, programme: Programme) -> list[Move]:
    """Fold whoever time alone can move forward, and return what moves after `as_of`, by day.

    What is due by `as_of` itself is the review's: members are caught up to it first. One chunk of members is
    in memory at a time.
    """
    horizon, timeline = as_of + timedelta(days=days), recall_timeline(conn)
    ladder = Ladder.of(timeline, entries=len(timeline.entries))
    versions = _outdated_by(timeline, horizon, programme)
    found, after = Counter[_Kind](), 0
    while rows := store_bulk.list_due(conn, today=horizon, versions=versions, after=after, limit=_CHUNK):
        after = rows[-1].member_key
        places = store_outlook.list_stores_of(conn, member_keys=[row.member_key for row in rows])
        for row, member in resume_members(conn, rows, timeline=timeline, programme=programme, day=as_of):
            member.catch_up(as_of)
            caught_up = len(member.changes)
            member.catch_up(horizon)
            for change in member.changes[caught_up:]:
                day = date.fromordinal(member.day_of(change.effective_at))
                found[_kind_of(change, ladder, day, places.get(row.member_key))] += 1
    moves = [Move(*kind, members) for kind, members in found.items()]
    return sorted(moves, key=lambda move: tuple(part or "" for part in move[:-1]))


def _is_small(conn: Connection, *, until: date, programme: Programme) -> bool:
    """Say whether few enough may move by a day to fold them while a caller waits."""
    versions = _outdated_by(recall_timeline(conn), until, programme)
    return (
        store_outlook.count_due(conn, until=until, versions=versions, most=FOLDED_AT_ONCE + 1)
        <= FOLDED_AT_ONCE
    )


def _kind_of(change: Change, ladder: Ladder, day: date, store_id: str | None) -> _Kind:
    if change.from_tier is None:
        raise ValueError("a membership does not begin by the passing of time")
    way: Way = "up" if ladder.direction(change.from_tier, change.to_tier) == "up" else "down"
    return (day.isoformat(), change.from_tier, change.to_tier, way, change.cause, store_id)


def _outdated_by(timeline: RuleTimeline, day: date, programme: Programme) -> list[int]:
    """Return the rule sets no longer in force on a day: whoever was rated under one may move by then."""
    moment = local_midnight(day, timezone=programme.timezone)
    return [entry.rules.version for entry in timeline.entries[: timeline.place_at(moment)]]


def forecast_json(forecast: Forecast) -> dict[str, Any]:
    """Return a forecast in the shape of `GET /v1/tier-forecast`; stores are added up."""
    moves = _merge_stores(forecast.moves)
    return {
        "as_of": forecast.as_of.isoformat(),
        "until": forecast.until.isoformat(),
        "computed_at": format_time(forecast.computed_at),
        "falls": sum(move.members for move in moves if move.direction == "down"),
        "rises": sum(move.members for move in moves if move.direction == "up"),
        "moves": [
            {
                "on": move.on,
                "from": move.from_tier,
                "to": move.to_tier,
                "direction": move.direction,
                "cause": move.cause,
                "members": move.members,
            }
            for move in moves
        ],
    }


def forecast_table(forecast: Forecast) -> Table:
    """Return a row for each day, way and cause."""
    return Table(
        "tier-forecast",
        ("on", "from", "to", "direction", "cause", "members"),
        [(*move[:5], move.members) for move in _merge_stores(forecast.moves)],
    )


def _merge_stores(moves: Sequence[Move]) -> list[Move]:
    merged = Counter[_Kind]()
    for move in moves:
        merged[move.on, move.from_tier, move.to_tier, move.direction, move.cause, None] += move.members
    return [Move(*kind, members) for kind, members in sorted(merged.items(), key=lambda item: item[0][:5])]
