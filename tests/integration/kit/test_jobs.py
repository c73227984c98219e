"""A job exists if and only if the transaction that enqueued it commits."""

from __future__ import annotations

import asyncio

import procrastinate
import pytest
from sqlalchemy import Engine, text

from service.kit.db import transaction
from service.kit.jobs import MOST_ATTEMPTS, defer, rescue_stalled

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


def leave_behind(engine: Engine, lock: str, *, attempts: int = 1) -> None:
    """Leave what a killed worker leaves: a job taken `attempts` times, last by one that beats no more."""
    with transaction(engine) as conn:
        defer(conn, task="tiers.refold", arguments={}, queueing_lock=lock)
        dead = conn.scalar(
            text(
                "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour') "
                "RETURNING id"
            )
        )
        conn.execute(
            text(
                "UPDATE procrastinate_jobs SET status = 'doing', worker_id = :dead, attempts = :attempts "
                "WHERE queueing_lock = :lock"
            ),
            {"dead": dead, "attempts": attempts, "lock": lock},
        )


def rescue(engine: Engine) -> dict[str, list[str]]:
    """Rescue what is stalled; return the states of the jobs of each lock, in order."""
    conninfo = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=conninfo))

    async def run() -> None:
        async with app.open_async():
            await rescue_stalled(app.job_manager)

    asyncio.run(run())
    states: dict[str, list[str]] = {}
    with engine.connect() as conn:
        for lock, state in conn.execute(
            text("SELECT queueing_lock, status::text FROM procrastinate_jobs ORDER BY id")
        ):
            states.setdefault(lock, []).append(state)
    return states


def test_a_job_whose_worker_died_waits_again(engine: Engine) -> None:
    leave_behind(engine, "one")
    assert rescue(engine) == {"one": ["todo"]}


def test_a_job_whose_like_waits_already_is_ended_and_does_not_keep_others_from_their_rescue(
    engine: Engine,
) -> None:
    leave_behind(engine, "one")
    with transaction(engine) as conn:
        assert defer(conn, task="tiers.refold", arguments={}, queueing_lock="one")
    leave_behind(engine, "two")
    assert rescue(engine) == {"one": ["aborted", "todo"], "two": ["todo"]}


def test_a_job_that_was_cut_off_too_often_is_given_up(engine: Engine) -> None:
    leave_behind(engine, "poisonous", attempts=MOST_ATTEMPTS)
    leave_behind(engine, "unlucky", attempts=MOST_ATTEMPTS - 1)
    assert rescue(engine) == {"poisonous": ["failed"], "unlucky": ["todo"]}
