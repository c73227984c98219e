"""An event exists if and only if the transaction that made it commits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from service.kit.db import transaction
from service.kit.outbox import Events, emit, forget_before, list_events
from service.worker import forget_changes

NOW = datetime(2026, 11, 21, 11, 3, 11, tzinfo=UTC)
PAYLOAD = {"order_id": "A-1", "points": 12, "name": "金卡"}


def test_an_event_is_written_with_what_it_tells(engine: Engine) -> None:
    with transaction(engine) as conn:
        emit(conn, topic="points.earned", member_key=7, payload=PAYLOAD, occurred_at=NOW)
    with engine.connect() as conn:
        row = conn.execute(text("SELECT topic, member_key, payload, occurred_at FROM outbox")).one()
    assert tuple(row) == ("points.earned", 7, PAYLOAD, NOW)


def test_an_event_of_a_refused_transaction_never_was(engine: Engine) -> None:
    with pytest.raises(RuntimeError), transaction(engine) as conn:
        emit(conn, topic="points.earned", member_key=7, payload=PAYLOAD, occurred_at=NOW)
        raise RuntimeError("refused")
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM outbox")) == 0


# --- how long events are kept -------------------------------------------------------------------------

LONG_AGO = timedelta(days=500)


def tell(engine: Engine, *ages: timedelta) -> list[int]:
    """Write one event per age, each in its own transaction, and return all keys in the feed's order."""
    for age in ages:
        with transaction(engine) as conn:
            emit(conn, topic="points.earned", member_key=None, payload=PAYLOAD, occurred_at=NOW)
            conn.execute(
                text("UPDATE outbox SET recorded_at = :at WHERE transaction_id = pg_current_xact_id()"),
                {"at": NOW - age},
            )
    return read(engine)


def read(engine: Engine, after: int | None = None) -> list[int]:
    return [row.event_key for row in list_all(engine, after).rows]


def list_all(engine: Engine, after: int | None = None) -> Events:
    with engine.connect() as conn:
        return list_events(conn, after=after, limit=100)


def forget(engine: Engine, *, limit: int = 1_000) -> int:
    with transaction(engine) as conn:
        return forget_before(conn, before=NOW - timedelta(days=400), limit=limit)


def test_old_events_are_forgotten_and_young_ones_are_not(engine: Engine) -> None:
    keys = tell(engine, LONG_AGO, LONG_AGO, timedelta(days=399), timedelta())
    assert forget(engine) == 2
    assert read(engine) == keys[2:]
    assert forget(engine) == 0


def test_a_reader_of_a_forgotten_event_is_told_and_one_of_a_kept_event_misses_nothing(engine: Engine) -> None:
    keys = tell(engine, LONG_AGO, timedelta(days=1), timedelta())
    forget(engine)
    assert not list_all(engine, keys[0]).is_known
    assert read(engine, keys[1]) == keys[2:]


def test_an_old_event_behind_a_younger_one_waits_for_it(engine: Engine) -> None:
    """Deleted, it would be a gap for whoever stands on the younger one."""
    keys = tell(engine, LONG_AGO, timedelta(days=1), LONG_AGO, timedelta())
    assert forget(engine) == 1
    assert read(engine, keys[1]) == keys[2:]


def test_who_has_read_everything_is_known_however_quiet_the_shop(engine: Engine) -> None:
    keys = tell(engine, LONG_AGO, LONG_AGO, LONG_AGO)
    assert forget(engine) == 2
    assert list_all(engine, keys[-1]).is_known
    later = tell(engine, timedelta())
    assert read(engine, keys[-1]) == later[-1:]
    assert forget(engine) == 1, "it is the newest no longer"


def test_events_are_forgotten_in_chunks(engine: Engine) -> None:
    tell(engine, *[LONG_AGO] * 7, timedelta())
    assert [forget(engine, limit=3) for _ in range(4)] == [3, 3, 1, 0]


def test_the_worker_forgets_all_that_is_old(engine: Engine) -> None:
    with transaction(engine) as conn:
        add_old_events(conn, count=2_500)
    tell(engine, timedelta())
    assert forget_changes(engine, before=NOW - timedelta(days=400)) == 2_500
    assert len(read(engine)) == 1


def add_old_events(conn: Connection, *, count: int) -> None:
    conn.execute(
        text(
            "INSERT INTO outbox (topic, payload, occurred_at, recorded_at) "
            "SELECT 'points.earned', '{}', :at, :at FROM generate_series(1, :count)"
        ),
        {"at": NOW - LONG_AGO, "count": count},
    )
