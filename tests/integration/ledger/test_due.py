"""What becomes due with time: reads show it at once, a sweep posts it, dated when it was due."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection, Engine, text

from service.ledger import operations as ledger
from tests.integration.ledger.books import Books


def test_reading_writes_nothing(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, expires=20)
    before = _everything(conn)
    assert books.read(at=10).available == 100
    assert books.read(at=20).available == 0
    assert _everything(conn) == before


def test_reads_show_before_the_sweep_what_the_sweep_then_posts(conn: Connection) -> None:
    books = _several_lots(conn)
    for day in (0, 3, 7, 9, 12, 25, 40):
        before = books.read(at=day)
        savepoint = conn.begin_nested()
        ledger.release_due(conn, now=books.when(day), limit=100)
        ledger.expire_due(conn, now=books.when(day), limit=100)
        assert books.read(at=day) == before
        balance = books.lock(at=day)
        assert (balance.available, balance.pending) == (before.available, before.pending)
        assert ledger.check_laws(conn) == []
        savepoint.rollback()


def test_a_release_and_an_expiry_are_dated_when_they_were_due(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, expires=20)
    books.lock(at=50)
    dated = [(entry.kind, entry.occurred_at, entry.recorded_at) for entry in reversed(books.entries())]
    assert dated == [
        ("earn", books.when(0), books.when(0)),
        ("release", books.when(7), books.when(50)),
        ("expire", books.when(20), books.when(50)),
    ]
    assert books.figures(at=50) == (0, 0, 0)


def test_locking_an_account_with_nothing_due_posts_nothing(conn: Connection) -> None:
    books = Books(conn)
    books.earn(1, 10_000, expires=20)
    books.lock(at=6)
    books.lock(at=7)
    books.lock(at=7)
    assert books.kinds() == ["earn", "release"]


def test_points_can_be_used_until_the_very_moment_they_expire(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(50, expires=10)
    books.adjust(-20, at=9.99)
    assert books.figures(at=9.99) == (30, 0, 0)
    assert books.figures(at=10) == (0, 0, 0)


def test_when_points_expire_their_spends_do_not_stay_behind(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(100, expires=10)
    books.adjust(100, expires=30)
    books.adjust(-60, at=1)
    assert books.figures(at=10) == (100, 0, 0)
    assert books.lock(at=10).available == 100
    assert books.figures(at=10) == (100, 0, 0)


def test_points_that_would_expire_before_they_are_available_expire_as_they_become_so(
    conn: Connection,
) -> None:
    books = Books(conn)
    books.earn(1, 10_000, pending_days=30, expires=20)
    assert books.figures(at=25) == (0, 100, 0)
    assert books.figures(at=30) == (0, 0, 0)
    books.lock(at=31)
    assert [(entry.kind, entry.occurred_at) for entry in reversed(books.entries())] == [
        ("earn", books.when(0)),
        ("release", books.when(30)),
        ("expire", books.when(30)),
    ]


def test_every_coming_expiry_is_shown_on_its_local_day_and_not_only_the_first(conn: Connection) -> None:
    books = Books(conn)
    # START is 10:00 in Taipei: 13.5 hours and more later is the next day there.
    books.adjust(10, expires=20)
    books.adjust(5, expires=20.4)
    books.adjust(7, expires=20.6)
    books.earn(1, 400, expires=30)
    books.adjust(1)
    assert books.read().expiring == (
        ledger.Expiring(15, "2026-03-21"),
        ledger.Expiring(7, "2026-03-22"),
        ledger.Expiring(4, "2026-03-31"),
    )
    assert books.read(at=21).expiring == (ledger.Expiring(4, "2026-03-31"),)


def test_what_is_available_is_worth_the_value_of_a_point(conn: Connection) -> None:
    books = Books(conn)
    books.adjust(7)
    books.earn(1, 10_000)
    assert books.read().value_minor == 7 * 30
    assert books.read(at=7).value_minor == 107 * 30


def test_a_sweep_goes_on_where_it_stopped_and_ends_with_nothing(engine: Engine) -> None:
    with engine.begin() as conn:
        for member in range(1, 8):
            Books(conn, member_key=member).earn(member, 10_000, expires=20)
    swept = _sweep_all(engine, day=7, limit=3)
    assert [chunk.released for chunk in swept] == [3, 3, 1]
    assert _sweep_all(engine, day=7, limit=3) == []
    with engine.connect() as conn:
        assert {Books(conn, member_key=member).lock(at=7).available for member in range(1, 8)} == {100}


def test_sweeps_at_once_neither_wait_nor_double(engine: Engine) -> None:
    members = range(1, 41)
    with engine.begin() as conn:
        for member in members:
            Books(conn, member_key=member).earn(member, 10_000, expires=20)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: _sweep_all(engine, day=30, limit=5), range(4)))
    _sweep_all(engine, day=30, limit=5)
    assert sum(chunk.released for run in runs for chunk in run) <= len(members)
    with engine.connect() as conn:
        assert ledger.check_laws(conn) == []
        kinds = Counter(conn.scalars(text("SELECT kind FROM ledger_transactions")))
        assert kinds == {"earn": 40, "release": 40, "expire": 40}


def test_a_sweep_passes_over_an_account_that_somebody_holds(engine: Engine) -> None:
    with engine.begin() as conn:
        for member in (1, 2):
            Books(conn, member_key=member).earn(member, 10_000)
    with engine.connect() as holder:
        Books(holder, member_key=1).lock()
        assert [chunk.members for chunk in _sweep_all(engine, day=7, limit=10)] == [1]
    assert [chunk.members for chunk in _sweep_all(engine, day=7, limit=10)] == [1]


def _sweep_all(engine: Engine, *, day: float, limit: int) -> list[ledger.Swept]:
    swept = []
    for sweep in (ledger.release_due, ledger.expire_due):
        while True:
            with engine.begin() as conn:
                chunk = sweep(conn, now=Books(conn).when(day), limit=limit)
            if chunk.members == 0:
                break
            swept.append(chunk)
    return swept


def _several_lots(conn: Connection) -> Books:
    books = Books(conn)
    books.earn(1, 10_000, expires=9)
    books.earn(2, 5_000, pending_days=0, expires=12)
    books.earn(3, 2_500, pending_days=20, expires=10)
    books.adjust(40)
    books.adjust(-15, at=1)
    books.take_back(1, 1, 5_000, at=2)
    return books


def _everything(conn: Connection) -> list[object]:
    return [
        conn.execute(text(f"SELECT * FROM {table} ORDER BY 1")).all()
        for table in ("balances", "lots", "postings", "ledger_transactions")
    ]
