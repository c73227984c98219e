"""Trainings can be watched: one that waits, one that runs, and how the last ones ended."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from recommender.errors import EngineMissing
from service.kit.clock import read_clock
from service.kit.db import open_engine
from service.recommendations import store_trainings as store
from service.recommendations.errors import NothingToLearn
from service.recommendations.trainings import list_trainings, recorded, request_training


def listed(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as conn:
        found: list[dict[str, Any]] = list_trainings(conn)["data"]
    return found


def test_a_training_tells_how_far_it_is_and_what_came_of_it(engine: Engine) -> None:
    told: list[tuple[str, int, int | None]] = []
    with recorded(engine, clock=read_clock, also=lambda *step: told.append(step)) as recording:
        recording.tell("read", 20_000, None)
        (running,) = listed(engine)
        assert (running["state"], running["stage"], running["done"]) == ("running", "read", 20_000)
        assert (running["total"], running["finished_at"], running["version"]) == (None, None, None)
        recording.tell("train", 1, 4)
        recording.trained = "2026-11-22.1"
    (done,) = listed(engine)
    assert (done["state"], done["stage"], done["done"], done["total"]) == ("done", "train", 1, 4)
    assert (done["version"], done["detail"]) == ("2026-11-22.1", None)
    assert done["started_at"] <= done["finished_at"]
    assert told == [("read", 20_000, None), ("train", 1, 4)]


def test_progress_within_a_stage_is_noted_once_a_second(engine: Engine) -> None:
    now = read_clock()
    clock = iter([now + timedelta(seconds=tenths / 10) for tenths in (0, 0, 4, 8, 12, 20)])
    with recorded(engine, clock=lambda: next(clock)) as recording:
        seen = []
        for done in (1, 2, 3, 4):
            recording.tell("train", done, 4)
            seen.append(listed(engine)[0]["done"])
    assert seen == [1, 1, 1, 4]


@pytest.mark.parametrize(
    ("error", "state", "detail"),
    [
        (NothingToLearn("nobody has bought anything"), "nothing_to_learn", "nobody has bought anything"),
        (EngineMissing("Java 17 is not there"), "failed", "Java 17 is not there"),
        # What nobody foresaw may quote what somebody sent.
        (
            ValueError("mei-lin@example.org"),
            "failed",
            "ValueError: the log of the process that trained says more",
        ),
    ],
)
def test_a_training_that_fails_says_why_and_still_fails(
    engine: Engine, error: Exception, state: str, detail: str
) -> None:
    with pytest.raises(type(error)), recorded(engine, clock=read_clock) as recording:
        recording.tell("read", 1, None)
        raise error
    (failed,) = listed(engine)
    assert (failed["state"], failed["detail"], failed["version"]) == (state, detail, None)
    assert failed["finished_at"] is not None


def test_a_training_whose_process_died_is_told_as_cut_off(engine: Engine) -> None:
    alone = open_engine(engine.url.render_as_string(hide_password=False), pool_size=1)
    conn = alone.connect().execution_options(isolation_level="AUTOCOMMIT")
    run_key = store.begin(conn, now=read_clock())
    store.tell(conn, run_key=run_key, done=2, detail={"stage": "train", "total": 4})
    assert listed(engine)[0]["state"] == "running"
    # As when the process is killed: its connection goes, and nobody says a word.
    conn.invalidate()
    alone.dispose()
    assert [listed(engine)[0][name] for name in ("state", "stage", "done")] == ["cut_off", "train", 2]


def test_a_training_goes_on_when_its_progress_can_no_longer_be_noted(engine: Engine) -> None:
    with recorded(engine, clock=read_clock) as recording:
        recording.tell("read", 1, None)
        with engine.begin() as other:
            pid = text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
            assert other.scalars(pid).all() == [True]
        recording.tell("train", 1, 4)
        recording.tell("write", 1, 1)
        recording.trained = "2026-11-22.2"
    (done,) = listed(engine)
    assert (done["state"], done["version"], done["stage"]) == ("done", "2026-11-22.2", "read")


def test_two_trainings_at_once_are_two(engine: Engine) -> None:
    both = threading.Barrier(2, timeout=30)

    def train(version: str) -> None:
        with recorded(engine, clock=read_clock) as recording:
            both.wait()
            recording.trained = version
            both.wait()

    threads = [threading.Thread(target=train, args=(version,)) for version in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {run["version"] for run in listed(engine)} == {"a", "b"}
    assert [run["state"] for run in listed(engine)] == ["done", "done"]


def test_the_last_fifty_are_kept_and_twenty_shown(engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(text("INSERT INTO job_runs (job, started_at) VALUES ('another', now())"))
    for number in range(53):
        with recorded(engine, clock=read_clock) as recording:
            recording.trained = str(number)
    assert [run["version"] for run in listed(engine)] == [str(number) for number in range(52, 32, -1)]
    with engine.connect() as conn:
        counted = conn.execute(text("SELECT job, count(*) FROM job_runs GROUP BY job ORDER BY job"))
        assert [tuple(row) for row in counted] == [("another", 1), ("models.train", 50)]


def test_one_that_was_asked_for_waits_for_the_worker(engine: Engine) -> None:
    with engine.begin() as conn:
        assert not list_trainings(conn)["waiting"]
        assert request_training(conn, now=read_clock())
        assert not request_training(conn, now=read_clock())
    with engine.connect() as conn:
        assert list_trainings(conn) == {"waiting": True, "data": []}
