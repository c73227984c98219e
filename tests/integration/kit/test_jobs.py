"""A job exists if and only if the transaction that enqueued it commits."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from service.kit.db import transaction
from service.kit.jobs import defer

JOBS = text("SELECT task_name, args, status::text FROM procrastinate_jobs ORDER BY id")


def list_jobs(engine: Engine) -> list[tuple[str, dict[str, object], str]]:
    with engine.connect() as conn:
        return [tuple(row) for row in conn.execute(JOBS)]


def test_a_job_is_enqueued_with_its_arguments(engine: Engine) -> None:
    with transaction(engine) as conn:
        assert defer(conn, task="tiers.refold", arguments={"member_key": 7})
    assert list_jobs(engine) == [("tiers.refold", {"member_key": 7}, "todo")]


def test_a_job_of_a_refused_transaction_never_was(engine: Engine) -> None:
    with pytest.raises(RuntimeError), transaction(engine) as conn:
        defer(conn, task="tiers.refold", arguments={"member_key": 7})
        raise RuntimeError("refused")
    assert list_jobs(engine) == []


def test_a_job_that_waits_already_is_enough(engine: Engine) -> None:
    with transaction(engine) as conn:
        assert defer(conn, task="tiers.refold", arguments={"member_key": 7}, queueing_lock="refold-7")
        assert not defer(conn, task="tiers.refold", arguments={"member_key": 7}, queueing_lock="refold-7")
        assert defer(conn, task="tiers.refold", arguments={"member_key": 8}, queueing_lock="refold-8")
    assert len(list_jobs(engine)) == 2


def test_the_transaction_goes_on_after_a_job_that_waited_already(engine: Engine) -> None:
    with transaction(engine) as conn:
        defer(conn, task="tiers.refold", arguments={}, queueing_lock="one")
    with transaction(engine) as conn:
        defer(conn, task="tiers.refold", arguments={}, queueing_lock="one")
        conn.execute(text("INSERT INTO stores (store_id, created_at) VALUES ('s1', now())"))
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM stores")) == 1
