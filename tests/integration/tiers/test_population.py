"""Everybody's metrics read at once: the cases that no law draws often enough."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from sqlalchemy import BigInteger, Connection, Subquery, column, select, values

from service.activity import operations as activity
from service.activity.rules import NewLine, NewOrder, NewRefund
from service.profiles.merging import Asker, merge_members
from service.tiers.conditions import MAX_DAYS, Condition, Metrics, compile_condition, parse_condition
from service.tiers.fold import fold
from service.tiers.periods import CalendarYear, MembershipYear, RollingWindow, Window
from service.tiers.population import store
from service.tiers.population.anchors import find_anchors
from service.tiers.population.store_conditions import condition_sql
from service.tiers.population.store_metrics import Anchors, members_sql, metrics_sql
from service.tiers.rules import parse_ruleset
from service.tiers.timeline import RuleTimeline
from tests.integration.tiers.shop import Shop, Statements, programme_in, spend_ladder

THIRTY = RollingWindow(30)
NOBODY: Anchors = {"anchored_keys": [], "anchored_from": []}


@pytest.fixture
def shop(conn: Connection) -> Shop:
    """A programme in UTC, nobody in it."""
    return Shop(conn, spend_ladder(100, 300))


def measure(
    shop: Shop, day: date, *, member_id: str = "m1", window: Window = THIRTY, past: bool = False
) -> Metrics | None:
    """Return one member's metrics as everybody's are read, None for no member by then."""
    statement = metrics_sql(window, day=day, timezone=shop.programme.timezone, past=past)
    anchors = find_anchors(shop.conn, windows=[window], day=day, programme=shop.programme, past=past)
    rows = {row.member_key: row[1:] for row in shop.conn.execute(statement, anchors)}
    found = rows.get(shop.keys[member_id])
    return None if found is None else Metrics(*found)


def test_a_member_without_a_day_has_metrics_of_nothing(shop: Shop) -> None:
    shop.enrol()
    assert measure(shop, shop.on(5)) == Metrics(0, 0, None, 0, 0, 5)


def test_a_day_that_was_refunded_whole_is_not_active_but_counts_what_is_left(shop: Shop) -> None:
    shop.enrol()
    shop.order("o1", 1, 100)
    shop.order("o2", 4, 100)
    shop.refund("r1", "o2", 6, 100)
    shop.refund("u1", None, 7, 30)
    assert measure(shop, shop.on(9)) == Metrics(1, 0, 8, 70_00, 1, 9)


def test_of_a_past_day_what_was_refunded_since_still_counts(shop: Shop) -> None:
    shop.enrol()
    shop.order("o1", 1, 100)
    shop.order("o2", 4, 100)
    shop.refund("r1", "o2", 6, 40)
    shop.cancel("o1", 8)
    assert measure(shop, shop.on(5), past=True) == Metrics(2, 3, 1, 200_00, 2, 5)
    assert measure(shop, shop.on(7), past=True) == Metrics(2, 3, 3, 160_00, 2, 7)
    assert measure(shop, shop.on(8), past=True) == Metrics(1, 0, 4, 60_00, 1, 8)


def test_of_a_past_day_only_those_who_were_members_by_then_are_told(shop: Shop) -> None:
    shop.enrol("m1", day=10)
    shop.enrol("m2", day=12)
    assert measure(shop, shop.on(11), member_id="m1", past=True) is not None
    assert measure(shop, shop.on(11), member_id="m2", past=True) is None
    assert measure(shop, shop.on(12), member_id="m2", past=True) == Metrics(0, 0, None, 0, 0, 0)


def test_parts_of_a_refund_in_another_currency_are_rounded_as_the_facts_are(conn: Connection) -> None:
    shop = Shop(conn, spend_ladder(100))
    shop.enrol()
    shop.now = shop.at(30)
    key, rate = shop.keys["m1"], Decimal("31.417")
    for number, amount in ((1, 1001), (2, 333), (3, 7)):
        activity.record_order(
            conn,
            member_key=key,
            member_id="m1",
            order=NewOrder(
                f"o{number}", shop.at(number), "USD", (NewLine("tea", 1, amount, None),), tax_minor=3,
                exchange_rate=rate, rate=rate,
            ),
            programme=shop.programme,
            now=shop.now,
        )  # fmt: skip
        for part in (1, 2, 3):
            activity.record_refund(
                conn,
                member_key=key,
                member_id="m1",
                refund=NewRefund(
                    f"r{number}-{part}", f"o{number}", shop.at(number + part), None, "return", None,
                    amount // 4 + part % 2, "USD",
                ),
                programme=shop.programme,
                now=shop.now,
            )  # fmt: skip
    shop.refold("m1")
    rules = parse_ruleset(shop.definition, version=1)
    facts = activity.list_tier_facts(conn, member_key=key)
    for day in range(1, 9):
        then = [fact for fact in facts if fact.at <= datetime(2024, 1, 1 + day, 23, 59, tzinfo=UTC)]
        member = fold(
            then,
            timeline=RuleTimeline.always(rules),
            timezone="UTC",
            joined_at=shop.at(0),
            until=shop.on(day),
        )
        assert measure(shop, shop.on(day), past=True) == member.measure(shop.on(day))._replace(
            member_days=day
        )
    roll_up = measure(shop, shop.on(8))
    assert roll_up == measure(shop, shop.on(8), past=True)


@pytest.mark.parametrize(
    ("window", "day", "spend"),
    [
        (CalendarYear(), date(2025, 12, 31), 300),
        (CalendarYear(), date(2026, 1, 1), 400),
        # Joined on 29 February: the year begins on the 28th where there is no 29th.
        (MembershipYear("joining"), date(2025, 2, 27), 200),
        (MembershipYear("joining"), date(2025, 2, 28), 300),
        (MembershipYear("joining"), date(2028, 2, 28), 0),
        (RollingWindow(1), date(2025, 2, 28), 300),
    ],
)
def test_periods_begin_and_end_as_the_calendar_says(
    conn: Connection, window: Window, day: date, spend: int
) -> None:
    shop = Shop(conn, spend_ladder(10_000))
    shop.enrol(joined_at=datetime(2024, 2, 29, 12, tzinfo=UTC))
    shop.now = datetime(2028, 6, 1, tzinfo=UTC)
    bought = {date(2024, 5, 1): 200, date(2025, 2, 28): 300, date(2026, 1, 1): 400}
    for number, (on, amount) in enumerate(bought.items()):
        if on <= day:
            at = datetime(on.year, on.month, on.day, 12, tzinfo=UTC)
            shop.record_order(f"o{number}", at, amount * 100)
    found = measure(shop, day, window=window)
    assert found is not None
    assert found.net_spend_minor == spend * 100


def test_a_year_of_membership_may_begin_with_the_tier(conn: Connection) -> None:
    shop = Shop(conn, spend_ladder(100, window_days=700))
    shop.enrol()
    shop.order("o1", 5, 60)
    shop.order("o2", 10, 60)
    shop.order("o3", 12, 30)
    found = measure(shop, shop.on(20), window=MembershipYear("tier"))
    assert found is not None
    # t1 was reached on day 10.
    assert (found.orders, found.net_spend_minor) == (2, 90_00)


def test_a_store_that_is_a_day_ahead_counts_at_once(conn: Connection) -> None:
    shop = Shop(conn, spend_ladder(100), programme=programme_in("America/New_York"))
    shop.enrol()
    shop.order("o1", 1, 100)
    conn.exec_driver_sql("UPDATE member_days SET day = day + 1")
    assert measure(shop, shop.on(1)) == Metrics(1, 0, 0, 100_00, 1, 1)


def test_a_range_of_keys_and_a_list_of_keys_read_the_same_members(shop: Shop) -> None:
    for number in range(1, 6):
        shop.enrol(f"m{number}")
        shop.order(f"o{number}", number, 100 * number, member_id=f"m{number}")
    keys = sorted(shop.keys.values())
    given: dict[str, Any] = {"day": shop.on(9), "timezone": "UTC"}
    for past in (False, True):
        whole = {row[0]: row for row in shop.conn.execute(metrics_sql(THIRTY, past=past, **given), NOBODY)}
        for some in ((keys[1], keys[3]), keys[1:4]):
            rows = shop.conn.execute(metrics_sql(THIRTY, past=past, keys=some, **given), NOBODY).all()
            assert {row[0]: row for row in rows} == {key: whole[key] for key in keys[1:4]}


def test_everybody_is_read_in_one_statement(shop: Shop) -> None:
    shop.enrol()
    with Statements(shop.conn) as statements:
        shop.conn.execute(metrics_sql(THIRTY, day=shop.on(1), timezone="UTC"))
    assert len(statements.seen) == 1


def test_who_is_a_member_comes_with_the_tier_held_then(shop: Shop) -> None:
    shop.enrol()
    shop.order("o1", 2, 120)
    shop.order("o2", 4, 500)
    given: dict[str, Any] = {"timezone": "UTC", "past": True}
    held = [shop.conn.execute(members_sql(day=shop.on(day), **given), NOBODY).one().tier for day in (1, 3, 5)]
    assert held == ["t0", "t1", "t2"]


def test_ranges_go_through_the_membership_without_a_gap(shop: Shop) -> None:
    for number in range(1, 6):
        shop.enrol(f"m{number}")
    keys, after, seen = sorted(shop.keys.values()), 0, list[int]()
    while found := store.find_range(shop.conn, after=after, size=2):
        assert found.first == after + 1
        after = found.last
        seen.append(found.members)
    assert (after, seen) == (keys[-1], [2, 2, 1])


NUMBERS = [
    Metrics(2, 7, 0, 0, 1, 0),
    Metrics(1, 0, 3, 10**15, 9, 1),
    Metrics(0, 0, None, -500, 0, None),
    Metrics(731, MAX_DAYS, 5, -(10**15), 10_000, MAX_DAYS),
    Metrics(4, 10, 2, 3, 3, 3),
]


def metrics_of(numbers: list[Metrics]) -> Subquery:
    """Return made-up metrics as a selectable."""
    names = [column(name, BigInteger) for name in Metrics._fields]
    return select(values(*names, name="v").data([tuple(one) for one in numbers])).subquery("metrics")


@pytest.mark.parametrize(
    "condition",
    [
        {"metric": "visit_interval_days", "op": "<=", "value": "3.33333333333333333333333333333333333333"},
        {"metric": "visit_interval_days", "op": ">", "value": "3.33333333333333333333333333333333333333"},
        {"metric": "visit_interval_days", "op": "between", "value": ["3.3333333333333333333333", 7]},
        {"metric": "visit_interval_days", "op": ">=", "value": MAX_DAYS},
        {"metric": "days_since_last_visit", "op": "<", "value": 0},
        {"metric": "days_since_last_visit", "op": ">=", "value": 0},
        {"metric": "net_spend", "op": "<", "value": "0"},
        {"metric": "net_spend", "op": ">=", "value": "10000000000000"},
        {"metric": "member_days", "op": "<=", "value": MAX_DAYS},
        {"at_least": {"k": 2, "of": [
            {"metric": "days_since_last_visit", "op": "<=", "value": 9},
            {"metric": "member_days", "op": ">=", "value": 1},
            {"metric": "orders", "op": ">", "value": 2},
        ]}},
        {"any": [
            {"metric": "days_since_last_visit", "op": "<=", "value": 2},
            {"all": [
                {"metric": "orders", "op": ">=", "value": 0},
                {"metric": "net_spend", "op": "<=", "value": 5},
            ]},
        ]},
    ],
)  # fmt: skip
def test_extreme_numbers_are_compared_exactly(conn: Connection, condition: dict[str, Any]) -> None:
    parsed: Condition = parse_condition(condition, currency="TWD")
    predicate = compile_condition(parsed)
    metrics = metrics_of(NUMBERS)
    told = conn.execute(select(condition_sql(parsed, metrics.c))).scalars().all()
    assert told == [predicate(one) for one in NUMBERS]


def test_an_interval_of_a_third_meets_its_own_decimals_on_neither_side(conn: Connection) -> None:
    assert Metrics(4, 10, 2, 3, 3, 3).visit_interval() == Fraction(10, 3)
    for op, holds in (("<=", False), (">", True)):
        parsed = parse_condition(
            {"metric": "visit_interval_days", "op": op, "value": "3.3333"}, currency="TWD"
        )
        metrics = metrics_of([Metrics(4, 10, 2, 3, 3, 3)])
        assert conn.execute(select(condition_sql(parsed, metrics.c))).scalar_one() is holds


YEAR_OF_TIER = MembershipYear("tier")


@pytest.fixture
def yearly(conn: Connection) -> Shop:
    """A programme whose year begins anew whenever a tier is reached."""
    window = {"kind": "membership_year", "anchor": "tier"}
    return Shop(conn, spend_ladder(100, 900) | {"window": window})


def test_of_a_past_day_a_year_goes_on_where_a_rise_was_undone(yearly: Shop) -> None:
    yearly.enrol()
    yearly.order("o1", 2, 40)
    yearly.order("o2", 5, 80)
    yearly.refund("r1", "o2", 9, 80)
    assert measure(yearly, yearly.on(7), window=YEAR_OF_TIER, past=True) == Metrics(1, 0, 2, 80_00, 1, 7)
    assert measure(yearly, yearly.on(12), window=YEAR_OF_TIER, past=True) == Metrics(1, 0, 10, 40_00, 1, 12)


def test_of_a_past_day_a_year_begins_with_the_rating_that_a_pin_hid(yearly: Shop) -> None:
    yearly.enrol()
    yearly.pin("t1", 2, until=20)
    yearly.order("o1", 5, 50)
    yearly.order("o2", 10, 120)
    yearly.review(21)
    for day in (15, 25):
        told = measure(yearly, yearly.on(day), window=YEAR_OF_TIER, past=True)
        assert told == Metrics(1, 0, day - 10, 120_00, 1, day)


def test_of_a_past_day_a_year_begins_with_the_tier_that_those_merged_had_reached(yearly: Shop) -> None:
    yearly.enrol("m1")
    yearly.enrol("m2")
    yearly.order("o2", 3, 150, member_id="m2")
    yearly.order("o1", 5, 120, member_id="m1")
    merge_members(
        yearly.conn,
        member_id="m2",
        into_id="m1",
        asker=Asker("admin:k1", "because", None, yearly.at(10)),
        programme=yearly.programme,
        locale="en",
    )
    yearly.now = yearly.at(30)
    assert measure(yearly, yearly.on(9), window=YEAR_OF_TIER, past=True) == Metrics(1, 0, 4, 120_00, 1, 9)
    assert measure(yearly, yearly.on(12), window=YEAR_OF_TIER, past=True) == Metrics(2, 2, 7, 270_00, 2, 12)
