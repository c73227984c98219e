"""Tell other systems: rows written in the same transaction as the change, delivered later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from service.kit.db import dumps, run

_INSERT = text(
    "INSERT INTO outbox (topic, member_key, payload, occurred_at) "
    "VALUES (:topic, :member_key, CAST(:payload AS jsonb), :occurred_at)"
)

_INSERT_ALL = text(
    "INSERT INTO outbox (topic, member_key, payload, occurred_at) "
    "SELECT e.topic, e.member_key, CAST(e.payload AS jsonb), e.occurred_at FROM unnest("
    "CAST(:topics AS text[]), CAST(:member_keys AS bigint[]), CAST(:payloads AS text[]), "
    "CAST(:times AS timestamptz[])) AS e (topic, member_key, payload, occurred_at)"
)

# Identity values are given out before they commit, so a reader that goes by them passes over rows that are
# still in flight. Read in the order of transactions, and only those before the oldest one still running:
# nothing can come to stand before what has been read. One statement, so that all of it sees one snapshot.
_LIST = text("""
WITH start AS (
    SELECT transaction_id, event_key FROM outbox WHERE event_key = CAST(:after AS bigint)
), found AS (
    SELECT * FROM outbox
    WHERE transaction_id < pg_snapshot_xmin(pg_current_snapshot())
      AND (transaction_id, event_key) > (coalesce((SELECT transaction_id FROM start), CAST('0' AS xid8)),
                                         coalesce((SELECT event_key FROM start), 0))
      AND (CAST(:topics AS text[]) IS NULL OR topic = ANY (CAST(:topics AS text[])))
    ORDER BY transaction_id, event_key LIMIT :limit
), head AS (
    SELECT event_key FROM outbox WHERE transaction_id < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY transaction_id DESC, event_key DESC LIMIT 1
)
SELECT f.event_key, f.topic, f.member_key, f.payload, f.occurred_at, f.recorded_at,
       (SELECT event_key FROM head) AS head_key, EXISTS (SELECT FROM start) AS is_known
FROM (SELECT 1) one LEFT JOIN found f ON true
ORDER BY f.transaction_id, f.event_key
""")

# Transaction ids belong to a server: rows that a dump brought from an older one would count as in flight.
_ADOPT = text("""
UPDATE outbox SET transaction_id = CAST(CAST(greatest(
    0, CAST(CAST(transaction_id AS text) AS numeric) - ahead.by) AS text) AS xid8)
FROM (
    SELECT CAST(CAST(transaction_id AS text) AS numeric)
           - CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS numeric) + 1 AS by
    FROM (SELECT transaction_id FROM outbox ORDER BY transaction_id DESC LIMIT 1) newest
    WHERE transaction_id >= pg_snapshot_xmax(pg_current_snapshot())
      AND transaction_id IS DISTINCT FROM pg_current_xact_id_if_assigned()
) ahead
""")

# From the front of the feed and only as far as everything is old: an old row behind a younger one waits, or a
# reader between the two would pass over it. The newest row stays, so that a reader who has read all of a
# quiet shop's feed is still known.
_FORGET = text("""
WITH oldest AS (
    SELECT transaction_id, event_key, recorded_at FROM outbox ORDER BY transaction_id, event_key LIMIT :limit
), stop AS (
    SELECT transaction_id, event_key FROM oldest WHERE recorded_at >= :before
    ORDER BY transaction_id, event_key LIMIT 1
), newest AS (
    SELECT event_key FROM outbox ORDER BY transaction_id DESC, event_key DESC LIMIT 1
)
DELETE FROM outbox o USING oldest d
WHERE o.event_key = d.event_key AND o.event_key <> (SELECT event_key FROM newest)
  AND NOT EXISTS (SELECT FROM stop s
                  WHERE (d.transaction_id, d.event_key) >= (s.transaction_id, s.event_key))
""")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to tell; `payload` carries ids and numbers, never personal data."""

    topic: str
    member_key: int | None
    payload: Mapping[str, object]
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Events:
    """A stretch of what was told, in the order in which it is safe to read.

    `head_key` is the last event that could be read at that moment, whatever its topic; None when there is
    none. `is_known` is false when the event to start after does not exist.
    """

    rows: Sequence[Row[Any]]
    head_key: int | None
    is_known: bool


def emit(
    conn: Connection,
    *,
    topic: str,
    member_key: int | None,
    payload: Mapping[str, object],
    occurred_at: datetime,
) -> None:
    """Write one event for delivery; it exists if and only if the caller's transaction commits.

    `payload` carries ids and numbers, never personal data.
    """
    run(
        conn,
        _INSERT,
        {
            "topic": topic,
            "member_key": member_key,
            "payload": dumps(dict(payload)),
            "occurred_at": occurred_at,
        },
    )


def emit_all(conn: Connection, *, events: Sequence[Event]) -> None:
    """Write several events in one statement, in their order."""
    if not events:
        return
    run(
        conn,
        _INSERT_ALL,
        {
            "topics": [event.topic for event in events],
            "member_keys": [event.member_key for event in events],
            "payloads": [dumps(dict(event.payload)) for event in events],
            "times": [event.occurred_at for event in events],
        },
    )


def forget_before(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete up to `limit` events that were recorded before a moment, the first ones first; return how many.

    Who reads on from a deleted event is told so: nobody passes over one in silence.
    """
    return conn.execute(_FORGET, {"before": before, "limit": limit}).rowcount


def list_events(
    conn: Connection, *, after: int | None, limit: int, topics: Sequence[str] | None = None
) -> Events:
    """Return up to `limit` committed events after one (None: from the beginning), without gaps.

    Whoever reads on from the last one returned meets every event exactly once, however transactions overlap.
    Events wait until every transaction that began writing before theirs has ended.
    """
    parameters = {"after": after, "limit": limit, "topics": None if topics is None else list(topics)}
    rows = conn.execute(_LIST, parameters).all()
    first = rows[0]
    found = [] if first.event_key is None else rows
    return Events(found, first.head_key, after is None or first.is_known)


def adopt_events(conn: Connection) -> int:
    """Make events readable that a dump brought from a server with higher transaction ids; return how many."""
    return conn.execute(_ADOPT).rowcount
