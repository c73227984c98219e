"""A real deadlock between two who want the same accounts: one is broken off, and nobody hears of it."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, text

from service.kit.db import transaction
from service.ledger import operations as ledger
from tests.api.conftest import Client
from tests.api.test_points import adjust
from tests.api.test_points_holds import with_points

LOCK = text("SELECT 1 FROM balances WHERE member_key = :key FOR NO KEY UPDATE")
WAITING = text(
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event IN ('transactionid', 'advisory')"
)


def wait_until_somebody_waits(conn: Connection, *, how_many: int = 1) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        waiting = conn.scalar(WAITING)
        # One transaction would see for ever what it saw first.
        conn.rollback()
        if waiting >= how_many:
            return
        time.sleep(0.01)
    raise AssertionError("nobody waits for a lock")


def test_a_deadlock_over_a_merged_account_is_tried_again_and_the_caller_hears_nothing(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with_points(client, 100, member="m2")
    with_points(client, 10, member="m1")
    with client.engine.connect() as conn:
        rows = conn.execute(text("SELECT member_id, member_key FROM members"))
        keys = {row.member_id: row.member_key for row in rows}
    with transaction(client.engine) as conn:
        ledger.merge_accounts(
            conn,
            from_member_key=keys["m1"],
            into_member_key=keys["m2"],
            now=datetime.now(UTC),
            reason="the same person",
            actor="ada",
        )
    statuses: list[int] = []
    # The request locks m1, which leads it to m2; the other side holds m2 and then wants m1.
    caller = threading.Thread(target=lambda: statuses.append(adjust(client, 5).status_code))
    with caplog.at_level(logging.WARNING, logger="service.kit.db"), client.engine.connect() as watcher:
        with transaction(client.engine) as conn:
            # The other side is patient, so that the request is the one that is broken off.
            conn.execute(text("SET LOCAL deadlock_timeout = '60s'"))
            conn.execute(LOCK, {"key": keys["m2"]})
            caller.start()
            wait_until_somebody_waits(watcher)
            conn.execute(LOCK, {"key": keys["m1"]})
        caller.join(30)
    assert statuses == [201]
    assert "broken off by PostgreSQL" in caplog.text
    with client.engine.connect() as conn:
        assert (
            conn.scalar(text("SELECT available FROM balances WHERE member_key = :key"), {"key": keys["m2"]})
            == 115
        )
        assert ledger.check_laws(conn) == []
