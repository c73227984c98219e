"""Movement on a real database, against a plain reading of the same logs."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any, Literal

import pytest
from sqlalchemy import Connection

from service.kit.clock import local_midnight
from service.kit.errors import Invalid
from service.tiers.errors import AsOfInFuture
from service.tiers.movement.operations import moment_of, moments_between, see_distribution, see_movements
from service.tiers.movement.reporting import MovementReport, movement_json, movement_table
from tests.conftest import SCALE
from tests.integration.tiers.logs import (
    DAYS,
    START,
    ZONE,
    Life,
    count_cohort,
    count_events,
    draw_lives,
    write_lives,
)
from tests.integration.tiers.shop import programme_in

NOW = START + timedelta(days=2 * DAYS)
PROGRAMME = programme_in(ZONE)
SEEDS = range(2 * SCALE)
PERIODS = [(3, 40), (20, 21), (0, 75), (33, 58)]
Basis = Literal["effective", "believed"]
BASES: tuple[Basis, ...] = ("effective", "believed")


def day(number: int) -> date:
    return START.date() + timedelta(days=number)


def midnight(number: int) -> datetime:
    return local_midnight(day(number), timezone=ZONE)


def see(conn: Connection, period: tuple[int, int], **asked: Any) -> MovementReport:
    options = {"view": "cohort", "basis": "effective", "split": None, "store_ids": None} | asked
    return see_movements(
        conn, start=day(period[0]), end=day(period[1]), now=NOW, programme=PROGRAMME, **options
    )


def flows_of(report: MovementReport) -> Counter[tuple[str | None, str | None, str | None]]:
    parts = report.groups if report.groups is not None else ((None, report.overall),)
    return Counter(
        {
            (flow.from_tier, flow.to_tier, part): flow.count
            for part, movement in parts
            for flow in movement.flows
        }
    )


def assert_reconciled(report: MovementReport, lives: list[Life]) -> None:
    """Hold every tier's figures against members counted one by one."""
    start, end = (local_midnight(day, timezone=ZONE) for day in (report.start, report.end))
    for at, name in ((start, "opening"), (end, "closing")):
        held = Counter(life.tier_at(at, report.basis) for life in lives)
        assert report.overall.totals is not None
        for total in report.overall.totals:
            assert getattr(total, name) == held[total.tier]
            assert total.difference == 0
    for _, movement in report.groups or ():
        assert all(total.difference == 0 for total in movement.totals or ())


@pytest.mark.parametrize("split", [None, "cause", "cohort", "store"])
@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("seed", SEEDS)
def test_both_views_are_what_reading_every_log_by_hand_gives(
    conn: Connection, seed: int, basis: Basis, split: str | None
) -> None:
    lives = draw_lives(seed, members=120)
    write_lives(conn, lives)
    for period in PERIODS:
        start, end = map(midnight, period)
        report = see(conn, period, basis=basis, split=split)
        expected, passed = count_cohort(lives, start, end, basis=basis, split=split)
        assert flows_of(report) == expected
        assert report.passed_through == passed
        assert_reconciled(report, lives)
        report = see(conn, period, basis=basis, split=split, view="event")
        assert flows_of(report) == count_events(lives, start, end, basis=basis, split=split)
        assert_reconciled(report, lives)


@pytest.mark.parametrize("basis", BASES)
def test_days_to_upgrade_follow_the_stays_begun_in_the_period(conn: Connection, basis: Basis) -> None:
    lives = draw_lives(7, members=150)
    write_lives(conn, lives)
    start, end = midnight(5), midnight(45)
    curves = see(conn, (5, 45), basis=basis).days_to_upgrade
    for tier, curve in curves.items():
        stays, risen = [], []
        for life in lives:
            moves = [move for move in life.moves(basis) if move[2] < end]
            for place, move in enumerate(moves):
                following = moves[place + 1] if place + 1 < len(moves) else None
                if move[1] != tier or move[2] < start:
                    continue
                stays.append(move)
                if following is not None and following[1] is not None and following[1] > tier:
                    risen.append((local(following[2]) - local(move[2])).days)
        assert (curve.stays, curve.risen) == (len(stays), len(risen))
        assert {step.days: step.risen for step in curve.steps} == Counter(risen)
    assert set(curves) == {"t0", "t1", "t2"}, "nobody rises from the top"


def local(moment: datetime) -> date:
    return next(day(n) for n in range(2 * DAYS, -2, -1) if midnight(n) <= moment)


