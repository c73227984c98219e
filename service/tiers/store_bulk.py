"""Every SQL statement of the tiers that reads or writes many members at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from operator import itemgetter
from typing import Any

import psycopg
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    Date,
    Executable,
    Integer,
    Row,
    any_,
    bindparam,
    func,
    not_,
    or_,
    select,
    text,
)

from service.activity.readable import day_rows
from service.kit.db import dumps
from service.tiers.models import tier_states

_COLUMNS = (
    "member_key",
    "tier",
    "rank",
    "since",
    "ruleset_version",
    "unqualified_since",
    "carrier_order_key",
    "through",
    "next_review_on",
    "stands_until",
    "rated_rank",
    "rated_since",
    "pinned_until",
)
# A state that stands for nothing yet, so that there is a row to lock; the same transaction overwrites it.
_ADD_MISSING = text(
    """
    INSERT INTO tier_states (member_key, tier, rank, since, ruleset_version, through)
    SELECT member_key, :tier, 0, :now, :ruleset_version, :now
    FROM unnest(CAST(:member_keys AS bigint[])) AS member_key
    ORDER BY member_key
    ON CONFLICT (member_key) DO NOTHING
    """
)
_states = select(tier_states)
_by_key = _states.order_by(tier_states.c.member_key)
_due = tier_states.c.next_review_on <= bindparam("today")
# Who was last rated under another rule set than the one in force; named one by one, for the index.
_outdated = tier_states.c.ruleset_version == any_(bindparam("outdated", type_=ARRAY(Integer)))
_later = tier_states.c.member_key > bindparam("after", type_=BigInteger)
_limit = bindparam("limit", type_=Integer)
_READ_SOME = _by_key.where(
    tier_states.c.member_key == any_(bindparam("member_keys", type_=ARRAY(BigInteger)))
)
_LOCK_SOME = _READ_SOME.with_for_update(key_share=True)
_READ_DUE = _by_key.where(or_(_due, _outdated), _later).limit(_limit)
_LOCK_DUE = (
    _states.where(_due)
    .order_by(tier_states.c.next_review_on, tier_states.c.member_key)
    .limit(_limit)
    .with_for_update(key_share=True, skip_locked=True)
)
_LOCK_OUTDATED = (
    _by_key.where(_outdated, _later, or_(not_(_due), tier_states.c.next_review_on.is_(None)))
    .limit(_limit)
    .with_for_update(key_share=True, skip_locked=True)
)
_COUNT_EVERYONE = select(func.count()).select_from(tier_states)
_COUNT_DUE = _COUNT_EVERYONE.where(or_(_due, _outdated))

_wanted = (
    func.unnest(bindparam("member_keys", type_=ARRAY(BigInteger)), bindparam("afters", type_=ARRAY(Date)))
    .table_valued("member_key", "after", name="wanted")
    .render_derived()
)
_DAYS = (
    select(
        day_rows.c.member_key,
        day_rows.c.day,
        day_rows.c.goods_minor,
        day_rows.c.spend_minor,
        day_rows.c.orders,
        day_rows.c.unlinked_minor,
    )
    .select_from(_wanted.join(day_rows, day_rows.c.member_key == _wanted.c.member_key))
    .where(day_rows.c.day > _wanted.c.after)
    .order_by(day_rows.c.member_key, day_rows.c.day)
)

_FETCHED_AT_ONCE = 5_000

# Each row is looked up by its key and overwritten while its page is at hand. Left alone the planner reads the
# whole table, or all the pages first and then again.
_ONE_BY_ONE, _AS_EVER = (
    select(func.set_config("enable_hashjoin", way, True), func.set_config("enable_mergejoin", way, True))
    for way in ("off", "on")
)
_STAGE = text(
    "CREATE TEMPORARY TABLE IF NOT EXISTS tier_states_rated (LIKE tier_states) ON COMMIT DELETE ROWS"
)
_APPLY_STATES = text(
    """
    UPDATE tier_states s SET tier = r.tier, rank = r.rank, since = r.since,
        ruleset_version = r.ruleset_version, unqualified_since = r.unqualified_since,
        carrier_order_key = r.carrier_order_key, through = r.through, next_review_on = r.next_review_on,
        stands_until = r.stands_until, rated_rank = r.rated_rank, rated_since = r.rated_since,
        pinned_until = r.pinned_until
    FROM pg_temp.tier_states_rated r WHERE r.member_key = s.member_key
    """
)
_CLEAR_STAGE = text("DELETE FROM pg_temp.tier_states_rated")
_SET_REVIEWS = text(
    """
    UPDATE tier_states s SET next_review_on = r.next_review_on
    FROM unnest(CAST(:member_keys AS bigint[]), CAST(:days AS date[])) AS r (member_key, next_review_on)
    WHERE s.member_key = r.member_key
    """
)
_CHANGE_COLUMNS = (
    "member_key",
    "from_tier",
    "to_tier",
    "effective_at",
    "recorded_at",
    "cause",
    "ruleset_version",
    "metrics",
    "order_key",
    "refund_key",
    "import_key",
    "pin_key",
)

_UNEXPLAINED = text(
    """
    SELECT c.change_key, c.member_key, c.cause FROM tier_changes c
    WHERE NOT EXISTS (SELECT FROM tier_rulesets r WHERE r.version = c.ruleset_version)
       OR NOT (c.metrics ?& ARRAY['active_days', 'days_since_last_visit', 'net_spend', 'orders',
                                  'visit_interval_days'])
       OR (c.cause = 'order' AND c.order_key IS NULL)
       OR (c.cause = 'manual' AND c.pin_key IS NULL)
       OR (c.cause = 'refund' AND c.order_key IS NULL AND c.refund_key IS NULL)
    ORDER BY c.change_key
    """
)
_DROP = text("DELETE FROM tier_states WHERE member_key = :member_key")
_STATELESS = text(
    "SELECT key FROM unnest(CAST(:member_keys AS bigint[])) AS key "
    "WHERE NOT EXISTS (SELECT FROM tier_states s WHERE s.member_key = key) ORDER BY key"
)


def add_missing_states(
    conn: Connection, *, member_keys: Sequence[int], tier: str, ruleset_version: int, now: datetime
) -> None:
    """Give members without a state one to lock; the caller overwrites it in the same transaction."""
    conn.execute(
        _ADD_MISSING,
        {"member_keys": list(member_keys), "tier": tier, "ruleset_version": ruleset_version, "now": now},
    )


def drop_state(conn: Connection, *, member_key: int) -> None:
    """End a membership's tier."""
    conn.execute(_DROP, {"member_key": member_key})


