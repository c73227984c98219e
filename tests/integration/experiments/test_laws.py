"""Laws E1 and E2 on live data: what is drawn properly breaks none, and each corrupted row is found."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from service.experiments import operations
from service.experiments.laws import check_laws
from service.experiments.operations import Actor, Experiment, Exposure, Visitor
from service.experiments.rules import Arm
from service.kit.ids import new_uuid
from service.recommendations.laws import check_laws as check_recommendations
from tests.integration.recommendations.shop import NOON, Shop, days_before

DRAWN_AT = days_before(20)
STAFF = Actor("admin:test")
WORDS = "words"


class World:
    """The global hold-out and a test of words, in which members and visitors are drawn as in life."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self.shop = Shop(conn)
        holdout = operations.ensure_global_holdout(conn, now=days_before(30), salt="s1")
        assert holdout is not None
        self.holdout = holdout
        conn.execute(
            text(
                "INSERT INTO experiments (experiment, version, salt, arms, is_global_holdout, status, "
                "window_days, refund_grace_days, created_at, started_at, surface) VALUES (:words, 1, 's', "
                """CAST('[{"arm": "a", "weight_bp": 5000}, {"arm": "b", "weight_bp": 5000}]' AS jsonb), """
                "false, 'running', 60, 30, :at, :at, 'storefront')"
            ),
            {"words": WORDS, "at": days_before(30)},
        )

    def draw(self, member_id: str) -> int:
        key = self.shop.member(member_id)
        self.assign(key, member_id, self.holdout)
        return key

    def assign(self, key: int, member_id: str, experiment: Experiment) -> None:
        operations.assign_member(
            self.conn, experiment=experiment, member_key=key, member_id=member_id, tier=None, now=DRAWN_AT
        )

    def visit(self, visitor: Visitor, *, days: float = 20) -> None:
        """Draw and expose somebody before a page."""
        at = days_before(days)
        _, enrolled = operations.enrol_visitor(self.conn, experiment=WORDS, visitor=visitor, now=at)
        assert enrolled.assignment is not None
        self.expose(
            enrolled.member_key,
            experiment_key=enrolled.assignment.experiment.experiment_key,
            arm=enrolled.assignment.arm,
            issued_at=at,
            anonymous_id=visitor.anonymous_id,
        )

    def expose(self, key: int | None, **given: Any) -> UUID:
        """Record an answer; by default of the global hold-out, in the arm that is stored."""
        arm = self.conn.scalar(
            text("SELECT arm FROM assignments WHERE member_key = :key AND experiment = :experiment"),
            {"key": key, "experiment": self.holdout.experiment},
        )
        exposure = Exposure(
            exposure_id=new_uuid(NOON),
            issued_at=days_before(10),
            member_key=key,
            experiment_key=self.holdout.experiment_key,
            arm=arm,
            policy="popularity",
            model_version=None,
            fallback=None,
            placement="home",
            channel="web",
            window_end=None,
            item_keys=(),
            decision={"assignment": {}},
        )
        exposure = replace(exposure, **given)
        operations.record_exposure(self.conn, exposure=exposure, relaxed=False)
        return exposure.exposure_id

    def corrupt(self, statement: str, **parameters: Any) -> None:
        """Change rows behind the back of triggers and foreign keys."""
        self.conn.execute(text("SET LOCAL session_replication_role = replica"))
        assert self.conn.execute(text(statement), parameters).rowcount == 1
        self.conn.execute(text("SET LOCAL session_replication_role = origin"))

    def broken(self) -> list[tuple[str, str]]:
        """Return law and detail of what is found."""
        return [(one.law, one.detail) for one in check_laws(self.conn)]


@pytest.fixture
def world(conn: Connection) -> World:
    world = World(conn)
    for number in range(60):
        world.expose(world.draw(f"member-{number:04}"))
    return world


def test_members_testers_merged_and_logged_in_people_break_no_law(world: World) -> None:
    tester = world.draw("tester")
    world.expose(tester)
    operations.override_arm(
        world.conn,
        experiment=world.holdout.experiment,
        member_key=tester,
        member_id="tester",
        arm="holdout",
        actor=STAFF,
        now=NOON,
    )
    for number in range(12):
        # Some have an arm of their own before they log in on a device that was drawn earlier, or later.
        world.shop.member(f"ø-{number}")
        if number % 2:
            world.visit(Visitor(f"ø-{number}", None), days=9)
        world.visit(Visitor(None, f"device-{number}"), days=12 if number % 3 else 6)
        world.visit(Visitor(f"ø-{number}", f"device-{number}"), days=5)
        world.visit(Visitor(None, f"stranger-{number}"))
    for number in range(12):
        keys = [world.draw(f"{side}-{number}") for side in ("from", "into")]
        for key in keys:
            world.expose(key)
        operations.merge_assignments(world.conn, from_key=keys[0], into_key=keys[1], now=days_before(8))
        world.expose(keys[1], issued_at=days_before(7))
        if number % 2:
            operations.undo_merge_assignments(world.conn, from_key=keys[0], into_key=keys[1])
    world.expose(None, experiment_key=None, arm=None)
    assert (world.broken(), check_recommendations(world.conn)) == ([], [])


