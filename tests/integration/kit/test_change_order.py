"""The outbox read as a feed: no gaps and no repetitions, however transactions overlap."""

from __future__ import annotations

import random
import threading
import time
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, text

from service.kit import outbox
from service.kit.db import transaction

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def tell(conn: Connection, number: int, *, topic: str = "test.told") -> None:
    """Emit one numbered event."""
    outbox.emit(conn, topic=topic, member_key=None, payload={"number": number}, occurred_at=NOW)


def numbers_after(conn: Connection, after: int | None = None) -> tuple[list[int], int | None]:
    """Return the numbers that can be read after an event, and the event to read on from."""
    found = outbox.list_events(conn, after=after, limit=1_000)
    assert found.is_known
    return [row.payload["number"] for row in found.rows], found.head_key


def test_an_event_that_commits_late_is_not_passed_over(engine: Engine) -> None:
    """The trap: the later identity value commits first, and a reader who goes by it loses the earlier."""
    with engine.connect() as slow, engine.connect() as reader:
        tell(slow, 1)
        with transaction(engine) as fast:
            tell(fast, 2)
        by_identity = reader.execute(text("SELECT payload FROM outbox ORDER BY event_key")).scalars().all()
        assert by_identity == [{"number": 2}], "the naive reader goes on from here and never sees 1"
        assert numbers_after(reader) == ([], None)
        slow.commit()
        assert numbers_after(reader)[0] == [1, 2]


def test_a_transaction_that_is_rolled_back_leaves_no_hole_to_wait_for(engine: Engine) -> None:
    with engine.connect() as broken:
        tell(broken, 1)
        with transaction(engine) as conn:
            tell(conn, 2)
        broken.rollback()
    with engine.connect() as reader:
        assert numbers_after(reader)[0] == [2]


def test_a_transaction_that_only_reads_holds_nothing_back(engine: Engine) -> None:
    with engine.connect() as idle, engine.connect() as reader:
        idle.execute(text("SELECT count(*) FROM outbox"))
        with transaction(engine) as conn:
            tell(conn, 1)
        assert numbers_after(reader)[0] == [1]


def test_several_events_of_one_statement_keep_their_order(engine: Engine) -> None:
    events = [outbox.Event("test.told", None, {"number": number}, NOW) for number in range(20)]
    with transaction(engine) as conn:
        outbox.emit_all(conn, events=events)
    with engine.connect() as reader:
        assert numbers_after(reader)[0] == list(range(20))


def test_a_reader_beside_many_writers_meets_every_event_exactly_once(engine: Engine) -> None:
    """Writers emit, dawdle, and commit or roll back in any order; the reader goes on page by page."""
    writers, each = 6, 25
    committed: list[int] = []
    lock = threading.Lock()
    chance = random.Random(7)
    plans = [
        [(writer * each + turn, chance.uniform(0, 0.02), chance.random() < 0.2) for turn in range(each)]
        for writer in range(writers)
    ]

    def write(plan: list[tuple[int, float, bool]]) -> None:
        for number, pause_seconds, gives_up in plan:
            with engine.connect() as conn:
                tell(conn, number)
                time.sleep(pause_seconds)
                tell(conn, number + 10_000)
                if gives_up:
                    conn.rollback()
                    continue
                conn.commit()
            with lock:
                committed.extend([number, number + 10_000])

    threads = [threading.Thread(target=write, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    met: list[int] = []
    after: int | None = None
    naive: set[int] = set()
    naive_after = 0
    while True:
        writing = any(thread.is_alive() for thread in threads)
        with engine.connect() as reader:
            found = outbox.list_events(reader, after=after, limit=7)
            by_identity = reader.execute(
                text("SELECT event_key, payload FROM outbox WHERE event_key > :after ORDER BY 1"),
                {"after": naive_after},
            ).all()
        met += [row.payload["number"] for row in found.rows]
        after = found.rows[-1].event_key if found.rows else after
        naive |= {row.payload["number"] for row in by_identity}
        naive_after = by_identity[-1].event_key if by_identity else naive_after
        if not writing and not found.rows:
            break
    for thread in threads:
        thread.join()
    assert len(met) == len(set(met))
    assert sorted(met) == sorted(committed)
    assert naive < set(committed), "this load must be one on which the naive reader loses events"


def test_an_event_to_read_on_from_that_does_not_exist_is_told_apart(engine: Engine) -> None:
    with transaction(engine) as conn:
        tell(conn, 1)
    with engine.connect() as reader:
        assert outbox.list_events(reader, after=10**12, limit=5).is_known is False


def test_events_that_a_dump_brought_from_an_older_server_are_adopted(engine: Engine) -> None:
    with transaction(engine) as conn:
        for number in range(3):
            tell(conn, number)
    with transaction(engine) as conn:
        # As after a restore: transaction ids that this server has not reached yet.
        conn.execute(
            text(
                "UPDATE outbox SET transaction_id = CAST(CAST(1000000000000 + event_key - (SELECT "
                "min(event_key) FROM outbox) AS text) AS xid8)"
            )
        )
    with engine.connect() as reader:
        assert numbers_after(reader) == ([], None)
    with transaction(engine) as conn:
        assert outbox.adopt_events(conn) == 3
    with transaction(engine) as conn:
        tell(conn, 3)
        assert outbox.adopt_events(conn) == 0
    with engine.connect() as reader:
        assert numbers_after(reader)[0] == [0, 1, 2, 3]


def test_reading_on_is_a_walk_along_the_index(engine: Engine) -> None:
    with transaction(engine) as conn:
        conn.execute(
            text(
                "INSERT INTO outbox (topic, payload, occurred_at) "
                "SELECT 'test.told', '{}', now() FROM generate_series(1, 20000)"
            )
        )
        conn.execute(text("ANALYZE outbox"))
    with engine.connect() as reader:
        last = reader.execute(text("SELECT max(event_key) FROM outbox")).scalar_one()
        parameters = {"after": last - 10, "limit": 5, "topics": None}
        plan = "\n".join(reader.execute(text(f"EXPLAIN {outbox._LIST.text}"), parameters).scalars())
    assert "Seq Scan" not in plan
    assert "ix_outbox_transaction_id_event_key" in plan
