"""Overrides on a real database: held for a while, rated underneath, gone when their day comes."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text

from service.tiers import operations as tiers
from service.tiers.errors import NoMembership, NoOverride, OverrideInPast, UnknownTier
from tests.integration.tiers.shop import Shop, spend_ladder

MIDNIGHT = 4 / 24
"""START is four hours into its day."""


@pytest.fixture
def shop(conn: Connection) -> Shop:
    shop = Shop(conn, spend_ladder(100, 300))
    shop.enrol()
    return shop


def held(shop: Shop) -> str:
    return tiers.get_held_tier(shop.conn, member_key=shop.keys["m1"]).code


def test_a_pinned_member_holds_the_tier_and_the_rating_is_told_underneath(shop: Shop) -> None:
    shop.order("o1", 1, 120)
    shop.pin("t2", 5, until=20)
    told = shop.standing()
    assert (told["tier"], told["rank"], told["since"]) == ("t2", 2, "2024-01-06T04:00:00Z")
    assert told["override"] == {
        "tier": "t2",
        "until": "2024-01-21",
        "reason": "vip",
        "rated_tier": "t1",
    }
    assert told["stands_until"] == "2024-01-21"
    # What is missing is missing for the tier above the rated one.
    assert told["to_rise"]["tier"] == "t2"
    state = shop.state()
    assert (state.tier, state.rank, state.rated_rank, state.rated_since) == ("t2", 2, 1, shop.at(1))
    assert shop.log()[-1] == ("t1", "t2", "manual", 5)
    assert shop.violations() == []


def test_points_earn_at_the_pinned_tier(shop: Shop) -> None:
    shop.pin("t2", 5, until=20)
    outcome = shop.order("o1", 6, 10)
    assert (outcome.when_placed.code, outcome.after.code, outcome.now.code) == ("t2", "t2", "t2")
    assert held(shop) == "t2"


def test_movements_under_a_pin_are_not_logged_and_the_end_goes_to_where_they_led(shop: Shop) -> None:
    shop.pin("t1", 5, until=20)
    shop.order("o1", 6, 400)
    assert held(shop) == "t1"
    assert shop.log()[1:] == [("t0", "t1", "manual", 5)]
    assert shop.review(20).changed == 1
    assert shop.log()[2:] == [("t1", "t2", "manual", 20 - MIDNIGHT)]
    state = shop.state()
    assert (state.tier, state.since, state.rated_rank, state.pinned_until) == ("t2", shop.at(6), None, None)
    assert shop.violations() == []


def test_the_end_of_a_pin_is_due_and_dated_on_its_day_however_late_the_review(shop: Shop) -> None:
    shop.pin("t2", 5, until=20)
    assert shop.state().next_review_on == shop.on(20)
    shop.review(90)
    assert shop.log()[1:] == [("t0", "t2", "manual", 5), ("t2", "t0", "manual", 20 - MIDNIGHT)]
    assert shop.violations() == []


def test_a_pin_that_is_lifted_ends_at_once(shop: Shop) -> None:
    shop.pin("t2", 5, until=20)
    shop.lift(7)
    assert held(shop) == "t0"
    assert shop.standing()["override"] is None
    assert shop.log()[-1] == ("t2", "t0", "manual", 7)
    with pytest.raises(NoOverride):
        shop.lift(8)
    assert shop.violations() == []


def test_another_pin_replaces_the_one_that_holds_in_one_movement(shop: Shop) -> None:
    shop.pin("t2", 5, until=20)
    shop.pin("t1", 7, until=40)
    assert shop.log()[1:] == [("t0", "t2", "manual", 5), ("t2", "t1", "manual", 7)]
    assert shop.state().next_review_on == shop.on(40)
    shop.review(41)
    assert held(shop) == "t0"
    assert shop.violations() == []


def test_the_same_pin_once_more_changes_nothing(shop: Shop) -> None:
    shop.pin("t2", 5, until=20)
    shop.pin("t2", 6, until=20)
    assert shop.conn.execute(text("SELECT count(*) FROM tier_pins")).scalar_one() == 1
    assert len(shop.log(all_rows=True)) == 2


def test_a_past_moment_is_told_with_the_pin_that_held_then(shop: Shop) -> None:
    shop.pin("t2", 5, until=20)
    shop.lift(10)
    shop.now = shop.at(30)
    assert shop.standing(as_of=shop.on(4))["tier"] == "t0"
    then = shop.standing(as_of=shop.on(6))
    assert (then["tier"], then["override"]["rated_tier"], then["override"]["reason"]) == ("t2", "t0", "vip")
    assert shop.standing(as_of=shop.on(11))["tier"] == "t0"


def test_an_order_and_a_refund_that_come_late_leave_the_pin_alone(shop: Shop) -> None:
    shop.order("o1", 2, 150)
    shop.pin("t2", 5, until=20)
    shop.order("o2", 3, 10, arrives=8)
    shop.refund("r1", "o1", 9, 150)
    assert held(shop) == "t2"
    assert shop.state().rated_rank == 0
    shop.review(21)
    assert held(shop) == "t0"
    assert shop.violations() == []


def test_nobody_is_told_of_a_risk_while_a_pin_holds_and_is_when_it_ends(shop: Shop) -> None:
    shop.order("o1", 1, 120)
    shop.pin("t2", 20, until=35)
    # Day 1 leaves on day 31; ten days of grace.
    shop.review(33)
    assert "member.tier.at_risk" not in [topic for topic, _ in shop.events()]
    assert not shop.standing()["at_risk"]
    shop.review(35)
    assert [topic for topic, _ in shop.events()][-2:] == ["member.tier.changed", "member.tier.at_risk"]
    assert shop.events()[-1][1]["notice"] == "first"
    shop.review(42)
    assert held(shop) == "t0"
    assert shop.violations() == []


def test_a_pin_is_told_and_audited_with_its_reason_and_who_set_it(shop: Shop) -> None:
    shop.pin("t2", 5, until=20)
    shop.lift(7)
    told = [(payload["from"], payload["to"], payload["cause"]) for _, payload in shop.events()]
    assert told == [("t0", "t2", "manual"), ("t2", "t0", "manual")]
    rows = shop.conn.execute(
        text("SELECT action, actor, reason, before, after FROM audit_log ORDER BY audit_key")
    ).all()
    until = "2024-01-21"
    assert [tuple(row) for row in rows if row.action.startswith("tier.")] == [
        ("tier.pinned", "marketing:k1", "vip", None, {"tier": "t2", "until": until}),
        ("tier.unpinned", "marketing:k1", None, {"tier": "t2", "until": until}, None),
    ]


def test_a_pin_that_makes_no_sense_is_refused(shop: Shop) -> None:
    with pytest.raises(UnknownTier, match="has the tiers t0, t1, t2"):
        shop.pin("diamond", 5, until=20)
    for until in (4, 5):
        with pytest.raises(OverrideInPast):
            shop.pin("t1", 5, until=until)
    shop.enrol_only("m2", joined_at=shop.at(0))
    with pytest.raises(NoMembership):
        shop.pin("t1", 5, until=20, member_id="m2")
    with pytest.raises(NoMembership):
        shop.lift(5, member_id="m2")
    assert shop.log() == [(None, "t0", "enrol", 0)]


def test_a_pinned_tier_that_is_removed_leads_to_the_highest_one_below_it(shop: Shop) -> None:
    shop.pin("t2", 5, until=40)
    shop.publish(spend_ladder(100), 10)
    assert shop.review(11).reviewed == 1
    assert shop.log()[1:] == [("t0", "t2", "manual", 5), ("t2", "t1", "rule_change", 10)]
    told = shop.standing()
    assert (told["tier"], told["override"]["rated_tier"]) == ("t1", "t0")
    assert shop.violations() == []


def test_an_import_keeps_what_staff_decided(shop: Shop) -> None:
    shop.pin("t2", 5, until=40)
    shop.record_order("o1", shop.at(3), 15000)
    shop.now = shop.at(12)
    shop.refold("m1")
    assert held(shop) == "t2"
    assert [change[:3] for change in shop.log()] == [
        (None, "t0", "enrol"),
        ("t0", "t1", "order"),
        ("t1", "t2", "manual"),
    ]
    assert shop.violations() == []
