"""Answers about the whole membership: asked once a day, computed by a job, restartable."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from service.kit.db import transaction
from service.kit.errors import Conflict
from service.tiers import reports, reports_store
from service.tiers.errors import UnknownReport
from service.tiers.reports import Report, ask_report, compute_report, find_latest_report, get_report
from tests.integration.tiers.shop import programme_in

NOW = datetime(2024, 6, 1, 3, 0, tzinfo=UTC)
TODAY = date(2024, 6, 1)
JOBS = text(
    "SELECT args ->> 'report_id' FROM procrastinate_jobs WHERE task_name = 'tiers.report' ORDER BY id"
)


def ask(engine: Engine, *, today: date = TODAY, **parameters: Any) -> Report:
    with transaction(engine) as conn:
        return ask_report(
            conn, kind="worth", parameters=parameters, as_of=date(2024, 1, 1), today=today, now=NOW
        )


def compute(engine: Engine, report: Report, answer: reports.Answer) -> bool:
    return compute_report(
        engine,
        report_id=report.report_id,
        answers={"worth": answer},
        programme=programme_in("UTC"),
        now=NOW,
    )


def answer_plainly(
    conn: Connection, *, parameters: Mapping[str, Any], as_of: date, **_: Any
) -> Mapping[str, Any]:
    return {"asked": dict(parameters), "of": as_of.isoformat()}


def look(engine: Engine, report: Report) -> Report:
    with engine.connect() as conn:
        return get_report(conn, report_id=report.report_id)


def test_the_same_question_of_the_same_day_is_one_report_and_one_job(engine: Engine) -> None:
    first, again = ask(engine, version=1, months=3), ask(engine, months=3, version=1)
    assert again == first
    assert first.state == "queued"
    with engine.connect() as conn:
        assert conn.scalars(JOBS).all() == [first.report_id]


def test_another_question_or_another_day_is_another_report(engine: Engine) -> None:
    asked = {
        ask(engine, version=1).report_id,
        ask(engine, version=2).report_id,
        ask(engine, version=1, today=date(2024, 6, 2)).report_id,
    }
    assert len(asked) == 3


def test_a_job_keeps_the_answer_and_asking_again_finds_it(engine: Engine) -> None:
    report = ask(engine, version=1)
    assert compute(engine, report, answer_plainly)
    done = look(engine, report)
    assert (done.state, done.result) == ("done", {"asked": {"version": 1}, "of": "2024-01-01"})
    assert done.computed_at == NOW
    assert ask(engine, version=1) == done
    with engine.connect() as conn:
        assert len(conn.scalars(JOBS).all()) == 1
        assert find_latest_report(conn, kind="worth") == done
        assert find_latest_report(conn, kind="forecast") is None


def test_a_done_report_is_not_computed_again(engine: Engine) -> None:
    report = ask(engine)
    assert compute(engine, report, answer_plainly)
    assert not compute(engine, report, refuse_plainly)
    assert look(engine, report).state == "done"


def refuse_plainly(conn: Connection, **_: Any) -> Mapping[str, Any]:
    raise Conflict("the draft was changed")


def break_down(conn: Connection, **_: Any) -> Mapping[str, Any]:
    conn.execute(text("SELECT 1 / 0"))
    raise AssertionError("not reached")


@pytest.mark.parametrize(
    ("answer", "reason"), [(refuse_plainly, "the draft was changed"), (break_down, reports.UNEXPECTED)]
)
def test_a_failure_is_kept_with_its_reason_and_can_be_tried_again(
    engine: Engine, answer: reports.Answer, reason: str
) -> None:
    report = ask(engine)
    assert compute(engine, report, answer)
    failed = look(engine, report)
    assert (failed.state, failed.failure, failed.result) == ("failed", reason, None)
    again = ask(engine)
    assert (again.report_id, again.state, again.failure) == (report.report_id, "queued", None)
    assert compute(engine, again, answer_plainly)
    assert look(engine, report).state == "done"


def test_a_report_whose_job_was_cut_off_is_computed_when_it_is_asked_again(engine: Engine) -> None:
    report = ask(engine)
    with transaction(engine) as conn:
        assert reports_store.claim(conn, report_id=report.report_id)
        conn.execute(text("UPDATE procrastinate_jobs SET status = 'doing'"))
    assert look(engine, report).state == "running"
    ask(engine)
    with engine.connect() as conn:
        assert conn.scalars(JOBS).all() == [report.report_id] * 2
    assert compute(engine, report, answer_plainly)
    assert look(engine, report).state == "done"


def test_a_second_job_beside_a_running_one_goes_home(engine: Engine) -> None:
    report = ask(engine)
    seen: list[bool | str] = []

    def answer_slowly(conn: Connection, **_: Any) -> Mapping[str, Any]:
        seen.append(compute(engine, report, refuse_plainly))
        seen.append(look(engine, report).state)
        return {}

    assert compute(engine, report, answer_slowly)
    assert seen == [False, "running"]
    assert look(engine, report).state == "done"


def test_a_report_that_nobody_asked_for_is_not_there(conn: Connection) -> None:
    with pytest.raises(UnknownReport):
        get_report(conn, report_id="trep_none")