def lock_states(conn: Connection, *, member_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return the states of some members by key, held until the transaction ends."""
    return conn.execute(_LOCK_SOME, {"member_keys": list(member_keys)}).all()


def list_states(conn: Connection, *, member_keys: Sequence[int]) -> Sequence[Row[Any]]:
    """Return the states of some members by key."""
    return conn.execute(_READ_SOME, {"member_keys": list(member_keys)}).all()


def lock_due(conn: Connection, *, today: date, limit: int) -> Sequence[Row[Any]]:
    """Return states that are due by a day and that nobody else holds, the longest overdue first."""
    return conn.execute(_LOCK_DUE, {"today": today, "limit": limit}).all()


def lock_outdated(
    conn: Connection, *, versions: Sequence[int], today: date, after: int, limit: int
) -> Sequence[Row[Any]]:
    """Return the next states by key last rated under one of these rule sets, that nobody else holds.

    Those due by a day anyway are left out.
    """
    return conn.execute(
        _LOCK_OUTDATED, {"outdated": list(versions), "today": today, "after": after, "limit": limit}
    ).all()


def list_due(
    conn: Connection, *, today: date, versions: Sequence[int] = (), after: int, limit: int
) -> Sequence[Row[Any]]:
    """Return the next states by key due by a day, or last rated under these rule sets; holds none."""
    return conn.execute(
        _READ_DUE, {"today": today, "outdated": list(versions), "after": after, "limit": limit}
    ).all()


def count_states(conn: Connection, *, due_by: date | None, versions: Sequence[int] = ()) -> int:
    """Return how many states there are, or how many are due by a day or were rated under these rule sets."""
    if due_by is None:
        return int(conn.execute(_COUNT_EVERYONE).scalar_one())
    return int(conn.execute(_COUNT_DUE, {"today": due_by, "outdated": list(versions)}).scalar_one())


def list_days(conn: Connection, *, afters: Mapping[int, date]) -> Iterator[Sequence[Any]]:
    """Yield member key and totals of each member's days after that member's own day, by member and day.

    Totals as in `activity.rules.DayTotals`.
    """
    found = conn.execute(_DAYS, {"member_keys": list(afters), "afters": list(afters.values())})
    # Many at a time: a row fetched alone costs as much as what is then done with it.
    for part in found.partitions(_FETCHED_AT_ONCE):
        yield from part


def list_unexplained_changes(conn: Connection) -> Iterable[Row[Any]]:
    """Return changes without a published rule set, their metrics, or the fact they name as cause."""
    return conn.execute(_UNEXPLAINED)


def list_stateless(conn: Connection, *, member_keys: Sequence[int]) -> Sequence[int]:
    """Return which of some members have no state."""
    return conn.execute(_STATELESS, {"member_keys": list(member_keys)}).scalars().all()


def write_states(conn: Connection, *, rows: Sequence[Mapping[str, object]]) -> None:
    """Overwrite many states at once, through COPY."""
    if not rows:
        return
    conn.execute(_STAGE)
    # Of what the same transaction wrote before; its end clears it at less cost.
    conn.execute(_CLEAR_STAGE)
    columns = _filled(_COLUMNS, rows)
    _copy(conn, "pg_temp.tier_states_rated", columns, map(itemgetter(*columns), rows))
    _apply(conn, _APPLY_STATES, {})


def write_reviews(conn: Connection, *, days: Mapping[int, date | None]) -> None:
    """Set the days on which some members are due next, None for none, and leave the rest of their states."""
    if days:
        _apply(conn, _SET_REVIEWS, {"member_keys": list(days), "days": list(days.values())})


def _apply(conn: Connection, update: Executable, parameters: Mapping[str, object]) -> None:
    conn.execute(_ONE_BY_ONE)
    conn.execute(update, parameters)
    conn.execute(_AS_EVER)


def append_changes(conn: Connection, *, rows: Sequence[Mapping[str, object]]) -> None:
    """Append many changes to the log at once, through COPY, in the order given."""
    if rows:
        columns = _filled(_CHANGE_COLUMNS, rows)
        told = ({**row, "metrics": dumps(row["metrics"])} for row in rows)
        _copy(conn, "tier_changes", columns, map(itemgetter(*columns), told))


def _filled(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the columns that are not null in every row, as half of them mostly are: the rest is not sent."""
    return [name for name in columns if any(row[name] is not None for row in rows)]


def _copy(conn: Connection, table: str, columns: Sequence[str], rows: Iterable[tuple[object, ...]]) -> None:
    driver = conn.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError("COPY needs a psycopg connection")
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
    with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for row in rows:
            copy.write_row(row)
