"""Who comes back, and when: the facts of a public data set, and the edges."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from service.insights.repurchase import (
    Share,
    estimate_waiting,
    list_gaps,
    list_open_gaps,
    quantile,
    repeat_rate,
    second_order_within,
    waiting_quantile,
)
from tests.unit.insights.cdnow import UNTIL, read_order_days

CDNOW = read_order_days()
NEW_YEAR = date(2026, 1, 1)


def days_after(*numbers: int) -> list[date]:
    return [NEW_YEAR + timedelta(days=number) for number in numbers]


def test_the_repeat_purchase_rate_of_cdnow_over_its_lifetime() -> None:
    assert repeat_rate(CDNOW, start=date(1997, 1, 1), end=UNTIL) == Share(1_139, 2_357)


@pytest.mark.parametrize(("days", "came_back"), [(30, 410), (60, 601), (90, 687), (180, 887), (365, 1_074)])
def test_second_orders_of_cdnow_within_their_days(days: int, came_back: int) -> None:
    # Everybody joined within the first three months: all are mature.
    assert second_order_within(CDNOW, days=days, until=UNTIL) == Share(came_back, 2_357)


def test_the_gaps_of_cdnow() -> None:
    gaps = list_gaps(CDNOW)
    assert (quantile(gaps, 0.5), quantile(gaps, 0.8)) == (34, 117)


def test_gaps_still_open_make_the_wait_longer_than_the_closed_ones_say() -> None:
    gaps, still_open = list_gaps(CDNOW), list_open_gaps(CDNOW, until=UNTIL)
    assert len(still_open) == 2_357
    curve = estimate_waiting(gaps, still_open)
    # Those who ordered on the very last day were at risk for no day at all.
    assert curve[0].at_risk == len(gaps) + sum(days > 0 for days in still_open)
    assert waiting_quantile(curve, 0.5) == 93
    assert waiting_quantile(curve, 0.8) is None


def test_the_waiting_curve_of_complete_data_is_the_plain_one() -> None:
    gaps = np.random.default_rng(1).integers(1, 50, 200).tolist()
    curve = estimate_waiting(gaps, [])
    assert curve[-1].waiting == pytest.approx(0, abs=1e-12)
    assert waiting_quantile(curve, 0.5) == quantile(gaps, 0.5)


def test_a_gap_open_on_the_day_of_a_return_was_still_at_risk() -> None:
    [step] = estimate_waiting([5], [5])
    assert (step.days, step.at_risk, step.waiting) == (5, 2, 0.5)


def test_two_orders_on_one_day_are_one_occasion() -> None:
    assert repeat_rate([days_after(3, 3)], start=NEW_YEAR, end=date(2027, 1, 1)) == Share(0, 1)
    assert list_gaps([days_after(3, 3, 10)]) == [7]


def test_the_window_is_half_open() -> None:
    end = NEW_YEAR + timedelta(days=10)
    assert repeat_rate([days_after(0, 9), days_after(0, 10)], start=NEW_YEAR, end=end) == Share(1, 2)


def test_the_cohort_form_leaves_out_who_is_not_mature() -> None:
    cohorts = [days_after(0, 30), days_after(0, 31), days_after(1, 5), []]
    # The data end before the 31st day after the second: seen for 30 days is the first two alone.
    assert second_order_within(cohorts, days=30, until=NEW_YEAR + timedelta(days=31)) == Share(1, 2)
    assert second_order_within(cohorts, days=30, until=None) == Share(2, 3)


def test_nobody_has_no_rate_and_no_quantile() -> None:
    assert repeat_rate([], start=NEW_YEAR, end=UNTIL).value is None
    assert quantile([], 0.5) is None
    assert estimate_waiting([], []) == ()
