"""Months get their partitions ahead of their rows, and never in the way of anybody."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection, Engine, text

from service.kit.db import transaction
from service.kit.partitions import ensure_months

ADD = text(
    "INSERT INTO event_probe (key, at) VALUES (1, CAST(:at AS timestamptz)) "
    "RETURNING CAST(CAST(tableoid AS regclass) AS text)"
)


def make_table(conn: Connection) -> None:
    columns = "key int, at timestamptz, PRIMARY KEY (key, at)"
    conn.execute(text(f"CREATE TABLE event_probe ({columns}) PARTITION BY RANGE (at)"))
    conn.execute(text("CREATE TABLE event_probe_default PARTITION OF event_probe DEFAULT"))


def test_every_month_of_a_span_gets_a_partition_once(conn: Connection) -> None:
    make_table(conn)
    made = ensure_months(conn, table="event_probe", first=date(2011, 11, 30), last=date(2012, 1, 1))
    assert made == ["event_probe_y2011m11", "event_probe_y2011m12", "event_probe_y2012m01"]
    assert ensure_months(conn, table="event_probe", first=date(2011, 12, 5), last=date(2012, 1, 31)) == []
    for at, name in (("2011-12-31T23:59:59Z", "y2011m12"), ("2012-01-01T00:00:00Z", "y2012m01")):
        assert conn.execute(ADD, {"at": at}).scalar_one() == f"event_probe_{name}"
    assert conn.execute(ADD, {"at": "2012-02-01T00:00:00Z"}).scalar_one() == "event_probe_default"


def test_a_month_that_the_default_partition_holds_stays_there(conn: Connection) -> None:
    make_table(conn)
    conn.execute(ADD, {"at": "2011-12-15T00:00:00Z"})
    made = ensure_months(conn, table="event_probe", first=date(2011, 12, 1), last=date(2012, 1, 1))
    assert made == ["event_probe_y2012m01"]
    assert conn.execute(text("SELECT count(*) FROM event_probe")).scalar_one() == 1


def test_a_busy_table_is_left_alone_rather_than_waited_for(engine: Engine) -> None:
    with transaction(engine) as setup:
        make_table(setup)
    try:
        with engine.connect() as reader, transaction(engine) as conn:
            reader.execute(text("SELECT * FROM event_probe_default"))
            assert (
                ensure_months(conn, table="event_probe", first=date(2011, 12, 1), last=date(2011, 12, 1))
                == []
            )
            assert conn.execute(ADD, {"at": "2011-12-15T00:00:00Z"}).scalar_one() == "event_probe_default"
            reader.rollback()
    finally:
        with transaction(engine) as cleanup:
            cleanup.execute(text("DROP TABLE event_probe"))
