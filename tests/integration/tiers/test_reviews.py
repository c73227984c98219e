"""The nightly review on a real database."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import Connection, Engine, text

from service.kit.db import transaction
from service.tiers import operations as tiers
from service.tiers import reviews
from tests.integration.tiers.shop import Shop, Statements, spend_ladder

MIDNIGHT = 4 / 24


@pytest.fixture
def shop(conn: Connection) -> Shop:
    """Nine members who bought once, on days 0 to 8, and one who never did."""
    shop = Shop(conn, spend_ladder(100, 300))
    fill(shop)
    return shop


def fill(shop: Shop) -> None:
    shop.enrol("m0")
    for number in range(1, 10):
        shop.enrol(f"m{number}")
        shop.order(f"o{number}", number, 320, member_id=f"m{number}")


@pytest.fixture
def committed(engine: Engine) -> Shop:
    """The same, committed, so that several connections see it."""
    with transaction(engine) as conn:
        shop = Shop(conn, spend_ladder(100, 300))
        fill(shop)
    return shop


def test_only_those_who_are_due_are_read(shop: Shop) -> None:
    assert shop.review(30.5).reviewed == 0
    done = shop.review(33.5)
    # Days 1 to 3 left the window: at risk, not fallen.
    assert (done.reviewed, done.changed) == (3, 0)
    assert shop.review(33.5).reviewed == 0
    assert shop.violations() == []


def test_a_late_review_dates_each_fall_on_its_due_day(shop: Shop) -> None:
    done = shop.review(200)
    assert (done.reviewed, done.changed) == (9, 9)
    assert shop.log("m3")[2:] == [
        ("t2", "t1", "roll_off", 43 - MIDNIGHT),
        ("t1", "t0", "roll_off", 53 - MIDNIGHT),
    ]
    assert shop.state("m3").next_review_on is None
    assert shop.violations() == []


def test_reviews_of_every_day_end_like_one_review(conn: Connection) -> None:
    outcomes = []
    for days in (range(1, 101), [100]):
        with conn.begin_nested() as savepoint:
            shop = Shop(conn, spend_ladder(100, 300))
            fill(shop)
            for day in days:
                shop.review(day + 0.5)
            outcomes.append([(shop.log(f"m{n}"), shop.state(f"m{n}")[1:]) for n in range(10)])
            savepoint.rollback()
    assert outcomes[0] == outcomes[1]


def test_t2_reviewing_everyone_changes_nothing_more_than_reviewing_the_due(shop: Shop) -> None:
    shop.review(45)
    before = [(shop.log(f"m{n}"), shop.state(f"m{n}")) for n in range(10)]
    done = shop.review(45, everyone=True)
    assert (done.reviewed, done.changed) == (10, 0)
    assert [(shop.log(f"m{n}"), shop.state(f"m{n}")) for n in range(10)] == before


@pytest.mark.parametrize("wrong", ["NULL", "next_review_on + 1"])
def test_a_review_of_everyone_heals_a_day_of_review_that_is_wrong_and_says_how_many(
    shop: Shop, wrong: str
) -> None:
    shop.review(33.5)
    right = [(shop.log(f"m{n}"), shop.state(f"m{n}")) for n in range(10)]
    # m1 is at risk, m5 is not, and neither is due before the 35th day.
    keys = [shop.keys["m1"], shop.keys["m5"]]
    shop.conn.execute(
        text(f"UPDATE tier_states SET next_review_on = {wrong} WHERE member_key = ANY(:keys)"), {"keys": keys}
    )
    assert {violation.member_key for violation in shop.violations()} == set(keys)
    found = tiers.preview_review(shop.conn, now=shop.now, programme=shop.programme, limit=100, everyone=True)
    assert (found.changed, found.healed) == (0, 2)
    done = shop.review(33.6, everyone=True)
    assert (done.changed, done.healed) == (0, 2)
    assert [(shop.log(f"m{n}"), shop.state(f"m{n}")) for n in range(10)] == right
    assert shop.violations() == []
    assert shop.review(33.7, everyone=True).healed == 0


def test_a_fall_that_a_wrong_day_of_review_has_kept_back_is_made_up_for_on_its_own_day(shop: Shop) -> None:
    shop.conn.execute(text("UPDATE tier_states SET next_review_on = NULL"))
    assert shop.review(200).reviewed == 0
    done = shop.review(200, everyone=True)
    assert (done.changed, done.healed) == (9, 9)
    assert [at for _, to, _, at in shop.log("m3")[2:]] == [43 - MIDNIGHT, 53 - MIDNIGHT]
    assert shop.violations() == []


def test_everyone_is_reviewed_in_chunks_by_key(shop: Shop) -> None:
    seen, after = 0, 0
    while True:
        done = tiers.review_due(
            shop.conn,
            now=shop.at(60),
            programme=shop.programme,
            limit=4,
            everyone=True,
            after_member_key=after,
        )
        if not done.reviewed:
            break
        seen, after = seen + done.reviewed, done.last_member_key
    assert seen == 10


def test_a_review_costs_the_same_statements_for_any_number_of_members(shop: Shop) -> None:
    shop.review(33.5)
    with Statements(shop.conn) as statements:
        # Two of them only to be told once more.
        assert shop.review(41.6).reviewed == 9
    days = [statement for statement in statements.seen if statement.startswith("SELECT read.")]
    # One for each of the six days on which those six were due who are not at risk yet.
    assert len(days) == 6
    # Lock, rule sets, plan, windows, stage, clear, apply between two settings, events.
    assert len(statements.seen) - len(days) <= 10, statements.seen


def test_whom_a_day_leaves_where_they_are_is_not_folded(shop: Shop) -> None:
    for number in range(1, 10):
        shop.order(f"again{number}", 20 + number / 10, 320, member_id=f"m{number}")
    with Statements(shop.conn) as statements:
        done = shop.review(33.5)
    assert (done.reviewed, done.changed) == (3, 0)
    # Lock, rule sets, plan, one for each of three days, and when they are due next between two settings.
    assert len(statements.seen) == 9, statements.seen
    assert shop.violations() == []
    assert shop.review(33.5).reviewed == 0
    assert shop.review(200).changed == 9
    assert shop.violations() == []


def test_being_at_risk_is_told_once_however_often_it_is_reviewed(shop: Shop) -> None:
    for _ in range(3):
        shop.review(31.6)
        shop.review(31.6, everyone=True)
    told = [payload for topic, payload in shop.events() if topic == "member.tier.at_risk"]
    assert [payload["falls_on"] for payload in told] == ["2024-02-11"]


def test_a_member_at_risk_is_told_again_shortly_before_the_fall_and_once_only(shop: Shop) -> None:
    for hour in range(31 * 24, 50 * 24, 6):
        shop.review(hour / 24)
    told = Counter(
        (payload["notice"], payload["at_risk_since"], payload["falls_on"])
        for topic, payload in shop.events()
        if topic == "member.tier.at_risk" and payload["tier"] == "t2"
    )
    # Each at risk one day after the other; ten days of grace.
    days = [(shop.on(30 + number), shop.on(40 + number)) for number in range(1, 10)]
    assert told == {
        (notice, begins.isoformat(), ends.isoformat()): 1
        for notice in ("first", "reminder")
        for begins, ends in days
    }
    assert shop.violations() == []


def test_a_review_that_comes_late_tells_only_the_notice_that_still_matters(shop: Shop) -> None:
    shop.review(36)
    told = [payload["notice"] for topic, payload in shop.events() if topic == "member.tier.at_risk"]
    assert sorted(told) == ["first", "first", "first", "reminder", "reminder", "reminder"]


def test_a_preview_tells_what_would_change_and_writes_nothing(shop: Shop) -> None:
    shop.now = shop.at(43)
    before = [(shop.log(f"m{n}"), shop.state(f"m{n}")) for n in range(10)]
    found = tiers.preview_review(shop.conn, now=shop.now, programme=shop.programme, limit=100)
    assert (found.reviewed, found.changed) == (9, 3)
    assert found.changes[0].to_json() == {
        "member_id": "m1",
        "from": "t2",
        "to": "t1",
        "effective_at": "2024-02-11T00:00:00Z",
        "cause": "roll_off",
    }
    assert [(shop.log(f"m{n}"), shop.state(f"m{n}")) for n in range(10)] == before


def test_an_earlier_day_can_be_reviewed(shop: Shop) -> None:
    done = tiers.review_due(
        shop.conn, now=shop.at(200), programme=shop.programme, limit=100, as_of=shop.on(41)
    )
    assert (done.reviewed, done.changed) == (9, 1)


def test_two_reviews_at_once_share_the_work(engine: Engine, committed: Shop) -> None:
    now, programme = committed.at(200), committed.programme
    with engine.connect() as one, engine.connect() as two:
        first = tiers.review_due(one, now=now, programme=programme, limit=5)
        second = tiers.review_due(two, now=now, programme=programme, limit=100)
        assert (first.reviewed, second.reviewed) == (5, 4)
        one.commit()
        two.commit()
    with engine.connect() as conn:
        assert list(tiers.check_laws(conn, programme=programme, now=now)) == []
        moves = conn.execute(text("SELECT count(*) FROM tier_changes WHERE cause = 'roll_off'")).scalar_one()
        assert moves == 18


def test_a_review_that_was_cut_off_is_finished_by_the_next(engine: Engine, committed: Shop) -> None:
    now, programme = committed.at(200), committed.programme
    seen: list[int] = []

    def cut_off(stage: str, done: int, total: int | None) -> None:
        seen.append(done)
        assert (stage, total) == ("tiers", 9)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reviews.review_members(engine, programme=programme, now=now, chunk=4, progress=cut_off)
    summary = reviews.review_members(engine, programme=programme, now=now, chunk=4)
    assert (seen, summary.reviewed, summary.changed) == ([4], 5, 5)
    with engine.connect() as conn:
        assert list(tiers.check_laws(conn, programme=programme, now=now)) == []


def test_everyone_is_reviewed_in_ranges_at_the_same_time_and_may_be_cut_off(
    engine: Engine, committed: Shop
) -> None:
    now, programme = committed.at(200), committed.programme
    seen: list[int] = []

    def cut_off(stage: str, done: int, total: int | None) -> None:
        seen.append(done)
        assert (stage, total) == ("tiers", 10)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reviews.review_members(engine, programme=programme, now=now, everyone=True, chunk=1, progress=cut_off)
    told: list[int] = []
    summary = reviews.review_members(
        engine,
        programme=programme,
        now=now,
        everyone=True,
        chunk=1,
        progress=lambda stage, done, total: told.append(done),
    )
    assert seen == [4]
    assert (told, summary.reviewed) == ([4, 8, 10], 10)
    # What was under way when it was cut off is done, or left to the next.
    assert summary.changed <= 6
    with engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM tier_changes WHERE cause = 'roll_off'")).scalar() == 18
        assert list(tiers.check_laws(conn, programme=programme, now=now)) == []


def test_a_dry_run_goes_through_everybody_and_writes_nothing(engine: Engine, committed: Shop) -> None:
    summary = reviews.review_members(
        engine, programme=committed.programme, now=committed.at(200), chunk=4, dry_run=True
    )
    assert (summary.reviewed, summary.changed, len(summary.changes)) == (9, 9, 18)
    with engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM tier_changes WHERE cause = 'roll_off'")).scalar() == 0
