"""Rating facts as they come in, on a real database."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text

from service.activity import operations as activity
from service.tiers import operations as tiers
from service.tiers.errors import NoActiveRuleset, NoMembership
from tests.integration.tiers.shop import START, Shop, Statements, programme_in, spend_ladder

MIDNIGHT = 4 / 24
"""START is four hours into its day."""


@pytest.fixture
def shop(conn: Connection) -> Shop:
    shop = Shop(conn, spend_ladder(100, 300))
    shop.enrol()
    return shop


def test_the_first_start_publishes_the_default_rule_set_once(conn: Connection) -> None:
    with pytest.raises(NoActiveRuleset):
        tiers.get_active_ruleset(conn, now=START)
    tiers.ensure_default_ruleset(conn, currency="GBP", now=START)
    tiers.ensure_default_ruleset(conn, currency="TWD", now=START)
    rules = tiers.get_active_ruleset(conn, now=START)
    assert (rules.version, rules.currency, len(rules.tiers)) == (1, "GBP", 4)
    assert conn.execute(text("SELECT count(*) FROM tier_rulesets")).scalar_one() == 1


def test_a_membership_begins_once(shop: Shop) -> None:
    tiers.start_membership(
        shop.conn,
        member_key=shop.keys["m1"],
        joined_at=shop.at(5),
        programme=shop.programme,
        now=shop.at(5),
    )
    assert shop.log() == [(None, "t0", "enrol", 0)]
    assert shop.state().since == START
    assert tiers.get_held_tier(shop.conn, member_key=shop.keys["m1"]).code == "t0"
    with pytest.raises(NoMembership):
        tiers.get_held_tier(shop.conn, member_key=-1)


def test_an_order_raises_a_member_and_tells_so(shop: Shop) -> None:
    outcome = shop.order("o1", 2, 150)
    assert (outcome.before.code, outcome.after.code, outcome.when_placed.code) == ("t0", "t1", "t0")
    assert outcome.standing is not None
    assert outcome.standing.metrics.net_spend_minor == 15000
    assert not outcome.pending
    assert shop.log() == [(None, "t0", "enrol", 0), ("t0", "t1", "order", 2)]
    ((topic, payload),) = shop.events()
    assert topic == "member.tier.changed"
    assert (payload["from"], payload["to"], payload["cause"]) == ("t0", "t1", "order")
    assert shop.violations() == []


def test_the_change_keeps_the_metrics_and_the_order_it_was_made_on(shop: Shop) -> None:
    shop.order("o1", 2, 150)
    page = tiers.list_changes(
        shop.conn,
        member_key=shop.keys["m1"],
        limit=1,
        cursor=None,
        now=shop.now,
        programme=shop.programme,
    )
    (change,) = page["data"]
    assert change["order_id"] == "o1"
    assert change["metrics"] == {
        "active_days": 1,
        "days_since_last_visit": 0,
        "net_spend": "150.00",
        "orders": 1,
        "visit_interval_days": None,
    }


def test_an_order_that_changes_no_tier_costs_two_statements(shop: Shop) -> None:
    shop.order("o1", 1, 10)
    fact = shop.record_order("o2", shop.at(2), 1000)
    days = activity.list_member_days(shop.conn, member_key=shop.keys["m1"], after=None)
    with Statements(shop.conn) as statements:
        tiers.rate_facts(
            shop.conn,
            member_key=shop.keys["m1"],
            days_before=days[:1],
            facts=[fact],
            now=shop.at(2),
            programme=shop.programme,
        )
    assert len(statements.seen) == 2, statements.seen


def test_an_order_first_catches_its_member_up(shop: Shop) -> None:
    shop.order("o1", 2, 150)
    outcome = shop.order("o2", 60, 10)
    # Day 2 left on day 32, grace to day 42: the fall is dated there though nobody looked.
    assert (outcome.before.code, outcome.when_placed.code, outcome.after.code) == ("t0", "t0", "t0")
    assert shop.log()[-1] == ("t1", "t0", "roll_off", 42 - MIDNIGHT)
    # The risk came and went unseen: there is nothing left to warn of.
    assert [topic for topic, _ in shop.events()] == ["member.tier.changed", "member.tier.changed"]
    assert shop.violations() == []


def test_a_late_order_corrects_the_log_and_says_it_was_late(shop: Shop) -> None:
    shop.order("o1", 10, 120)
    outcome = shop.order("o2", 4, 120, arrives=11)
    assert outcome.when_placed.code == "t0"
    assert (outcome.before.code, outcome.after.code) == ("t1", "t1")
    # The rise is dated earlier now; the row that said otherwise stays, superseded.
    assert shop.log() == [(None, "t0", "enrol", 0), ("t0", "t1", "late_fact", 4)]
    assert shop.log(all_rows=True)[-1] == ("t0", "t1", "order", 10)
    assert shop.violations() == []


def test_a_late_order_leaves_the_rows_that_still_stand(shop: Shop) -> None:
    shop.order("o1", 10, 120)
    outcome = shop.order("o2", 15, 10)
    outcome = shop.order("o3", 12, 200, arrives=16)
    assert outcome.after.code == "t2"
    assert shop.log(all_rows=True) == [
        (None, "t0", "enrol", 0),
        ("t0", "t1", "order", 10),
        ("t1", "t2", "late_fact", 12),
    ]
    topic, payload = shop.events()[-1]
    assert (topic, payload["from"], payload["to"], payload["cause"]) == (
        "member.tier.changed",
        "t1",
        "t2",
        "late_fact",
    )
    assert shop.violations() == []


def test_an_order_of_the_moment_of_joining_is_not_late(shop: Shop) -> None:
    shop.order("o1", 0, 120)
    assert shop.log() == [(None, "t0", "enrol", 0), ("t0", "t1", "order", 0)]
    assert shop.violations() == []


def test_orders_before_joining_move_the_beginning_back(shop: Shop) -> None:
    shop.order("o1", -5, 120, arrives=1)
    assert shop.log() == [(None, "t0", "enrol", -5), ("t0", "t1", "late_fact", -5)]
    assert shop.violations() == []


def test_orders_of_one_moment_end_the_same_in_either_order(conn: Connection) -> None:
    shop = Shop(conn, spend_ladder(100, 300))
    for member_id, orders in (("m1", ("a1", "b1")), ("m2", ("b2", "a2"))):
        shop.enrol(member_id)
        for order_id in orders:
            shop.order(order_id, 3, 100, member_id=member_id)
    carriers = {
        row.order_id
        for row in conn.execute(
            text(
                "SELECT k.order_id FROM tier_states s JOIN order_keys k ON k.order_key = s.carrier_order_key"
            )
        )
    }
    assert carriers == {"a1", "a2"}
    assert shop.violations() == []


def test_refunding_the_order_that_carried_the_member_up_undoes_it_with_the_cause_refund(shop: Shop) -> None:
    shop.order("o1", 2, 60)
    shop.order("o2", 3, 60)
    outcome = shop.refund("r1", "o2", 5, 60)
    assert (outcome.before.code, outcome.after.code) == ("t1", "t0")
    assert shop.log()[-1] == ("t1", "t0", "refund", 5)
    assert shop.state().since == START
    assert shop.events()[-1][1]["cause"] == "refund"
    assert shop.violations() == []


def test_cancelling_the_order_that_carried_the_member_up_undoes_it(shop: Shop) -> None:
    shop.order("o1", 2, 320)
    outcome = shop.cancel("o1", 2.5)
    assert (outcome.before.code, outcome.after.code) == ("t2", "t0")
    assert shop.log()[-1] == ("t2", "t0", "refund", 2.5)
    assert shop.violations() == []


def test_another_refund_makes_the_member_at_risk_and_says_what_is_short(shop: Shop) -> None:
    shop.order("o1", 2, 60)
    shop.order("o2", 3, 60)
    outcome = shop.refund("r1", "o1", 5, 30)
    assert outcome.after.code == "t1"
    assert outcome.standing is not None
    assert outcome.standing.at_risk
    topic, payload = shop.events()[-1]
    assert topic == "member.tier.at_risk"
    assert payload == {
        "tier": "t1",
        "notice": "first",
        "at_risk_since": "2024-01-06",
        "falls_on": "2024-01-16",
        "shortfall": [{"metric": "net_spend", "op": ">=", "have": "90.00", "need": "100.00", "met": False}],
        "ruleset_version": 1,
    }
    assert shop.violations() == []


def test_a_fact_older_than_one_window_is_put_off_and_a_fold_settles_it(shop: Shop) -> None:
    shop.order("o1", 50, 120)
    outcome = shop.order("o2", 10, 400, arrives=51)
    assert outcome.pending
    assert outcome.standing is None
    assert (outcome.before.code, outcome.after.code, outcome.when_placed.code) == ("t1", "t1", "t0")
    assert shop.violations() != []
    tiers.refold_member(shop.conn, member_key=shop.keys["m1"], programme=shop.programme, now=shop.now)
    assert shop.violations() == []
    assert ("t0", "t2", "late_fact", 10) in shop.log()


def test_an_old_fact_of_somebody_who_has_no_newer_one_is_rated_at_once(shop: Shop) -> None:
    outcome = shop.order("o1", 1, 120, arrives=400)
    assert not outcome.pending
    assert outcome.when_placed.code == "t0"
    assert shop.log()[1:] == [("t0", "t1", "order", 1), ("t1", "t0", "roll_off", 41 - MIDNIGHT)]
    assert shop.violations() == []


def test_a_member_whose_review_was_left_for_years_is_still_caught_up(shop: Shop) -> None:
    shop.order("o1", 1, 120)
    shop.order("o2", 1500, 120)
    assert shop.log()[2:] == [("t1", "t0", "roll_off", 41 - MIDNIGHT), ("t0", "t1", "order", 1500)]
    assert shop.violations() == []


def test_the_tiers_around_an_order_are_found_in_the_log(shop: Shop) -> None:
    shop.order("o1", 2, 150)
    shop.order("o2", 3, 10)
    shop.order("o3", 4, 200)

    def around(order_id: str) -> tuple[str, str]:
        row = activity.get_order(shop.conn, order_id=order_id)
        before, after = tiers.tiers_around_order(
            shop.conn, member_key=row.member_key, order_key=row.order_key, placed_at=row.placed_at
        )
        return before.code, after.code

    assert [around(order_id) for order_id in ("o1", "o2", "o3")] == [
        ("t0", "t1"),
        ("t1", "t1"),
        ("t1", "t2"),
    ]


def test_rating_somebody_without_a_membership_is_refused(shop: Shop) -> None:
    shop.enrol_only("m2", joined_at=START)
    with pytest.raises(NoMembership):
        shop.order("o9", 2, 10, member_id="m2")


def test_correcting_when_somebody_joined_moves_the_beginning(conn: Connection) -> None:
    shop = Shop(conn, spend_ladder(100), programme=programme_in("Asia/Taipei"))
    key = shop.enrol(day=10)
    shop.enrol_only("m1", joined_at=shop.at(3))
    tiers.refold_member(conn, member_key=key, programme=shop.programme, now=shop.now)
    assert shop.log() == [(None, "t0", "enrol", 3)]
    assert shop.violations() == []
