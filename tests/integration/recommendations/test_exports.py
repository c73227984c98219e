"""Exports for mailings: a line and an exposure a member, in chunks that a crash cannot tear."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from sqlalchemy import text

from service.recommendations import exports, operations
from service.recommendations.errors import ExportEnded, ExportNotReady, UnknownExport, UnknownSegment
from service.tiers.operations import ensure_default_ruleset
from tests.integration.recommendations.conftest import Running, open_serving
from tests.integration.recommendations.shop import NOON

RECOMMEND = "service.recommendations.exports.recommend"


@pytest.fixture
def willing(running: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """Everybody but the last five agreed to be written to; chunks are small."""
    monkeypatch.setattr(exports, "CHUNK", 10)
    with running.engine.begin() as conn:
        ensure_default_ruleset(conn, currency="TWD", now=NOON)
        conn.execute(
            text(
                "UPDATE members SET consent_marketing = '{\"granted\": true}' WHERE member_id < 'member-035'"
            )
        )
    return running


def request(running: Running, **wishes: Any) -> str:
    wanted = {"placement": "letter", "channel": "email", "limit": 5, "segment": None, "locale": "en"}
    with running.engine.begin() as conn:
        export = exports.request_export(conn, **{**wanted, **wishes}, requested_by="test", now=NOON)
    return str(export["export_id"])


def run(running: Running, export_id: str) -> None:
    serving = open_serving(running.models_folder)
    exports.run_export(running.engine, export_id=export_id, serving=serving, clock=lambda: NOON)


def read(running: Running, export_id: str) -> list[dict[str, Any]]:
    with running.engine.connect() as conn:
        parts = exports.open_lines(conn, engine=running.engine, export_id=export_id)
    return [orjson.loads(line) for part in parts() for line in part.splitlines()]


def state_of(running: Running, export_id: str) -> dict[str, Any]:
    with running.engine.connect() as conn:
        return exports.get_export(conn, export_id=export_id)


def count_exposures(running: Running) -> int:
    with running.engine.connect() as conn:
        return int(conn.scalar(text("SELECT count(*) FROM exposures WHERE placement = 'letter'")) or 0)


def test_everybody_who_agreed_gets_a_line_and_an_exposure_of_their_own(willing: Running) -> None:
    export_id = request(willing)
    assert state_of(willing, export_id)["state"] == "queued"
    run(willing, export_id)
    found = state_of(willing, export_id)
    assert (found["state"], found["members"], found["without_consent"]) == ("done", 35, 5)
    lines = read(willing, export_id)
    assert [line["member_id"] for line in lines] == [f"member-{number:03}" for number in range(35)]
    assert len({line["recommendation_id"] for line in lines}) == 35 == count_exposures(willing)
    assert all(len(line["items"]) == 5 for line in lines)
    assert {line["measurement"]["surface"]["placement"] for line in lines} == {"letter"}
    assert {line["measurement"]["assignment"]["is_holdout"] for line in lines} == {True, False}


def test_a_crash_in_the_middle_is_gone_on_from(willing: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    export_id = request(willing)
    answer, asked = operations.recommend, 0

    def die(*arguments: Any, **wishes: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 17:
            raise SystemExit
        return answer(*arguments, **wishes)

    monkeypatch.setattr(RECOMMEND, die)
    with pytest.raises(SystemExit):
        run(willing, export_id)
    assert state_of(willing, export_id)["state"] == "running"
    assert state_of(willing, export_id)["members"] == 10 == count_exposures(willing)
    with pytest.raises(ExportNotReady):
        read(willing, export_id)
    monkeypatch.setattr(RECOMMEND, answer)
    run(willing, export_id)
    lines = read(willing, export_id)
    assert len({line["member_id"] for line in lines}) == len(lines) == 35 == count_exposures(willing)


def test_a_job_that_breaks_says_so(willing: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    export_id = request(willing)

    def fail(*arguments: Any, **wishes: Any) -> Any:
        raise RuntimeError("no answer")

    monkeypatch.setattr(RECOMMEND, fail)
    with pytest.raises(RuntimeError):
        run(willing, export_id)
    found = state_of(willing, export_id)
    assert found["state"] == "failed"
    assert "ask again" in found["failure"]


def test_an_export_that_was_called_off_stays_off(willing: Running) -> None:
    export_id = request(willing)
    with willing.engine.begin() as conn:
        assert exports.cancel_export(conn, export_id=export_id, now=NOON)["state"] == "cancelled"
        assert exports.cancel_export(conn, export_id=export_id, now=NOON)["state"] == "cancelled"
    run(willing, export_id)
    assert state_of(willing, export_id)["state"] == "cancelled"
    assert count_exposures(willing) == 0
    done = request(willing)
    run(willing, done)
    with willing.engine.begin() as conn, pytest.raises(ExportEnded):
        exports.cancel_export(conn, export_id=done, now=NOON)


def test_a_segment_is_the_members_of_one_tier(willing: Running) -> None:
    with willing.engine.begin() as conn:
        code = conn.scalar(text("SELECT definition #>> '{tiers,1,code}' FROM tier_rulesets"))
        conn.execute(
            text(
                "UPDATE tier_states SET tier = :code WHERE member_key IN "
                "(SELECT member_key FROM members WHERE member_id IN ('member-003', 'member-020'))"
            ),
            {"code": code},
        )
    export_id = request(willing, segment=code)
    run(willing, export_id)
    assert [line["member_id"] for line in read(willing, export_id)] == ["member-003", "member-020"]
    with pytest.raises(UnknownSegment):
        request(willing, segment="no-such-tier")


def test_lines_are_forgotten_after_a_week(willing: Running) -> None:
    export_id = request(willing)
    run(willing, export_id)
    with willing.engine.begin() as conn:
        assert exports.forget_lines(conn, now=NOON) == 0
        assert exports.forget_lines(conn, now=NOON.replace(month=12)) == 4
    with pytest.raises(ExportNotReady, match="7 days"):
        read(willing, export_id)
    with pytest.raises(UnknownExport):
        read(willing, "rexp_" + "0" * 32)
