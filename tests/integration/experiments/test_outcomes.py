"""The outcome join at its edges: a dozen members, each there for one reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from service.activity import operations as activity
from service.experiments import operations
from service.experiments.definitions import Definition, get_experiment, stop_experiment
from service.experiments.operations import Actor
from service.experiments.uplift import count_outcomes, count_outside, keep_results
from service.kit.db import dumps
from tests.integration.recommendations.shop import NOON, Shop, days_before

ANCHOR = days_before(200)
"""Everybody's assignment unless said otherwise: window of 60 days and grace of 30 are long over."""
WINDOW_END = ANCHOR + timedelta(days=60)
FROZEN_AT = ANCHOR + timedelta(days=90)
SECOND = timedelta(seconds=1)
STAFF = Actor("admin:test")


@dataclass
class Trial:
    """The global hold-out, and members put into its arms by hand."""

    conn: Connection
    shop: Shop
    definition: Definition

    def put(
        self,
        member_id: str,
        arm: str = "treatment",
        *,
        at: datetime = ANCHOR,
        reason: str = "split",
        tier: str | None = "silver",
    ) -> int:
        """Enrol somebody in an arm at a moment."""
        key = self.shop.member(member_id)
        self.conn.execute(
            text(
                "INSERT INTO assignments (experiment, member_key, experiment_key, arm, bucket, reason, "
                "assigned_at, tier_at_assignment) VALUES (:experiment, :key, :version, :arm, 0, :reason, "
                ":at, :tier)"
            ),
            {
                "experiment": self.definition.experiment,
                "key": key,
                "version": self.definition.experiment_key,
                "arm": arm,
                "reason": reason,
                "at": at,
                "tier": tier,
            },
        )
        return key

    def expose(self, key: int, at: datetime, *, experiment_key: int | None = None) -> None:
        """Record that something was shown."""
        exposure = operations.Exposure(
            exposure_id=operations_uuid(at),
            issued_at=at,
            member_key=key,
            experiment_key=experiment_key or self.definition.experiment_key,
            arm="treatment",
            policy="popularity",
            model_version=None,
            fallback=None,
            placement="home",
            channel="web",
            window_end=None,
            item_keys=(),
            decision={},
        )
        operations.record_exposure(self.conn, exposure=exposure, relaxed=False)

    def agree(self, key: int, granted: bool, at: datetime, *, version: str = "1") -> None:
        """Let somebody agree to marketing, or not."""
        said = {"granted": granted, "text_version": version, "at": at.isoformat()}
        self.conn.execute(
            text("UPDATE members SET consent_marketing = CAST(:said AS jsonb) WHERE member_key = :key"),
            {"said": dumps(said), "key": key},
        )

    def sums(
        self, *, anchor: str = "assigned_at", window_days: int = 60, now: datetime = NOON
    ) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the sums by arm and stratum."""
        counted = count_outcomes(
            self.conn, definition=self.definition, anchor=anchor, window_days=window_days, now=now
        )
        return {(row["arm"], row["stratum"]): dict(row) for row in counted.rows if row["day"] is None}

    def only(self, **asked: Any) -> dict[str, Any]:
        """Return the one row there is."""
        (row,) = self.sums(**asked).values()
        return row


def operations_uuid(at: datetime) -> Any:
    from service.kit.ids import new_uuid

    return new_uuid(at)


@pytest.fixture
def trial(conn: Connection) -> Trial:
    holdout = operations.ensure_global_holdout(conn, now=days_before(400), today=days_before(400).date())
    assert holdout is not None
    return Trial(conn, Shop(conn), get_experiment(conn, experiment=holdout.experiment))


def test_a_dozen_members_at_the_edges_are_counted_as_the_definition_says(trial: Trial) -> None:
    shop = trial.shop
    at_anchor = trial.put("orders at the very anchor: inside")
    shop.order(at_anchor, {"a": 1}, at=ANCHOR)
    last_second = trial.put("orders in the last second: inside")
    shop.order(last_second, {"a": 1}, at=WINDOW_END - SECOND)
    at_end = trial.put("orders at the very end: outside, the window is half-open")
    shop.order(at_end, {"a": 1}, at=WINDOW_END)
    just_before = trial.put("ordered just before the anchor: covariate, not outcome")
    shop.order(just_before, {"a": 1}, at=ANCHOR - SECOND)
    long_before = trial.put("ordered 90 days before: the covariate's first moment")
    shop.order(long_before, {"a": 1}, at=ANCHOR - timedelta(days=90))
    longer_before = trial.put("ordered a second earlier than that: neither")
    shop.order(longer_before, {"a": 1}, at=ANCHOR - timedelta(days=90) - SECOND)
    basket = trial.put("had the basket in progress at the anchor: not brought about by it")
    shop.order(basket, {"a": 1}, at=ANCHOR + SECOND, checkout_started_at=ANCHOR - SECOND)
    begun_after = trial.put("began the checkout at the anchor: inside")
    shop.order(begun_after, {"a": 1}, at=ANCHOR + SECOND, checkout_started_at=ANCHOR)
    refunded = trial.put("gave all back before the freeze: no repurchase")
    order = shop.order(refunded, {"a": 2}, at=ANCHOR + SECOND)
    shop.refund(refunded, {"a": 2}, at=FROZEN_AT - SECOND, order_key=order)
    refunded_later = trial.put("gave all back at the freeze: too late to move it")
    order = shop.order(refunded_later, {"a": 2}, at=ANCHOR + SECOND)
    shop.refund(refunded_later, {"a": 2}, at=FROZEN_AT, order_key=order)
    partly = trial.put("gave half back: still a repurchase, of half the spend")
    order = shop.order(partly, {"a": 2}, at=ANCHOR + SECOND)
    shop.refund(partly, {"a": 1}, at=WINDOW_END, order_key=order)
    cancelled = trial.put("called the order off: it never counted")
    order = shop.order(cancelled, {"a": 1}, at=ANCHOR + SECOND)
    shop.cancel(order, at=ANCHOR + 2 * SECOND, amount_minor=100)
    worth_nothing = trial.put("ordered for nothing: no repurchase")
    shop.order(worth_nothing, {"a": 1}, at=ANCHOR + SECOND, piece_minor=0)
    twice = trial.put("came back twice: one repurchase, two orders")
    shop.order(twice, {"a": 1}, at=ANCHOR + SECOND)
    shop.order(twice, {"a": 1}, at=ANCHOR + 2 * SECOND)

    row = trial.only()
    assert row["members"] == 14
    # at_anchor, last_second, begun_after, refunded_later, partly, twice
    assert row["repurchase"] == row["repurchase_squares"] == 6
    assert (row["orders"], row["orders_squares"]) == (7, 5 + 4)
    spends = [100, 100, 100, 200, 100, 200]
    assert row["net_spend"] == sum(spends)
    assert row["net_spend_squares"] == sum(spend**2 for spend in spends)
    assert row["net_spend_by_orders"] == 100 + 100 + 100 + 200 + 100 + 200 * 2
    # just_before and long_before; neither came back, so no product.
    assert (row["x"], row["x_squares"], row["repurchase_by_x"]) == (2, 2, 0)
    # all of `refunded`, half of `partly`, and the cancelled order
    assert row["returned_value"] == 200 + 100 + 100


def test_whoever_is_left_out_is_counted_with_the_reason(trial: Trial) -> None:
    trial.put("mature to the second", at=NOON - timedelta(days=90))
    trial.put("immature by a second", at=NOON - timedelta(days=90) + SECOND)
    tester = trial.put("a tester", reason="override")
    trial.shop.order(tester, {"a": 1}, at=ANCHOR + SECOND)
    row = trial.only()
    assert (row["members"], row["immature"], row["override"], row["orders"]) == (1, 1, 1, 0)


def test_unsubscribing_is_a_yes_that_became_a_no_in_the_window(trial: Trial) -> None:
    said = {
        "at the very anchor": [(True, ANCHOR - SECOND), (False, ANCHOR)],
        "in the last second, and again after a second thought": [
            (True, ANCHOR - SECOND),
            (False, ANCHOR + SECOND),
            (True, ANCHOR + 2 * SECOND),
            (False, WINDOW_END - SECOND),
        ],
        "just before the anchor: not brought about by it": [
            (True, ANCHOR - 2 * SECOND),
            (False, ANCHOR - SECOND),
        ],
        "at the very end: the window is half-open": [(True, ANCHOR), (False, WINDOW_END)],
        "asked for the first time, and said no": [(False, ANCHOR + SECOND)],
        "said yes again to another text": [(True, ANCHOR), (True, ANCHOR + SECOND)],
    }
    keys = {name: trial.put(name) for name in said}
    for name, answers in said.items():
        for number, (granted, at) in enumerate(answers):
            trial.agree(keys[name], granted, at, version=str(number))
    row = trial.only()
    assert (row["members"], row["unsubscribed"], row["unsubscribed_squares"]) == (6, 2, 2)
    kept = trial.conn.execute(text("SELECT count(*) FROM consent_changes")).scalar_one()
    assert kept == sum(map(len, said.values()))
    with pytest.raises(IntegrityError, match="append-only"):
        trial.conn.execute(text("UPDATE consent_changes SET granted = true"))


def test_the_covariate_is_net_as_of_the_anchor(trial: Trial) -> None:
    key = trial.put("m1")
    before = ANCHOR - timedelta(days=5)
    given_back = trial.shop.order(key, {"a": 1}, at=before)
    trial.shop.refund(key, {"a": 1}, at=ANCHOR - SECOND, order_key=given_back)
    given_back_later = trial.shop.order(key, {"a": 1}, at=before)
    trial.shop.refund(key, {"a": 1}, at=ANCHOR, order_key=given_back_later)
    assert trial.only()["x"] == 1


def test_sums_are_by_tier_at_assignment_and_by_arm(trial: Trial) -> None:
    trial.put("m1", "treatment", tier="gold")
    trial.put("m2", "holdout", tier="gold")
    trial.put("m3", "holdout", tier=None)
    assert set(trial.sums()) == {("treatment", "gold"), ("holdout", "gold"), ("holdout", "")}


def test_an_unlinked_refund_lowers_net_spend_on_its_own_day_and_no_order(trial: Trial) -> None:
    key = trial.put("m1")
    trial.shop.order(key, {"a": 3}, at=ANCHOR + SECOND)
    trial.shop.refund(key, {"a": 1}, at=WINDOW_END - SECOND)
    trial.shop.refund(key, {"a": 1}, at=WINDOW_END)
    row = trial.only()
    assert (row["net_spend"], row["orders"], row["repurchase"]) == (200, 1, 1)


def test_anchored_by_exposure_the_window_begins_at_the_first_one(trial: Trial) -> None:
    shown, never = trial.put("shown"), trial.put("never shown")
    first = ANCHOR + timedelta(days=10)
    trial.expose(shown, first + timedelta(days=1))
    trial.expose(shown, first)
    trial.shop.order(shown, {"a": 1}, at=first - SECOND)
    trial.shop.order(shown, {"a": 1}, at=first + timedelta(days=60) - SECOND)
    trial.shop.order(never, {"a": 1}, at=ANCHOR + SECOND)
    row = trial.only(anchor="first_exposure")
    assert (row["members"], row["unexposed"], row["orders"], row["x"]) == (1, 1, 1, 1)


def test_draws_count_the_immature_too_and_by_day(trial: Trial) -> None:
    trial.put("m1")
    trial.put("m2", at=days_before(3))
    trial.put("m3", "holdout", at=days_before(3))
    trial.put("m4", "holdout", at=days_before(3), reason="override")
    counted = count_outcomes(
        trial.conn, definition=trial.definition, anchor="assigned_at", window_days=60, now=NOON
    )
    draws = {(row["arm"], row["day"]): row["members"] for row in counted.rows if row["day"]}
    assert draws == {
        ("treatment", ANCHOR.date().isoformat()): 1,
        ("treatment", days_before(3).date().isoformat()): 1,
        ("holdout", days_before(3).date().isoformat()): 1,
    }


def test_merged_members_keep_the_earliest_assignment_and_are_counted(trial: Trial) -> None:
    later = trial.put("later", "treatment", at=ANCHOR + timedelta(days=1))
    earlier = trial.put("earlier", "holdout", at=ANCHOR)
    trial.expose(earlier, ANCHOR)
    joined = operations.merge_assignments(trial.conn, from_key=earlier, into_key=later, now=NOON)
    assert joined == 1
    outside = count_outside(trial.conn, definition=trial.definition, watermark=NOON)
    assert outside == [{"arm": "holdout", "reason": "merged", "members": 1}]
    kept = operations.find_assignment(trial.conn, member_key=later, experiment=trial.definition.experiment)
    assert kept is not None
    assert (kept.arm, kept.assigned_at) == ("holdout", ANCHOR)
    row = trial.only()
    assert (row["arm"], row["members"], row["merged"]) == ("holdout", 1, 1)
    # What the merged account was shown is what this person was shown.
    assert trial.only(anchor="first_exposure")["members"] == 1
    assert operations.undo_merge_assignments(trial.conn, from_key=earlier, into_key=later) == 1
    assert {arm for arm, _ in trial.sums()} == {"holdout", "treatment"}
    back = operations.find_assignment(trial.conn, member_key=later, experiment=trial.definition.experiment)
    assert back is not None
    assert (back.arm, back.assigned_at) == ("treatment", ANCHOR + timedelta(days=1))


def test_a_merge_with_a_stranger_to_the_experiment_can_be_undone_too(trial: Trial) -> None:
    into, source = trial.shop.member("into"), trial.put("source")
    operations.merge_assignments(trial.conn, from_key=source, into_key=into, now=NOON)
    assert trial.only()["members"] == 1
    operations.undo_merge_assignments(trial.conn, from_key=source, into_key=into)
    assert operations.list_assignments(trial.conn, member_key=into) == []
    assert len(operations.list_assignments(trial.conn, member_key=source)) == 1


def test_frozen_results_are_read_back_whatever_happens_later(trial: Trial) -> None:
    key = trial.put("m1")
    order = trial.shop.order(key, {"a": 2}, at=ANCHOR + SECOND)
    stop_experiment(
        trial.conn,
        experiment=trial.definition.experiment,
        at_once=False,
        reason=None,
        actor=STAFF,
        now=days_before(150),
    )
    trial.definition = get_experiment(trial.conn, experiment=trial.definition.experiment)
    assert trial.definition.status == "analysis"
    assert keep_results(trial.conn, now=days_before(150) + timedelta(days=90)) > 0
    assert get_experiment(trial.conn, experiment=trial.definition.experiment).status == "stopped"
    # A refund that was booked late but is dated before the freeze.
    trial.shop.refund(key, {"a": 2}, at=FROZEN_AT - SECOND, order_key=order)
    row = trial.only()
    assert (row["repurchase"], row["net_spend"]) == (1, 200)
    keep_results(trial.conn, now=NOON)
    with pytest.raises(IntegrityError, match="append-only"):
        trial.conn.execute(text("UPDATE experiment_results SET sums = '[]'"))


def test_an_arm_is_never_drawn_again_whoever_writes_it(trial: Trial) -> None:
    trial.put("m1")
    with pytest.raises(IntegrityError, match="drawn once"):
        trial.conn.execute(text("UPDATE assignments SET arm = 'holdout'"))


def test_weights_that_do_not_sum_never_reach_the_shelf(trial: Trial) -> None:
    with pytest.raises(IntegrityError, match="do not sum"):
        trial.conn.execute(text("""UPDATE experiments SET arms = '[{"arm": "holdout", "weight_bp": 1}]'"""))


@pytest.mark.parametrize(
    "change",
    [
        """arms = '[{"arm": "holdout", "weight_bp": 5000}, {"arm": "treatment", "weight_bp": 5000}]'""",
        "window_days = 30",
        "salt = 's2'",
        """guardrails = '[{"metric": "reward_cost"}]'""",
    ],
)
def test_what_was_started_is_measured_as_it_was_started(trial: Trial, change: str) -> None:
    with pytest.raises(IntegrityError, match="its plan stays"):
        trial.conn.execute(text(f"UPDATE experiments SET {change}"))


def test_a_merge_between_anchor_and_outcome_counts_what_both_bought_once(trial: Trial) -> None:
    shop, merged_at = trial.shop, ANCHOR + timedelta(days=10)
    later = trial.put("later", "treatment", at=ANCHOR + timedelta(days=1))
    earlier = trial.put("earlier", "holdout", at=ANCHOR)
    trial.put("bystander", "treatment")
    shop.order(later, {"a": 1}, at=ANCHOR - timedelta(days=1))
    shop.order(earlier, {"a": 1}, at=ANCHOR - timedelta(days=2))
    # An hour before `later` was drawn, and yet in the window of the assignment that stands.
    shop.order(later, {"a": 1}, at=ANCHOR + timedelta(hours=23))
    given_back = shop.order(earlier, {"a": 4}, at=ANCHOR + timedelta(days=2))
    shop.refund(earlier, {"a": 1}, at=ANCHOR + timedelta(days=5), order_key=given_back)
    before = trial.sums()
    assert before["treatment", "silver"]["members"] == 2

    keys = {"from_key": earlier, "into_key": later}
    activity.hand_over(trial.conn, **keys)
    assert operations.merge_assignments(trial.conn, **keys, now=merged_at) == 1
    shop.order(later, {"a": 2}, at=ANCHOR + timedelta(days=20))
    shop.refund(later, {"a": 2}, at=ANCHOR + timedelta(days=30), order_key=given_back)
    sums = trial.sums()
    one = sums["holdout", "silver"]
    assert (one["members"], one["merged"], one["repurchase"]) == (1, 1, 1)
    assert (one["orders"], one["x"]) == (3, 2)
    assert (one["net_spend"], one["returned_value"]) == (100 + (400 - 100 - 200) + 200, 300)
    rest = sums["treatment", "silver"]
    assert (rest["members"], rest["merged"], rest["orders"]) == (1, 0, 0)

    # Undone, each has its own again, in the arm it was drawn into; what came since was sent for `later`.
    activity.hand_back(trial.conn, **keys, origins=[earlier])
    assert operations.undo_merge_assignments(trial.conn, **keys) == 1
    sums = trial.sums()
    own, other = sums["holdout", "silver"], sums["treatment", "silver"]
    assert (own["members"], own["merged"], own["orders"], own["net_spend"], own["x"]) == (1, 0, 1, 100, 1)
    # Drawn a day after the anchor: the order of 23 hours after it came before.
    assert (other["members"], other["merged"], other["orders"], other["x"]) == (2, 0, 1, 2)
    assert other["net_spend"] == 200


def test_who_was_merged_twice_over_was_shown_what_each_account_was_shown(trial: Trial) -> None:
    first, second, third = trial.put("first"), trial.put("second"), trial.put("third")
    trial.expose(first, ANCHOR + timedelta(days=2))
    trial.expose(third, ANCHOR + timedelta(days=40))
    for source, into in ((first, second), (second, third)):
        activity.hand_over(trial.conn, from_key=source, into_key=into)
        operations.merge_assignments(trial.conn, from_key=source, into_key=into, now=NOON)
    trial.shop.order(third, {"a": 1}, at=ANCHOR + timedelta(days=3))
    row = trial.only(anchor="first_exposure")
    assert (row["members"], row["merged"], row["orders"]) == (1, 1, 1)
    for source, into in ((second, third), (first, second)):
        activity.hand_back(trial.conn, from_key=source, into_key=into, origins=[source, first])
        operations.undo_merge_assignments(trial.conn, from_key=source, into_key=into)
    row = trial.only(anchor="first_exposure")
    assert (row["members"], row["merged"], row["unexposed"], row["orders"]) == (2, 0, 1, 0)
