"""Months get partitions ahead of their rows, and a row finds its place with or without one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date

import pytest
from sqlalchemy import Connection, Engine, text

from service.kit import migrate
from service.kit.db import open_engine, transaction
from service.kit.partitions import PARTITIONED, ensure_months, keep_ahead
from tests.conftest import create_database, drop_database

INSERT = text(
    "INSERT INTO order_lines "
    "(order_key, placed_at, line_no, item_key, quantity, order_amount_minor, amount_minor) "
    "VALUES (1, CAST(:at AS timestamptz), 1, 1, 1, 100, 100)"
)
PLACE = text("SELECT tableoid::regclass::text FROM order_lines")


@pytest.fixture
def own(server_url: str) -> Iterator[Engine]:
    """A database of the test's own: what it commits changes the schema."""
    url = create_database(server_url)
    engine = open_engine(url, pool_size=4)
    migrate.upgrade(engine)
    yield engine
    engine.dispose()
    drop_database(server_url, url)


def test_the_list_of_partitioned_tables_is_that_of_the_database(conn: Connection) -> None:
    found = conn.scalars(text("SELECT partrelid::regclass::text FROM pg_partitioned_table")).all()
    assert set(found) == set(PARTITIONED)


def test_missing_months_are_made_and_rows_go_there(conn: Connection) -> None:
    made = ensure_months(conn, table="order_lines", first=date(2035, 11, 20), last=date(2036, 1, 2))
    assert made == ["order_lines_y2035m11", "order_lines_y2035m12", "order_lines_y2036m01"]
    conn.execute(INSERT, {"at": "2036-01-01 07:59:59+08"})
    assert conn.scalar(PLACE) == "order_lines_y2035m12"


def test_making_them_again_makes_nothing(conn: Connection) -> None:
    span = {"first": date(2035, 11, 1), "last": date(2035, 12, 1)}
    ensure_months(conn, table="orders", **span)
    assert ensure_months(conn, table="orders", **span) == []


def test_a_row_without_a_month_goes_to_the_default_and_its_month_is_left_there(conn: Connection) -> None:
    conn.execute(INSERT, {"at": "2035-11-20 00:00:00+00"})
    assert conn.scalar(PLACE) == "order_lines_default"
    made = ensure_months(conn, table="order_lines", first=date(2035, 11, 1), last=date(2035, 12, 1))
    assert made == ["order_lines_y2035m12"]
    assert conn.scalar(PLACE) == "order_lines_default"


def test_every_table_is_kept_ahead(conn: Connection) -> None:
    made = keep_ahead(conn, today=date(2035, 11, 21))
    assert {name.rsplit("_", 1)[0] for name in made} == set(PARTITIONED)
    assert {name.rsplit("_", 1)[1] for name in made} == {"y2035m11", "y2035m12", "y2036m01"}


def test_a_new_month_has_the_tables_keys_and_checks(conn: Connection) -> None:
    ensure_months(conn, table="order_lines", first=date(2035, 11, 1), last=date(2035, 11, 1))
    count = text(
        "SELECT count(*) FROM pg_constraint WHERE conrelid = CAST(:name AS regclass) AND contype <> 'n'"
    )
    parent, month = (conn.scalar(count, {"name": name}) for name in ("order_lines", "order_lines_y2035m11"))
    assert parent == month


def test_two_processes_that_make_the_same_month_do_no_harm(own: Engine) -> None:
    begin = threading.Barrier(2)
    made: list[list[str]] = []

    def make() -> None:
        begin.wait()
        with transaction(own) as conn:
            made.append(keep_ahead(conn, today=date(2035, 11, 21)))

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 2
    assert sorted(made[0] + made[1]) == sorted(set(made[0] + made[1]))
    assert len(made[0] + made[1]) == 3 * len(PARTITIONED)
