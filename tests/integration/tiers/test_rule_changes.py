"""Another rule set comes into force: who is moved by it, when, and by whom it is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from service.tiers import operations as tiers
from service.tiers import reviews
from tests.integration.tiers.shop import Shop, Statements, spend_ladder

MIDNIGHT = 4 / 24
"""START is four hours into its day."""


def ladder(*thresholds: int, codes: tuple[str, ...] = (), **options: Any) -> dict[str, Any]:
    definition = spend_ladder(*thresholds, **options)
    for tier, code in zip(definition["tiers"][1:], codes, strict=False):
        tier["code"] = code
    return definition


@pytest.fixture
def shop(conn: Connection) -> Shop:
    shop = Shop(conn, spend_ladder(100, 300))
    shop.enrol()
    return shop


def test_a_member_moves_at_the_moment_of_the_change_when_next_reviewed(shop: Shop) -> None:
    shop.order("o1", 1, 120)
    shop.publish(spend_ladder(50, 110), 5)
    assert shop.violations() == []
    done = shop.review(9)
    assert (done.reviewed, done.changed) == (1, 1)
    assert shop.log()[-1] == ("t1", "t2", "rule_change", 5)
    assert shop.state().ruleset_version == 2
    assert shop.review(9).reviewed == 0
    assert shop.violations() == []


def test_each_change_is_logged_with_the_version_it_was_made_under(shop: Shop) -> None:
    shop.order("o1", 1, 120)
    shop.publish(spend_ladder(50, 110), 5)
    shop.review(9)
    rows = shop.conn.execute(text("SELECT cause, ruleset_version FROM tier_changes ORDER BY effective_at"))
    assert [tuple(row) for row in rows] == [("enrol", 1), ("order", 1), ("rule_change", 2)]


def test_who_no_longer_qualifies_falls_after_hold_and_grace_under_the_new_rules(shop: Shop) -> None:
    shop.order("o1", 1, 120)
    shop.publish(spend_ladder(150, 300, grace_days=4), 5)
    shop.review(6)
    told = shop.standing()
    assert (told["tier"], told["at_risk_since"], told["falls_on"]) == ("t1", "2024-01-06", "2024-01-10")
    assert [payload["notice"] for topic, payload in shop.events() if topic.endswith("at_risk")] == ["first"]
    shop.review(9)
    assert shop.log()[-1] == ("t1", "t0", "roll_off", 9 - MIDNIGHT)
    assert shop.violations() == []


def test_an_order_first_brings_its_member_under_the_rules_in_force(shop: Shop) -> None:
    shop.order("o1", 1, 120)
    shop.publish(spend_ladder(50, 110), 5)
    outcome = shop.order("o2", 9, 1)
    assert (outcome.before.code, outcome.when_placed.code) == ("t2", "t2")
    assert shop.log()[-1] == ("t1", "t2", "rule_change", 5)
    assert shop.violations() == []


def test_a_get_shows_the_new_rules_in_memory_and_writes_nothing(shop: Shop) -> None:
    shop.order("o1", 1, 120)
    shop.publish(spend_ladder(50, 110), 5)
    told = shop.standing(9)
    assert (told["tier"], told["ruleset_version"], told["since"]) == ("t2", 2, "2024-01-06T04:00:00Z")
    assert (shop.state().tier, shop.state().ruleset_version) == ("t1", 1)


def test_a_past_day_is_told_under_the_rules_of_that_day(shop: Shop) -> None:
    shop.order("o1", 1, 120)
    shop.publish(spend_ladder(50, 110), 5)
    shop.now = shop.at(20)
    assert [shop.standing(as_of=shop.at(day))["ruleset_version"] for day in (4, 4.9, 5, 6)] == [1, 1, 2, 2]
    assert [shop.standing(as_of=shop.at(day))["tier"] for day in (4, 5)] == ["t1", "t2"]


def test_a_rule_set_that_is_scheduled_moves_nobody_before_its_day(shop: Shop) -> None:
    shop.order("o1", 1, 120)
    shop.publish(spend_ladder(50, 110), 20 - MIDNIGHT)
    assert shop.review(19).reviewed == 0
    assert shop.standing()["ruleset_version"] == 1
    assert shop.review(20).changed == 1
    assert shop.log()[-1] == ("t1", "t2", "rule_change", 20 - MIDNIGHT)


def test_a_tier_keeps_its_beginning_where_its_code_stays_whatever_its_rank(shop: Shop) -> None:
    shop.order("o1", 1, 120)
    shop.publish(ladder(50, 100, 900, codes=("t0b", "t1", "t2")), 5)
    assert shop.review(9).changed == 0
    state = shop.state()
    assert (state.tier, state.rank, state.since) == ("t1", 2, shop.at(1))
    assert shop.log()[-1] == ("t0", "t1", "order", 1)
    assert shop.violations() == []


def test_a_removed_tier_sets_its_members_on_the_next_one_below_or_where_they_rise_to(shop: Shop) -> None:
    shop.enrol("m2")
    shop.order("o1", 1, 400)
    shop.order("o2", 1, 400, member_id="m2")
    shop.refund("r1", "o2", 2, 120, member_id="m2")
    shop.publish(ladder(100, 250, codes=("t1", "t9")), 5)
    shop.review(9)
    # One movement, although set down on t1 first.
    assert shop.log()[-1] == ("t2", "t9", "rule_change", 5)
    assert shop.violations() == []
    shop.publish(ladder(500, codes=("t1",)), 12)
    shop.review(12)
    assert shop.log()[-1] == ("t9", "t1", "rule_change", 12)
    told = shop.standing()
    assert (told["tier"], told["at_risk"]) == ("t1", True)
    assert shop.violations() == []


def test_a_refund_after_the_change_undoes_the_rise_under_the_rules_of_the_rise(shop: Shop) -> None:
    shop.order("o1", 1, 120)
    # Under the new rules 120 would not have been enough, nor is it after the refund of a single coin.
    shop.publish(spend_ladder(200, 300), 5)
    shop.refund("r1", "o1", 6, 20)
    # 100 was enough for the rise when it was made: it stands, at risk.
    assert (shop.state().tier, shop.standing()["at_risk"]) == ("t1", True)
    shop.refund("r2", "o1", 7, 1)
    assert shop.log()[-1] == ("t1", "t0", "refund", 7)
    assert shop.violations() == []


def test_an_order_rated_before_the_rules_were_known_to_have_changed_is_put_right(shop: Shop) -> None:
    shop.order("o1", 1, 120)
    shop.order("o2", 6, 10)
    # Published at the moment of day 5, but committed after the order of day 6 was rated.
    shop.publish(spend_ladder(50, 110), 5)
    assert shop.violations() == []
    assert shop.standing(7)["tier"] == "t2"
    assert shop.review(7).changed == 1
    assert shop.log()[-1] == ("t1", "t2", "rule_change", 5)
    assert shop.events()[-1][1]["to"] == "t2"
    assert shop.violations() == []


def test_an_order_that_changes_no_tier_still_costs_two_statements_after_a_change(shop: Shop) -> None:
    shop.publish(spend_ladder(50, 110), 5)
    shop.order("o1", 6, 10)
    fact = shop.record_order("o2", shop.at(7), 1000)
    with Statements(shop.conn) as statements:
        tiers.rate_facts(
            shop.conn,
            member_key=shop.keys["m1"],
            days_before=[],
            facts=[fact],
            now=shop.at(7),
            programme=shop.programme,
        )
    assert len(statements.seen) == 2, statements.seen


def test_a_preview_tells_whom_new_rules_would_move(shop: Shop) -> None:
    shop.order("o1", 1, 120)
    shop.publish(spend_ladder(50, 110), 5)
    found = tiers.preview_review(shop.conn, now=shop.at(6), programme=shop.programme, limit=10)
    assert [(change.from_tier, change.to_tier, change.cause) for change in found.changes] == [
        ("t1", "t2", "rule_change")
    ]


def test_days_that_passed_before_new_rules_do_not_hide_the_rules(shop: Shop) -> None:
    shop.order("o1", 1, 120)
    shop.order("o2", 20, 120)
    shop.publish(spend_ladder(50, 110), 33)
    # Due on the 31st day, and left there by it; the rules came after.
    assert shop.review(35).changed == 1
    assert [change[:3] for change in shop.log()[-1:]] == [("t1", "t2", "rule_change")]
    assert shop.state().ruleset_version == 2
    assert shop.violations() == []


@pytest.fixture
def committed(engine: Engine) -> Iterator[Shop]:
    with engine.connect() as conn:
        shop = Shop(conn, spend_ladder(100, 300))
        for number in range(60):
            shop.enrol(f"m{number}")
            shop.order(f"o{number}", 1 + number % 5, 40 * (number % 9), member_id=f"m{number}")
        shop.publish(spend_ladder(80, 200, 280), 8)
        conn.commit()
        yield shop


def left_behind(conn: Connection) -> list[tuple[Any, ...]]:
    """Return every state and every change there is."""
    states = conn.execute(text("SELECT * FROM tier_states ORDER BY member_key"))
    changes = conn.execute(
        text(
            "SELECT member_key, from_tier, to_tier, cause, effective_at, ruleset_version "
            "FROM tier_changes ORDER BY member_key, effective_at, change_key"
        )
    )
    return [tuple(row) for row in (*states, *changes)]


def test_several_workers_at_once_review_everybody_once_and_end_like_one(
    engine: Engine, committed: Shop
) -> None:
    now, programme = committed.at(9), committed.programme
    with engine.connect() as conn:
        # What one worker would leave behind.
        while tiers.review_due(conn, now=now, programme=programme, limit=7).reviewed:
            pass
        alone = left_behind(conn)
        conn.rollback()

    def work(_: int) -> reviews.ReviewSummary:
        return reviews.review_members(engine, programme=programme, now=now, chunk=7)

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(work, range(3)))
    assert sum(summary.reviewed for summary in done) == 60
    with engine.connect() as conn:
        assert left_behind(conn) == alone
        assert list(tiers.check_laws(conn, programme=programme, now=now)) == []
        told = conn.execute(text("SELECT count(*) FROM outbox WHERE payload->>'cause' = 'rule_change'"))
        assert told.scalar_one() == sum(row[3] == "rule_change" for row in alone if len(row) == 6)


def test_a_review_after_a_change_that_was_cut_off_is_finished_by_the_next(
    engine: Engine, committed: Shop
) -> None:
    now, programme = committed.at(9), committed.programme

    def cut_off(stage: str, done: int, total: int | None) -> None:
        assert (stage, total) == ("tiers", 60)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reviews.review_members(engine, programme=programme, now=now, chunk=25, progress=cut_off)
    summary = reviews.review_members(engine, programme=programme, now=now, chunk=25)
    assert summary.reviewed == 35
    with engine.connect() as conn:
        assert list(tiers.check_laws(conn, programme=programme, now=now)) == []