@pytest.mark.parametrize(
    ("statement", "law", "detail"),
    [
        (
            "UPDATE assignments SET arm = CASE arm WHEN 'holdout' THEN 'treatment' ELSE 'holdout' END "
            "WHERE member_key = :key",
            "E1",
            "the arm is",
        ),
        (
            "UPDATE assignments SET bucket = bucket + CASE WHEN bucket % 1000 = 999 THEN -1 ELSE 1 END "
            "WHERE member_key = :key",
            "E1",
            "the id falls into bucket",
        ),
        (
            "UPDATE assignments SET experiment_key = (SELECT experiment_key FROM experiments "
            "WHERE experiment = 'words') WHERE member_key = :key",
            "E1",
            "the version is of words",
        ),
        (
            "UPDATE assignments SET reason = 'override', arm = 'gone' WHERE member_key = :key",
            "E1",
            "which no version has",
        ),
        ("UPDATE assignments SET merged_into = 0 WHERE member_key = :key", "E1", "who has no assignment"),
        ("DELETE FROM assignments WHERE member_key = :key", "E2", "has no assignment"),
        (
            "UPDATE assignments SET assigned_at = now() WHERE member_key = :key",
            "E2",
            "before the assignment",
        ),
        (
            "UPDATE exposures SET arm = CASE arm WHEN 'holdout' THEN 'treatment' ELSE 'holdout' END "
            "WHERE member_key = :key",
            "E2",
            "the assignment says",
        ),
        ("UPDATE exposures SET arm = 'gone' WHERE member_key = :key", "E2", "has no arm gone"),
        ("UPDATE exposures SET arm = NULL WHERE member_key = :key", "E2", "not both"),
        (
            "UPDATE exposures SET arm = NULL, issued_at = issued_at + interval '1 second', "
            """decision = '{"assignment": {"reason": "held_out"}}' WHERE member_key = :key""",
            "E2",
            "refused for held_out, though the assignment says",
        ),
        ("UPDATE exposures SET experiment_key = -1 WHERE member_key = :key", "E2", "there is no version -1"),
        ("UPDATE exposures SET nested = '{-1}' WHERE member_key = :key", "E2", "nested in a version -1"),
        (
            "UPDATE exposures SET nested = array(SELECT experiment_key FROM experiments "
            "WHERE experiment = 'words') WHERE member_key = :key",
            "E2",
            "nested in words",
        ),
    ],
)
def test_each_corrupted_row_is_found(world: World, statement: str, law: str, detail: str) -> None:
    key = world.conn.scalar(text("SELECT member_key FROM members WHERE member_id = 'member-0007'"))
    assert world.broken() == []
    world.corrupt(statement, key=key)
    found = [one for one in check_laws(world.conn) if one.law == law and detail in one.detail]
    assert [one.member_key for one in found] == [key]


def test_a_visitor_who_is_stored_in_another_arm_is_found(world: World) -> None:
    world.visit(Visitor(None, "device"))
    world.corrupt("UPDATE anonymous_assignments SET arm = CASE arm WHEN 'a' THEN 'b' ELSE 'a' END")
    found = check_laws(world.conn)
    assert [(one.law, one.anonymous_id, one.experiment) for one in found] == [
        ("E1", "device", WORDS),
        ("E2", "device", WORDS),
    ]


def test_an_answer_of_an_unknown_model_and_one_that_explains_no_order_are_found(world: World) -> None:
    key = world.draw("buyer")
    unknown = world.expose(key, model_version="gone")
    order = world.shop.order(key, {"a": 1}, at=NOON + timedelta(hours=1))
    shown = world.expose(key, decision={})
    claims = [f"rec_{shown.hex}", f"rec_{new_uuid(NOON).hex}", "nonsense"]
    world.corrupt(
        "UPDATE orders SET recommendation_ids = :claims WHERE order_key = :key", claims=claims, key=order
    )
    found = check_recommendations(world.conn)
    # Claims of what nobody sent are kept, unattributable: they break nothing.
    assert [one["recommendation_id"] for one in found] == [f"rec_{unknown.hex}", f"rec_{shown.hex}"]
    assert [one["law"] for one in found] == ["E2", "E2"]


def test_the_reader_of_buckets_in_sql_agrees_with_the_rule_book(conn: Connection) -> None:
    world = World(conn)
    # Every bucket is an arm of its own, so that one beside the right one would be found.
    arms = tuple(Arm(f"arm-{number}", 1) for number in range(10_000))
    fine = replace(world.holdout, arms=arms)
    for member_id in ("member-0001", "member-0002", "Ærø-7", "熊", "a b\tc"):
        world.assign(world.shop.member(member_id), member_id, fine)
    assert [one.detail for one in check_laws(conn) if "the id falls into" in one.detail] == []
