"""Every SQL statement of earning: the timeline of rules, and what events have earned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, text, update

from service.activity.readable import event_rows, order_day_rows
from service.earning.models import event_awards
from service.kit.db import dumps, run
from service.kit.versioned import VersionShelf
from service.ledger.readable import lot_rows

SHELF = VersionShelf("earning_rules")
"""Drafts, published versions and their states."""

_TIMELINE = text(
    "SELECT version, effective_from, definition FROM earning_rules "
    "WHERE effective_from IS NOT NULL AND (retired_at IS NULL OR retired_at > effective_from) "
    "ORDER BY effective_from"
)
_ADD_FIRST = text(
    """
    INSERT INTO earning_rules (version, state, definition, effective_from, created_at, published_at,
        published_by, reason)
    SELECT 1, 'active', CAST(:definition AS jsonb), :now, :now, :now, 'tidemark',
        'defaults of the first start'
    WHERE NOT EXISTS (SELECT FROM earning_rules)
    ON CONFLICT (version) DO NOTHING
    """
)
_COUNT_AWARDS = text(
    """
    SELECT count(*) FILTER (WHERE day = :day) AS today, count(*) AS ever,
        count(*) FILTER (WHERE item_key = CAST(:item_key AS bigint)) AS of_sku
    FROM event_awards WHERE member_key = :member_key AND type = :type
    """
)
_ADD_AWARD = text(
    """
    INSERT INTO event_awards (event_key, member_key, type, day, item_key, points, rules_version,
        transaction_key)
    VALUES (:event_key, :member_key, :type, :day, :item_key, :points, :rules_version, :transaction_key)
    """
)
_day = order_day_rows.c
_EARNED_ON = (
    select(func.coalesce(func.sum(lot_rows.c.earned), 0))
    .select_from(order_day_rows.join(lot_rows, lot_rows.c.order_key == _day.order_key))
    .where(
        _day.member_key == bindparam("its_member"),
        _day.day == bindparam("its_day"),
        # Of the months around it alone: a zone is never further than 14 hours from UTC.
        _day.placed_at.between(bindparam("earliest"), bindparam("latest")),
    )
)
_AWARDS = text("SELECT event_key, points FROM event_awards WHERE event_key = ANY(:event_keys)")

_AWARDS_OVER = text("UPDATE event_awards SET member_key = :into_key WHERE member_key = :from_key")
_AWARDED_FOR = (
    select(event_awards.c.event_key)
    .join(event_rows, event_rows.c.event_key == event_awards.c.event_key)
    .where(
        event_awards.c.member_key == bindparam("member_key"),
        event_rows.c.origin_key.in_(bindparam("origins", expanding=True)),
    )
    .order_by(event_awards.c.event_key)
)
_AWARDS_BACK = (
    update(event_awards)
    .where(
        event_awards.c.member_key == bindparam("into_key"),
        event_awards.c.event_key == event_rows.c.event_key,
        event_rows.c.member_key == bindparam("from_key"),
    )
    .values(member_key=bindparam("from_key"))
)


def list_timeline(conn: Connection) -> Sequence[Row[Any]]:
    """Return every published version with the moment from which it is in force, in that order."""
    return conn.execute(_TIMELINE).all()


def add_first(conn: Connection, *, definition: Mapping[str, object], now: datetime) -> None:
    """Publish version 1, unless there is a version already."""
    conn.execute(_ADD_FIRST, {"definition": dumps(definition), "now": now})


def count_awards(
    conn: Connection, *, member_key: int, kind: str, day: date, item_key: int | None
) -> Row[Any]:
    """Return how often a member's events of a type have earned: that day, ever, and of that item."""
    parameters = {"member_key": member_key, "type": kind, "day": day, "item_key": item_key}
    return run(conn, _COUNT_AWARDS, parameters).one()


def add_award(conn: Connection, *, values: Mapping[str, object]) -> None:
    """Write what an event earned."""
    run(conn, _ADD_AWARD, values)


def sum_earned_on(conn: Connection, *, member_key: int, day: date) -> int:
    """Return what a member's orders of a store-local day have earned; refunds take nothing from it."""
    middle = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    parameters = {
        "its_member": member_key,
        "its_day": day,
        "earliest": middle - timedelta(days=2),
        "latest": middle + timedelta(days=2),
    }
    return int(conn.execute(_EARNED_ON, parameters).scalar_one())


def find_awards(conn: Connection, *, event_keys: Sequence[int]) -> dict[int, int]:
    """Return what each of these events earned, those that earned."""
    rows = conn.execute(_AWARDS, {"event_keys": list(event_keys)})
    return {row.event_key: row.points for row in rows}


def hand_over_awards(conn: Connection, *, from_key: int, into_key: int) -> None:
    """Count what a member's events earned for another."""
    conn.execute(_AWARDS_OVER, {"from_key": from_key, "into_key": into_key})


def list_awarded_for(conn: Connection, *, member_key: int, origins: Sequence[int]) -> list[int]:
    """Return which events of a member, sent for some who were merged into it, earned."""
    return list(conn.scalars(_AWARDED_FOR, {"member_key": member_key, "origins": list(origins)}))


def hand_back_awards(conn: Connection, *, from_key: int, into_key: int) -> None:
    """Count what events earned for whose the events are again."""
    conn.execute(_AWARDS_BACK, {"from_key": from_key, "into_key": into_key})
