"""The hold-out starts once, arms are drawn once, exposures are kept, the baseline is the hold-out's own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from service.experiments import operations
from service.experiments.errors import ExposureNotFound
from service.kit.ids import new_uuid
from tests.integration.recommendations.shop import NOON, Shop, days_before


@pytest.fixture
def shop(conn: Connection) -> Shop:
    return Shop(conn)


@pytest.fixture
def holdout(conn: Connection) -> operations.Experiment:
    return operations.ensure_global_holdout(conn, now=days_before(400), today=days_before(400).date())


def test_the_global_holdout_starts_once_at_ten_percent(conn: Connection) -> None:
    first = operations.ensure_global_holdout(conn, now=NOON, today=NOON.date())
    again = operations.ensure_global_holdout(conn, now=NOON + timedelta(days=90), today=NOON.date())
    assert first == again
    assert first.experiment == "global-holdout-2026h2"
    assert [(arm.arm, arm.weight_bp) for arm in first.arms] == [("holdout", 1000), ("treatment", 9000)]
    assert (first.window_days, first.refund_grace_days) == (60, 30)


def test_many_processes_start_one_holdout(engine: Engine) -> None:
    def start(_: int) -> int:
        with engine.begin() as conn:
            started = operations.ensure_global_holdout(conn, now=NOON, today=NOON.date())
            assert started is not None
            return started.experiment_key

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(16)))) == 1


def test_an_assignment_is_written_once_and_read_back(
    conn: Connection, shop: Shop, holdout: operations.Experiment
) -> None:
    key = shop.member("member-0001", tier="silver")
    first = operations.assign_member(
        conn, experiment=holdout, member_key=key, member_id="member-0001", tier="silver", now=NOON
    )
    again = operations.assign_member(
        conn,
        experiment=holdout,
        member_key=key,
        member_id="member-0001",
        tier="gold",
        now=NOON + timedelta(days=9),
    )
    assert again == first
    assert (first.tier_at_assignment, first.reason) == ("silver", "split")
    assert operations.list_assignments(conn, member_key=key) == [first]


def test_many_first_requests_at_once_write_one_assignment(engine: Engine) -> None:
    with engine.begin() as conn:
        key = Shop(conn).member("m-1")
        holdout = operations.ensure_global_holdout(conn, now=NOON, today=NOON.date())

    def assign(number: int) -> operations.Assignment:
        with engine.begin() as conn:
            return operations.assign_member(
                conn,
                experiment=holdout,
                member_key=key,
                member_id="m-1",
                tier=None,
                now=NOON + timedelta(seconds=number),
            )

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(assign, range(16)))
    assert len({one.assigned_at for one in found}) == 1


def test_looking_never_enrols(conn: Connection, shop: Shop, holdout: operations.Experiment) -> None:
    key = shop.member("m-1", tier="base")
    subject = operations.find_subject(conn, member_id="m-1")
    assert (subject.member_key, subject.tier, subject.assignment) == (key, "base", None)
    assert subject.running == holdout
    assert operations.find_assignment(conn, member_key=key, experiment=holdout.experiment) is None
    assert conn.execute(text("SELECT count(*) FROM assignments")).scalar_one() == 0


def test_a_stranger_is_no_subject(conn: Connection, holdout: operations.Experiment) -> None:
    subject = operations.find_subject(conn, member_id="nobody")
    assert (subject.member_key, subject.assignment, subject.baseline) == (None, None, None)


def test_without_any_experiment_there_is_still_one_row(conn: Connection, shop: Shop) -> None:
    shop.member("m-1")
    subject = operations.find_subject(conn, member_id="m-1")
    assert (subject.running, subject.assignment) == (None, None)


def test_an_exposure_is_read_back_by_its_id(conn: Connection, shop: Shop) -> None:
    exposure = operations.Exposure(
        exposure_id=new_uuid(NOON),
        issued_at=NOON,
        member_key=shop.member("m-1"),
        experiment_key=None,
        arm=None,
        policy="popularity",
        model_version=None,
        fallback="popular",
        placement="home",
        channel="web",
        window_end=None,
        item_keys=[3, 1, 2],
        decision={"scores": [0.5, 0.25, 0.1]},
    )
    operations.record_exposure(conn, exposure=exposure, relaxed=True)
    saved = operations.get_exposure(conn, exposure_id=exposure.exposure_id, issued_about=NOON)
    assert (saved.exposure, saved.member_id) == (exposure, "m-1")
    assert conn.execute(text("SHOW synchronous_commit")).scalar_one() == "off"
    with pytest.raises(ExposureNotFound):
        operations.get_exposure(conn, exposure_id=new_uuid(NOON), issued_about=NOON)


def test_a_durable_exposure_leaves_the_commit_alone(conn: Connection) -> None:
    exposure = operations.Exposure(
        new_uuid(NOON), NOON, None, None, None, "popularity", None, None, "home", None, None, [], {}
    )
    operations.record_exposure(conn, exposure=exposure, relaxed=False)
    assert conn.execute(text("SHOW synchronous_commit")).scalar_one() == "on"


def _hold_out(conn: Connection, shop: Shop, holdout: operations.Experiment, number: int, days: float) -> int:
    """Put a new member into the hold-out that many days ago."""
    key = shop.member(f"held-{number}", tier="silver")
    conn.execute(
        text(
            "INSERT INTO assignments (experiment, member_key, experiment_key, arm, bucket, reason, "
            "assigned_at, tier_at_assignment) "
            "VALUES (:experiment, :key, :version, 'holdout', 0, 'split', :at, 'silver')"
        ),
        {
            "experiment": holdout.experiment,
            "key": key,
            "version": holdout.experiment_key,
            "at": days_before(days),
        },
    )
    return key


def test_the_baseline_is_what_mature_members_of_the_holdout_did_in_their_own_window(
    conn: Connection, shop: Shop, holdout: operations.Experiment
) -> None:
    came_back, stayed_away, refunded, refunded_late, in_progress, too_late, immature, cancelled = (
        _hold_out(conn, shop, holdout, number, 50 if number == 6 else 200) for number in range(8)
    )
    shop.order(came_back, {"a": 1}, at=days_before(200))
    shop.order(stayed_away, {"a": 1}, at=days_before(200.5))
    order = shop.order(refunded, {"a": 1}, at=days_before(150))
    shop.refund(refunded, {"a": 1}, at=days_before(111), order_key=order)
    order = shop.order(refunded_late, {"a": 1}, at=days_before(150))
    shop.refund(refunded_late, {"a": 1}, at=days_before(110), order_key=order)
    shop.order(in_progress, {"a": 1}, at=days_before(199), checkout_started_at=days_before(201))
    shop.order(too_late, {"a": 1}, at=days_before(140))
    shop.order(immature, {"a": 1}, at=days_before(40))
    order = shop.order(cancelled, {"a": 1}, at=days_before(150))
    shop.cancel(order, at=days_before(149), amount_minor=100)
    assert operations.refresh_holdout_baselines(conn, now=NOON, today=NOON.date()) == 1
    baseline = operations.find_subject(conn, member_id="held-0").baseline
    assert baseline is not None
    assert (baseline.numerator, baseline.denominator, baseline.as_of) == (2, 7, NOON.date())
    assert operations.refresh_holdout_baselines(conn, now=NOON, today=NOON.date()) == 1


def test_before_anybody_is_mature_there_is_no_baseline(
    conn: Connection, shop: Shop, holdout: operations.Experiment
) -> None:
    _hold_out(conn, shop, holdout, 0, 50)
    assert operations.refresh_holdout_baselines(conn, now=NOON, today=NOON.date()) == 0
    assert operations.find_subject(conn, member_id="held-0").baseline is None