@pytest.mark.parametrize("basis", BASES)
def test_the_distribution_over_time_is_who_held_what_at_each_moment(conn: Connection, basis: Basis) -> None:
    lives = draw_lives(11, members=120)
    write_lives(conn, lives)
    moments = moments_between(day(0), day(70), step="day", now=NOW, timezone=ZONE)
    report = see_distribution(conn, moments=moments, basis=basis, store_ids=None)
    assert len(report.points) == 71
    for at, held in report.points:
        expected = Counter(life.tier_at(at, basis) for life in lives)
        assert held == {code: expected[code] for code in report.ladder.codes}
    weekly = moments_between(day(0), day(70), step="week", now=NOW, timezone=ZONE)
    assert [dict(report.points)[at] for at in weekly] == [
        held for _, held in see_distribution(conn, moments=weekly, basis=basis, store_ids=None).points
    ]


def test_a_key_held_to_a_store_counts_its_members_alone(conn: Connection) -> None:
    lives = draw_lives(3, members=100)
    write_lives(conn, lives)
    north = [life for life in lives if life.store_id == "north"]
    report = see(conn, (3, 40), store_ids=("north",))
    assert (
        flows_of(report) == count_cohort(north, midnight(3), midnight(40), basis="effective", split=None)[0]
    )
    assert flows_of(see(conn, (3, 40), store_ids=())) == Counter()
    moments = [midnight(40)]
    point = see_distribution(conn, moments=moments, basis="effective", store_ids=("north",)).points[0]
    assert sum(point[1].values()) == sum(
        life.tier_at(midnight(40), "effective") is not None for life in north
    )


def test_the_report_as_data_and_as_a_table_tells_the_same_cells(conn: Connection) -> None:
    write_lives(conn, draw_lives(5, members=60))
    report = see(conn, (3, 40), split="store")
    told = movement_json(report, locale="zh-Hant")
    rows = list(movement_table(report).rows)
    cells = [
        (group["group"], cell["from"], cell["to"], cell["count"])
        for group in told["groups"]
        for cell in group["matrix"]
    ]
    assert [(row[1], row[2], row[3], row[5]) for row in rows] == cells
    nodes, links = told["sankey"]["nodes"], told["sankey"]["links"]
    assert [
        (nodes[link["source"]]["tier"], nodes[link["target"]]["tier"], link["value"]) for link in links
    ] == [(cell["from"], cell["to"], cell["count"]) for cell in told["matrix"]]
    assert {node["label"] for node in nodes} <= {"等級", "非會員"}


def test_a_period_that_is_empty_too_long_or_not_over_is_refused(conn: Connection) -> None:
    write_lives(conn, [])
    with pytest.raises(Invalid, match="not after"):
        see(conn, (5, 5))
    with pytest.raises(Invalid, match="more than"):
        see(conn, (-4000, 5))
    with pytest.raises(AsOfInFuture):
        see(conn, (5, 2 * DAYS + 2))
    assert flows_of(see(conn, (5, 2 * DAYS + 1))) == Counter(), "up to tonight is told up to now"


def test_steps_are_days_weeks_or_months_and_a_short_month_ends_early() -> None:
    def days(start: date, end: date, step: Any) -> list[date]:
        moments = moments_between(start, end, step=step, now=NOW, timezone="UTC")
        return [moment.date() for moment in moments]

    assert days(date(2024, 1, 31), date(2024, 4, 30), "month") == [
        date(2024, 1, 31),
        date(2024, 2, 29),
        date(2024, 3, 31),
        date(2024, 4, 30),
    ]
    assert days(date(2024, 1, 1), date(2024, 1, 14), "week") == [date(2024, 1, 1), date(2024, 1, 8)]
    for refused in ((date(2023, 1, 1), date(2024, 5, 1)), (date(2024, 2, 2), date(2024, 2, 1))):
        with pytest.raises(Invalid):
            days(*refused, "day")
    with pytest.raises(AsOfInFuture):
        days(date(2024, 1, 1), NOW.date() + timedelta(days=1), "day")


def test_a_day_is_told_as_of_its_end_and_a_time_as_of_itself(conn: Connection) -> None:
    assert moment_of(date(2024, 3, 1), now=NOW, timezone="UTC").isoformat() == "2024-03-02T00:00:00+00:00"
    instant = timedelta(microseconds=1)
    assert moment_of(None, now=NOW, timezone="UTC") == NOW + instant
    assert moment_of(NOW.date(), now=NOW, timezone="UTC") == NOW + instant
    assert moment_of(START, now=NOW, timezone="UTC") == START + instant
    for ahead in (NOW + instant, NOW.date() + timedelta(days=1)):
        with pytest.raises(AsOfInFuture):
            moment_of(ahead, now=NOW, timezone="UTC")
    write_lives(conn, [life := draw_lives(2, members=1)[0]])
    at = life.rows[0].effective_at
    told = see_distribution(
        conn, moments=[moment_of(at, now=NOW, timezone=ZONE)], basis="effective", store_ids=None
    )
    assert sum(told.points[0][1].values()) == 1, "who joined at that very moment is in"
