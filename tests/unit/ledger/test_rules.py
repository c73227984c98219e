"""The arithmetic of points."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from math import floor
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kit.clock import local_day
from service.ledger.rules import (
    MONTHS_OF,
    Draw,
    EarningRule,
    Lot,
    LotThen,
    Move,
    OrderRecord,
    add_months,
    allocate,
    available_from,
    expires_from,
    give_back,
    points_for,
    points_to_take_back,
    reversals,
    rule_from_json,
    rule_to_json,
    share_back,
    stand_at,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = st.builds(
    EarningRule,
    points=st.integers(0, 1000),
    per_minor=st.integers(1, 100_000),
    multiplier_bp=st.integers(0, 100_000),
)
AMOUNTS = st.integers(0, 10**15)


def lot(
    key: int,
    points: int,
    *,
    order: int | None = None,
    pending: bool = False,
    expires: int | None = None,
    earned: int = 0,
) -> Lot:
    return Lot(
        lot_key=key,
        order_key=order,
        remaining=points,
        pending=pending,
        earned_at=NOON + timedelta(days=earned),
        expires_at=None if expires is None else NOON + timedelta(days=expires),
    )


@given(AMOUNTS, RULES)
def test_points_are_the_exact_product_rounded_down_once(eligible_minor: int, rule: EarningRule) -> None:
    exact = Fraction(eligible_minor * rule.points, rule.per_minor) * Fraction(rule.multiplier_bp, 10_000)
    assert points_for(eligible_minor, rule) == floor(exact)


def test_rounding_down_before_the_multiplier_would_lose_a_point() -> None:
    rule = EarningRule(points=1, per_minor=100, multiplier_bp=15_000)
    assert points_for(199, rule) == 2
    assert points_for(199, EarningRule(points=1, per_minor=100)) * 15_000 // 10_000 == 1


def test_a_tenth_thirty_times_leaves_no_float_residue() -> None:
    assert points_for(29, EarningRule(points=1, per_minor=1, multiplier_bp=1_000)) == 2
    assert points_for(30, EarningRule(points=1, per_minor=1, multiplier_bp=1_000)) == 3


def test_an_amount_above_what_a_float_holds_earns_to_the_point() -> None:
    assert points_for(10**15 + 1, EarningRule(points=1_000, per_minor=1)) == 10**18 + 1_000


def test_one_point_stays_one_point_in_a_currency_without_decimals() -> None:
    assert points_for(100, EarningRule(points=1, per_minor=100)) == 1
    assert points_for(99, EarningRule(points=1, per_minor=100)) == 0


def test_a_negative_amount_is_refused() -> None:
    with pytest.raises(ValueError, match="negative amount"):
        points_for(-1, EarningRule(points=1, per_minor=100))


@pytest.mark.parametrize(("points", "per_minor", "multiplier_bp"), [(-1, 1, 1), (1, 0, 1), (1, 1, -1)])
def test_an_impossible_rule_is_refused(points: int, per_minor: int, multiplier_bp: int) -> None:
    with pytest.raises(ValueError, match="earning rule"):
        EarningRule(points=points, per_minor=per_minor, multiplier_bp=multiplier_bp)


def test_a_rule_comes_back_as_it_was_recorded() -> None:
    rule = EarningRule(points=3, per_minor=1000, multiplier_bp=12_500, tier="gold")
    assert rule_from_json(rule_to_json(rule, eligible_minor=99_900)) == (rule, 99_900)


@given(AMOUNTS, RULES, st.lists(st.integers(0, 10**15), max_size=6))
def test_any_refunds_leave_what_the_rest_earns(
    eligible_minor: int, rule: EarningRule, lefts: list[int]
) -> None:
    earned = points_for(eligible_minor, rule)
    taken = 0
    lefts = sorted((min(left, eligible_minor) for left in lefts), reverse=True)
    for left in lefts:
        record = OrderRecord(rule, eligible_minor, earned, taken, 0)
        taken += points_to_take_back(record, eligible_left_minor=left)
    assert earned - taken == points_for(lefts[-1] if lefts else eligible_minor, rule)
    assert 0 <= taken <= earned


def test_a_refund_never_gives_points() -> None:
    record = OrderRecord(EarningRule(points=1, per_minor=100), 10_000, 100, 60, 0)
    assert points_to_take_back(record, eligible_left_minor=8_000) == 0
    assert points_to_take_back(record, eligible_left_minor=3_000) == 10


def test_a_shortfall_is_not_asked_for_again() -> None:
    record = OrderRecord(EarningRule(points=1, per_minor=100), 10_000, 100, 30, 20)
    assert points_to_take_back(record, eligible_left_minor=5_000) == 0
    assert points_to_take_back(record, eligible_left_minor=0) == 50


def test_the_own_order_gives_first_pending_before_available_then_the_soonest_to_expire() -> None:
    lots = [
        lot(1, 10),
        lot(2, 10, expires=30),
        lot(3, 10, expires=20),
        lot(4, 10, pending=True, expires=40),
        lot(5, 10, order=7, expires=50),
        lot(6, 10, order=7, pending=True),
    ]
    draws, missing = allocate(100, lots, own_order_key=7)
    assert [draw.lot_key for draw in draws] == [6, 5, 4, 3, 2, 1]
    assert missing == 40


def test_among_equals_the_earlier_earned_goes_first_then_the_smaller_key() -> None:
    lots = [lot(3, 5, earned=1), lot(2, 5), lot(1, 5, earned=1)]
    assert [draw.lot_key for draw in allocate(15, lots)[0]] == [2, 1, 3]


def test_no_more_is_drawn_than_is_asked_for() -> None:
    draws, missing = allocate(12, [lot(1, 10, expires=1), lot(2, 10, expires=2), lot(3, 10)])
    assert draws == [Draw(1, 10, pending=False), Draw(2, 2, pending=False)]
    assert missing == 0
    assert allocate(0, [lot(1, 10)]) == ([], 0)


def test_lots_without_an_order_are_nobodys_own() -> None:
    draws, _ = allocate(5, [lot(1, 5), lot(2, 5, expires=9)], own_order_key=None)
    assert [draw.lot_key for draw in draws] == [2]


@given(st.integers(0, 500), st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=8))
def test_draws_and_what_is_missing_make_up_what_was_asked(points: int, held: list[tuple[int, bool]]) -> None:
    lots = [lot(key, remaining, pending=pending) for key, (remaining, pending) in enumerate(held)]
    draws, missing = allocate(points, lots)
    assert sum(draw.points for draw in draws) + missing == points
    assert all(0 < draw.points <= lots[draw.lot_key].remaining for draw in draws)
    assert missing == max(0, points - sum(one.remaining for one in lots))


def test_what_no_lot_could_give_is_owed_outside_any_lot() -> None:
    draws = [Draw(1, 4, pending=True), Draw(2, 3, pending=False)]
    assert reversals(draws, debt=5) == [
        Move("pending", "reversed", 4, 1),
        Move("available", "reversed", 3, 2),
        Move("debt", "reversed", 5),
    ]
    assert reversals([], debt=0) == []


def test_points_become_available_at_the_local_midnight_that_ends_the_return_period() -> None:
    placed = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
    day = local_day(placed, timezone="Asia/Taipei")
    assert day == date(2026, 3, 2)
    assert available_from(placed, day=day, return_period_days=7, timezone="Asia/Taipei") == datetime(
        2026, 3, 8, 16, tzinfo=UTC
    )


def test_without_a_return_period_points_are_available_at_once() -> None:
    assert available_from(NOON, day=NOON.date(), return_period_days=0, timezone="Asia/Taipei") == NOON


@pytest.mark.parametrize(
    ("day", "months", "timezone", "expected"),
    [
        (date(2026, 1, 15), 12, "Asia/Taipei", datetime(2027, 1, 14, 16, tzinfo=UTC)),
        (date(2026, 1, 31), 1, "Asia/Taipei", datetime(2026, 2, 27, 16, tzinfo=UTC)),
        (date(2028, 1, 31), 1, "Asia/Taipei", datetime(2028, 2, 28, 16, tzinfo=UTC)),
        (date(2026, 1, 15), 6, "Europe/London", datetime(2026, 7, 14, 23, tzinfo=UTC)),
        (date(2026, 7, 15), 6, "Europe/London", datetime(2027, 1, 15, 0, tzinfo=UTC)),
        (date(2026, 1, 15), 6, "America/Los_Angeles", datetime(2026, 7, 15, 7, tzinfo=UTC)),
    ],
)
def test_points_expire_at_a_midnight_of_the_store_whatever_its_summer_time(
    day: date, months: int, timezone: str, expected: datetime
) -> None:
    found = expires_from(day, model="rolling_months", months=months, timezone=timezone)
    assert found == expected
    assert local_day(expected, timezone=timezone) == add_months(day, months=months)


def test_points_without_an_expiry_model_never_expire() -> None:
    assert expires_from(NOON.date(), model="none", months=None, timezone="Asia/Taipei") is None
    assert expires_from(NOON.date(), model="none", months=12, timezone="Asia/Taipei") is None


def test_rolling_months_without_a_number_of_months_are_refused() -> None:
    with pytest.raises(ValueError, match="number of months"):
        expires_from(NOON.date(), model="rolling_months", months=None, timezone="Asia/Taipei")


@given(st.dates(date(2000, 1, 1), date(2900, 1, 1)), st.integers(1, 120))
def test_months_later_is_the_same_day_or_the_last_of_a_shorter_month(day: date, months: int) -> None:
    later = add_months(day, months=months)
    assert (later.year * 12 + later.month) - (day.year * 12 + day.month) == months
    assert later.day == day.day or (later.day < day.day and (later + timedelta(days=1)).day == 1)


@pytest.mark.parametrize(
    ("day", "period", "periods", "first_day_without"),
    [
        (date(2026, 1, 1), "year", 1, date(2028, 1, 1)),
        (date(2026, 12, 31), "year", 1, date(2028, 1, 1)),
        (date(2026, 12, 31), "year", 2, date(2029, 1, 1)),
        (date(2026, 8, 31), "half_year", 1, date(2027, 7, 1)),
        (date(2026, 8, 31), "quarter", 1, date(2027, 1, 1)),
        (date(2028, 1, 31), "month", 1, date(2028, 3, 1)),
        (date(2026, 12, 31), "month", 12, date(2028, 1, 1)),
    ],
)
@pytest.mark.parametrize("timezone", ["Asia/Taipei", "America/Sao_Paulo", "Europe/London"])
def test_points_expire_as_a_later_calendar_period_ends_at_midnight_of_the_store(
    day: date, period: Literal["month", "quarter", "half_year", "year"], periods: int,
    first_day_without: date, timezone: str,
) -> None:  # fmt: skip
    at = expires_from(
        day, model="end_of_period", months=None, period=period, periods=periods, timezone=timezone
    )
    assert at is not None
    assert local_day(at, timezone=timezone) == first_day_without
    assert local_day(at - timedelta(microseconds=1), timezone=timezone) == first_day_without - timedelta(1)


@given(
    st.dates(date(2000, 1, 1), date(2900, 1, 1)),
    st.sampled_from(["month", "quarter", "half_year", "year"]),
    st.integers(1, 10),
)
def test_a_calendar_period_never_ends_before_one_full_period_has_passed(
    day: date, period: Literal["month", "quarter", "half_year", "year"], periods: int
) -> None:
    at = expires_from(day, model="end_of_period", months=None, period=period, periods=periods, timezone="UTC")
    assert at is not None
    assert at.date() > add_months(day, months=MONTHS_OF[period] * periods) - timedelta(days=1)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("after_inactivity", {"months": None}),
        ("end_of_period", {"months": 12}),
        ("end_of_period", {"months": None, "period": "year", "periods": 0}),
    ],
)
def test_an_expiry_without_what_its_model_needs_is_refused(
    model: Literal["end_of_period", "after_inactivity"], options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="needs a"):
        expires_from(NOON.date(), model=model, timezone="Asia/Taipei", **options)


def a_lot(key: int, *, remaining: int = 10, expires: int | None = None) -> Lot:
    return Lot(key, None, remaining, False, NOON, None if expires is None else NOON + timedelta(days=expires))


def test_what_is_given_back_pays_the_debt_first_and_tells_what_has_expired() -> None:
    freed = [(a_lot(1), 10), (a_lot(2, expires=-1), 10), (a_lot(3, expires=5), 0)]
    moves, lapsed = give_back(freed, account_from="held", debt=4, now=NOON)
    assert moves == [
        Move("held", "available", 10, 2),
        Move("held", "available", 10, 1),
        Move("available", "debt", 4, 2),
    ]
    assert [(lot.lot_key, points) for lot, points in lapsed] == [(2, 6)]


def test_what_was_drawn_last_comes_back_first() -> None:
    lots = [a_lot(1, expires=1), a_lot(2), a_lot(3, expires=9, remaining=0)]
    assert [(lot.lot_key, points) for lot, points in share_back(15, lots)] == [(2, 10), (1, 5)]


def test_a_standing_counts_what_is_due_and_not_posted() -> None:
    lots = [
        LotThen(1, 10, 0, 0, NOON, None),
        LotThen(2, 0, 5, 0, NOON, NOON),
        LotThen(3, 0, 2, 9, NOON, NOON + timedelta(days=1), freed=4, freed_at=NOON),
        LotThen(4, 7, 0, 0, NOON + timedelta(days=1), NOON + timedelta(days=2)),
        LotThen(None, 0, 0, 0, None, None),
    ]
    standing = stand_at(lots, debt=3, at=NOON)
    assert (standing.available, standing.pending, standing.held, standing.debt) == (7 + 2 + 4, 7, 5, 0)
    assert [points for _, points in standing.expiring] == [2, 4, 7]
